#include "daemon/loop/zone_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "base/fd.h"
#include "base/limits.h"

namespace futured {

namespace {

// "Europe/Berlin", "Etc/GMT+3", "America/Argentina/Buenos_Aires": no way leads out of the directory.
bool is_zone_name(const std::string& name) {
  const auto is_letter = [](char letter) {
    return std::isalnum(static_cast<unsigned char>(letter)) != 0 || letter == '/' || letter == '_' || letter == '-' ||
           letter == '+';
  };
  return name.size() <= limits::kNameBytesMax && name.front() != '/' && std::ranges::all_of(name, is_letter);
}

Error unknown(const std::string& name, const std::string& directory) {
  return {ErrorCode::kInvalidArgument, "\"" + name + "\" is no time zone that this machine has in " + directory +
                                           ": write an IANA name, such as Europe/Berlin, or install tzdata"};
}

}  // namespace

Result<std::shared_ptr<const Zone>> load_zone(const std::string& name, const std::string& directory) {
  if (name.empty() || name == "UTC") return std::make_shared<const Zone>();
  if (!is_zone_name(name)) return unknown(name, directory);
  const Fd file(::open((directory + "/" + name).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return unknown(name, directory);
  std::string bytes(limits::kZoneFileBytesMax + 1, '\0');
  std::size_t size = 0;
  for (ssize_t got = 1; got > 0 && size < bytes.size(); size += static_cast<std::size_t>(std::max<ssize_t>(got, 0))) {
    got = ::read(file.get(), bytes.data() + size, bytes.size() - size);
  }
  if (size > limits::kZoneFileBytesMax) return unknown(name, directory);
  bytes.resize(size);
  auto zone = Zone::parse(bytes);
  if (!zone.ok()) return Error{ErrorCode::kInvalidArgument, "\"" + name + "\": " + zone.error().message};
  return std::make_shared<const Zone>(*std::move(zone));
}

std::map<std::string, std::shared_ptr<const Zone>> zones_of(const Snapshot& snapshot) {
  std::map<std::string, std::shared_ptr<const Zone>> zones;
  for (const StoredSchedule& schedule : snapshot.schedules) {
    if (zones.contains(schedule.row.zone)) continue;
    if (auto zone = load_zone(schedule.row.zone); zone.ok()) zones[schedule.row.zone] = *zone;
  }
  return zones;
}

}  // namespace futured
