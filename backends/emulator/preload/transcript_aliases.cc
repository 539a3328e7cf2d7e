// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/transcript_aliases.h"

#include "backends/emulator/preload/transcript.h"

namespace opennrt::emulator {

const char* alias_prefix(Kind kind) {
  switch (kind) {
    case Kind::kHandle:
      return "mh";
    case Kind::kAddress:
      return "pa";
    case Kind::kMmapOffset:
      return "mo";
    case Kind::kPid:
      return "pid";
    case Kind::kReset:
      return "rs";
    default:
      return "fd";
  }
}

bool means_nothing(Kind kind, std::uint64_t value) {
  return value == ~std::uint64_t{0} || (value == 0 && kind != Kind::kMmapOffset && kind != Kind::kFd);
}

Aliases::Space::const_iterator Aliases::locate(const Space& space, int device, std::uint64_t value) const {
  auto at = space.upper_bound({device, value});
  if (at == space.begin()) return space.end();
  --at;
  const auto& [key, known] = *at;
  const bool inside = key.first == device && (key.second == value || value - key.second < known.bytes);
  return inside ? at : space.end();
}

const Aliases::Known* Aliases::find(Kind kind, int device, std::uint64_t value) const {
  const auto space = spaces_.find(kind);
  if (space == spaces_.end()) return nullptr;
  const auto at = locate(space->second, device, value);
  return at == space->second.end() ? nullptr : &at->second;
}

std::string Aliases::of(Kind kind, int device, std::uint64_t value, Known fresh) {
  if (means_nothing(kind, value)) return value == 0 ? "0" : "-1";
  Space& known = space(kind);
  auto at = locate(known, device, value);
  if (at == known.end()) {
    fresh.number = ++last_[kind];
    at = known.emplace(std::make_pair(device, value), fresh).first;
  }
  const std::uint64_t offset = value - at->first.second;
  return alias_prefix(kind) + std::to_string(at->second.number) + (offset == 0 ? "" : "+" + hex_number(offset));
}

void Aliases::forget(int device, std::uint64_t handle) {
  for (auto& [kind, space] : spaces_)
    std::erase_if(space, [&, kind = kind](const auto& entry) {
      return entry.first.first == device &&
             (entry.second.owner == handle || (kind == Kind::kHandle && entry.first.second == handle));
    });
}

void Aliases::forget(Kind kind, int device, std::uint64_t value) {
  space(kind).erase({device, value});
}

}  // namespace opennrt::emulator
