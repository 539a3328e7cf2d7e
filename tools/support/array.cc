// SPDX-License-Identifier: Apache-2.0
#include "tools/support/array.h"

#include <fmt/ranges.h>

#include "tools/support/files.h"

namespace opennrt::client {

Result<neff::NpyArray> read_array(const std::filesystem::path& path) {
  const auto bytes = read_file(path);
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  auto array = neff::read_npy(*bytes);
  if (!array) return with_context(array.error(), path.string());
  return array;
}

Status write_array(const std::filesystem::path& path, const neff::NpyArray& array) {
  const auto bytes = neff::write_npy(array);
  if (!bytes) return with_context(bytes.error(), path.string());
  return write_file(path, *bytes);
}

std::string dtype_name(nrt_dtype_t dtype) {
  switch (dtype) {
    case NRT_DTYPE_FLOAT32:
      return "float32";
    case NRT_DTYPE_FLOAT16:
      return "float16";
    case NRT_DTYPE_BFLOAT16:
      return "bfloat16";
    case NRT_DTYPE_INT8:
      return "int8";
    case NRT_DTYPE_INT16:
      return "int16";
    case NRT_DTYPE_INT32:
      return "int32";
    case NRT_DTYPE_INT64:
      return "int64";
    case NRT_DTYPE_UINT8:
      return "uint8";
    case NRT_DTYPE_UINT16:
      return "uint16";
    case NRT_DTYPE_UINT32:
      return "uint32";
    case NRT_DTYPE_UINT64:
      return "uint64";
    default:
      return fmt::format("type {}", static_cast<int>(dtype));
  }
}

std::string shape_text(std::span<const std::uint64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace opennrt::client
