// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>
#include <fmt/core.h>
#include <nrt/nrt.h>
#include <nrt/nrt_version.h>

#include <cstring>

#include "core/isa/isa.h"
#include "tools/opennrt/commands.h"
#include "tools/support/client.h"

namespace opennrt::tool {

Status version() {
  nrt_version_t runtime{};
  if (auto status = client::check(nrt_get_version(&runtime, sizeof runtime), "nrt_get_version"); !status) return status;
  Dl_info where{};
  const bool found = dladdr(reinterpret_cast<const void*>(&nrt_get_version), &where) != 0;
  fmt::print("opennrt          {}\n", OPENNRT_VERSION);
  fmt::print("runtime          {}.{}.{}.{} {}\n", runtime.rt_major, runtime.rt_minor, runtime.rt_patch,
             runtime.rt_maintenance,
             std::string(runtime.rt_detail, ::strnlen(runtime.rt_detail, sizeof runtime.rt_detail)));
  fmt::print("library          {}\n", found && where.dli_fname != nullptr ? where.dli_fname : "unknown");
  fmt::print("instruction set  {}\n", isa::kVersion);
  return {};
}

}  // namespace opennrt::tool
