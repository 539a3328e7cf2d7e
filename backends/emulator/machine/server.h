// SPDX-License-Identifier: Apache-2.0
//
// The sockets of an emulated machine: accepts clients, notices when their files are closed and when they end.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "backends/emulator/machine/channel.h"
#include "backends/emulator/machine/machine.h"
#include "backends/emulator/protocol.h"

namespace opennrt::emulator {

/// Serves a machine over a listening socket; both must outlive it. Two threads of its own, and one for each channel.
class Server {
 public:
  Server(Machine& machine, int listener);
  /// Cuts off whoever is still connected.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Returns when no client is connected. From then on it takes no guests.
  void wait_until_idle();

 private:
  /// A client that has not said yet what it wants, a file, or a guest.
  struct Connection {
    pid_t pid = 0;
    bool file = false, guest = false;
    std::uint64_t serial = 0;  ///< descriptors are used again, this is not
    std::uint64_t number = 0;
  };

  void look();     ///< thread: polls sockets and processes
  void control();  ///< thread: opens, closes and burials, in their order
  void accept_all();
  void hear(int fd);
  void greet_file(int fd, const Connection& connection, const FileHello& hello);
  void greet_guest(int fd);
  void greet_channel(int fd, pid_t pid, int window);
  void run_channel(int fd, pid_t pid, int window);
  void hang_up(int fd, const Connection& connection);
  void forget(int fd);  ///< and closes it
  void refuse(int fd, int error);
  void watch(Process& process);
  void later(std::function<void()> task);
  bool idle() const;  ///< mutex_ held

  Machine& machine_;
  const int listener_, poll_, wake_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false, busy_ = false;  ///< busy_: the control thread is in a task
  bool ending_ = false;               ///< it has been idle: the machine goes
  bool blind_ = false;                ///< some process has no pidfd: look at all from time to time
  std::deque<std::function<void()>> tasks_;
  std::map<int, Connection> connections_;
  std::uint64_t serial_ = 0;
  std::set<int> watched_;  ///< pidfds
  std::set<int> channels_;
  unsigned channel_threads_ = 0;

  std::thread look_thread_, control_thread_;
};

}  // namespace opennrt::emulator
