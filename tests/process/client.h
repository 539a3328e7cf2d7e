// SPDX-License-Identifier: Apache-2.0
//
// A running client.c: its output, its stdin (which it waits for) and its end.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/process/helpers.h"

namespace process_test {

using Variables = std::map<std::string, std::string>;
using Arguments = std::vector<std::string>;

class Client {
 public:
  /// `variables` are set on top of ours, without any NEURON variable of ours.
  Client(const Arguments& arguments, const Variables& variables) {
    const std::string program = std::string(std::getenv("OPENNRT_BUILD_DIR")) + "/tests/process_client";
    std::vector<std::string> environment;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::string text = *entry;
      if (!variables.contains(text.substr(0, text.find('='))) && !text.starts_with("NEURON"))
        environment.push_back(text);
    }
    for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
    std::vector<char*> argv{const_cast<char*>(program.c_str())}, envp;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    for (std::string& variable : environment) envp.push_back(variable.data());
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    int in[2], out[2], err[2];
    EXPECT_EQ(pipe2(in, O_CLOEXEC) + pipe2(out, O_CLOEXEC) + pipe2(err, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
    EXPECT_EQ(posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv.data(), envp.data()), 0) << program;
    posix_spawn_file_actions_destroy(&actions);
    for (const int fd : {in[0], out[1], err[1]}) close(fd);
    in_ = in[1];
    out_ = out[0];
    err_ = err[0];
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() {
    if (pid_ > 0) end();
  }

  pid_t pid() const { return pid_; }

  /// The next line of its output, without the newline; what there is when it ends first.
  std::string line() {
    std::string text;
    for (char c = 0; read(out_, &c, 1) == 1 && c != '\n';) text += c;
    return text;
  }

  /// A signal that ends it is waited for.
  void kill(int signal) {
    EXPECT_EQ(::kill(pid_, signal), 0);
    if (signal != SIGSTOP && signal != SIGCONT) end();
  }

  /// Closes its stdin, which lets it go, and waits.
  Ended end() {
    Ended ended;
    if (pid_ <= 0) return ended;
    close(in_);
    ended.err = drain(err_);
    ended.out = drain(out_);
    close(out_);
    close(err_);
    EXPECT_EQ(waitpid(pid_, &ended.status, 0), pid_);
    pid_ = -1;
    return ended;
  }

 private:
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1, err_ = -1;
};

}  // namespace process_test
