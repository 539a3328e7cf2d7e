// SPDX-License-Identifier: Apache-2.0
// Requirements A2, A3: collectives and send/receive among processes of one machine; a rank that dies makes the others fail and name
// it. This program never opens the library itself: every rank is a child.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nrt/nrt.h>
#include <nrt/nrt_async_sendrecv.h>
#include <nrt/nrt_experimental.h>
#include <signal.h>
#include <sys/prctl.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/process/helpers.h"

/// Asked by LeakSanitizer's runtime, where there is one, before it looks for leaks.
extern "C" __attribute__((visibility("default"))) int __lsan_is_turned_off() {
  return process_test::forked_child ? 1 : 0;
}

namespace process_test {
namespace {

using testing::HasSubstr;

/// A child that has one core, `number` of the machine. It says one byte when it is told to (`say`), and the parent waits for it.
class Rank {
 public:
  using Body = std::function<int(const std::function<void()>& say)>;
  Rank(int number, const Body& body) {
    int err[2], said[2];
    EXPECT_EQ(pipe(err), 0);
    EXPECT_EQ(pipe(said), 0);
    pid_ = fork();
    if (pid_ == 0) {
      forked_child = true;
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(err[1], STDERR_FILENO);
      for (const int fd : {err[0], err[1], said[0]}) close(fd);
      setenv("NEURON_RT_VISIBLE_CORES", std::to_string(number).c_str(), 1);
      const int code = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS
                           ? body([&] { EXPECT_EQ(write(said[1], "!", 1), 1); })
                           : 100;
      nrt_close();
      _exit(code);
    }
    close(err[1]);
    close(said[1]);
    err_ = err[0];
    said_ = said[0];
  }
  ~Rank() {
    if (pid_ > 0) end();
    close(said_);
  }
  Rank(Rank&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), err_(other.err_), said_(std::exchange(other.said_, -1)) {}
  Rank& operator=(Rank&&) = delete;

  pid_t pid() const { return pid_; }
  /// False: it ended without a word.
  bool heard() const {
    char word = 0;
    return read(said_, &word, 1) == 1;
  }
  void kill() const { EXPECT_EQ(::kill(pid_, SIGKILL), 0); }
  Ended end() {
    Ended ended;
    ended.err = drain(err_);
    close(err_);
    EXPECT_EQ(waitpid(pid_, &ended.status, 0), pid_);
    pid_ = -1;
    return ended;
  }

