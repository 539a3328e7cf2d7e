// SPDX-License-Identifier: Apache-2.0
//
// The way to the hub of another process: the root.
#pragma once

#include <memory>
#include <string>

#include "core/collectives/operation.h"

namespace opennrt::collectives {

class IoThread;

/// Looks for the root until it is there; when that process ends, everything that is asked fails with kPeerLost. Thread-safe. The
/// thread outlives it.
class Remote {
 public:
  /// `name` of the root's socket; `id` for messages.
  Remote(IoThread& thread, std::string name, std::string id);
  /// Takes leave of the root.
  ~Remote();
  Remote(const Remote&) = delete;
  Remote& operator=(const Remote&) = delete;

  /// As Hub::handle; kTimeout also when a request is given up before the root has come.
  void send(Request request, Done done);
  /// False once the root has ended.
  bool usable() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace opennrt::collectives
