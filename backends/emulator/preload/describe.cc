// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/describe.h"

#include <algorithm>
#include <cstring>

#include "backends/emulator/preload/copy.h"

namespace opennrt::emulator {
namespace {

/// A count comes from the caller's memory and may be anything: no list is described beyond this.
constexpr std::uint64_t kLongestList = 65536;

bool copied_in(void* to, std::uint64_t from, std::size_t bytes) {
  return copy_from_user(to, from, bytes) == 0;
}

const Field* field_named(const Layout& layout, const char* name) {
  for (const Field& field : layout.fields)
    if (std::strcmp(field.name, name) == 0) return &field;
  return nullptr;
}

/// A small number of a structure: a count or a flag. 0 where it cannot be read.
std::uint64_t value_of(const Layout& layout, const char* name, std::uint64_t base) {
  const Field* field = field_named(layout, name);
  std::uint64_t value = 0;
  if (field != nullptr && !copied_in(&value, base + field->offset, std::min<std::size_t>(field->size, 8))) value = 0;
  return value;
}

void add_leaves(const Layout& layout, std::uint64_t base, const std::string& prefix, std::vector<Leaf>& all);

void add_field(const Layout& layout, const Field& field, std::uint64_t base, const std::string& prefix,
               std::vector<Leaf>& all) {
  Leaf leaf;
  leaf.name = prefix + field.name;
  leaf.kind = field.kind;
  leaf.list = field.list;
  leaf.size = field.size;
  leaf.out = field.way == Way::kOut || (field.way == Way::kByFlag && value_of(layout, field.flag, base) == 0);
  leaf.count = field.counted == nullptr ? field.count : value_of(layout, field.counted, base);
  if (field.counted != nullptr && field.count != 0) leaf.count = std::min<std::uint64_t>(leaf.count, field.count);
  // BARs but 0: one address, and the values may be the user's instructions.
  if (field.registers && value_of(layout, "bar", base) != 0) {
    if (leaf.size == sizeof(std::uint64_t))
      leaf.count = 1;
    else
      leaf.kind = Kind::kPayload;
  }
  const bool bytes = leaf.kind == Kind::kPayload || leaf.kind == Kind::kSecret;
  if (!bytes) leaf.count = std::min(leaf.count, kLongestList);
  leaf.address = base + field.offset;
  if (field.pointer && !copied_in(&leaf.address, base + field.offset, sizeof leaf.address)) leaf.address = 0;
  if (bytes) {  // a size in bytes from here on
    leaf.count = leaf.count > ~std::uint64_t{0} / field.size ? ~std::uint64_t{0} : leaf.count * field.size;
    leaf.size = 1;
  }
  if (field.layout == nullptr) {
    all.push_back(std::move(leaf));
    return;
  }
  for (std::uint64_t i = 0; i < leaf.count; ++i) {
    const std::string name = leaf.list ? leaf.name + "[" + std::to_string(i) + "]." : leaf.name + ".";
    add_leaves(*field.layout, leaf.address == 0 ? 0 : leaf.address + i * field.size, name, all);
  }
}

void add_leaves(const Layout& layout, std::uint64_t base, const std::string& prefix, std::vector<Leaf>& all) {
  char probe = 0;
  const bool there = base != 0 && copied_in(&probe, base, 1) && copied_in(&probe, base + layout.size - 1, 1);
  for (const Field& field : layout.fields) {
    if (there) {
      add_field(layout, field, base, prefix, all);
    } else {
      all.push_back({prefix + field.name, field.kind, field.way == Way::kOut, field.list, field.size, 0, 0});
    }
  }
}

}  // namespace

std::vector<Leaf> leaves(const RequestDescription& description, const void* argument) {
  std::vector<Leaf> all;
  if (description.layout != nullptr)
    add_leaves(*description.layout, reinterpret_cast<std::uintptr_t>(argument), "", all);
  return all;
}

bool read_number(const Leaf& leaf, std::uint64_t index, std::uint64_t& value) {
  value = 0;
  if (leaf.address == 0 || !copied_in(&value, leaf.address + index * leaf.size, leaf.size)) return false;
  if (leaf.kind == Kind::kSigned || leaf.kind == Kind::kPid) {
    const unsigned unused = 64 - 8 * leaf.size;
    value = static_cast<std::uint64_t>(static_cast<std::int64_t>(value << unused) >> unused);
  }
  return true;
}

bool write_number(const Leaf& leaf, std::uint64_t index, std::uint64_t value) {
  return leaf.address != 0 && copy_to_user(leaf.address + index * leaf.size, &value, leaf.size) == 0;
}

const RequestDescription* describe(unsigned long request) {
  for (const RequestDescription& one : all_requests())
    if (one.request == request) return &one;
  return nullptr;
}

const RequestDescription* describe(std::string_view name) {
  for (const RequestDescription& one : all_requests())
    if (name == one.name) return &one;
  return nullptr;
}

}  // namespace opennrt::emulator