 private:
  pid_t pid_ = -1;
  int err_ = -1, said_ = -1;
};

/// A port of the test program and the test, so that neither meets another.
std::string own_port() {
  static int tests = 0;
  return std::to_string(1024 + (getpid() * 16 + tests++) % 60000);
}

struct CollectivesProcess : testing::Test {
  void SetUp() override {
    const std::string port = own_port();
    setenv("NEURON_RT_ROOT_COMM_ID", ("localhost:" + port).c_str(), 1);
    setenv("NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT", port.c_str(), 1);
    unsetenv("OPENNRT_COLLECTIVES_TIMEOUT");
    unsetenv("NEURON_RT_NUM_CORES");
  }
  std::vector<Rank> ranks_;
};

/// What a rank does until it is killed.
int sleep_for_ever() {
  for (;;) pause();
}

int barrier(std::uint32_t rank, std::uint32_t ranks) {
  return nrt_barrier(0, rank, ranks);
}

/// waitpid gives 8 bits of an exit code.
int bits(NRT_STATUS status) {
  return static_cast<int>(status) & 0xff;
}

TEST_F(CollectivesProcess, givenFourProcessesWhenTheyGatherManyTimesThenEachHasTheDataOfAll) {
  constexpr std::uint32_t kRanks = 4, kBytes = 200000;
  for (std::uint32_t rank = 0; rank < kRanks; ++rank) {
    ranks_.emplace_back(static_cast<int>(rank), [rank](const auto&) {
      if (nrt_build_global_comm(0, rank, kRanks) != NRT_SUCCESS) return 1;
      std::vector<std::uint8_t> input(kBytes), output(std::size_t{kRanks} * kBytes);
      for (unsigned round = 0; round < 20; ++round) {
        for (std::size_t i = 0; i < kBytes; ++i) input[i] = static_cast<std::uint8_t>(i * (rank + 1) + round);
        if (nrt_all_gather(0, rank, kRanks, kBytes, input.data(), output.data()) != NRT_SUCCESS) return 2;
        for (std::size_t i = 0; i < output.size(); ++i) {
          if (output[i] != static_cast<std::uint8_t>((i % kBytes) * (i / kBytes + 1) + round)) return 3;
        }
      }
      return barrier(rank, kRanks);
    });
  }
  for (Rank& rank : ranks_) {
    const Ended ended = rank.end();
    EXPECT_TRUE(ended.exited(0)) << ended.status << ended.err;
    EXPECT_EQ(ended.err, "");
  }
}

TEST_F(CollectivesProcess, givenARankThatIsKilledWhenOthersWaitThenTheyFailAndNameIt) {
  for (const std::uint32_t victim : {2u, 0u}) {  // an ordinary one, and the root
    SCOPED_TRACE(victim);
    std::vector<Rank> ranks;
    for (std::uint32_t rank = 0; rank < 3; ++rank) {
      ranks.emplace_back(static_cast<int>(rank), [rank, victim](const auto& say) {
        if (nrt_build_global_comm(0, rank, 3) != NRT_SUCCESS) return 1;
        say();
        if (rank == victim) return sleep_for_ever();
        return bits(nrt_barrier(0, rank, 3));
      });
    }
    for (const Rank& rank : ranks) EXPECT_TRUE(rank.heard());
    const std::string named = "process " + std::to_string(ranks[victim].pid());
    ranks[victim].kill();
    for (std::uint32_t rank = 0; rank < 3; ++rank) {
      const Ended ended = ranks[rank].end();
      if (rank == victim) continue;
      EXPECT_TRUE(ended.exited(bits(NRT_EXEC_HW_ERR_COLLECTIVES))) << ended.status << ended.err;
      EXPECT_THAT(ended.err, HasSubstr(named));
      EXPECT_THAT(ended.err, HasSubstr("rank " + std::to_string(victim)));
      EXPECT_THAT(ended.err, HasSubstr("has died"));
    }
  }
}

TEST_F(CollectivesProcess, givenAKilledRankWhoseChildLivesOnWhenOthersWaitThenTheyFailAllTheSame) {
  int child[2];
  ASSERT_EQ(pipe(child), 0);
  Rank zero(0, [](const auto& say) {
    if (nrt_build_global_comm(0, 0, 2) != NRT_SUCCESS) return 1;
    say();
    return bits(nrt_barrier(0, 0, 2));
  });
  Rank one(1, [&](const auto& say) {
    if (nrt_build_global_comm(0, 1, 2) != NRT_SUCCESS) return 1;
    const pid_t orphan = fork();  // has all descriptors, the socket to the root among them
    if (orphan == 0) {
      prctl(PR_SET_PDEATHSIG, 0);
      sleep_for_ever();
    }
    EXPECT_EQ(write(child[1], &orphan, sizeof(orphan)), static_cast<ssize_t>(sizeof(orphan)));
    say();
    return sleep_for_ever();
  });
  EXPECT_TRUE(zero.heard() && one.heard());
  pid_t orphan = -1;
  EXPECT_EQ(read(child[0], &orphan, sizeof(orphan)), static_cast<ssize_t>(sizeof(orphan)));
  one.kill();
  const Ended ended = zero.end();
  EXPECT_TRUE(ended.exited(bits(NRT_EXEC_HW_ERR_COLLECTIVES))) << ended.status << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("rank 1 (process " + std::to_string(one.pid()) + ") has died"));
  if (orphan > 0) kill(orphan, SIGKILL);
  for (const int fd : child) close(fd);
}

TEST_F(CollectivesProcess, givenARankThatClosesWhenOthersGoOnThenTheyFailAndNameIt) {
  Rank zero(0, [](const auto&) {
    if (barrier(0, 2) != NRT_SUCCESS) return 1;
    return bits(nrt_barrier(0, 0, 2));
  });
  Rank one(1, [](const auto&) { return barrier(1, 2); });
  EXPECT_TRUE(one.end().exited(0));
  const Ended ended = zero.end();
  EXPECT_TRUE(ended.exited(bits(NRT_EXEC_HW_ERR_COLLECTIVES))) << ended.status << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("has closed"));
}

