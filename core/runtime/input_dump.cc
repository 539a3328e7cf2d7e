// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/input_dump.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>
#include <utility>
#include <vector>

#include "core/observe/log.h"
#include "core/runtime/outcome.h"

namespace opennrt {
namespace {

using observe::Component;
using observe::Level;

constexpr const char* kFunction = "tensor_dump_inputs";
constexpr std::uint32_t kFirstNumber = 10001;  // as in the example of nrt-troubleshoot.rst
constexpr std::size_t kPiece = std::size_t{4} << 20;
constexpr int kAttempts = 16;

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return number_; }

 private:
  int number_;
};

tl::unexpected<Error> system_error(const std::string& what) {
  return make_error(ErrorCode::kResource, "{}: {}", what, std::strerror(errno));
}

/// A folder that was not there before; its name in `name`.
Result<Descriptor> make_folder(std::uint32_t number, std::string& name) {
  std::random_device random;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    name = fmt::format("input_dump_{}_h_nn_{}", random(), number);
    if (::mkdir(name.c_str(), 0777) == 0) {
      Descriptor folder(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (folder.get() < 0) return system_error(name);
      return folder;
    }
    if (errno != EEXIST) break;
  }
  return system_error("folder " + name + " cannot be made in the working directory");
}

Result<Descriptor> make_file(const Descriptor& folder, const std::string& name) {
  Descriptor file(::openat(folder.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (file.get() < 0) return system_error(name);
  return file;
}

Status append(const Descriptor& file, std::span<const std::byte> bytes, const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return system_error(name);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Status write_input(const Descriptor& folder, const std::string& name, const umd::Binding& input,
                   std::span<const neff::TensorInfo> tensors) {
  const Result<Descriptor> file = make_file(folder, name);
  if (!file) return tl::unexpected(file.error());
  if (input.memory == nullptr) return append(*file, input.host, name);
  const auto info =
      std::find_if(tensors.begin(), tensors.end(), [&](const auto& one) { return one.name == input.name; });
  const std::uint64_t bytes = info == tensors.end() ? 0 : info->bytes;
  std::vector<std::byte> piece;
  for (std::uint64_t done = 0; done < bytes; done += piece.size()) {
    piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, bytes - done)));
    if (const Status read = input.memory->read(input.memory_offset + done, piece); !read) return read;
    if (const Status written = append(*file, piece, name); !written) return written;
  }
  return {};
}

/// The folder's path.
Result<std::string> write_all(const std::string& model_name, std::span<const umd::Binding> inputs,
                              std::span<const neff::TensorInfo> tensors) {
  static std::atomic<std::uint32_t> next{kFirstNumber};
  std::string name;
  const Result<Descriptor> folder = make_folder(next.fetch_add(1, std::memory_order_relaxed), name);
  if (!folder) return tl::unexpected(folder.error());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (const Status done = write_input(*folder, fmt::format("input{}.bin", i), inputs[i], tensors); !done) {
      return with_context(done.error(), fmt::format("input \"{}\" into {}", inputs[i].name, name));
    }
  }
  constexpr const char* kNameFile = "model_name.txt";
  const Result<Descriptor> file = make_file(*folder, kNameFile);
  if (!file) return tl::unexpected(file.error());
  if (const Status done = append(*file, std::as_bytes(std::span(model_name)), kNameFile); !done)
    return tl::unexpected(done.error());
  std::error_code ignored;
  const std::filesystem::path path = std::filesystem::absolute(name, ignored);
  return path.empty() ? name : path.string();
}

}  // namespace

void dump_inputs_on_error(std::uint32_t wanted, umd::Outcome outcome, const std::string& model_name,
                          std::span<const umd::Binding> inputs, std::span<const neff::TensorInfo> tensors) {
  if (wanted == NRT_SUCCESS || static_cast<std::uint32_t>(status_of(outcome)) != wanted) return;
  const Result<std::string> folder = write_all(model_name, inputs, tensors);
  if (!folder) {
    observe::log(Component::kTdrv, Level::kError, kFunction, "input tensors of model {} cannot be dumped: {}",
                 model_name, folder.error().message);
    return;
  }
  observe::log(Component::kTdrv, Level::kError, kFunction,
               "{} input tensors were dumped successfully to directory {}. Model name is {}", inputs.size(), *folder,
               model_name);
}

}  // namespace opennrt
