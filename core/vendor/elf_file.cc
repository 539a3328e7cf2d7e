// SPDX-License-Identifier: Apache-2.0
#include "core/vendor/elf_file.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace opennrt::vendor {
namespace {

#if defined(__x86_64__)
constexpr std::uint16_t kMachine = EM_X86_64;
constexpr const char* kMachineName = "x86-64";
#elif defined(__aarch64__)
constexpr std::uint16_t kMachine = EM_AARCH64;
constexpr const char* kMachineName = "aarch64";
#else
#error "which ELF machine is this?"
#endif
constexpr std::size_t kMaxHeaders = 256;          // far more than any library has
constexpr std::size_t kMaxNotes = 64UL * 1024UL;  // bytes looked at

class File {
 public:
  explicit File(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }
  bool read(void* to, std::size_t bytes, std::uint64_t offset) const {
    return offset <= INT64_MAX && pread(fd_, to, bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes);
  }

 private:
  int fd_;
};

constexpr std::size_t padded(std::size_t bytes) {
  return (bytes + 3) & ~std::size_t{3};
}

bool has_marker(const std::vector<std::byte>& notes) {
  for (std::size_t at = 0; at + sizeof(Elf64_Nhdr) <= notes.size();) {
    Elf64_Nhdr header;
    std::memcpy(&header, notes.data() + at, sizeof(header));
    at += sizeof(header);
    if (header.n_namesz > notes.size() || header.n_descsz > notes.size()) return false;
    if (header.n_namesz == sizeof(kMarker) && at + sizeof(kMarker) <= notes.size() &&
        std::memcmp(notes.data() + at, kMarker, sizeof(kMarker)) == 0)
      return true;
    at += padded(header.n_namesz) + padded(header.n_descsz);
  }
  return false;
}

/// The dynamic linker maps segments without a look at the file's size: what is not there is a SIGBUS.
Status check_segments(const File& file, const Elf64_Ehdr& header, std::uint64_t size) {
  for (std::size_t i = 0; i < std::min<std::size_t>(header.e_phnum, kMaxHeaders); ++i) {
    Elf64_Phdr segment;
    if (!file.read(&segment, sizeof(segment), header.e_phoff + i * sizeof(segment)) ||
        (segment.p_type == PT_LOAD && (segment.p_offset > size || segment.p_filesz > size - segment.p_offset)))
      return make_error(ErrorCode::kDeviceGone, "it is truncated: segment {} is not all in its {} bytes", i, size);
    if (segment.p_type != PT_NOTE || segment.p_filesz > kMaxNotes) continue;
    std::vector<std::byte> notes(segment.p_filesz);
    if (file.read(notes.data(), notes.size(), segment.p_offset) && has_marker(notes))
      return make_error(ErrorCode::kDeviceGone, "it is OpenNRT, which does not forward to itself");
  }
  return {};
}

}  // namespace

Status check_file(const std::string& path) {
  const File file(path);
  struct stat about {};
  if (file.fd() < 0 || fstat(file.fd(), &about) != 0)
    return make_error(ErrorCode::kDeviceGone, "it cannot be read: {}", std::strerror(errno));
  if (!S_ISREG(about.st_mode)) return make_error(ErrorCode::kDeviceGone, "it is not a regular file");
  Elf64_Ehdr header{};
  if (!file.read(&header, sizeof(header), 0) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
    return make_error(ErrorCode::kDeviceGone, "it is not an ELF file");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_machine != kMachine) {
    return make_error(ErrorCode::kDeviceGone, "it is for another architecture (ELF class {}, machine {}), expected {}",
                      static_cast<int>(header.e_ident[EI_CLASS]), header.e_machine, kMachineName);
  }
  if (header.e_type != ET_DYN || header.e_phentsize != sizeof(Elf64_Phdr))
    return make_error(ErrorCode::kDeviceGone, "it is an ELF file of type {}, expected a shared object", header.e_type);
  return check_segments(file, header, static_cast<std::uint64_t>(about.st_size));
}

}  // namespace opennrt::vendor
