// SPDX-License-Identifier: Apache-2.0
//
// The payload: a tar archive, plain or gzip, read from memory by libarchive. Nothing is written to a file system.
#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <memory>

#include "core/common/bytes.h"
#include "core/neff/limits.h"
#include "core/neff/neff.h"

namespace opennrt::neff {
namespace {

using Files = std::map<std::string, std::vector<std::byte>>;

constexpr std::uint64_t kFirstReserve = 1u << 20;  // what an entry says of its size is believed up to here, then grown

struct ArchiveFree {
  void operator()(archive* a) const { archive_read_free(a); }
};

const char* why(archive* a) {
  const char* text = archive_error_string(a);
  return text != nullptr ? text : "no reason given";
}

/// A path without "./" in front, or why it cannot be taken.
Result<std::string> checked_path(std::string_view path) {
  if (path.size() > kMaxPathBytes)
    return make_error(ErrorCode::kInvalidFile, "NEFF payload: a path has {} bytes, expected at most {}", path.size(),
                      kMaxPathBytes);
  std::string shown;
  for (char c : path) shown += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  if (path.starts_with('/'))
    return make_error(ErrorCode::kInvalidFile, "NEFF payload: path '{}' is absolute, expected a relative one", shown);
  if (path.find('\\') != path.npos)
    return make_error(ErrorCode::kInvalidFile, "NEFF payload: path '{}' has a backslash", shown);
  if (shown != path)
    return make_error(ErrorCode::kInvalidFile, "NEFF payload: path '{}' has control characters", shown);
  std::string clean;
  while (!path.empty()) {
    std::string_view part = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), part.size() + 1));
    if (part.empty() || part == ".") continue;
    if (part == "..")
      return make_error(ErrorCode::kInvalidFile, "NEFF payload: path '{}' leaves the archive by '..'", shown);
    if (!clean.empty()) clean += '/';
    clean += part;
  }
  return clean;
}

std::string_view kind_name(archive_entry* entry) {
  if (archive_entry_hardlink(entry) != nullptr) return "a hard link";
  switch (archive_entry_filetype(entry)) {
    case AE_IFLNK:
      return "a symbolic link";
    case AE_IFCHR:
      return "a character device";
    case AE_IFBLK:
      return "a block device";
    case AE_IFIFO:
      return "a named pipe";
    case AE_IFSOCK:
      return "a socket";
    default:
      return "of an unknown kind";
  }
}

Result<std::vector<std::byte>> read_file(archive* a, archive_entry* entry, const std::string& path, std::uint64_t room,
                                         std::uint64_t limit) {
  if (archive_entry_sparse_count(entry) > 0)
    return make_error(ErrorCode::kInvalidFile, "NEFF payload: '{}' is a sparse file, expected a plain one", path);
  std::int64_t declared = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : 0;
  if (declared < 0 || static_cast<std::uint64_t>(declared) > kMaxFileBytes)
    return make_error(ErrorCode::kInvalidFile, "NEFF payload: '{}' has {} bytes, expected at most {} in one file", path,
                      declared, kMaxFileBytes);
  auto too_large = [&] {
    return make_error(ErrorCode::kInvalidFile,
                      "NEFF payload: more than {} bytes when unpacked (at '{}'), which is the limit", limit, path);
  };
  if (static_cast<std::uint64_t>(declared) > room) return too_large();
  std::vector<std::byte> data;
  data.reserve(std::min<std::uint64_t>(static_cast<std::uint64_t>(declared), kFirstReserve));
  for (;;) {
    const void* block = nullptr;
    std::size_t bytes = 0;
    la_int64_t offset = 0;
    int status = archive_read_data_block(a, &block, &bytes, &offset);
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK)
      return make_error(ErrorCode::kInvalidFile, "NEFF payload: '{}' cannot be read: {}", path, why(a));
    if (offset != static_cast<la_int64_t>(data.size()))
      return make_error(ErrorCode::kInvalidFile, "NEFF payload: '{}' is a sparse file, expected a plain one", path);
    if (bytes > room - data.size()) return too_large();
    const auto* from = static_cast<const std::byte*>(block);
    data.insert(data.end(), from, from + bytes);
  }
  if (data.size() != static_cast<std::uint64_t>(declared))
    return make_error(ErrorCode::kInvalidFile, "NEFF payload: '{}' has {} bytes, its tar header says {}", path,
                      data.size(), declared);
  return data;
}

Result<Files> unpack_all(std::span<const std::byte> payload, const ParseOptions& options) {
  std::unique_ptr<archive, ArchiveFree> reader(archive_read_new());
  archive* a = reader.get();
  if (a == nullptr) return make_error(ErrorCode::kResource, "NEFF payload: no memory for the archive reader");
  archive_read_support_filter_gzip(a);
  archive_read_support_format_tar(a);
  if (archive_read_open_memory(a, payload.data(), payload.size()) != ARCHIVE_OK)
    return make_error(ErrorCode::kInvalidFile, "NEFF payload: neither a tar nor a tar.gz archive: {}", why(a));
  Files files;
  std::uint64_t used = 0;
  for (std::uint64_t entries = 0;; ++entries) {
    archive_entry* entry = nullptr;
    int status = archive_read_next_header(a, &entry);
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
      return make_error(ErrorCode::kInvalidFile, "NEFF payload: the archive is broken after {} entries: {}", entries,
                        why(a));
    if (entries >= kMaxEntries)
      return make_error(ErrorCode::kInvalidFile, "NEFF payload: more than {} entries, which is the limit", kMaxEntries);
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr)
      return make_error(ErrorCode::kInvalidFile, "NEFF payload: the path of entry {} cannot be read", entries);
    auto path = checked_path(name);
    if (!path) return tl::unexpected(path.error());
    bool plain = archive_entry_hardlink(entry) == nullptr;
    if (plain && archive_entry_filetype(entry) == AE_IFDIR) continue;
    if (!plain || archive_entry_filetype(entry) != AE_IFREG)
      return make_error(ErrorCode::kInvalidFile, "NEFF payload: '{}' is {}, expected a file or a folder", *path,
                        kind_name(entry));
    if (path->empty())
      return make_error(ErrorCode::kInvalidFile, "NEFF payload: entry {} is a file without a name", entries);
    if (files.contains(*path)) return make_error(ErrorCode::kInvalidFile, "NEFF payload: '{}' is there twice", *path);
    auto data = read_file(a, entry, *path, options.max_unpacked_bytes - used, options.max_unpacked_bytes);
    if (!data) return tl::unexpected(data.error());
    used += data->size();
    files.emplace(std::move(*path), std::move(*data));
  }
  if (files.empty()) return make_error(ErrorCode::kInvalidFile, "NEFF payload: the archive holds no files");
  return files;
}

}  // namespace

Result<Files> unpack(std::span<const std::byte> bytes, const ParseOptions& options) {
  auto header = parse_header(bytes);
  if (!header) return tl::unexpected(header.error());
  try {
    return unpack_all(bytes.subspan(kHeaderBytes, header->data_size), options);
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kResource, "NEFF payload: no memory to unpack {} bytes", header->data_size);
  }
}

}  // namespace opennrt::neff
