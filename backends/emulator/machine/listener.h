// SPDX-License-Identifier: Apache-2.0
//
// Where an emulated machine listens: a socket in a folder that only this user can enter. Beside it lies a lock, held
// while the machine lives, however it ends.
#pragma once

#include <optional>
#include <string>

#include "core/common/error.h"

namespace opennrt::emulator {

/// The socket, from bind to the end of the object, which removes its path; or a place as a guest of the machine of
/// another process.
class Listener {
 public:
  /// In the runtime folder (runtime_dir of backends/sim/core_locks.h). `name` empty: in a folder of its own, and what
  /// such machines left that were killed is removed; else in that of this name, or, when a machine of that name lives,
  /// as its guest. kState: it lives, but does not answer within 10 s, or is of another version. kInvalidArgument: a
  /// name or folder that cannot be used.
  static Result<Listener> open(const std::string& runtime_dir, const std::string& name);

  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;
  ~Listener();
  /// Another process has the machine, which does not end before this object does.
  bool joined() const { return guest_ >= 0; }
  const std::string& path() const { return path_; }
  int socket() const { return socket_; }  ///< -1: joined

 private:
  Listener() = default;
  static Result<Listener> in_own_folder(const std::string& runtime_dir);
  static Result<Listener> in_named_folder(const std::string& runtime_dir, const std::string& name);
  std::optional<Error> listen();

  std::string folder_, path_;
  bool own_folder_ = false;
  int socket_ = -1, lock_ = -1, guest_ = -1;
};

}  // namespace opennrt::emulator
