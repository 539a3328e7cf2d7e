// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <filesystem>
#include <system_error>

#include "core/neff/neff.h"
#include "tools/opennrt/commands.h"
#include "tools/support/files.h"

namespace opennrt::tool {
namespace {

namespace fs = std::filesystem;

/// neff::unpack refuses such names already; what writes files looks again.
Status check_inside(const std::string& name) {
  const fs::path path(name);
  bool safe = !name.empty() && path.is_relative() && path.has_filename();
  for (const fs::path& part : path) safe = safe && part != "..";
  if (!safe) return make_error(ErrorCode::kInvalidFile, "payload holds '{}', expected a path below the folder", name);
  return {};
}

Status check_empty(const fs::path& folder) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (status.type() == fs::file_type::not_found) return {};
  if (!fs::is_directory(status))
    return make_error(ErrorCode::kInvalidArgument, "cannot unpack into {}: it is not a folder", folder.string());
  if (!fs::is_empty(folder, error) || error)
    return make_error(ErrorCode::kInvalidArgument, "cannot unpack into {}: the folder is not empty", folder.string());
  return {};
}

}  // namespace

Status neff_unpack(const UnpackOptions& options) {
  const auto bytes = client::read_file(options.file);
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  const auto files = neff::unpack(*bytes);
  if (!files) return with_context(files.error(), options.file);
  for (const auto& [name, contents] : *files)
    if (auto status = check_inside(name); !status) return with_context(status.error(), options.file);

  const fs::path folder =
      options.folder.empty() ? fs::path(options.file).filename().replace_extension() : fs::path(options.folder);
  if (folder == fs::path(options.file).filename() && options.folder.empty())
    return make_error(ErrorCode::kInvalidArgument, "{} has no extension to leave away, name a folder with --output-dir",
                      options.file);
  if (auto status = check_empty(folder); !status) return status;

  for (const auto& [name, contents] : *files) {
    const fs::path path = folder / name;
    if (auto status = client::make_folder(path.parent_path()); !status) return status;
    if (auto status = client::write_file(path, contents); !status) return status;
    fmt::print("{} ({} bytes)\n", path.string(), contents.size());
  }
  return {};
}

}  // namespace opennrt::tool
