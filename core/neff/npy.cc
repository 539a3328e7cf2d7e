// SPDX-License-Identifier: Apache-2.0
#include "core/neff/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "core/common/bytes.h"
#include "core/neff/limits.h"

namespace opennrt::neff {
namespace {

// The format is described in numpy/lib/format.py (NEP 1): magic, version, header length, a Python dictionary, data.
constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kDataAlignment = 64;

struct Dtype {
  std::string_view name;
  std::string_view descr;  ///< as NumPy writes it on a little-endian machine
  std::size_t bytes;
};
constexpr std::array kDtypes = {
    Dtype{"float32", "<f4", 4},  Dtype{"float16", "<f2", 2}, Dtype{"float64", "<f8", 8}, Dtype{"int8", "|i1", 1},
    Dtype{"int16", "<i2", 2},    Dtype{"int32", "<i4", 4},   Dtype{"int64", "<i8", 8},   Dtype{"uint8", "|u1", 1},
    Dtype{"uint16", "<u2", 2},   Dtype{"uint32", "<u4", 4},  Dtype{"uint64", "<u8", 8},  Dtype{"bool", "|b1", 1},
    Dtype{"bfloat16", "<V2", 2},
};

const Dtype* dtype_of_descr(std::string_view descr) {
  for (const Dtype& dtype : kDtypes) {
    if (dtype.descr == descr) return &dtype;
    // One-byte types have no order; raw bytes are written with '|' by some versions.
    if (descr.size() == 3 && dtype.descr.substr(1) == descr.substr(1) &&
        (dtype.bytes == 1 || dtype.name == "bfloat16") && (descr[0] == '<' || descr[0] == '|' || descr[0] == '='))
      return &dtype;
  }
  return nullptr;
}

/// Reads the dictionary literal {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view text) : text_(text) {}

  Status read() {
    if (!take('{')) return bad("expected '{'");
    while (!take('}')) {
      auto key = quoted();
      if (!key || !take(':')) return bad("expected 'name': value");
      if (*key == "descr" && !descr) {
        descr = quoted();
        if (!descr) return bad("descr is not a text (structured types are not served)");
      } else if (*key == "fortran_order" && !fortran_order) {
        if (word("True"))
          fortran_order = true;
        else if (word("False"))
          fortran_order = false;
        else
          return bad("fortran_order is neither True nor False");
      } else if (*key == "shape" && !shape) {
        if (!tuple()) return bad("shape is not a tuple of sizes");
      } else {
        return make_error(ErrorCode::kInvalidFile, ".npy header: field '{}' is unknown or there twice", *key);
      }
      if (!take(',')) {
        if (!take('}')) return bad("expected ',' or '}'");
        break;
      }
    }
    skip();
    if (at_ != text_.size()) return bad("text after the dictionary");
    if (!descr || !fortran_order || !shape)
      return make_error(ErrorCode::kInvalidFile, ".npy header: {} is missing",
                        !descr   ? "descr"
                        : !shape ? "shape"
                                 : "fortran_order");
    return {};
  }

  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<std::uint64_t>> shape;

