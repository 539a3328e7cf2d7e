// SPDX-License-Identifier: Apache-2.0
//
// The ranks of this process and what they do together with all others.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "core/collectives/hub.h"
#include "core/collectives/operation.h"
#include "core/collectives/settings.h"

namespace opennrt::collectives {

class IoThread;
class Remote;
class Root;

/// One per runtime. Without a root id all ranks are in this process. The process with rank 0 is the root; all data passes through it,
/// and it computes. Threads, sockets and the like exist only after a join that needs them. Thread-safe.
class Communicator {
 public:
  struct Membership {
    std::uint32_t rank = 0, count = 0;
  };

  explicit Communicator(Settings settings);
  /// The others see that the ranks of this process have closed. Nobody may be inside any more.
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  /// Makes the core `rank` of `count`, and waits for all others. Again with the same numbers: success. Errors as Hub::handle says,
  /// kUnsupported (the root is on another machine) and kClosed.
  Status join(std::uint32_t vnc, std::uint32_t rank, std::uint32_t count);
  /// nullopt: the core has not joined, or its world has ended.
  std::optional<Membership> membership(std::uint32_t vnc) const;
  /// What all ranks of the group come to (an empty group: all of the world). The core must have joined (kState). Errors as
  /// Hub::handle says, and kClosed. After kPeerLost the core has to join again.
  Result<SharedBytes> run(std::uint32_t vnc, Operation operation, Bytes data);
  /// From now on everything fails with kClosed, also what waits at this moment.
  void interrupt();

 private:
  struct Member {
    Membership membership;
    bool joined = false;
    std::uint64_t world = 0;
    std::shared_ptr<Remote> remote;  ///< nullptr: this process's hub
  };
  /// Where answers arrive.
  struct Inbox {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::uint64_t, std::optional<Result<SharedBytes>>> answers;
    bool interrupted = false;
  };

  Status connect(std::uint32_t rank, std::shared_ptr<Remote>& remote);
  Result<SharedBytes> ask(const std::shared_ptr<Remote>& remote, Request request);
  void send(const std::shared_ptr<Remote>& remote, Request request, Done done);

  const Settings settings_;
  const std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
  Hub hub_;
  const Hub::Owner self_;
  mutable std::mutex mutex_;
  std::condition_variable joined_;
  std::map<std::uint32_t, Member> members_;  ///< by core
  std::uint64_t next_request_ = 1;           ///< with the inbox's lock
  std::unique_ptr<IoThread> thread_;
  std::unique_ptr<Root> root_;
  std::shared_ptr<Remote> remote_;
};

}  // namespace opennrt::collectives
