// SPDX-License-Identifier: Apache-2.0
#include "core/faults/json.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

namespace opennrt::faults {
namespace {

constexpr std::size_t kMaxDepth = 16;
constexpr std::size_t kMaxValues = 1'000'000;
constexpr std::size_t kMaxShown = 60;
constexpr double kLargestExact = 9007199254740992;  // 2^53

/// Input of the parser that knows how far it has read: nlohmann::json tells events no position.
class Reader {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Reader(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  Reader& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  Reader operator++(int) {
    Reader old = *this;
    ++*this;
    return old;
  }
  bool operator==(const Reader& other) const { return at_ == other.at_; }
  bool operator!=(const Reader& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

Json value_of(Json::Type type) {
  Json json;
  json.type = type;
  return json;
}

class Builder {
 public:
  Builder(const std::string& text, const std::string& source, Json& root, const char*& at)
      : counted_(text.data()), source_(source), root_(root), at_(at) {}

  bool null() { return add({}); }
  bool boolean(bool value) {
    Json json = value_of(Json::Type::kBool);
    json.flag = value;
    return add(std::move(json));
  }
  bool number_integer(std::int64_t value) {
    Json json = value_of(Json::Type::kInteger);
    json.integer = value;
    json.number = static_cast<double>(value);
    return add(std::move(json));
  }
  bool number_unsigned(std::uint64_t value) {
    Json json = value_of(Json::Type::kUnsigned);
    json.magnitude = value;
    json.number = static_cast<double>(value);
    return add(std::move(json));
  }
  bool number_float(double value, const std::string&) {
    // JSON knows one kind of numbers: 1.0 and 1e3 are integers, as long as a double holds them exactly.
    if (value == std::floor(value) && std::abs(value) <= kLargestExact) {
      return value < 0 ? number_integer(static_cast<std::int64_t>(value))
                       : number_unsigned(static_cast<std::uint64_t>(value));
    }
    Json json = value_of(Json::Type::kNumber);
    json.number = value;
    return add(std::move(json));
  }
  bool string(std::string& value) {
    Json json = value_of(Json::Type::kText);
    json.text = std::move(value);
    return add(std::move(json));
  }
  bool binary(nlohmann::json::binary_t&) { return false; }
  bool start_object(std::size_t) { return open(Json::Type::kObject); }
  bool start_array(std::size_t) { return open(Json::Type::kArray); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& value) {
    auto& members = levels_.back()->members;
    if (levels_.back()->find(value) != nullptr)
      return refuse(fmt::format("\"{}\" is there twice in one object", value));
    members.push_back({std::move(value), value_of(Json::Type::kNull)});
    return true;
  }
  bool parse_error(std::size_t, const std::string& token, const nlohmann::detail::exception& why) {
    std::string reason = why.what();  // "[json.exception.…] parse error at line 1, column 2: reason"
    if (const std::size_t colon = reason.find(": "); colon != std::string::npos) reason.erase(0, colon + 2);
    return refuse(fmt::format("not JSON near \"{}\": {}",
                              token.substr(token.size() - std::min<std::size_t>(token.size(), 20)), reason));
  }

  Error error;

 private:
  std::uint32_t line() {
    // The parser has read the last character of the value, or, behind a number, one more.
    for (; counted_ + 1 < at_; ++counted_) line_ += *counted_ == '\n' ? 1u : 0u;
    return line_;
  }
  bool refuse(const std::string& why) {
    error = {ErrorCode::kInvalidFile, fmt::format("{}:{}: {}", source_, line(), why)};
    return false;
  }
  Json* place(Json&& value) {
    value.line = line();
    if (++values_ > kMaxValues) {
      refuse(fmt::format("more than {} values", kMaxValues));
      return nullptr;
    }
    if (levels_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& top = *levels_.back();
    if (top.type == Json::Type::kArray) return &top.items.emplace_back(std::move(value));
    return &(top.members.back().value = std::move(value));
  }
  bool add(Json&& value) { return place(std::move(value)) != nullptr; }
  bool open(Json::Type type) {
    if (levels_.size() >= kMaxDepth) return refuse(fmt::format("nested deeper than {}", kMaxDepth));
    Json* value = place(value_of(type));
    if (value == nullptr) return false;
    levels_.push_back(value);  // stays where it is while it is open: its neighbours come later
    return true;
  }
  bool close() {
    levels_.pop_back();
    return true;
  }

  const char* counted_;
  std::uint32_t line_ = 1;
  const std::string& source_;
  Json& root_;
  const char*& at_;
  std::vector<Json*> levels_;
  std::size_t values_ = 0;
};

}  // namespace

const Json* Json::find(const std::string& name) const {
  const auto found = std::ranges::find(members, name, &Member::name);
  return found == members.end() ? nullptr : &found->value;
}

std::string Json::shown() const {
  switch (type) {
    case Type::kNull:
      return "null";
    case Type::kBool:
      return flag ? "true" : "false";
    case Type::kInteger:
      return fmt::format("{}", integer);
    case Type::kUnsigned:
      return fmt::format("{}", magnitude);
    case Type::kNumber:
      return fmt::format("{}", number);
    case Type::kText:
      return text.size() <= kMaxShown ? fmt::format("\"{}\"", text) : fmt::format("a text of {} bytes", text.size());
    case Type::kArray:
      return fmt::format("a list of {}", items.size());
    case Type::kObject:
      return "an object";
  }
  return "nothing";
}

Result<Json> parse_json(const std::string& text, const std::string& source) {
  Json root;
  const char* at = text.data();
  Builder builder(text, source, root, at);
  const char* end = text.data() + text.size();
  const bool parsed = nlohmann::json::sax_parse(Reader(text.data(), &at), Reader(end, &at), &builder);
  if (!parsed) {
    if (builder.error.message.empty()) builder.error = {ErrorCode::kInvalidFile, source + ": not JSON"};
    return tl::unexpected<Error>(std::move(builder.error));
  }
  return root;
}

}  // namespace opennrt::faults
