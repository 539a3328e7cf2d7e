// SPDX-License-Identifier: Apache-2.0
//
// A plug-in that stands between the runtime and a backend. It is loaded only when it is asked for: without it the runtime
// holds the backend's own functions.
#pragma once

#include <opennrt/backend.h>

namespace opennrt::umd {

/// Opens `inner` (a whole table, copied by the callee) for `host`, and fills `table` and `backend` with what the runtime is to
/// use in its place. Functions that the inner backend lacks are NULL in `table`, too. 0 or a negative errno, as open() does.
using Decorate = int (*)(const opennrt_backend_api_t* inner, const opennrt_host_t* host, opennrt_backend_api_t* table,
                         opennrt_backend_t** backend);
inline constexpr const char* kDecorateSymbol = "opennrt_backend_decorate";

/// Optional: the program has passed a marker, whether or not a backend is open (`marker` of the table is for the backend
/// itself). Thread-safe.
using PassMarker = void (*)(const char* name);
inline constexpr const char* kPassMarkerSymbol = "opennrt_backend_pass_marker";

}  // namespace opennrt::umd
