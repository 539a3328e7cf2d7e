// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/record_memory.h"

#include <algorithm>
#include <utility>

#include "backends/emulator/preload/copy.h"

namespace opennrt::emulator {
namespace {

constexpr std::size_t kBlock = 65536;

/// The device may be writing the piece at this moment: it is taken when it reads the same twice.
std::string settled(std::uint64_t address, std::string bytes) {
  constexpr int kTries = 8;
  for (int i = 0; i < kTries; ++i) {
    std::string again(bytes.size(), '\0');
    if (copy_from_user(again.data(), address, again.size()) != 0 || again == bytes) break;
    bytes = std::move(again);
  }
  return bytes;
}

}  // namespace

void FollowedMemory::follow(unsigned alias, const void* address, std::size_t bytes, std::size_t piece) {
  forget(address, bytes);
  mappings_.push_back({alias, reinterpret_cast<std::uintptr_t>(address), piece, std::string(bytes, '\0')});
}

std::vector<unsigned> FollowedMemory::forget(const void* address, std::size_t bytes) {
  const auto first = reinterpret_cast<std::uintptr_t>(address);
  std::vector<unsigned> gone;
  std::erase_if(mappings_, [&](const Mapping& mapping) {
    const bool overlaps = mapping.address < first + bytes && first < mapping.address + mapping.seen.size();
    if (overlaps) gone.push_back(mapping.alias);
    return overlaps;
  });
  return gone;
}

void FollowedMemory::changes(const std::function<void(unsigned, std::size_t, const std::string&)>& report) {
  std::string now;
  for (Mapping& mapping : mappings_) {
    for (std::size_t at = 0; at < mapping.seen.size(); at += kBlock) {
      now.resize(std::min(kBlock, mapping.seen.size() - at));
      // Memory of a driver that has gone, or without the right to read it.
      if (copy_from_user(now.data(), mapping.address + at, now.size()) != 0) break;
      if (mapping.seen.compare(at, now.size(), now) == 0) continue;
      for (std::size_t piece = 0; piece < now.size(); piece += mapping.piece) {
        const std::size_t size = std::min(mapping.piece, now.size() - piece);
        if (mapping.seen.compare(at + piece, size, now, piece, size) == 0) continue;
        const std::string bytes = settled(mapping.address + at + piece, now.substr(piece, size));
        mapping.seen.replace(at + piece, size, bytes);
        report(mapping.alias, at + piece, bytes);
      }
    }
  }
}

}  // namespace opennrt::emulator
