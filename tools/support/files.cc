// SPDX-License-Identifier: Apache-2.0
#include "tools/support/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

namespace opennrt::client {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

std::string reason() {
  return std::error_code(errno, std::generic_category()).message();
}

Status write_all(int fd, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return make_error(ErrorCode::kResource, "cannot write {}: {}", path.string(), reason());
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace

Result<std::vector<std::byte>> read_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  // O_NONBLOCK: opening a FIFO that nobody writes to must not hang before the check below refuses it.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return make_error(ErrorCode::kInvalidArgument, "cannot open {}: {}", path.string(), reason());
  struct stat info {};
  if (::fstat(file.get(), &info) != 0)
    return make_error(ErrorCode::kInvalidArgument, "cannot read {}: {}", path.string(), reason());
  if (!S_ISREG(info.st_mode)) return make_error(ErrorCode::kInvalidArgument, "{} is not a regular file", path.string());
  if (static_cast<std::uint64_t>(info.st_size) > max_bytes)
    return make_error(ErrorCode::kInvalidFile, "{} has {} bytes, expected at most {}", path.string(), info.st_size,
                      max_bytes);
  std::vector<std::byte> bytes(static_cast<std::size_t>(info.st_size));
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + have, bytes.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return make_error(ErrorCode::kInvalidArgument, "cannot read {}: {}", path.string(), reason());
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

Status write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  std::error_code ignored;
  // What is there and is no regular file (/dev/stdout, a FIFO) is written to; it must not be replaced by a file.
  const auto kind = std::filesystem::status(path, ignored).type();
  if (kind == std::filesystem::file_type::directory)
    return make_error(ErrorCode::kInvalidArgument, "cannot write {}: it is a folder", path.string());
  if (kind != std::filesystem::file_type::regular && kind != std::filesystem::file_type::not_found) {
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (file.get() < 0) return make_error(ErrorCode::kInvalidArgument, "cannot write {}: {}", path.string(), reason());
    return write_all(file.get(), bytes, path);
  }
  const std::string temporary = fmt::format("{}.{}.tmp", path.string(), ::getpid());
  Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (file.get() < 0) return make_error(ErrorCode::kInvalidArgument, "cannot write {}: {}", path.string(), reason());
  Status status = write_all(file.get(), bytes, path);
  if (status && ::close(file.release()) != 0)
    status = make_error(ErrorCode::kResource, "cannot write {}: {}", path.string(), reason());
  if (status && ::rename(temporary.c_str(), path.c_str()) != 0)
    status = make_error(ErrorCode::kResource, "cannot write {}: {}", path.string(), reason());
  if (!status) ::unlink(temporary.c_str());
  return status;
}

Status make_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error)
    return make_error(ErrorCode::kInvalidArgument, "cannot make folder {}: {}", path.string(), error.message());
  if (!std::filesystem::is_directory(path, error))
    return make_error(ErrorCode::kInvalidArgument, "{} is not a folder", path.string());
  return {};
}

}  // namespace opennrt::client
