// SPDX-License-Identifier: Apache-2.0
//
// Where an emulated machine listens: a socket in a folder that only this user can enter.
#pragma once

#include <string>

#include "core/common/error.h"

namespace opennrt::emulator {

/// The socket, from bind to the end of the object, which removes its path.
class Listener {
 public:
  /// In the runtime folder (runtime_dir of backends/sim/core_locks.h). `name` empty: in a folder of its own; else in
  /// that of this name. kState: a machine of that name lives. kInvalidArgument: a name or folder that cannot be used.
  static Result<Listener> open(const std::string& runtime_dir, const std::string& name);
  /// Where a machine of that name listens, or would.
  static Result<std::string> path_of(const std::string& runtime_dir, const std::string& name);

  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;
  ~Listener();
  const std::string& path() const { return path_; }
  int socket() const { return socket_; }

 private:
  Listener() = default;
  std::string folder_, path_;
  bool own_folder_ = false;
  int socket_ = -1, lock_ = -1;
};

}  // namespace opennrt::emulator
