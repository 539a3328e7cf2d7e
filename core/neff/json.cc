// SPDX-License-Identifier: Apache-2.0
#include "core/neff/json.h"

#include <unordered_set>

#include "core/common/bytes.h"
#include "core/neff/limits.h"

namespace opennrt::neff {
namespace {

/// Builds the document while it is read, so that depth, count and duplicate keys are known before memory is spent.
class Builder {
 public:
  Builder(Json& root, Failure& failure) : root_(root), failure_(failure) {}

  bool null() { return add(Json(nullptr)); }
  bool boolean(bool value) { return add(Json(value)); }
  bool number_integer(Json::number_integer_t value) { return add(Json(value)); }
  bool number_unsigned(Json::number_unsigned_t value) { return add(Json(value)); }
  bool number_float(Json::number_float_t value, const std::string&) { return add(Json(value)); }
  bool string(std::string& value) { return add(Json(std::move(value))); }
  bool binary(Json::binary_t&) { return false; }
  bool start_object(std::size_t) { return open(Json::object()); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& value) {
    Level& top = levels_.back();
    if (!top.keys.insert(value).second) {
      failure_.set(ErrorCode::kInvalidFile, "field '{}' is there twice in one object", value);
      return false;
    }
    top.key = std::move(value);
    return true;
  }
  bool parse_error(std::size_t position, const std::string& token, const nlohmann::detail::exception&) {
    failure_.set(ErrorCode::kInvalidFile, "not JSON at byte {} (near '{}')", position,
                 token.substr(token.size() > 40 ? token.size() - 40 : 0));
    return false;
  }

 private:
  struct Level {
    Json* value;
    std::string key;
    std::unordered_set<std::string> keys;
  };

  Json* place(Json&& value) {
    if (++count_ > kMaxJsonValues) {
      failure_.set(ErrorCode::kInvalidFile, "more than {} values, which is the limit", kMaxJsonValues);
      return nullptr;
    }
    if (levels_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Level& top = levels_.back();
    if (top.value->is_array()) return &top.value->get_ref<Json::array_t&>().emplace_back(std::move(value));
    // Straight into the vector below ordered_map: the key is known to be new, and looking for it would be quadratic.
    auto& members = top.value->get_ref<Json::object_t&>();
    using Members = Json::object_t::Container;
    return &static_cast<Members&>(members).emplace_back(std::move(top.key), std::move(value)).second;
  }
  bool add(Json&& value) { return place(std::move(value)) != nullptr; }
  bool open(Json&& value) {
    if (levels_.size() >= kMaxJsonDepth) {
      failure_.set(ErrorCode::kInvalidFile, "nested deeper than {} levels, which is the limit", kMaxJsonDepth);
      return false;
    }
    Json* placed = place(std::move(value));
    if (placed == nullptr) return false;
    levels_.push_back({placed, {}, {}});
    return true;
  }
  bool close() {
    levels_.pop_back();
    return true;
  }

  Json& root_;
  Failure& failure_;
  std::vector<Level> levels_;
  std::uint64_t count_ = 0;
};

const Json kNoArray = Json::array();

}  // namespace

Result<Json> parse_json(std::span<const std::byte> text, const std::string& file) {
  if (text.size() > kMaxJsonBytes)
    return make_error(ErrorCode::kInvalidFile, "{}: {} bytes of JSON, expected at most {}", file, text.size(),
                      kMaxJsonBytes);
  Json root;
  Failure failure(file);
  try {
    Builder builder(root, failure);
    std::string_view view = as_text(text);
    bool read = Json::sax_parse(view.begin(), view.end(), &builder);
    if (failure.failed()) return tl::unexpected(failure.error());
    if (!read) return make_error(ErrorCode::kInvalidFile, "{}: not JSON", file);
  } catch (const Json::exception& e) {
    return make_error(ErrorCode::kInvalidFile, "{}: not JSON: {}", file, e.what());
  }
  return root;
}

std::string shown(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

Object::Object(const Json& value, std::string path, Failure& failure)
    : value_(&value), path_(std::move(path)), failure_(&failure) {
  if (!value.is_object())
    failure.set(ErrorCode::kInvalidFile, "{} is {}, expected an object", path_.empty() ? "the document" : path_,
                shown(value));
}

const Json* Object::find(std::string_view key) const {
  if (!value_->is_object()) return nullptr;
  for (const auto& member : value_->get_ref<const Json::object_t&>())
    if (member.first == key) return &member.second;
  return nullptr;
}

const Json* Object::require(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) failure_->set(ErrorCode::kInvalidFile, "{} is missing", path(key));
  return value;
}

Object Object::object(std::string_view key) const {
  const Json* value = require(key);
  static const Json kNone = Json::object();
  return Object(value != nullptr ? *value : kNone, path(key), *failure_);
}

std::string Object::text(std::string_view key, std::size_t max_bytes) const {
  const Json* value = require(key);
  if (value == nullptr) return {};
  if (!value->is_string()) {
    failure_->set(ErrorCode::kInvalidFile, "{} is {}, expected a text", path(key), shown(*value));
    return {};
  }
  const auto& text = value->get_ref<const std::string&>();
  if (text.empty() || text.size() > max_bytes) {
    failure_->set(ErrorCode::kInvalidFile, "{} has {} bytes, expected 1 to {}", path(key), text.size(), max_bytes);
    return {};
  }
  return text;
}

std::optional<std::uint64_t> Object::unsigned_value(const Json& value, const std::string& where, std::uint64_t least,
                                                    std::uint64_t most) const {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() < least || value.get<std::uint64_t>() > most) {
    failure_->set(ErrorCode::kInvalidFile, "{} is {}, expected a whole number from {} to {}", where, shown(value),
                  least, most);
    return std::nullopt;
  }
  return value.get<std::uint64_t>();
}

std::uint64_t Object::number(std::string_view key, std::uint64_t least, std::uint64_t most) const {
  const Json* value = require(key);
  if (value == nullptr) return least;
  return unsigned_value(*value, path(key), least, most).value_or(least);
}

std::uint64_t Object::number_or(std::string_view key, std::uint64_t fallback, std::uint64_t least,
                                std::uint64_t most) const {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  return unsigned_value(*value, path(key), least, most).value_or(fallback);
}

bool Object::flag_or(std::string_view key, bool fallback) const {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean())
    failure_->set(ErrorCode::kInvalidFile, "{} is {}, expected true or false", path(key), shown(*value));
  return value->is_boolean() ? value->get<bool>() : fallback;
}

