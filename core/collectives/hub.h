// SPDX-License-Identifier: Apache-2.0
//
// Where ranks meet: one world of ranks, and the operations they have in common. No input or output: ranks of this process call
// it, those of others through root.h.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/collectives/operation.h"

namespace opennrt::collectives {

/// A world is formed when all of its ranks have joined, and ends for all when one of them dies, leaves or gives up waiting; a
/// later join begins another one. Thread-safe.
class Hub {
 public:
  using Owner = std::uint64_t;  ///< a process with ranks

  /// `pid` is for messages.
  Owner enter(int pid);
  /// `how`, for messages: "has died". The world that the process has ranks in ends.
  void leave(Owner owner, const std::string& how);

  /// Failures reach `done`:
  ///   kInvalidArgument  rank taken, other number of ranks; ranks that do not ask for the same (all of them get it)
  ///   kTimeout          ranks that have not joined, by number
  ///   kPeerLost         ranks that died, left or did not come to an operation, by number
  void handle(Owner owner, Request request, Done done);

 private:
  struct Member {
    Owner owner = 0;
    std::uint64_t join = 0;  ///< the request, until the world is formed
    Done done;
  };
  struct Contribution {
    std::uint64_t id = 0;
    Owner owner = 0;
    Operation operation;
    Bytes data;
    Done done;
  };
  using Meeting = std::pair<Lane, std::vector<std::uint32_t>>;  ///< the ranks, ascending
  /// What is to be called once the lock is released.
  using Actions = std::vector<std::function<void()>>;

  void join(Owner owner, Request request, Done done, Actions& actions);
  void contribute(Owner owner, Request request, Done done, Actions& actions);
  void give_up(Owner owner, std::uint64_t id, std::uint32_t waited_s, Actions& actions);
  void end_world(ErrorCode code, const std::string& reason, Actions& actions);
  std::string name(std::uint32_t rank) const;

  std::mutex mutex_;
  std::map<Owner, int> pids_;
  Owner next_owner_ = 1;
  std::uint64_t world_ = 1;
  bool formed_ = false;
  std::uint32_t count_ = 0;
  std::map<std::uint32_t, Member> members_;
  std::map<Meeting, std::map<std::uint32_t, std::deque<Contribution>>> meetings_;
  std::string ended_ = "no world has been formed";  ///< why the last one did
};

/// "1", "1 and 3", "0, 1 and 3".
std::string enumerate(const std::vector<std::uint32_t>& ranks);

}  // namespace opennrt::collectives
