// SPDX-License-Identifier: Apache-2.0
#include "core/neff/header.h"

#include <openssl/evp.h>

#include <algorithm>

#include "core/common/bytes.h"
#include "core/neff/limits.h"

namespace opennrt::neff {
namespace {

// Offsets of neff_header_t (aws-neuron-sdk neuron-runtime/explore/work-with-neff-files.rst, "NEFF Header").
constexpr std::size_t kPkgVersion = 0, kHeaderSize = 8, kDataSize = 16, kMajor = 24, kMinor = 32, kBuildVersion = 40,
                      kNumTpb = 168, kHash = 172, kUuid = 204, kName = 220, kRequestedTpb = 476, kTpbPerNode = 480,
                      kFeatureBits = 544, kLncSize = 552;
constexpr std::size_t kBuildVersionBytes = 128, kNameBytes = 256;

constexpr std::uint64_t kSupportedMajor = 1, kSupportedMinor = 1;
constexpr std::string_view kOurWriter = "opennrt";

std::string text_field(const std::byte* at, std::size_t room) {
  std::string_view text = as_text({at, room});
  return std::string(text.substr(0, text.find('\0')));
}

void store_text(std::byte* at, std::size_t room, const std::string& text) {
  std::memcpy(at, text.data(), std::min(text.size(), room - 1));  // a NUL always ends it
}

std::string hex(const std::uint8_t* bytes, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += fmt::format("{:02x}", bytes[i]);
  return text;
}

}  // namespace

Result<Header> parse_header(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes)
    return make_error(ErrorCode::kInvalidFile, "NEFF header: the file has {} bytes, expected a header of {}",
                      bytes.size(), kHeaderBytes);
  const std::byte* at = bytes.data();
  Header header;
  header.pkg_version = load_le<std::uint64_t>(at + kPkgVersion);
  header.header_size = load_le<std::uint64_t>(at + kHeaderSize);
  header.data_size = load_le<std::uint64_t>(at + kDataSize);
  header.major = load_le<std::uint64_t>(at + kMajor);
  header.minor = load_le<std::uint64_t>(at + kMinor);
  header.build_version = text_field(at + kBuildVersion, kBuildVersionBytes);
  header.num_tpb = load_le<std::uint32_t>(at + kNumTpb);
  for (std::size_t i = 0; i < header.hash.size(); ++i) header.hash[i] = std::to_integer<std::uint8_t>(at[kHash + i]);
  for (std::size_t i = 0; i < header.uuid.size(); ++i) header.uuid[i] = std::to_integer<std::uint8_t>(at[kUuid + i]);
  header.name = text_field(at + kName, kNameBytes);
  header.requested_tpb_count = load_le<std::uint32_t>(at + kRequestedTpb);
  for (std::size_t i = 0; i < header.tpb_per_node.size(); ++i)
    header.tpb_per_node[i] = std::to_integer<std::uint8_t>(at[kTpbPerNode + i]);
  header.feature_bits = load_le<std::uint64_t>(at + kFeatureBits);
  header.lnc_size = load_le<std::uint32_t>(at + kLncSize);

  if (header.header_size != kHeaderBytes)
    return make_error(ErrorCode::kInvalidFile, "NEFF header: header_size is {}, expected {}: is this a NEFF?",
                      header.header_size, kHeaderBytes);
  if (header.major != kSupportedMajor || header.minor > kSupportedMinor)
    return make_error(ErrorCode::kUnsupportedVersion, "NEFF version mismatch supported: {}.{} received: {}.{}",
                      kSupportedMajor, kSupportedMinor, header.major, header.minor);
  if (header.pkg_version != 1 && header.pkg_version != 2)
    return make_error(ErrorCode::kUnsupportedVersion, "NEFF header: pkg_version is {}, expected 1 or 2",
                      header.pkg_version);
  std::uint64_t room = bytes.size() - kHeaderBytes;
  if (header.data_size == 0)
    return make_error(ErrorCode::kInvalidFile, "NEFF header: data_size is 0, expected a payload");
  if (header.data_size > room)
    return make_error(ErrorCode::kInvalidFile,
                      "NEFF header: data_size is {}, but the file has only {} bytes after its header (truncated?)",
                      header.data_size, room);
  auto tail = bytes.subspan(kHeaderBytes + header.data_size);
  if (std::any_of(tail.begin(), tail.end(), [](std::byte b) { return b != std::byte{0}; }))
    return make_error(ErrorCode::kInvalidFile,
                      "NEFF header: data_size is {}, but {} bytes that are not all zero follow the payload",
                      header.data_size, tail.size());
  return header;
}

std::array<std::byte, 1024> encode_header(const Header& header) {
  std::array<std::byte, 1024> bytes{};
  std::byte* at = bytes.data();
  store_le(at + kPkgVersion, header.pkg_version);
  store_le(at + kHeaderSize, header.header_size);
  store_le(at + kDataSize, header.data_size);
  store_le(at + kMajor, header.major);
  store_le(at + kMinor, header.minor);
  store_text(at + kBuildVersion, kBuildVersionBytes, header.build_version);
  store_le(at + kNumTpb, header.num_tpb);
  for (std::size_t i = 0; i < header.hash.size(); ++i) at[kHash + i] = std::byte{header.hash[i]};
  for (std::size_t i = 0; i < header.uuid.size(); ++i) at[kUuid + i] = std::byte{header.uuid[i]};
  store_text(at + kName, kNameBytes, header.name);
  store_le(at + kRequestedTpb, header.requested_tpb_count);
  for (std::size_t i = 0; i < header.tpb_per_node.size(); ++i) at[kTpbPerNode + i] = std::byte{header.tpb_per_node[i]};
  store_le(at + kFeatureBits, header.feature_bits);
  store_le(at + kLncSize, header.lnc_size);
  return bytes;
}

Result<HashCheck> check_hash(const Header& header, std::span<const std::byte> payload) {
  if (!header.build_version.starts_with(kOurWriter)) return HashCheck::kCannotTell;
  const EVP_MD* method = header.pkg_version == 2 ? EVP_md5() : EVP_sha256();
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  if (EVP_Digest(payload.data(), payload.size(), digest.data(), &length, method, nullptr) != 1 ||
      length > header.hash.size())
    return make_error(ErrorCode::kInternal, "NEFF header: the hash (pkg_version {}) could not be computed",
                      header.pkg_version);
  if (!std::equal(digest.begin(), digest.begin() + length, header.hash.begin()))
    return make_error(ErrorCode::kInvalidFile, "NEFF header: hash is {}, but the payload's is {}",
                      hex(header.hash.data(), length), hex(digest.data(), length));
  return HashCheck::kMatches;
}

}  // namespace opennrt::neff