 private:
  tl::unexpected<Error> bad(std::string_view what) const {
    return make_error(ErrorCode::kInvalidFile, ".npy header: {} at byte {} of the dictionary", what, at_);
  }
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool take(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view expected) {
    skip();
    if (!text_.substr(at_).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }
  std::optional<std::string> quoted() {
    skip();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) return std::nullopt;
    std::size_t end = text_.find(text_[at_], at_ + 1);
    if (end == text_.npos) return std::nullopt;
    std::string value(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return value;
  }
  bool tuple() {
    if (!take('(')) return false;
    shape.emplace();
    while (!take(')')) {
      skip();
      std::uint64_t size = 0;
      auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), size);
      if (error != std::errc() || shape->size() >= kMaxShapeDims) return false;
      at_ = static_cast<std::size_t>(end - text_.data());
      shape->push_back(size);
      if (!take(',')) return take(')');
    }
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

/// Bytes of an array, or nothing when they do not fit 64 bits.
std::optional<std::uint64_t> array_bytes(const std::vector<std::uint64_t>& shape, std::size_t element) {
  std::uint64_t bytes = element;
  for (std::uint64_t size : shape)
    if (__builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  return bytes;
}

}  // namespace

std::size_t dtype_bytes(std::string_view name) {
  for (const Dtype& dtype : kDtypes)
    if (dtype.name == name) return dtype.bytes;
  return 0;
}

Result<NpyArray> read_npy(std::span<const std::byte> bytes) {
  if (bytes.size() < 10 || as_text(bytes.first(kMagic.size())) != kMagic)
    return make_error(ErrorCode::kInvalidFile,
                      ".npy: the file does not begin with the magic of NumPy (it has {} bytes)", bytes.size());
  auto major = std::to_integer<unsigned>(bytes[6]), minor = std::to_integer<unsigned>(bytes[7]);
  if ((major != 1 && major != 2) || minor != 0)
    return make_error(ErrorCode::kInvalidFile, ".npy: format version is {}.{}, expected 1.0 or 2.0", major, minor);
  std::size_t prefix = major == 1 ? 10 : 12;
  if (bytes.size() < prefix)
    return make_error(ErrorCode::kInvalidFile, ".npy: {} bytes, expected at least {}", bytes.size(), prefix);
  std::size_t length = major == 1 ? load_le<std::uint16_t>(bytes.data() + 8) : load_le<std::uint32_t>(bytes.data() + 8);
  if (length > kMaxNpyHeaderBytes || length > bytes.size() - prefix)
    return make_error(ErrorCode::kInvalidFile, ".npy: header length is {}, the file has {} bytes after it", length,
                      bytes.size() - prefix);
  HeaderReader header(as_text(bytes.subspan(prefix, length)));
  if (auto status = header.read(); !status) return tl::unexpected(status.error());
  const Dtype* dtype = dtype_of_descr(*header.descr);
  if (dtype == nullptr)
    return make_error(ErrorCode::kUnsupported,
                      ".npy header: descr is '{}', expected a little-endian number type such as '<f4'", *header.descr);
  if (*header.fortran_order && header.shape->size() > 1)
    return make_error(ErrorCode::kUnsupported, ".npy header: fortran_order is True, expected False (C order)");
  auto size = array_bytes(*header.shape, dtype->bytes);
  auto data = bytes.subspan(prefix + length);
  if (!size || *size != data.size())
    return make_error(ErrorCode::kInvalidFile, ".npy: shape and descr '{}' make {} bytes, the file holds {}",
                      *header.descr, size ? std::to_string(*size) : "more than 2^64", data.size());
  return NpyArray{std::string(dtype->name), *header.shape, {data.begin(), data.end()}};
}

Result<std::vector<std::byte>> write_npy(const NpyArray& array) {
  const Dtype* found = nullptr;
  for (const Dtype& dtype : kDtypes)
    if (dtype.name == array.dtype) found = &dtype;
  if (found == nullptr) return make_error(ErrorCode::kInvalidArgument, ".npy: dtype '{}' is unknown", array.dtype);
  auto size = array_bytes(array.shape, found->bytes);
  if (!size || *size != array.data.size())
    return make_error(ErrorCode::kInvalidArgument, ".npy: the shape makes {} bytes of {}, the data has {}",
                      size ? std::to_string(*size) : "more than 2^64", array.dtype, array.data.size());
  std::string shape;
  for (std::uint64_t dim : array.shape) shape += fmt::format("{}, ", dim);
  if (array.shape.size() > 1) shape.resize(shape.size() - 2);
  if (array.shape.size() == 1) shape.resize(shape.size() - 1);
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", found->descr, shape);
  header.resize(round_up(10 + header.size() + 1, kDataAlignment) - 10 - 1, ' ');
  header += '\n';
  constexpr std::size_t kPrefix = 10;
  std::vector<std::byte> bytes(kPrefix + header.size() + array.data.size());
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  bytes[6] = std::byte{1};
  store_le(bytes.data() + 8, static_cast<std::uint16_t>(header.size()));
  std::memcpy(bytes.data() + kPrefix, header.data(), header.size());
  std::copy(array.data.begin(), array.data.end(), bytes.begin() + static_cast<std::ptrdiff_t>(kPrefix + header.size()));
  return bytes;
}

}  // namespace opennrt::neff
