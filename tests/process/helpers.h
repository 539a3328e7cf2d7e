// SPDX-License-Identifier: Apache-2.0
//
// Runs a piece of a test in a process of its own: forked, with stdout and stderr kept.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <string>

namespace process_test {

/// A forked child has the memory of its parent but not its threads, whose stacks own some of it: LeakSanitizer would take that
/// for leaks, and in some children its tracer crashes. Leaks are looked for in the processes that were not forked.
inline bool forked_child = false;

struct Ended {
  int status = 0;  ///< of waitpid
  std::string out, err;
  bool exited(int code) const { return WIFEXITED(status) && WEXITSTATUS(status) == code; }
};

inline std::string drain(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  for (ssize_t n = 0; (n = read(fd, buffer.data(), buffer.size())) > 0;)
    text.append(buffer.data(), static_cast<std::size_t>(n));
  return text;
}

/// `body` runs in a child and gives its exit code; `leave` says whether it ends by exit(3) (handlers run) or _exit(2).
/// Output is small.
inline Ended in_child(const std::function<int()>& body, bool leave_by_exit = false) {
  int out[2], err[2];
  EXPECT_EQ(pipe(out), 0);
  EXPECT_EQ(pipe(err), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    forked_child = true;
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    for (const int fd : {out[0], out[1], err[0], err[1]}) close(fd);
    const int code = body();
    if (leave_by_exit) exit(code);
    _exit(code);
  }
  close(out[1]);
  close(err[1]);
  Ended ended;
  ended.err = drain(err[0]);
  ended.out = drain(out[0]);
  close(out[0]);
  close(err[0]);
  EXPECT_EQ(waitpid(pid, &ended.status, 0), pid);
  return ended;
}

}  // namespace process_test
