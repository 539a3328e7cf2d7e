// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/replay_names.h"

#include <unistd.h>

#include "backends/emulator/preload/system.h"
#include "backends/emulator/preload/transcript.h"
#include "backends/emulator/preload/transcript_aliases.h"

namespace opennrt::emulator {
namespace {

/// Addresses and mmap offsets of different aliases lie so far apart that no allocation reaches from one to the next.
constexpr unsigned kAddressShift = 36;
constexpr unsigned kHandleShift = 8;                         ///< a handle plus a little is no other handle
constexpr std::uint64_t kFirstPid = std::uint64_t{1} << 22;  ///< beyond the largest pid of Linux

std::uint64_t fresh(Kind kind, std::uint64_t number) {
  switch (kind) {
    case Kind::kHandle:
      return number << kHandleShift;
    case Kind::kReset:
      return number;
    case Kind::kPid:
      return kFirstPid + number;
    case Kind::kFd:  // a descriptor of a dma-buf: something that can be closed
      return static_cast<std::uint64_t>(system_call(SYS_memfd_create, "opennrt-replay-dmabuf", 0u));
    default:
      return number << kAddressShift;
  }
}

std::uint64_t own_pid() {
  return static_cast<std::uint64_t>(system_call(SYS_getpid));
}

}  // namespace

bool ReplayNames::accepts(Kind kind, const std::string& text, std::uint64_t value, Taking& taking) const {
  std::uint64_t number = 0, offset = 0;
  std::string alias;
  if (text == "self") return kind == Kind::kPid && value == own_pid();
  if (parse_number(text, number)) return number == value;
  if (!parse_alias(text, alias, number, offset) || means_nothing(kind, value)) return false;
  const auto known = values_.find(alias);
  return (known != values_.end() ? known : taking.emplace(alias, value - offset).first)->second + offset == value;
}

bool ReplayNames::value(Kind kind, const std::string& text, std::uint64_t& value) {
  std::uint64_t number = 0, offset = 0;
  std::string alias;
  if (text == "self") {
    value = own_pid();
    return true;
  }
  if (parse_number(text, value)) return true;
  if (!renamed(kind) || !parse_alias(text, alias, number, offset)) return false;
  auto at = values_.find(alias);
  if (at == values_.end()) at = values_.emplace(alias, fresh(kind, number)).first;
  value = at->second + offset;
  return true;
}

std::string ReplayNames::name(Kind kind, std::uint64_t value) const {
  if (kind == Kind::kPid && value == own_pid()) return "self";
  if (means_nothing(kind, value)) return value == 0 ? "0" : "-1";
  const std::string prefix = alias_prefix(kind);
  for (const auto& [alias, known] : values_) {
    if (!alias.starts_with(prefix) || value < known) continue;
    if (value == known) return alias;
    const bool inside = (kind == Kind::kAddress || kind == Kind::kMmapOffset) && (value - known) >> kAddressShift == 0;
    if (inside) return alias + "+" + hex_number(value - known);
  }
  return kind == Kind::kPid || kind == Kind::kFd ? std::to_string(static_cast<std::int64_t>(value)) : hex_number(value);
}

}  // namespace opennrt::emulator
