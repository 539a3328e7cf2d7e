// SPDX-License-Identifier: Apache-2.0
//
// The vendor's libnrt.so.1 in this process.
#pragma once

#include <nrt/nrt_version.h>

#include <memory>
#include <span>
#include <string>

#include "core/common/error.h"

namespace opennrt::vendor {

/// Where the packages of the Neuron SDK install it (aws-neuron-sdk setup guides: /opt/aws/neuron/lib).
inline constexpr char kDefaultPath[] = "/opt/aws/neuron/lib/libnrt.so.1";

class Library {
 public:
  /// Loads it, apart from every library of the same names, and for ever: it may have started threads. `path`: the file;
  /// `names`: every function of the front door, sorted. kDeviceGone names path, reason and what was expected.
  /// Not thread-safe; nothing is left loaded after a file that was refused by its looks.
  static Result<std::shared_ptr<const Library>> open(const std::string& path, std::span<const char* const> names);

  /// Address of a function of it; nullptr when it has none of that name.
  void* symbol(const char* name) const;

  const std::string& path() const { return path_; }  ///< links resolved
  const nrt_version_t& version() const { return version_; }
  /// "/opt/aws/neuron/lib/libnrt.so.1, version 2.20.1.0"
  std::string describe() const;
  /// References to itself that would have ended in our functions.
  std::size_t rebound() const { return rebound_; }

 private:
  Library() = default;
  Status load(std::span<const char* const> names);
  Status ask_version();

  std::string path_;
  void* handle_ = nullptr;
  nrt_version_t version_{};
  std::size_t rebound_ = 0;
};

}  // namespace opennrt::vendor