TEST_F(CollectivesProcess, givenARootThatHasDiedWhenTheNextOnesComeThenThePortIsFree) {
  for (int round = 0; round < 5; ++round) {
    Rank zero(0, [](const auto& say) {
      const int status = barrier(0, 2);
      say();
      return status == NRT_SUCCESS ? sleep_for_ever() : 1;
    });
    Rank one(1, [](const auto& say) {
      const int status = barrier(1, 2);
      say();
      return status == NRT_SUCCESS ? sleep_for_ever() : 1;
    });
    EXPECT_TRUE(zero.heard() && one.heard());
    zero.kill();
    one.kill();
    EXPECT_TRUE(WIFSIGNALED(zero.end().status));
    EXPECT_TRUE(WIFSIGNALED(one.end().status));
  }
}

TEST_F(CollectivesProcess, givenTwoRootsWhenTheyJoinThenOneIsRefusedAndCanBeAnotherRank) {
  const auto body = [](const auto&) {
    const NRT_STATUS status = nrt_build_global_comm(0, 0, 2);
    if (status == NRT_SUCCESS) return barrier(0, 2);
    if (status != NRT_INVALID) return 1;
    return nrt_build_global_comm(0, 1, 2) == NRT_SUCCESS && barrier(1, 2) == NRT_SUCCESS ? 7 : 2;
  };
  Rank a(0, body), b(1, body);
  const Ended first = a.end(), second = b.end();
  EXPECT_TRUE((first.exited(0) && second.exited(7)) || (first.exited(7) && second.exited(0)))
      << first.status << first.err << second.status << second.err;
  EXPECT_THAT(first.err + second.err, HasSubstr("rank 0 (process "));
  EXPECT_THAT(first.err + second.err, HasSubstr("has joined already"));
}

TEST_F(CollectivesProcess, givenTwoProcessesWithOneRankWhenTheyJoinThenOneIsRefused) {
  const auto member = [](std::uint32_t rank) {
    return [rank](const auto& say) {
      const NRT_STATUS status = nrt_build_global_comm(0, rank, 2);
      if (status != NRT_SUCCESS) return bits(status);
      say();
      return sleep_for_ever();
    };
  };
  Rank root(2, member(0)), a(0, member(1)), b(1, member(1));
  EXPECT_TRUE(root.heard());
  const bool first = a.heard(), second = b.heard();
  EXPECT_NE(first, second);
  root.kill();
  (first ? a : b).kill();
  const Ended refused = (first ? b : a).end();
  EXPECT_TRUE(refused.exited(bits(NRT_INVALID))) << refused.status << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("rank 1 (process "));
}

TEST_F(CollectivesProcess, givenProcessesWithDifferentNumbersOfRanksWhenTheyJoinThenBothAreRefused) {
  Rank zero(0, [](const auto&) { return bits(nrt_build_global_comm(0, 0, 2)); });
  Rank one(1, [](const auto&) { return bits(nrt_build_global_comm(0, 1, 3)); });
  const Ended first = zero.end(), second = one.end();
  EXPECT_TRUE(first.exited(bits(NRT_INVALID))) << first.status << first.err;
  EXPECT_TRUE(second.exited(bits(NRT_INVALID))) << second.status << second.err;
  EXPECT_THAT(first.err, HasSubstr("expected the same number"));
  EXPECT_THAT(second.err, HasSubstr("expected the same number"));
}

TEST_F(CollectivesProcess, givenNoRootWhenARankJoinsThenItTimesOutAndSaysSo) {
  setenv("OPENNRT_COLLECTIVES_TIMEOUT", "1", 1);
  Rank one(1, [](const auto&) { return bits(nrt_build_global_comm(0, 1, 2)); });
  const Ended ended = one.end();
  EXPECT_TRUE(ended.exited(bits(NRT_TIMEOUT))) << ended.status << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("rank 0, the root of \"localhost:"));
}

