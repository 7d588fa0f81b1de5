// What a hostile job does, the same as a task and as a command. All that it starts carries its token as the name of its
// threads, by which tests/system/test_hostile.py finds it whatever its parent, session and environment are.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/system/plugin/mappings.h"

namespace hostile {

constexpr int kDescriptorsMax = 1024;
constexpr int kBombMax = 50;                               // forks of all its processes: what the machine can bear
constexpr std::size_t kEatenMax = std::size_t{768} << 20;  // likewise

struct Deed {
  std::string what;
  std::string token;  // of at most 15 bytes
  std::string gate;   // a line for each process that it starts, "pid what", and "done"
};

[[noreturn]] inline void wait_for_ever() {
  for (;;) pause();
}

inline void tell(const Deed& deed, const std::string& word) {
  const std::string line = word + "\n";
  const int gate = open(deed.gate.c_str(), O_WRONLY | O_CLOEXEC);
  if (gate < 0 || write(gate, line.data(), line.size()) < 0) _exit(99);
  close(gate);
}

inline void tell_pid(const Deed& deed, const char* what) { tell(deed, std::to_string(getpid()) + " " + what); }

inline void carry(const Deed& deed) { prctl(PR_SET_NAME, deed.token.c_str()); }

inline void close_everything() {
  for (int descriptor = 0; descriptor < kDescriptorsMax; ++descriptor) close(descriptor);
}

// Every signal that can be is ignored, and blocked.
inline void hear_nothing() {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_IGN);
}

// Also where /proc tells it: in the memory that the program began with.
inline void clear_environment() {
  std::ifstream stat("/proc/self/stat");
  std::string text;
  std::getline(stat, text);
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  std::vector<std::string> all;
  for (std::string field; fields >> field;) all.push_back(field);
  constexpr std::size_t kFrom = 50 - 3;  // proc(5) counts from 1, and two fields end at the parenthesis
  if (all.size() <= kFrom + 1) return;
  const std::uintptr_t from = std::strtoull(all[kFrom].c_str(), nullptr, 10);
  const std::uintptr_t until = std::strtoull(all[kFrom + 1].c_str(), nullptr, 10);
  clearenv();
  if (from != 0 && until > from) std::memset(reinterpret_cast<void*>(from), 0, until - from);
}

[[noreturn]] inline void stay(const Deed& deed, const char* what) {
  carry(deed);
  hear_nothing();
  tell_pid(deed, what);
  close_everything();
  wait_for_ever();
}

