#include "worker/runtime/confinement.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/spool_file.h"
#include "tests/unit/runtime/in_child.h"
#include "worker/runtime/output_capture.h"
#include "worker/runtime/pool_user.h"
#include "worker/runtime/spool.h"
#include "worker/runtime/workplace.h"

namespace futured::runtime {
namespace {

constexpr uid_t kNobody = 65534;

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Of /proc/self/status.
std::string status_line(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":\t")) return line.substr(name.size() + 2);
  }
  return {};
}

std::string name_of(uid_t user) {
  const passwd* const entry = ::getpwuid(user);
  return entry == nullptr ? std::string() : entry->pw_name;
}

std::string network() {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/ns/net", ignored).string();
}

bool can_talk_to_itself() {
  const Fd server(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (::bind(server.get(), any, size) != 0 || ::listen(server.get(), 1) != 0) return false;
  if (::getsockname(server.get(), any, &size) != 0) return false;
  const Fd client(::socket(AF_INET, SOCK_STREAM, 0));
  return ::connect(client.get(), any, size) == 0;
}

// Without what makes root root; still with its own /proc.
void become_nobody() {
  if (!is_root()) return;
  if (!become({.name = "nobody", .home = "/", .id = kNobody, .group = kNobody, .groups = {kNobody}})) ::_exit(1);
  ::prctl(PR_SET_DUMPABLE, 1);
}

// What confining oneself so ends with: what `look` saw, or the error.
std::string confined(const PoolTerms& terms, const std::function<std::string()>& look) {
  return in_child([&] {
    const Status done = confine(terms);
    return done ? look() : done.error().message;
  });
}

TEST(Confinement, WithoutTermsNothingChanges) {
  const auto look = [] {
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    return std::to_string(files.rlim_cur) + " " + std::to_string(::getpriority(PRIO_PROCESS, 0)) + " " + network() +
           " " + status_line("Uid") + status_line("CapEff") + status_line("NoNewPrivs");
  };
  EXPECT_EQ(confined({}, look), look());
}

TEST(Confinement, LimitsAreSoftAndHard) {
  const PoolTerms terms{.limits = {{"nofile", 64}, {"core", 0}}};
  EXPECT_EQ(confined(terms,
                     [] {
                       rlimit files{};
                       rlimit core{1, 1};
                       ::getrlimit(RLIMIT_NOFILE, &files);
                       ::getrlimit(RLIMIT_CORE, &core);
                       return std::to_string(files.rlim_cur) + " " + std::to_string(files.rlim_max) + " " +
                              std::to_string(core.rlim_max);
                     }),
            "64 64 0");
}

TEST(Confinement, LimitsOfACommandPoolAreNotTheWorkersOwn) {
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const PoolTerms terms{.mode = PoolMode::kCommand, .limits = {{"fsize", 10}}};
  EXPECT_EQ(confined(terms,
                     [] {
                       rlimit after{};
                       ::getrlimit(RLIMIT_FSIZE, &after);
                       return std::to_string(after.rlim_cur);
                     }),
            std::to_string(before.rlim_cur));
}

TEST(Confinement, ALimitThatCannotBeGivenIsNamed) {
  const auto nothing = [] { return std::string("confined"); };
  for (const PoolMode mode : {PoolMode::kProcess, PoolMode::kCommand}) {
    // More than the kernel gives to anybody.
    const PoolTerms terms{.mode = mode, .limits = {{"nofile", std::uint64_t{1} << 40}}};
    rlimit now{};
    ::getrlimit(RLIMIT_NOFILE, &now);
    const std::string told = confined(terms, nothing);
    EXPECT_TRUE(told.starts_with("limits.nofile: 1099511627776 is more than the " + std::to_string(now.rlim_max)))
        << told;
    EXPECT_NE(told.find("LimitNOFILE="), std::string::npos) << told;
  }
}

TEST(Confinement, NiceAndPrivilegesAreThoseOfTheTerms) {
  const PoolTerms terms{.nice = 7, .no_new_privileges = true};
  EXPECT_EQ(
      confined(terms, [] { return std::to_string(::getpriority(PRIO_PROCESS, 0)) + " " + status_line("NoNewPrivs"); }),
      "7 1");
}

TEST(Confinement, ANiceThatOnlyRootMayGiveIsNamed) {
  const std::string told = in_child([] {
    become_nobody();
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_NICE, &none);
    const Status done = confine({.nice = -5});
    return done ? "confined" : done.error().message;
  });
  EXPECT_TRUE(told.starts_with("nice: only a spawner that runs as root can give -5")) << told;
}

