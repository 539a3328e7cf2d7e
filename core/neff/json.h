// SPDX-License-Identifier: Apache-2.0
//
// JSON files of a NEFF: read strictly (bounded depth and count, no duplicate keys), then taken apart field by field with errors
// that name file, field, value and expectation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/common/error.h"

namespace opennrt::neff {

/// Objects keep the order of the file: the order of variables and tensors means something.
using Json = nlohmann::ordered_json;

/// `file`: for the error texts. Limits are those of limits.h.
Result<Json> parse_json(std::span<const std::byte> text, const std::string& file);

/// The first failure of one file. Readers of fields keep going with defaults after it; who loops asks failed().
class Failure {
 public:
  explicit Failure(std::string file) : file_(std::move(file)) {}
  bool failed() const { return error_.has_value(); }
  const Error& error() const { return *error_; }
  const std::string& file() const { return file_; }
  template <typename... Args>
  void set(ErrorCode code, fmt::format_string<Args...> text, Args&&... args) {
    if (!error_) error_ = Error{code, file_ + ": " + fmt::format(text, std::forward<Args>(args)...)};
  }

 private:
  std::string file_;
  std::optional<Error> error_;
};

/// One JSON object and where it is ("var.weights"), for reading its fields. Does not own the value.
class Object {
 public:
  Object(const Json& value, std::string path, Failure& failure);

  bool has(std::string_view key) const { return find(key) != nullptr; }
  const Json* find(std::string_view key) const;
  const Json* require(std::string_view key) const;
  Object object(std::string_view key) const;
  std::string text(std::string_view key, std::size_t max_bytes) const;
  std::uint64_t number(std::string_view key, std::uint64_t least, std::uint64_t most) const;
  std::uint64_t number_or(std::string_view key, std::uint64_t fallback, std::uint64_t least, std::uint64_t most) const;
  bool flag_or(std::string_view key, bool fallback) const;
  const Json& array(std::string_view key, std::size_t most) const;
  std::vector<std::uint64_t> numbers(std::string_view key, std::size_t most, std::uint64_t least,
                                     std::uint64_t greatest) const;
  std::vector<std::int64_t> signed_numbers(std::string_view key, std::size_t most) const;
  /// Refuses fields that this generation does not know (`reason`), by name.
  void refuse(std::initializer_list<std::string_view> keys, std::string_view reason) const;

  std::string path(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  }
  const std::string& path() const { return path_; }
  const Json& value() const { return *value_; }
  Failure& failure() const { return *failure_; }

 private:
  std::optional<std::uint64_t> unsigned_value(const Json& value, const std::string& where, std::uint64_t least,
                                              std::uint64_t most) const;
  const Json* value_;
  std::string path_;
  Failure* failure_;
};

/// A value as an error text shows it: its JSON, shortened.
std::string shown(const Json& value);

}  // namespace opennrt::neff