// A child in the way of fork(2), but past the handlers of libraries, and with other flags.
inline pid_t clone_with(unsigned long flags) {
  return static_cast<pid_t>(syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
}

inline void wait_until_headless() {
  for (;;) {
    std::ifstream stat("/proc/self/stat");
    std::string text;
    std::getline(stat, text);
    if (text.find(") Z ") != std::string::npos) return;
    sched_yield();
  }
}

// Its first thread ends, another one stays: to a careless eye it is a zombie.
[[noreturn]] inline void go_on_headless(const Deed& deed, const char* what) {
  carry(deed);
  hear_nothing();
  std::thread([&deed, what] {
    wait_until_headless();
    tell_pid(deed, what);
    close_everything();
    wait_for_ever();
  }).detach();
  for (;;) syscall(SYS_exit, 0);  // of this thread alone
}

// ---- what a job leaves, or has beside it: returns once it runs

// Orphaned, in a session and a group of its own, with no variable and no descriptor, deaf.
inline void leave_orphan(const Deed& deed) {
  const pid_t child = fork();
  if (child == 0) {
    setsid();
    if (fork() != 0) _exit(0);
    setsid();
    clear_environment();
    stay(deed, "orphan");
  }
  waitpid(child, nullptr, 0);
}

// In another group, and stopped.
inline void leave_stopped(const Deed& deed) {
  if (fork() != 0) return;
  setpgid(0, 0);
  carry(deed);
  hear_nothing();
  tell_pid(deed, "stopped");
  for (;;) kill(getpid(), SIGSTOP);
}

inline void leave_headless(const Deed& deed) {
  if (fork() == 0) go_on_headless(deed, "headless");
}

// Held in vfork(2) by a child that never lets go, where it can neither run nor be stopped.
inline void leave_vforked(const Deed& deed) {
  if (fork() != 0) return;
  carry(deed);
  hear_nothing();
  (void)clone_with(CLONE_VFORK);
  stay(deed, "vforked");  // the child; its parent does not come back
}

// Traced by another that wants to hear of its end before it may end.
inline void leave_traced(const Deed& deed) {
  const pid_t traced = fork();
  if (traced == 0) stay(deed, "traced");
  if (fork() != 0) return;
  carry(deed);
  hear_nothing();
  if (ptrace(PTRACE_SEIZE, traced, nullptr, PTRACE_O_TRACEEXIT) != 0) _exit(98);
  stay(deed, "tracer");
}

// A tracer of the one that started it, so of the worker or of the command.
inline void leave_tracer_of_parent(const Deed& deed) {
  const pid_t parent = getpid();
  if (fork() != 0) return;
  if (ptrace(PTRACE_SEIZE, parent, nullptr, PTRACE_O_TRACEEXIT) != 0) _exit(98);
  stay(deed, "tracer");
}

// A child of our own parent: of the zygote, if we are its worker.
inline void leave_sibling(const Deed& deed) {
  if (clone_with(CLONE_PARENT) == 0) stay(deed, "sibling");
}

// Orphaned where nobody near is its reaper any more.
inline void leave_unadopted(const Deed& deed) {
  prctl(PR_SET_CHILD_SUBREAPER, 0);
  leave_orphan(deed);
}

// To the top of every hierarchy of control groups, if it may.
inline void leave_groups() {
  for (const char* top : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"}) {
    std::ofstream(std::string(top) + "/cgroup.procs") << getpid() << std::endl;
  }
}

inline void leave_ungrouped(const Deed& deed) {
  if (fork() != 0) return;
  leave_groups();
  stay(deed, "ungrouped");
}

inline bool leave(const Deed& deed, const std::string& what) {
  const std::pair<const char*, void (*)(const Deed&)> kinds[] = {
      {"orphan", leave_orphan},   {"stopped", leave_stopped},     {"headless", leave_headless},
      {"vforked", leave_vforked}, {"traced", leave_traced},       {"tracer", leave_tracer_of_parent},
      {"sibling", leave_sibling}, {"unadopted", leave_unadopted}, {"ungrouped", leave_ungrouped},
  };
  for (const auto& [name, make] : kinds) {
    if (what != name) continue;
    make(deed);
    return true;
  }
  return false;
}

// ---- what a job does itself

// The channel of our worker: mapped here, or to be had from the process that has it mapped.
inline std::vector<Mapping> channels() {
  std::vector<Mapping> found = shared_mappings();
  if (!found.empty()) return found;
  const std::string folder = "/proc/" + std::to_string(getppid()) + "/map_files";
  DIR* const list = opendir(folder.c_str());
  while (const dirent* const entry = list == nullptr ? nullptr : readdir(list)) {
    char target[256] = {};
    const std::string path = folder + "/" + entry->d_name;
    if (readlink(path.c_str(), target, sizeof target - 1) < 0) continue;
    if (std::string(target).find("memfd:futured-channel") == std::string::npos) continue;
    const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
    struct stat about {};
    if (file < 0 || fstat(file, &about) != 0) continue;
    void* const at =
        mmap(nullptr, static_cast<std::size_t>(about.st_size), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (at != MAP_FAILED) found.push_back({static_cast<std::uint8_t*>(at), static_cast<std::size_t>(about.st_size)});
    close(file);
  }
  if (list != nullptr) closedir(list);
  return found;
}

[[noreturn]] inline void scribble_without_end(const Deed& deed) {
  const auto found = channels();
  if (found.empty()) {
    tell(deed, "no channel");
    wait_for_ever();
  }
  tell_pid(deed, "scribbles");
  for (std::mt19937_64 random(found.size());;) {
    for (const Mapping& mapping : found) {
      for (std::size_t i = 0; i + 8 <= mapping.bytes; i += 8) {
        *reinterpret_cast<volatile std::uint64_t*>(mapping.from + i) = random();
      }
    }
  }
}

// Fills each socket that it has with packets that nobody asked for, each with as many descriptors as one may carry.
inline int flood_sockets() {
  int sent = 0;
  std::array<int, 253> passed{};
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  passed.fill(null);
  for (int socket = 3; socket < kDescriptorsMax; ++socket) {
    int type = 0;
    socklen_t size = sizeof type;
    if (getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET) continue;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof passed)] = {};
    char word[8] = "flooded";
    iovec bytes{word, sizeof word};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof passed);
    std::memcpy(CMSG_DATA(head), passed.data(), sizeof passed);
    while (sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) ++sent;
  }
  close(null);
  return sent;
}

// Each fork of all its processes takes one of so many bytes, so that it ends where no limit ends it.
[[noreturn]] inline void fork_without_end(const Deed& deed) {
  int tokens[2];
  if (pipe2(tokens, O_NONBLOCK) != 0 || write(tokens[1], std::string(kBombMax, '.').data(), kBombMax) != kBombMax)
    _exit(97);
  const pid_t first = getpid();
  carry(deed);
  hear_nothing();
  const char* word = "all";
  for (char token = 0; read(tokens[0], &token, 1) == 1;) {
    const pid_t child = clone_with(0);
    if (child == 0) setsid();
    if (child < 0) {
      word = "refused";
      break;
    }
  }
  if (getpid() == first) tell(deed, word);
  wait_for_ever();
}