TEST_F(CollectivesProcess, givenARootThatIsStoppedWhenARankWaitsThenItDoesNotHang) {
  setenv("OPENNRT_COLLECTIVES_TIMEOUT", "1", 1);
  Rank zero(0, [](const auto& say) {
    if (nrt_build_global_comm(0, 0, 2) != NRT_SUCCESS) return 1;
    say();
    return sleep_for_ever();
  });
  Rank one(1, [](const auto& say) {
    if (nrt_build_global_comm(0, 1, 2) != NRT_SUCCESS) return 1;
    say();
    return bits(nrt_barrier(0, 1, 2));
  });
  EXPECT_TRUE(zero.heard() && one.heard());
  EXPECT_EQ(kill(zero.pid(), SIGSTOP), 0);
  const Ended ended = one.end();
  zero.kill();
  EXPECT_TRUE(ended.exited(bits(NRT_EXEC_HW_ERR_COLLECTIVES))) << ended.status << ended.err;
}

TEST_F(CollectivesProcess, givenTwoProcessesWhenTensorsAreSentThenTheyArriveAndADeadSenderIsNamed) {
  constexpr std::size_t kBytes = 50000;
  const auto until = [](auto&& test) {
    for (bool done = false;;) {
      const NRT_STATUS status = test(&done);
      if (status != NRT_SUCCESS || done) return status;
      std::this_thread::yield();
    }
  };
  Rank sender(0, [&](const auto& say) {
    nrt_async_sendrecv_comm_t* comm = nullptr;
    nrt_async_sendrecv_request_t* request = nullptr;
    nrt_tensor_t* tensor = nullptr;
    std::vector<std::uint8_t> data(kBytes, 42);
    if (nrt_async_sendrecv_init(0) != NRT_SUCCESS) return 1;
    if (nrt_async_sendrecv_connect("127.0.0.1", 1, 0, &comm) != NRT_SUCCESS) return 2;
    if (until([&](bool* done) { return nrt_async_sendrecv_test_comm(comm, done); }) != NRT_SUCCESS) return 3;
    if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, kBytes, "s", &tensor) != NRT_SUCCESS) return 4;
    if (nrt_tensor_write(tensor, data.data(), 0, kBytes) != NRT_SUCCESS) return 5;
    if (nrt_async_sendrecv_send_tensor(tensor, 0, kBytes, comm, &request) != NRT_SUCCESS) return 6;
    std::size_t size = 0;
    const auto sent = until([&](bool* done) { return nrt_async_sendrecv_test_request(request, done, &size); });
    if (sent != NRT_SUCCESS || size != kBytes) return 7;
    say();
    return sleep_for_ever();
  });
  Rank receiver(1, [&](const auto& say) {
    nrt_async_sendrecv_comm_t* comm = nullptr;
    nrt_async_sendrecv_request_t *first = nullptr, *second = nullptr;
    nrt_tensor_t* tensor = nullptr;
    std::vector<std::uint8_t> data(kBytes);
    if (nrt_async_sendrecv_init(1) != NRT_SUCCESS) return 1;
    if (nrt_async_sendrecv_accept("127.0.0.1", 0, 1, &comm) != NRT_SUCCESS) return 2;
    if (until([&](bool* done) { return nrt_async_sendrecv_test_comm(comm, done); }) != NRT_SUCCESS) return 3;
    if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, kBytes, "r", &tensor) != NRT_SUCCESS) return 4;
    if (nrt_async_sendrecv_recv_tensor(tensor, 0, kBytes, comm, &first) != NRT_SUCCESS) return 5;
    if (nrt_async_sendrecv_recv_tensor(tensor, 0, kBytes, comm, &second) != NRT_SUCCESS) return 6;
    std::size_t size = 0;
    const auto received = until([&](bool* done) { return nrt_async_sendrecv_test_request(first, done, &size); });
    if (received != NRT_SUCCESS || size != kBytes) return 7;
    if (nrt_tensor_read(tensor, data.data(), 0, kBytes) != NRT_SUCCESS) return 8;
    if (data != std::vector<std::uint8_t>(kBytes, 42)) return 9;
    say();
    return bits(until([&](bool* done) { return nrt_async_sendrecv_test_request(second, done, &size); }));
  });
  EXPECT_TRUE(sender.heard() && receiver.heard());
  const std::string named = "process " + std::to_string(sender.pid()) + " has died";
  sender.kill();
  const Ended ended = receiver.end();
  EXPECT_TRUE(ended.exited(bits(NRT_FAILURE))) << ended.status << ended.err;
  EXPECT_THAT(ended.err, HasSubstr(named));
}

}  // namespace
}  // namespace process_test
