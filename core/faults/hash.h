// SPDX-License-Identifier: Apache-2.0
//
// FNV-1a of 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/): the same on every machine, so that plans mean the same.
#pragma once

#include <cstdint>
#include <string_view>

namespace opennrt::faults {

constexpr std::uint64_t hash_of(std::string_view text) {
  std::uint64_t value = 0xcbf29ce484222325;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return value;
}

}  // namespace opennrt::faults
