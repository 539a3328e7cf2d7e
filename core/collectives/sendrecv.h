// SPDX-License-Identifier: Apache-2.0
//
// Point to point: bytes of a tensor from one NeuronCore of the machine to another, of this process or of another one.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/collectives/operation.h"

namespace opennrt::collectives {

class IoThread;

/// nrt_async_sendrecv.h leaves the limits to the runtime; these are chosen.
inline constexpr int kMaxCommunicatorsPerCore = 64;
inline constexpr int kMaxPendingRequests = 64;
class Channel;

/// One send or receive. Thread-safe.
class Transfer {
 public:
  using Read = std::function<Result<Bytes>()>;                      ///< what is to be sent
  using Write = std::function<Status(std::span<const std::byte>)>;  ///< where it goes
  Transfer(Read read, std::chrono::steady_clock::time_point deadline) : read_(std::move(read)), deadline_(deadline) {}
  Transfer(Write write, std::uint64_t room, std::chrono::steady_clock::time_point deadline)
      : write_(std::move(write)), room_(room), deadline_(deadline) {}

  /// nullopt: under way. Otherwise the bytes that have moved, or why none have.
  std::optional<Result<std::uint64_t>> result() const;
  std::atomic<void*> handle{nullptr};  ///< the caller's name for it

 private:
  friend class Channel;
  friend class SendRecv;
  /// The first result stays. Drops what the transfer held.
  void complete(Result<std::uint64_t> result);
  std::weak_ptr<Channel> channel_;
  Read read_;
  Write write_;
  const std::uint64_t room_ = 0;
  const std::chrono::steady_clock::time_point deadline_;
  mutable std::mutex mutex_;
  std::optional<Result<std::uint64_t>> result_;
};

/// One end of a connection between two cores, for one direction. Thread-safe.
class Channel : public std::enable_shared_from_this<Channel> {
 public:
  std::uint32_t lnc() const { return lnc_; }
  std::atomic<void*> handle{nullptr};  ///< the caller's name for it

  /// Whether the other end is there. kTimeout, kPeerLost.
  Result<bool> test();
  /// kInvalidArgument: it is of the other direction. kState: not connected. kResource: kMaxPendingRequests. kPeerLost.
  Result<std::shared_ptr<Transfer>> send(Transfer::Read read);
  Result<std::shared_ptr<Transfer>> receive(Transfer::Write write, std::uint64_t room);
  /// The result of a transfer, after which its channel forgets it; nullopt: under way. kTimeout ends the channel. kInvalidHandle:
  /// there is no channel any more.
  static Result<std::optional<std::uint64_t>> test(const std::shared_ptr<Transfer>& transfer);

 private:
  friend class SendRecv;
  class Wire;
  enum class State { kConnecting, kConnected, kFailed, kClosed };
  Channel(std::uint32_t lnc, std::uint32_t peer, bool sends, std::uint32_t timeout_s)
      : lnc_(lnc), peer_(peer), sends_(sends), timeout_s_(timeout_s) {}
  std::string name() const;
  std::chrono::steady_clock::time_point deadline() const;
  Result<std::shared_ptr<Transfer>> post(std::shared_ptr<Transfer> transfer, bool sends);
  void connected();
  void fail(Error error);

  const std::uint32_t lnc_, peer_;
  const bool sends_;
  const std::uint32_t timeout_s_;
  const std::chrono::steady_clock::time_point created_ = std::chrono::steady_clock::now();
  mutable std::mutex mutex_;
  State state_ = State::kConnecting;
  Error error_;
  std::set<std::shared_ptr<Transfer>> transfers_;  ///< until their result has been asked for
  std::shared_ptr<Wire> wire_;
};

/// One per runtime. Thread-safe. Threads and sockets exist from the first open() on.
class SendRecv {
 public:
  SendRecv(std::uint16_t port, std::uint32_t timeout_s);
  ~SendRecv();
  SendRecv(const SendRecv&) = delete;
  SendRecv& operator=(const SendRecv&) = delete;

  /// `lnc`: number of a core in the machine, one of this process. kState: it is open, or was not closed well, or somebody else
  /// has opened it.
  Status open(std::uint32_t lnc);
  struct Closed {
    Status status;               ///< kState: a channel was not connected, or a transfer was under way
    std::vector<void*> handles;  ///< of all that is no more, channels and transfers
  };
  Closed close(std::uint32_t lnc);
  /// kState: it is not open.
  Status check_open(std::uint32_t lnc) const;
  /// To (`sends`) or from another core of the machine. kState: `lnc` is not open. kResource: kMaxCommunicatorsPerCore.
  Result<std::shared_ptr<Channel>> connect(std::uint32_t peer, std::uint32_t lnc, bool sends);

  class Endpoint;

 private:
  const std::uint16_t port_;
  const std::uint32_t timeout_s_;
  mutable std::mutex mutex_;
  std::unique_ptr<IoThread> thread_;
  std::map<std::uint32_t, std::shared_ptr<Endpoint>> endpoints_;
  std::set<std::uint32_t> spoilt_;  ///< whose close() failed
};

}  // namespace opennrt::collectives
