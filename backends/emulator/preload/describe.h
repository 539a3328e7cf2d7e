// SPDX-License-Identifier: Apache-2.0
//
// What the requests of /dev/neuron<N> look like in memory: one table (describe_table.cc) from which a conversation is
// recorded, replayed and explained. Structures and numbers: backends/neuron/abi.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace opennrt::emulator {

enum class Kind : std::uint8_t {
  kNumber,      ///< unsigned, decimal
  kSigned,      ///< decimal
  kHex,         ///< registers, maps, flags
  kHandle,      ///< of memory: renamed (mh1)
  kAddress,     ///< of memory on the device's side: renamed (pa1+0x40)
  kMmapOffset,  ///< renamed (mo1)
  kPid,         ///< renamed (pid1, or self)
  kFd,          ///< renamed (fd1)
  kReset,       ///< number of a reset request: renamed (rs1)
  kText,        ///< short and public (the type of an instance), up to a 0
  kPayload,     ///< the user's bytes, or text about the user's program: left out unless asked for
  kSecret,      ///< left out always
};

enum class Way : std::uint8_t { kIn, kOut, kByFlag };  ///< kByFlag: in when the field `flag` is not 0, else out

struct Layout;

/// A field, in the order of the ABI. Padding is no field.
struct Field {
  const char* name = nullptr;
  std::uint32_t offset = 0;
  std::uint32_t size = 0;  ///< of an element
  Kind kind = Kind::kNumber;
  Way way = Way::kIn;
  bool pointer = false;            ///< the field is an address at which the elements are
  bool list = false;               ///< there may be several
  std::uint32_t count = 1;         ///< elements; with `counted`: at most so many are described, 0: no limit
  const char* counted = nullptr;   ///< name of the field that holds their number
  const char* flag = nullptr;      ///< of Way::kByFlag
  const Layout* layout = nullptr;  ///< elements are structures; `kind` and `way` are those of its fields
  bool registers = false;          ///< of BAR_READ and BAR_WRITE
};

struct Layout {
  std::uint32_t size = 0;
  std::span<const Field> fields;
};

struct RequestDescription {
  const char* name = nullptr;
  unsigned long request = 0;
  const Layout* layout = nullptr;  ///< null: no argument, or one that the driver does not look at
  bool reads = false;              ///< changes nothing: polling with it may be folded
  bool out_on_error = false;       ///< its out fields have a meaning when it fails, too
  bool frees = false;              ///< when it succeeds, its handle (or mmap offset) is no longer one
};

/// The request of that number; null: none that we know.
const RequestDescription* describe(unsigned long request);
const RequestDescription* describe(std::string_view name);
std::span<const RequestDescription> all_requests();

/// A field of a request at hand: where its value is in this process.
struct Leaf {
  std::string name;  ///< e.g. mem_handle, entries[3].qid, tx.length
  Kind kind = Kind::kNumber;
  bool out = false;
  bool list = false;
  std::uint32_t size = 0;     ///< of an element
  std::uint64_t count = 0;    ///< elements
  std::uint64_t address = 0;  ///< in this process; 0: the pointer to it could not be followed
};

/// The fields of `argument`, with pointers followed and counts looked up at this moment. Memory that is not there gives
/// leaves with address 0.
std::vector<Leaf> leaves(const RequestDescription& description, const void* argument);

/// A number of a leaf; false: the memory is not there.
bool read_number(const Leaf& leaf, std::uint64_t index, std::uint64_t& value);
bool write_number(const Leaf& leaf, std::uint64_t index, std::uint64_t value);

}  // namespace opennrt::emulator
