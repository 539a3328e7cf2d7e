// SPDX-License-Identifier: Apache-2.0
//
// What can be said about a shared object before it is loaded, and so before any of its code runs.
#pragma once

#include <string>

#include "core/common/error.h"

namespace opennrt::vendor {

/// Name of the ELF note that libnrt.so.1 of OpenNRT carries (marker.cc): who finds it has found us, in whichever build.
inline constexpr char kMarker[] = "OpenNRT";

/// A shared object for this machine's architecture that is not OpenNRT itself. kDeviceGone says what is wrong with the
/// file.
Status check_file(const std::string& path);

}  // namespace opennrt::vendor
