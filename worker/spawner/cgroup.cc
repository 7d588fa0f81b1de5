#include "worker/spawner/cgroup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/own_groups.h"
#include "worker/spawner/group_files.h"
#include "worker/spawner/process_tree.h"

namespace futured::spawner {

namespace {

constexpr const char* kAside = "spawner";  // the group that this process leaves its own for

[[nodiscard]] std::string name_of(std::uint64_t instance) {
  char name[32];
  std::snprintf(name, sizeof name, "/futured-%016llx", static_cast<unsigned long long>(instance));
  return name;
}

[[nodiscard]] bool is_handed_out(const std::string& group, const std::string& controller) {
  return has_word(read_text(group + "/cgroup.subtree_control"), controller);
}

}  // namespace

CgroupTree::CgroupTree(std::string own, std::string path, Version version)
    : own_(std::move(own)), path_(std::move(path)), version_(version) {}

std::optional<CgroupTree> CgroupTree::create(const std::string& own, Version version, std::uint64_t instance,
                                             const std::string& needed) {
  if (own.empty()) return {};
  const std::string path = own + name_of(instance);
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return {};
  // Moving a process in v2 needs the right to write in the common ancestor too.
  const bool may_move = ::access((own + "/cgroup.procs").c_str(), W_OK) == 0;
  if (may_move && ::access((path + "/" + needed).c_str(), W_OK) == 0) return CgroupTree(own, path, version);
  ::rmdir(path.c_str());
  return {};
}

// The name is looked at because the path comes from a file: with another one, it would not be ours to remove.
bool CgroupTree::remove_leftover(const std::string& path, std::uint64_t instance) {
  if (!path.ends_with(name_of(instance)) || ::access(path.c_str(), F_OK) != 0) return true;
  const auto left = processes_of(path);
  if (!left.empty() && write_text(path + "/cgroup.kill", "1") != 0) (void)kill_trees(left);
  kill_headless(processes_of(path));
  if (!processes_of(path).empty()) return false;
  remove_group(path);
  return true;
}

bool CgroupTree::make(const std::string& group) const {
  return ::mkdir((path_ + "/" + group).c_str(), 0755) == 0 || errno == EEXIST;
}

bool CgroupTree::add(const std::string& group, pid_t pid) const {
  return write(group, "cgroup.procs", std::to_string(pid));
}

bool CgroupTree::write(const std::string& group, const std::string& file, const std::string& text) const {
  return write_text(path_ + "/" + group + "/" + file, text) == 0;
}

std::string CgroupTree::read(const std::string& group, const std::string& file) const {
  return read_text(path_ + "/" + group + "/" + file);
}

bool CgroupTree::kill(const std::string& group) const {
  if (is_empty(group)) return true;
  (void)write(group, "cgroup.kill", "1");
  if (is_empty(group)) return true;
  kill_headless(processes_of(path_ + "/" + group));
  return is_empty(group);
}

bool CgroupTree::is_empty(const std::string& group) const {
  return number_behind(read(group, "cgroup.events"), "populated") == 0;
}

void CgroupTree::remove(const std::string& group) const { remove_group(path_ + "/" + group); }

bool CgroupTree::hand_out(const std::string& controller) {
  if (!has_word(read_text(own_ + "/cgroup.controllers"), controller)) return false;
  const std::string order = "+" + controller;
  const std::string ours = own_ + "/cgroup.subtree_control";
  if (!is_handed_out(own_, controller)) {
    int error = write_text(ours, order);
    if (error == EBUSY && step_aside()) {
      error = write_text(ours, order);
      if (error != 0) step_back();
    }
    if (error != 0) return false;
  }
  return write_text(path_ + "/cgroup.subtree_control", order) == 0;
}

bool CgroupTree::step_aside() {
  is_aside_ = is_aside_ || (make(kAside) && add(kAside, ::getpid()));
  return is_aside_;
}

// Refused while our own group hands out a controller: then this process stays, and its last group with it.
void CgroupTree::step_back() {
  if (write_text(own_ + "/cgroup.procs", std::to_string(::getpid())) != 0) return;
  remove(kAside);
  is_aside_ = false;
}

void CgroupTree::remove() {
  if (is_aside_) {
    for (const char* controller : {"memory", "pids"}) {
      const std::string order = std::string("-") + controller;
      // Refused by the kernel while another spawner beside us still uses it.
      (void)write_text(path_ + "/cgroup.subtree_control", order);
      (void)write_text(own_ + "/cgroup.subtree_control", order);
    }
    step_back();
  }
  remove_group(path_);
}

}  // namespace futured::spawner
