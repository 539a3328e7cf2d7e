// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "backends/emulator/preload/transcript.h"

namespace opennrt::emulator {
namespace {

/// How a line of each verb is made: what must be there, so that who replays it need not look.
struct Shape {
  Verb verb;
  const char* in;        ///< per word: f fd alias, m map alias, " quoted, n number, h hex bytes, w any, = name=value
  const char* expected;  ///< all of it, for messages
  bool arrow;
};
constexpr Shape kShapes[] = {
    {Verb::kProcess, "*", "nothing, or forked=<process>", false},
    {Verb::kFile, "\"", "\"path\" -> \"contents\"", true},
    {Verb::kFolder, "\"", "\"path\" -> \"name\"…", true},
    {Verb::kFound, "f=", "fd<n> device=<n>", false},
    {Verb::kOpen, "==", "device=<n> flags=<flags> -> fd<n> or an errno", true},
    {Verb::kIoctl, "fw*", "fd<n> NAME fields -> result fields", true},
    {Verb::kMmap, "f====", "fd<n> offset=mo<n> bytes=<n> prot=<p> flags=<flags> -> map<n> or an errno", true},
    {Verb::kUnmap, "m", "map<n>", false},
    {Verb::kClose, "f", "fd<n>", false},
    {Verb::kAgain, "n", "<times>", false},
    {Verb::kMemory, "mh", "map<n>+<offset> <hexadecimal bytes>", false},
    {Verb::kData, "wh", "<field>+<offset> <hexadecimal bytes>", false},
};

class Line {
 public:
  Line(std::string_view text, std::size_t number) : text_(text), number_(number) {}

  tl::expected<void, ParseError> header(Transcript& transcript) {
    if (number_ == 1) {
      if (auto good = literal(std::string(kTranscriptHeader) + " "); !good) return good;
      if (rest() != std::to_string(kTranscriptVersion))
        return fail("version " + std::to_string(kTranscriptVersion), rest());
      return {};
    }
    if (number_ == 2) {
      if (auto good = literal("driver "); !good) return good;
      auto word = next_word();
      if (!word) return tl::unexpected(word.error());
      transcript.driver = word->text;
      return {};
    }
    if (auto good = literal("payload "); !good) return good;
    if (rest() != "yes" && rest() != "no") return fail("yes or no", rest());
    transcript.payload = rest() == "yes";
    return {};
  }

  tl::expected<Event, ParseError> event() {
    Event event;
    event.line = number_;
    const std::size_t arrow = text_.find(" ->");
    event.text = text_.substr(0, arrow);
    if (!number(event.process) || event.process == 0 || !consume('.') || !number(event.thread) || event.thread == 0 ||
        !consume(' '))
      return tl::unexpected(error("<process>.<thread>", text_.substr(0, text_.find(' '))));
    const std::size_t verb_at = at_;
    const std::string_view verb = text_.substr(at_, text_.find(' ', at_) - at_);
    const Shape* shape = nullptr;
    for (const Shape& one : kShapes)
      if (verb == verb_name(one.verb)) shape = &one;
    if (shape == nullptr) return tl::unexpected(error("a verb (open, ioctl, mmap, close …)", verb));
    event.verb = shape->verb;
    at_ = verb_at + verb.size();
    bool arrow_seen = false;
    while (at_ < text_.size()) {
      if (!consume(' ')) return tl::unexpected(error("a space", rest()));
      if (rest() == "->" || rest().starts_with("-> ")) {
        if (arrow_seen) return tl::unexpected(error("one ->", rest()));
        arrow_seen = true;
        at_ += 2;
        continue;
      }
      auto word = next_word();
      if (!word) return tl::unexpected(word.error());
      (arrow_seen ? event.out : event.in).push_back(std::move(*word));
    }
    if (auto wrong = misshapen(*shape, event, arrow_seen)) return tl::unexpected(*wrong);
    return event;
  }

