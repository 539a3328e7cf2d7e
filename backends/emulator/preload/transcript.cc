// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/transcript.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <charconv>

#include "backends/emulator/preload/copy.h"

namespace opennrt::emulator {
namespace {

constexpr const char* kHexDigits = "0123456789abcdef";

const Word* find(const std::vector<Word>& words, std::string_view name) {
  const auto at = std::find_if(words.begin(), words.end(), [&](const Word& word) { return word.name == name; });
  return at == words.end() ? nullptr : &*at;
}

template <typename Flag, std::size_t n>
std::string flags_text(int flags, const Flag (&known)[n], std::string text) {
  for (const auto& [bit, name] : known) {
    if ((flags & bit) != bit) continue;
    text += (text.empty() ? "" : "|") + std::string(name);
    flags &= ~bit;
  }
  if (flags != 0) text += (text.empty() ? "" : "|") + hex_number(static_cast<unsigned>(flags));
  return text;
}

struct FlagName {
  int bit;
  const char* name;
};

}  // namespace

const Word* Event::find_in(std::string_view name) const {
  return find(in, name);
}
const Word* Event::find_out(std::string_view name) const {
  return find(out, name);
}

std::string transcript_header(const std::string& driver, bool payload) {
  return std::string(kTranscriptHeader) + " " + std::to_string(kTranscriptVersion) + "\ndriver " + quoted(driver) +
         "\npayload " + (payload ? "yes" : "no") + "\n";
}

const char* verb_name(Verb verb) {
  constexpr const char* kNames[] = {"process", "file",  "folder", "found", "open",   "ioctl",
                                    "mmap",    "unmap", "close",  "again", "memory", "data"};
  return kNames[static_cast<std::size_t>(verb)];
}

std::string quoted(std::string_view text) {
  std::string all = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      all += '\\';
      all += c;
    } else if (c == '\n') {
      all += "\\n";
    } else if (code < 0x20 || code >= 0x7f) {
      all += "\\x";
      all += kHexDigits[code >> 4];
      all += kHexDigits[code & 15];
    } else {
      all += c;
    }
  }
  return all + "\"";
}

std::string hex_number(std::uint64_t value) {
  char digits[18] = "0x";
  const auto end = std::to_chars(digits + 2, digits + sizeof digits, value, 16).ptr;
  return {digits, end};
}

std::string hex_bytes(const void* bytes, std::size_t count) {
  std::string text;
  text.reserve(2 * count);
  for (std::size_t i = 0; i < count; ++i) {
    const unsigned char byte = static_cast<const unsigned char*>(bytes)[i];
    text += kHexDigits[byte >> 4];
    text += kHexDigits[byte & 15];
  }
  return text;
}

bool parse_hex_bytes(std::string_view text, std::string& bytes) {
  bytes.clear();
  if (text.empty() || text.size() % 2 != 0) return false;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data() + i, text.data() + i + 2, value, 16);
    if (error != std::errc() || end != text.data() + i + 2) return false;
    bytes += static_cast<char>(value);
  }
  return true;
}

bool parse_number(std::string_view text, std::uint64_t& value) {
  int base = 10;
  if (text.starts_with("0x")) {
    base = 16;
    text.remove_prefix(2);
  }
  if (text.empty()) return false;
  const char* last = text.data() + text.size();
  if (base == 10 && text[0] == '-') {
    std::int64_t negative = 0;
    const auto [end, error] = std::from_chars(text.data(), last, negative);
    value = static_cast<std::uint64_t>(negative);
    return error == std::errc() && end == last;
  }
  const auto [end, error] = std::from_chars(text.data(), last, value, base);
  return error == std::errc() && end == last;
}

bool parse_alias(std::string_view text, std::string& name, std::uint64_t& number, std::uint64_t& offset) {
  const std::size_t plus = text.find('+');
  const std::string_view head = text.substr(0, plus);
  const std::size_t digits = head.find_first_of("0123456789");
  offset = 0;
  if (digits == 0 || digits == std::string_view::npos) return false;
  name = head;
  if (!parse_number(head.substr(digits), number) || head.substr(digits).starts_with("0x")) return false;
  return plus == std::string_view::npos || parse_number(text.substr(plus + 1), offset);
}

bool parse_list(std::string_view text, std::vector<std::string>& items) {
  items.clear();
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') return false;
  text = text.substr(1, text.size() - 2);
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    const std::size_t star = item.find('*');
    std::uint64_t times = 1;
    if (star != std::string_view::npos && (!parse_number(item.substr(star + 1), times) || times > 65536)) return false;
    items.insert(items.end(), times, std::string(item.substr(0, star)));
  }
  return true;
}