TEST(Confinement, WithoutANetworkThereIsALoopback) {
  if (!is_root()) GTEST_SKIP() << "needs root";
  const std::string told = confined({.no_network = true}, [] {
    const std::string devices = content_of("/proc/self/net/dev");
    const bool has_lo_only = std::ranges::count(devices, ':') == 1 && devices.find("lo:") != std::string::npos;
    return (has_lo_only ? "lo only, " : devices) + std::string(can_talk_to_itself() ? "up, " : "down, ") + network();
  });
  if (told.starts_with("no_network: ")) GTEST_SKIP() << told;
  EXPECT_TRUE(told.starts_with("lo only, up, net:[")) << told;
  EXPECT_EQ(told.find(network()), std::string::npos) << told;
}

TEST(Confinement, WithoutANetworkAndWithoutRootIdsStayAndNothingIsGained) {
  const std::string told = in_child([] {
    become_nobody();
    const std::string before = network() + status_line("Uid") + status_line("Gid");
    const Status done = confine({.no_network = true});
    if (!done) return done.error().message;
    const std::string after = status_line("Uid") + status_line("Gid");
    return std::string(before.ends_with(after) ? "ids " : "") + (before.starts_with(network()) ? "" : "left ") +
           (can_talk_to_itself() ? "up " : "down ") + status_line("CapEff");
  });
  if (told.starts_with("no_network: ")) {
    EXPECT_NE(told.find("leave no_network out"), std::string::npos) << told;
    GTEST_SKIP() << told;
  }
  EXPECT_EQ(told, "ids left up 0000000000000000");
}

TEST(Confinement, TheUserIsTheUserForGood) {
  const std::string user = name_of(kNobody);
  if (!is_root() || user.empty()) GTEST_SKIP() << "needs root, and a user 65534";
  const std::string told = confined({.user = user}, [] {
    uid_t ids[3];
    gid_t groups[3];
    ::getresuid(&ids[0], &ids[1], &ids[2]);
    ::getresgid(&groups[0], &groups[1], &groups[2]);
    const bool is_changed = ids[0] == kNobody && ids[1] == kNobody && ids[2] == kNobody && groups[0] != 0 &&
                            groups[1] != 0 && groups[2] != 0;
    const bool is_stuck = ::setuid(0) != 0 && ::setgid(0) != 0 && ::setgroups(0, nullptr) != 0;
    return std::string(is_changed ? "changed " : "") + (is_stuck ? "for good " : "") + status_line("CapEff") + " " +
           status_line("CapPrm") + " groups " + status_line("Groups");
  });
  EXPECT_TRUE(told.starts_with("changed for good 0000000000000000 0000000000000000 groups ")) << told;
  EXPECT_EQ((told + " ").find(" 0 "), std::string::npos) << "root's group is left: " << told;
}

TEST(Confinement, TheEnvironmentNamesTheUser) {
  const std::string user = name_of(kNobody);
  const passwd* const root = ::getpwuid(0);
  if (!is_root() || user.empty() || root == nullptr) GTEST_SKIP() << "needs root, and a user 65534";
  const std::string told = in_child([&] {
    ::setenv("HOME", root->pw_dir, 1);
    ::setenv("USER", root->pw_name, 1);
    ::setenv("LOGNAME", "somebody-else", 1);
    if (!confine({.user = user})) return std::string("not confined");
    return std::string(::getenv("USER")) + " " + ::getenv("LOGNAME") + " " + ::getenv("HOME");
  });
  EXPECT_EQ(told, user + " somebody-else " + ::getpwuid(kNobody)->pw_dir);
}

TEST(Confinement, AUserThatIsNotThereOrNotOursToBecomeIsNamed) {
  const auto nothing = [] { return std::string("confined"); };
  EXPECT_EQ(confined({.user = "no-such-user"}, nothing), "user: this machine has no user \"no-such-user\"");
  const std::string told = in_child([] {
    become_nobody();
    const Status done = confine({.user = "root"});
    return done ? "confined" : done.error().message;
  });
  EXPECT_TRUE(told.starts_with("user: workers can only become \"root\" under a spawner that runs as root")) << told;
  const std::string own = name_of(::geteuid());
  if (!own.empty()) {
    EXPECT_EQ(confined({.user = own}, nothing), "confined") << "the one that we are";
  }
}

TEST(Environment, OnlyWhatIsAllowedStays) {
  const auto left = [](const std::vector<std::string>& allowed) {
    return in_child([&] {
      ::clearenv();
      ::setenv("KEPT", "1", 1);
      ::setenv("KEPT_NOT", "secret", 1);
      ::setenv("FUTURED_INSTANCE", "2", 1);
      const char* const secret = ::getenv("KEPT_NOT");
      drop_environment(allowed);
      std::string names;
      for (char** variable = environ; *variable != nullptr; ++variable) names += std::string(*variable) + " ";
      return names + secret;
    });
  };
  EXPECT_EQ(left({"KEPT", "NOT_THERE"}), "KEPT=1 FUTURED_INSTANCE=2 ") << "and the rest is wiped";
  EXPECT_EQ(left({"*"}), "KEPT=1 KEPT_NOT=secret FUTURED_INSTANCE=2 secret");
  EXPECT_EQ(left({}), "KEPT=1 KEPT_NOT=secret FUTURED_INSTANCE=2 secret");
}

