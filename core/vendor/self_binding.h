// SPDX-License-Identifier: Apache-2.0
//
// Binds a loaded library's references to its own functions to itself, where the dynamic linker bound them to functions
// of the same name in an application's global scope: ours. README.md says why this and not RTLD_DEEPBIND or dlmopen.
#pragma once

#include <cstddef>
#include <span>

#include "core/common/error.h"

namespace opennrt::vendor {

/// `handle`: of dlopen(3) with RTLD_NOW. `names`: sorted; a symbol that is none of them stays as it is. Returns how
/// many references it has changed. kUnsupported when a reference is of a kind that it does not know: then something may
/// be mixed. Before anybody calls the library.
Result<std::size_t> bind_to_itself(void* handle, std::span<const char* const> names);

}  // namespace opennrt::vendor