std::string left_out(std::uint64_t bytes) {
  return "<" + std::to_string(bytes) + " bytes>";
}

std::string result_text(long result) {
  if (result >= 0) return std::to_string(result);
  const char* name = strerrorname_np(static_cast<int>(-result));
  return name != nullptr ? name : std::to_string(result);
}

bool parse_result(std::string_view text, long& result) {
  std::uint64_t value = 0;
  if (parse_number(text, value)) {
    result = static_cast<long>(value);
    return true;
  }
  for (int error = 1; error < 200; ++error) {
    const char* name = strerrorname_np(error);
    if (name != nullptr && text == name) {
      result = -error;
      return true;
    }
  }
  return false;
}

std::string open_flags_text(int flags) {
  constexpr FlagName kKnown[] = {{O_CLOEXEC, "O_CLOEXEC"},  {O_NONBLOCK, "O_NONBLOCK"}, {O_CREAT, "O_CREAT"},
                                 {O_EXCL, "O_EXCL"},        {O_TRUNC, "O_TRUNC"},       {O_APPEND, "O_APPEND"},
                                 {O_NOFOLLOW, "O_NOFOLLOW"}};
  constexpr const char* kAccess[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};
  // O_LARGEFILE says how a program was compiled, not what it does.
  return flags_text(flags & ~(O_ACCMODE | 0100000), kKnown, kAccess[flags & O_ACCMODE]);
}

std::string mmap_text(std::size_t bytes, int protection, int flags) {
  constexpr FlagName kKnown[] = {{MAP_FIXED, "fixed"},
                                 {MAP_POPULATE, "populate"},
                                 {MAP_NORESERVE, "noreserve"},
                                 {MAP_LOCKED, "locked"},
                                 {MAP_NONBLOCK, "nonblock"},
                                 {MAP_ANONYMOUS, "anonymous"},
                                 {MAP_FIXED_NOREPLACE, "fixed_noreplace"}};
  const int type = flags & MAP_TYPE;
  const std::string first = type == MAP_SHARED            ? "shared"
                            : type == MAP_PRIVATE         ? "private"
                            : type == MAP_SHARED_VALIDATE ? "shared_validate"
                                                          : "none";
  std::string text = "bytes=" + std::to_string(bytes) + " prot=";
  text += (protection & PROT_READ) != 0 ? 'r' : '-';
  text += (protection & PROT_WRITE) != 0 ? 'w' : '-';
  text += (protection & PROT_EXEC) != 0 ? 'x' : '-';
  return text + " flags=" + flags_text(flags & ~MAP_TYPE, kKnown, first);
}

bool renamed(Kind kind) {
  return kind == Kind::kHandle || kind == Kind::kAddress || kind == Kind::kMmapOffset || kind == Kind::kPid ||
         kind == Kind::kFd || kind == Kind::kReset;
}

std::string leaf_text(const Leaf& leaf, const NameOf& name_of) {
  constexpr const char* kMissing = "unmapped";
  if (leaf.address == 0) return kMissing;
  if (leaf.kind == Kind::kPayload || leaf.kind == Kind::kSecret) return left_out(leaf.count);
  if (leaf.kind == Kind::kText) {
    std::string text(leaf.size, '\0');
    if (copy_from_user(text.data(), leaf.address, text.size()) != 0) return kMissing;
    return quoted(text.substr(0, text.find('\0')));
  }
  const auto one = [&](std::uint64_t value) {
    if (renamed(leaf.kind)) return name_of(leaf, value);
    if (leaf.kind == Kind::kHex) return hex_number(value);
    if (leaf.kind != Kind::kSigned) return std::to_string(value);
    const unsigned unused = 64 - 8 * leaf.size;  // fields may be declared unsigned
    return std::to_string(static_cast<std::int64_t>(value << unused) >> unused);
  };
  std::uint64_t value = 0;
  if (!leaf.list) return read_number(leaf, 0, value) ? one(value) : kMissing;
  std::string text = "[", last;
  std::uint64_t times = 0;
  const auto flush = [&] {
    if (times == 0) return;
    text += (text.size() == 1 ? "" : ",") + last + (times > 1 ? "*" + std::to_string(times) : "");
    times = 0;
  };
  for (std::uint64_t i = 0; i < leaf.count; ++i) {
    if (!read_number(leaf, i, value)) return kMissing;
    std::string item = one(value);
    if (item != last) flush();
    last = std::move(item);
    ++times;
  }
  flush();
  return text + "]";
}

}  // namespace opennrt::emulator
