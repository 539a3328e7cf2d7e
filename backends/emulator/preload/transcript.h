// SPDX-License-Identifier: Apache-2.0
//
// The text of a recorded conversation with /dev/neuron<N> (docs/ioctl-recording.md): reading and writing its lines.
// No dependency but the standard library: the preload library has this, too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "backends/emulator/preload/describe.h"

namespace opennrt::emulator {

inline constexpr int kTranscriptVersion = 1;
inline constexpr std::string_view kTranscriptHeader = "opennrt-ioctl-transcript";

/// "name=text", or a text alone. Quotes are taken off a quoted text.
struct Word {
  std::string name, text;
  std::size_t column = 0;  ///< from 1
};

enum class Verb : std::uint8_t {
  kProcess,  ///< a process appears
  kFile,     ///< "path" -> "contents": what a file of the driver in sysfs holds
  kFolder,   ///< "path" -> "name"…
  kFound,    ///< fd1 device=0: a descriptor that came by dup, fork, exec or a socket
  kOpen,     ///< device=0 flags=O_RDWR -> fd1
  kIoctl,    ///< fd1 NAME in-fields -> result out-fields
  kMmap,     ///< fd1 offset=mo1 bytes=4096 prot=rw- flags=shared -> map1
  kUnmap,    ///< map1
  kClose,    ///< fd1
  kAgain,    ///< 16: the thread's last line happened so many more times
  kMemory,   ///< map1+0x40 hex: what the device had written to mapped memory by now
  kData,     ///< name+0x40 hex: payload of the thread's last line
};

struct Event {
  std::size_t line = 0;  ///< from 1
  unsigned process = 0, thread = 0;
  Verb verb = Verb::kProcess;
  std::vector<Word> in, out;  ///< before and after the "->"
  std::string text;           ///< the line as it is up to " ->"
  const Word* find_in(std::string_view name) const;
  const Word* find_out(std::string_view name) const;
};

struct Transcript {
  std::string driver;  ///< version text; empty: there was none
  bool payload = false;
  std::vector<Event> events;
};

struct ParseError {
  std::size_t line = 0, column = 0;  ///< from 1
  std::string expected, found;
  std::string text(const std::string& file) const;  ///< FILE:3:7: expected …, found '…'
};

tl::expected<Transcript, ParseError> parse_transcript(std::string_view text);

/// What a transcript starts with.
std::string transcript_header(const std::string& driver, bool payload);

const char* verb_name(Verb verb);
std::string quoted(std::string_view text);
std::string hex_number(std::uint64_t value);
std::string hex_bytes(const void* bytes, std::size_t count);
/// The inverse; false: not pairs of hexadecimal digits.
bool parse_hex_bytes(std::string_view text, std::string& bytes);
/// Decimal (also negative) or 0x…; false: no number.
bool parse_number(std::string_view text, std::uint64_t& value);
/// "mh1", "pa1+0x40": prefix, number, offset; false: it is none.
bool parse_alias(std::string_view text, std::string& name, std::uint64_t& number, std::uint64_t& offset);
/// "[1,0*3]" as 1 0 0 0; false: it is none.
bool parse_list(std::string_view text, std::vector<std::string>& items);
/// "<4096 bytes>"
std::string left_out(std::uint64_t bytes);

/// A result as a word: a number, or the name of an errno.
std::string result_text(long result);
bool parse_result(std::string_view text, long& result);

std::string open_flags_text(int flags);
std::string mmap_text(std::size_t bytes, int protection, int flags);  ///< "bytes=… prot=… flags=…"

/// A leaf's value. `name_of` gives the alias of a number of a kind that is renamed. Payload and secrets are their size.
using NameOf = std::function<std::string(const Leaf& leaf, std::uint64_t value)>;
std::string leaf_text(const Leaf& leaf, const NameOf& name_of);
/// Kinds of which the transcript shows an alias, never the number.
bool renamed(Kind kind);

}  // namespace opennrt::emulator