class WorkplaceTest : public ::testing::Test {
 protected:
  WorkplaceTest() {
    folder_ = ::mkdtemp(pattern_);
    std::filesystem::create_directories(folder_ + "/state/output");
    options_.spool_directory = folder_ + "/state/output";
  }
  ~WorkplaceTest() override { std::filesystem::remove_all(folder_); }

  char pattern_[32] = "/tmp/futured-place-XXXXXX";
  std::string folder_;
  ZygoteOptions options_;
};

TEST_F(WorkplaceTest, LongOutputOfAnotherUserIsFoundByTheDaemon) {
  const std::string user = name_of(kNobody);
  if (!is_root() || user.empty()) GTEST_SKIP() << "needs root, and a user 65534";
  options_.terms.user = user;  // whom the folder, of mode 0700, keeps out
  const std::string text(100'000, 'x');
  EXPECT_EQ(in_child([&] {
              if (const auto settled = settle(options_, 1); !settled) return settled.error().message;
              OutputCapture capture(spool_path(options_.spool_directory, {JobId{4}, Epoch{2}, 1}, "stdout"), {});
              capture.append(text);
              capture.finish();
              return capture.is_spooled() ? std::to_string(capture.total()) : capture.fault();
            }),
            "100000");
  const auto found = open_spool_file(options_.spool_directory, "4.2.1.stdout", kNobody);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(content_of(found->path), text);
  EXPECT_EQ(found->path, options_.spool_directory + "/users/65534/4.2.1.stdout");
}

TEST_F(WorkplaceTest, AnAttemptBeginsInAnEmptyDirectoryAndLeavesNothing) {
  options_.terms.private_directory = true;
  const std::string slot = folder_ + "/state/work/slot-3";
  std::filesystem::create_directories(slot + "/9.9.9/left/by/one/that/was/killed");
  EXPECT_EQ(in_child([&] {
              auto directory = settle(options_, 3);
              if (!directory) return directory.error().message;
              std::string told = std::filesystem::exists(slot + "/9.9.9") ? "not clean, " : "clean, ";
              if (Status entered = directory->enter({JobId{4}, Epoch{2}, 1}); !entered) return entered.error().message;
              told += std::filesystem::current_path().string() == slot + "/4.2.1" ? "there, " : "somewhere else, ";
              std::ofstream("file") << "left";
              directory->leave();
              told += std::filesystem::current_path().string() == slot ? "back, " : "astray, ";
              return told + (std::filesystem::is_empty(slot) ? "empty" : "not empty");
            }),
            "clean, there, back, empty");
}

TEST_F(WorkplaceTest, TheUsersDirectoryIsTheUsersAlone) {
  const std::string user = name_of(kNobody);
  if (!is_root() || user.empty()) GTEST_SKIP() << "needs root, and a user 65534";
  ::chmod(folder_.c_str(), 0711);
  options_.terms.user = user;
  options_.terms.private_directory = true;
  EXPECT_EQ(in_child([&] {
              auto directory = settle(options_, 3);
              if (!directory) return directory.error().message;
              const auto made = directory->make({JobId{4}, Epoch{2}, 1});
              if (!made) return made.error().message;
              std::ofstream(*made + "/file") << "written";
              return content_of(*made + "/file");
            }),
            "written");
  struct stat slot {};
  ASSERT_EQ(::stat((folder_ + "/state/work/slot-3").c_str(), &slot), 0);
  EXPECT_EQ(slot.st_uid, kNobody);
  EXPECT_EQ(slot.st_mode & 07777, 0700u);
}

TEST_F(WorkplaceTest, ARehearsalSaysWhatWouldFailAndChangesNothing) {
  EXPECT_TRUE(rehearse(options_));
  options_.terms.nice = 3;
  options_.terms.limits = {{"nofile", 64}};
  const auto before = ::getpriority(PRIO_PROCESS, 0);
  EXPECT_TRUE(rehearse(options_));
  EXPECT_EQ(::getpriority(PRIO_PROCESS, 0), before);

  options_.terms.limits = {{"nofile", std::uint64_t{1} << 40}};
  const Status refused = rehearse(options_);
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().message.starts_with("limits.nofile")) << refused.error().message;
}

TEST_F(WorkplaceTest, ADirectoryThatItsUserCannotReachIsToldInARehearsal) {
  const std::string user = name_of(kNobody);
  if (!is_root() || user.empty()) GTEST_SKIP() << "needs root, and a user 65534";
  options_.terms.user = user;
  options_.terms.private_directory = true;
  const Status refused = rehearse(options_);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("cannot enter " + folder_), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("chmod o+x"), std::string::npos) << refused.error().message;
}

}  // namespace
}  // namespace futured::runtime
