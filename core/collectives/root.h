// SPDX-License-Identifier: Apache-2.0
//
// The process with rank 0: lets the ranks of other processes in to its hub.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/collectives/hub.h"

namespace opennrt::collectives {

class IoThread;

/// Thread-safe. The hub and the thread outlive it.
class Root {
 public:
  /// kState: somebody else is the root of that name. kResource.
  static Result<std::unique_ptr<Root>> open(IoThread& thread, Hub& hub, const std::string& name);
  /// Takes leave of the others once they have got all answers; waits at most 2 s for that.
  ~Root();

 private:
  class Impl;
  explicit Root(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace opennrt::collectives