[[noreturn]] inline void eat_without_end() {
  for (std::size_t eaten = 0; eaten < kEatenMax; eaten += 1 << 20) {
    void* const more = mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (more != MAP_FAILED) std::memset(more, 'x', 1 << 20);
  }
  wait_for_ever();
}

// As one whose first thread has ended: that is who /proc tells of.
[[noreturn]] inline void eat_headless() {
  std::thread([] {
    wait_until_headless();
    eat_without_end();
  }).detach();
  for (;;) syscall(SYS_exit, 0);
}

// Each of them eats less than a limit of 64 MiB allows, all together more.
[[noreturn]] inline void eat_together(const Deed& deed) {
  carry(deed);
  for (int i = 0; i < 8; ++i) {
    if (clone_with(0) != 0) continue;
    setsid();
    const std::size_t share = std::size_t{24} << 20;
    void* const more = mmap(nullptr, share, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (more != MAP_FAILED) std::memset(more, 'x', share);
    wait_for_ever();
  }
  wait_for_ever();
}

[[noreturn]] inline void never_end_threads(const Deed& deed) {
  carry(deed);
  hear_nothing();
  for (int i = 0; i < 8; ++i) std::thread([] { wait_for_ever(); }).detach();
  tell_pid(deed, "threads");
  wait_for_ever();
}

// "old new raised" or "old new refused", of the hard limit of open files, once it was asked for more.
inline std::string raise_limits() {
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit more{before.rlim_max + 1, before.rlim_max + 1};
  const bool is_raised = setrlimit(RLIMIT_NOFILE, &more) == 0;
  rlimit after{};
  getrlimit(RLIMIT_NOFILE, &after);
  return std::to_string(before.rlim_max) + " " + std::to_string(after.rlim_max) + (is_raised ? " raised" : " refused");
}

// Leaves its parent no room for another descriptor.
inline std::string lower_limits_of_parent() {
  const rlimit none{0, 0};
  return prlimit(getppid(), RLIMIT_NOFILE, &none, nullptr) == 0 ? "lowered" : "refused";
}

// Removes the directory that it is in, and puts a link to `victim` there.
inline std::string replace_directory(const std::string& victim) {
  std::array<char, 4096> here{};
  if (getcwd(here.data(), here.size()) == nullptr) return "nowhere";
  if (rmdir(here.data()) != 0) return std::string("rmdir: ") + std::strerror(errno);
  if (symlink(victim.c_str(), here.data()) != 0) return std::string("symlink: ") + std::strerror(errno);
  return "replaced";
}

// What it says at its end; most deeds have none. "leave:KIND" returns, "beside:KIND" stays with it and hears nothing.
inline std::string commit(const Deed& deed) {
  const std::string& what = deed.what;
  const auto kind_behind = [&](const std::string& prefix) {
    return what.starts_with(prefix) ? what.substr(prefix.size()) : std::string();
  };
  if (const std::string kind = kind_behind("leave:"); !kind.empty()) return leave(deed, kind) ? "left" : "unknown";
  if (const std::string kind = kind_behind("beside:"); !kind.empty()) {
    hear_nothing();
    if (!leave(deed, kind)) return "unknown";
    stay(deed, "self");
  }
  if (what == "deaf") stay(deed, "self");
  if (what == "headless") go_on_headless(deed, "self");
  if (what == "ungrouped") {
    leave_groups();
    stay(deed, "self");
  }
  if (what == "threads") never_end_threads(deed);
  if (what == "stop") {
    carry(deed);
    tell_pid(deed, "self");
    for (;;) kill(getpid(), SIGSTOP);
  }
  if (what == "scribble") scribble_without_end(deed);
  if (what == "bomb") fork_without_end(deed);
  if (what == "eat") eat_without_end();
  if (what == "eat_headless") eat_headless();
  if (what == "eat_together") eat_together(deed);
  if (what == "flood") return std::to_string(flood_sockets());
  if (what == "raise_limits") return raise_limits();
  if (what == "lower_limits_of_parent") return lower_limits_of_parent();
  if (what == "replace_directory") return replace_directory(deed.token);
  if (what == "kill_parent" || what == "stop_parent") {
    const pid_t parent = getppid();
    carry(deed);
    tell(deed, std::to_string(parent) + " parent");
    tell_pid(deed, "self");
    kill(parent, what == "kill_parent" ? SIGKILL : SIGSTOP);
    wait_for_ever();
  }
  return "unknown";
}

}  // namespace hostile