 private:
  std::string_view rest() const { return text_.substr(at_); }
  bool consume(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool number(unsigned& value) {
    const std::size_t digits = std::min(rest().find_first_not_of("0123456789"), rest().size());
    std::uint64_t wide = 0;
    if (digits > 9 || !parse_number(rest().substr(0, digits), wide)) return false;
    value = static_cast<unsigned>(wide);
    at_ += digits;
    return true;
  }
  ParseError error(std::string expected, std::string_view found, std::size_t column = 0) const {
    return {number_, column == 0 ? at_ + 1 : column, std::move(expected), std::string(found.substr(0, 60))};
  }
  tl::unexpected<ParseError> fail(std::string expected, std::string_view found) const {
    return tl::unexpected(error(std::move(expected), found));
  }
  tl::expected<void, ParseError> literal(const std::string& expected) {
    if (!rest().starts_with(expected)) return fail("'" + expected.substr(0, expected.size() - 1) + "'", rest());
    at_ += expected.size();
    return {};
  }

  tl::expected<Word, ParseError> next_word() {
    Word word;
    word.column = at_ + 1;
    // A name goes up to '=' if that comes before whatever ends a word.
    const std::size_t stop = rest().find_first_of("= \"<");
    if (stop != std::string_view::npos && stop > 0 && rest()[stop] == '=') {
      word.name = rest().substr(0, stop);
      at_ += stop + 1;
    }
    if (rest().starts_with('"')) return quoted_word(std::move(word));
    const std::size_t end = rest().starts_with('<') ? std::min(rest().find('>'), rest().size() - 1) + 1
                                                    : std::min(rest().find(' '), rest().size());
    word.text = rest().substr(0, end);
    if (word.text.empty()) return fail("a word", rest());
    at_ += end;
    return word;
  }

  tl::expected<Word, ParseError> quoted_word(Word word) {
    ++at_;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] != '\\') {
        word.text += text_[at_++];
        continue;
      }
      const char code = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
      std::string byte;
      if (code == 'n') {
        word.text += '\n';
      } else if (code == '"' || code == '\\') {
        word.text += code;
      } else if (code == 'x' && at_ + 4 <= text_.size() && parse_hex_bytes(text_.substr(at_ + 2, 2), byte)) {
        word.text += byte;
        at_ += 2;
      } else {
        return fail("an escape (\\n \\\" \\\\ \\x00)", rest());
      }
      at_ += 2;
    }
    if (!consume('"')) return fail("a closing quote", "end of the line");
    return word;
  }

  std::optional<ParseError> misshapen(const Shape& shape, const Event& event, bool arrow) const {
    const std::string expected = std::string(verb_name(shape.verb)) + " " + shape.expected;
    std::size_t i = 0;
    for (const char* what = shape.in; *what != '\0' && *what != '*'; ++what, ++i) {
      if (i >= event.in.size()) return error(expected, "end of the words");
      if (!fits(*what, event.in[i])) return error(expected, shown(event.in[i]), event.in[i].column);
    }
    const bool more = shape.in[0] != '\0' && std::string_view(shape.in).ends_with('*');
    if (!more && i < event.in.size()) return error(expected, shown(event.in[i]), event.in[i].column);
    if (shape.arrow != arrow) return error(expected, arrow ? "->" : "no ->");
    return arrow ? wrong_result(event, expected) : std::nullopt;
  }

  std::optional<ParseError> wrong_result(const Event& event, const std::string& expected) const {
    if (event.verb == Verb::kFolder) return std::nullopt;
    if (event.out.empty()) return error(expected, "nothing after ->");
    const Word& first = event.out.front();
    long result = 0;
    const bool alias =
        (event.verb == Verb::kOpen && fits('f', first)) || (event.verb == Verb::kMmap && fits('m', first));
    const bool failure = parse_result(first.text, result) && (event.verb == Verb::kIoctl || result < 0);
    if (event.verb == Verb::kFile || alias || failure) return std::nullopt;
    return error(expected, shown(first), first.column);
  }

  static std::string shown(const Word& word) { return word.name.empty() ? word.text : word.name + "=" + word.text; }

  static bool fits(char what, const Word& word) {
    std::string name, bytes;
    std::uint64_t number = 0, offset = 0;
    switch (what) {
      case 'f':
        return word.name.empty() && parse_alias(word.text, name, number, offset) && name.starts_with("fd");
      case 'm':
        return word.name.empty() && parse_alias(word.text, name, number, offset) && name.starts_with("map");
      case 'n':
        return word.name.empty() && parse_number(word.text, number);
      case 'h':
        return word.name.empty() && parse_hex_bytes(word.text, bytes);
      case '=':
        return !word.name.empty();
      default:
        return true;
    }
  }

  std::string_view text_;
  std::size_t number_, at_ = 0;
};

}  // namespace

std::string ParseError::text(const std::string& file) const {
  return file + ":" + std::to_string(line) + ":" + std::to_string(column) + ": expected " + expected + ", found '" +
         found + "'";
}

tl::expected<Transcript, ParseError> parse_transcript(std::string_view text) {
  Transcript transcript;
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view content = text.substr(at, end - at);
    at = end + 1;
    Line line(content, ++number);
    if (number <= 3) {
      if (auto good = line.header(transcript); !good) return tl::unexpected(good.error());
      continue;
    }
    if (content.empty() || content.front() == '#') continue;
    auto event = line.event();
    if (!event) return tl::unexpected(event.error());
    transcript.events.push_back(std::move(*event));
  }
  if (number < 3)
    return tl::unexpected(ParseError{number + 1, 1, "a transcript's header of three lines", "end of file"});
  return transcript;
}

}  // namespace opennrt::emulator