const Json& Object::array(std::string_view key, std::size_t most) const {
  const Json* value = require(key);
  if (value == nullptr) return kNoArray;
  if (!value->is_array() || value->size() > most) {
    failure_->set(ErrorCode::kInvalidFile, "{} is {}, expected an array of at most {}", path(key), shown(*value), most);
    return kNoArray;
  }
  return *value;
}

std::vector<std::uint64_t> Object::numbers(std::string_view key, std::size_t most, std::uint64_t least,
                                           std::uint64_t greatest) const {
  std::vector<std::uint64_t> result;
  for (const Json& element : array(key, most)) {
    auto value = unsigned_value(element, fmt::format("{}[{}]", path(key), result.size()), least, greatest);
    if (!value) return {};
    result.push_back(*value);
  }
  return result;
}

std::vector<std::int64_t> Object::signed_numbers(std::string_view key, std::size_t most) const {
  std::vector<std::int64_t> result;
  for (const Json& element : array(key, most)) {
    bool fits =
        element.is_number_integer() && (!element.is_number_unsigned() || element.get<std::uint64_t>() <= INT64_MAX);
    if (!fits) {
      failure_->set(ErrorCode::kInvalidFile, "{}[{}] is {}, expected a whole number", path(key), result.size(),
                    shown(element));
      return {};
    }
    result.push_back(element.get<std::int64_t>());
  }
  return result;
}

void Object::refuse(std::initializer_list<std::string_view> keys, std::string_view reason) const {
  for (std::string_view key : keys)
    if (const Json* value = find(key); value != nullptr)
      failure_->set(ErrorCode::kUnsupported, "{} is {}, expected the field to be absent: {}", path(key), shown(*value),
                    reason);
}

}  // namespace opennrt::neff
