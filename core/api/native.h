// SPDX-License-Identifier: Apache-2.0
//
// The C API as this library does it itself. The functions of the same names that clients call are the front door
// (front_door.cc), behind which these or the vendor's are.
#pragma once

#include <atomic>

#include "core/api/export.h"

namespace opennrt::api::native {

#define OPENNRT_FUNCTION(result, name, parameters, arguments) result name parameters;
#include "core/api/functions.inc"
#undef OPENNRT_FUNCTION

/// Whether an object that needs no nrt_init has been given out (options.h): its handle means nothing to another
/// library.
inline std::atomic<bool> objects_given_out{false};

}  // namespace opennrt::api::native
