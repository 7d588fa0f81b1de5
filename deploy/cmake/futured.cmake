# What every folder's CMakeLists.txt is written in: one library per folder, linked only to the folders it may include.

set(FUTURED_SANITIZE "" CACHE STRING "Sanitizers for the whole build: address,undefined or thread")

add_library(futured_options INTERFACE)
target_include_directories(futured_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(futured_options INTERFACE -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Wno-missing-field-initializers)
if(FUTURED_SANITIZE)
  target_compile_options(futured_options INTERFACE -fsanitize=${FUTURED_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(futured_options INTERFACE -fsanitize=${FUTURED_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # gcc 12 sees uninitialised variants where there are none once the sanitizers' calls stand between.
    target_compile_options(futured_options INTERFACE -Wno-maybe-uninitialized)
  endif()
endif()

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# futured_library(name sources... [LINKS targets...]): the static library futured_<name> of this folder.
function(futured_library name)
  cmake_parse_arguments(ARG "" "" "LINKS" ${ARGN})
  add_library(futured_${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(futured_${name} PUBLIC futured_options ${ARG_LINKS})
endfunction()

# futured_test(name sources... [LINKS targets...]): one GoogleTest executable, one ctest entry per TEST.
# They run for a moment and are compiled for long, so they are optimised less.
function(futured_test name)
  cmake_parse_arguments(ARG "" "" "LINKS" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE futured_options GTest::gmock GTest::gtest_main ${ARG_LINKS})
  target_compile_options(${name} PRIVATE $<$<CONFIG:RelWithDebInfo>:-O1>)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 120)
endfunction()
