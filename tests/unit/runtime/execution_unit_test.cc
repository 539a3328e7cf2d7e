// SPDX-License-Identifier: Apache-2.0
//
// Execution units without a device: order, overlap, completion and the end (requirements G4, G5).
#include "core/runtime/execution_unit.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nrt/nrt_status.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace opennrt;

namespace {

bool readable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  return poll(&entry, 1, 0) == 1 && (entry.revents & POLLIN) != 0;
}

/// Work that waits until it is let go. The work may outlive the gate.
class Gate {
 public:
  Gate() = default;
  ~Gate() { open(); }  // a test that fails must not hang
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  ExecutionUnits::Work work(int status = NRT_SUCCESS) {
    return [state = state_, status] {
      state->go_on(kStarted);
      state->wait_for(kOpen);
      return status;
    };
  }
  void wait_started() { state_->wait_for(kStarted); }
  void open() { state_->go_on(kOpen); }

 private:
  static constexpr int kStarted = 1, kOpen = 2;
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    int step = 0;
    void go_on(int to) {
      const std::lock_guard lock(mutex);
      step = std::max(step, to);
      changed.notify_all();
    }
    void wait_for(int at_least) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return step >= at_least; });
    }
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

int nothing() {
  return NRT_SUCCESS;
}

TEST(ExecutionUnits, givenAQueueWhenScheduledFromManyThreadsThenEachRunsOnceInTheOrderOfItsNumber) {
  constexpr int kThreads = 8, kEach = 500;
  std::vector<std::uint64_t> order;  // the worker's alone until the end
  ExecutionUnits units(2);
  std::vector<std::thread> threads;
  std::atomic<int> full{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach;) {
        auto mine = std::make_shared<std::atomic<std::uint64_t>>(0);
        const auto seq = units.schedule(
            1, Unit::kTensorOp, 1,
            [&order, mine] {
              mine->wait(0);  // until the caller knows its number
              order.push_back(*mine);
              return static_cast<int>(NRT_SUCCESS);
            },
            nullptr);
        if (seq) {
          mine->store(*seq);
          mine->notify_one();
          ++i;
        } else {
          EXPECT_EQ(seq.error().code, ErrorCode::kQueueFull);
          ++full;
          std::this_thread::yield();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(units.drain(1, Unit::kTensorOp, 1));
  ASSERT_EQ(order.size(), std::size_t{kThreads * kEach});
  for (std::size_t i = 0; i < order.size(); ++i) {
    ASSERT_EQ(NRTA_SEQ_GET_SEQ_NUM(order[i]), i + 1);
    ASSERT_EQ(NRTA_SEQ_GET_XU_ID(order[i]), NRTA_SEQ_GET_XU_ID(order[0]));
  }
}

TEST(ExecutionUnits, givenEveryQueueWhenScheduledThenItsIdIsItsOwnAndTheyRunAtTheSameTime) {
  constexpr std::uint32_t kCores = 3;
  ExecutionUnits units(kCores);
  std::set<std::uint64_t> ids;
  std::vector<std::unique_ptr<Gate>> gates;
  for (std::uint32_t vnc = 0; vnc < kCores; ++vnc) {
    for (const Unit unit :
         {Unit::kTensorRead, Unit::kTensorWrite, Unit::kTensorOp, Unit::kCompute, Unit::kCollectives}) {
      for (int queue = 0; queue < queues_of(unit); ++queue) {
        gates.push_back(std::make_unique<Gate>());
        const auto seq = units.schedule(vnc, unit, queue, gates.back()->work(), nullptr);
        ASSERT_TRUE(seq);
        EXPECT_EQ(NRTA_SEQ_GET_SEQ_NUM(*seq), 1u);
        ids.insert(NRTA_SEQ_GET_XU_ID(*seq));
      }
    }
  }
  EXPECT_EQ(gates.size(), kCores * 8);
  EXPECT_EQ(ids.size(), gates.size());
  for (const auto& gate : gates) gate->wait_started();  // ends only if all of them have begun
  for (const auto& gate : gates) gate->open();
}

TEST(ExecutionUnits, givenARequestWhenItEndsThenItsHandlesBecomeReadableAndNotBefore) {
  ExecutionUnits units(1);
  Gate first, second;
  const auto one = units.schedule(0, Unit::kCompute, 0, first.work(), nullptr);
  const auto two = units.schedule(0, Unit::kCompute, 0, second.work(), nullptr);
  ASSERT_TRUE(one && two);
  const auto early = units.completion_fd(*one), again = units.completion_fd(*one), late = units.completion_fd(*two);
  ASSERT_TRUE(early && again && late);
  EXPECT_NE(fcntl(*early, F_GETFD) & FD_CLOEXEC, 0) << "no child inherits it";
  first.wait_started();
  EXPECT_FALSE(readable(*early));
  EXPECT_FALSE(*units.is_completed(*one));
  EXPECT_EQ(*units.last_completed(0, Unit::kCompute, 0), *one - 1);
  first.open();
  second.wait_started();
  EXPECT_TRUE(*units.is_completed(*one));
  EXPECT_TRUE(readable(*early));
  EXPECT_TRUE(readable(*again));
  EXPECT_FALSE(readable(*late));
  EXPECT_FALSE(*units.is_completed(*two));
  EXPECT_EQ(*units.last_completed(0, Unit::kCompute, 0), *one);
  const auto after = units.completion_fd(*one);
  ASSERT_TRUE(after);
  EXPECT_TRUE(readable(*after)) << "it is completed already";
  EXPECT_TRUE(readable(*after)) << "it stays so";
  second.open();
  ASSERT_TRUE(units.drain(0, Unit::kCompute, 0));
  EXPECT_TRUE(readable(*late));
  for (const int fd : {*early, *again, *late, *after}) close(fd);
}

TEST(ExecutionUnits, givenNoDescriptorIsLeftWhenAHandleIsAskedForThenItIsAResource) {
  ExecutionUnits units(1);
  Gate gate;
  const auto seq = units.schedule(0, Unit::kCompute, 0, gate.work(), nullptr);
  ASSERT_TRUE(seq);
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none{3, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto fd = units.completion_fd(*seq);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  gate.open();
  ASSERT_FALSE(fd);
  EXPECT_EQ(fd.error().code, ErrorCode::kResource);
}

TEST(ExecutionUnits, givenFailuresWhenCompletedThenTheirTrackersHaveThemFirst) {
  ExecutionUnits units(1);
  const auto tracker = std::make_shared<ErrorTracker>(0), other = std::make_shared<ErrorTracker>(0);
  const auto good = units.schedule(0, Unit::kTensorRead, 0, nothing, tracker);
  const auto bad = units.schedule(
      0, Unit::kTensorRead, 0, [] { return static_cast<int>(NRT_HW_ERROR); }, tracker);
  const auto elsewhere = units.schedule(
      0, Unit::kTensorRead, 0, [] { return static_cast<int>(NRT_TIMEOUT); }, other);
  const auto thrown = units.schedule(
      0, Unit::kTensorRead, 0, []() -> int { throw std::runtime_error("thrown by the test"); }, tracker);
  const auto memory = units.schedule(
      0, Unit::kTensorRead, 0, []() -> int { throw std::bad_alloc(); }, tracker);
  ASSERT_TRUE(good && bad && elsewhere && thrown && memory);
  ASSERT_TRUE(units.drain(0, Unit::kTensorRead, 0));
  const auto& errors = tracker->take();
  ASSERT_EQ(errors.size(), 3u);
  EXPECT_EQ(errors[0].seq_id, *bad);
  EXPECT_EQ(errors[0].error_code, static_cast<std::uint64_t>(NRT_HW_ERROR));
  EXPECT_EQ(errors[1].seq_id, *thrown);
  EXPECT_EQ(errors[1].error_code, static_cast<std::uint64_t>(NRT_FAILURE));
  EXPECT_EQ(errors[2].seq_id, *memory);
  EXPECT_EQ(errors[2].error_code, static_cast<std::uint64_t>(NRT_RESOURCE));
  EXPECT_TRUE(tracker->take().empty());
  ASSERT_EQ(other->take().size(), 1u);
}

TEST(ExecutionUnits, givenAnUnrecoverableCoreWhenScheduledAgainThenThatQueueRefusesAndOthersGoOn) {
  ExecutionUnits units(2);
  const auto tracker = std::make_shared<ErrorTracker>(0);
  ASSERT_TRUE(units.schedule(
      0, Unit::kCompute, 0, [] { return static_cast<int>(NRT_EXEC_UNIT_UNRECOVERABLE); }, tracker));
  ASSERT_TRUE(units.drain(0, Unit::kCompute, 0));
  const auto refused = units.schedule(0, Unit::kCompute, 0, nothing, tracker);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnrecoverable);
  EXPECT_EQ(tracker->take().size(), 1u);
  EXPECT_TRUE(units.schedule(0, Unit::kTensorRead, 0, nothing, tracker));
  EXPECT_TRUE(units.schedule(1, Unit::kCompute, 0, nothing, nullptr));
}

TEST(ExecutionUnits, givenAFullQueueWhenOneCompletesThenOneMoreFits) {
  ExecutionUnits units(1);
  Gate first, second;
  ASSERT_TRUE(units.schedule(0, Unit::kCompute, 0, first.work(), nullptr));
  ASSERT_TRUE(units.schedule(0, Unit::kCompute, 0, second.work(), nullptr));
  for (std::size_t i = 2; i < kQueueDepth; ++i) ASSERT_TRUE(units.schedule(0, Unit::kCompute, 0, nothing, nullptr));
  auto over = units.schedule(0, Unit::kCompute, 0, nothing, nullptr);
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code, ErrorCode::kQueueFull);
  EXPECT_TRUE(units.schedule(0, Unit::kTensorRead, 0, nothing, nullptr)) << "another queue";
  first.open();
  second.wait_started();
  EXPECT_TRUE(units.schedule(0, Unit::kCompute, 0, nothing, nullptr));
  over = units.schedule(0, Unit::kCompute, 0, nothing, nullptr);
  EXPECT_FALSE(over);
  second.open();
}

TEST(ExecutionUnits, givenWorkThatHoldsSomethingWhenItIsCompletedThenThatHasBeenReleased) {
  ExecutionUnits units(1);
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = held;
  Gate gate;
  ASSERT_TRUE(units.schedule(0, Unit::kCompute, 0, gate.work(), nullptr));
  const auto seq = units.schedule(
      0, Unit::kCompute, 0, [held] { return *held - 1; }, nullptr);
  held.reset();
  EXPECT_FALSE(watch.expired());
  gate.open();
  while (!*units.is_completed(*seq)) std::this_thread::yield();
  EXPECT_TRUE(watch.expired());
}

TEST(ExecutionUnits, givenWorkIsQueuedWhenClosedThenItHasRunAndNothingIsTakenAnyMore) {
  std::atomic<int> ran{0};
  ExecutionUnits units(1);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(units.schedule(
        0, Unit::kTensorWrite, i % 2,
        [&ran] {
          ++ran;
          return static_cast<int>(NRT_SUCCESS);
        },
        nullptr));
  }
  units.close();
  EXPECT_EQ(ran, 100);
  const auto refused = units.schedule(0, Unit::kTensorWrite, 0, nothing, nullptr);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kClosed);
  units.close();
}

TEST(ExecutionUnits, givenWorkIsQueuedWhenTheProcessExitsThenWhatHasNotBegunIsNotRun) {
  const auto tracker = std::make_shared<ErrorTracker>(0);
  bool ran = false;
  ExecutionUnits units(1);
  Gate gate;
  ASSERT_TRUE(units.schedule(0, Unit::kCompute, 0, gate.work(), tracker));
  const auto second = units.schedule(
      0, Unit::kCompute, 0,
      [&ran] {
        ran = true;
        return static_cast<int>(NRT_SUCCESS);
      },
      tracker);
  ASSERT_TRUE(second);
  const auto fd = units.completion_fd(*second);
  ASSERT_TRUE(fd);
  gate.wait_started();
  EXPECT_FALSE(units.close_until(std::chrono::steady_clock::now())) << "what has begun goes on";
  gate.open();
  EXPECT_TRUE(units.close_until(std::chrono::steady_clock::now() + std::chrono::hours(1)));
  EXPECT_FALSE(ran);
  EXPECT_TRUE(readable(*fd));
  close(*fd);
  const auto& errors = tracker->take();
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0].seq_id, *second);
  EXPECT_EQ(errors[0].error_code, static_cast<std::uint64_t>(NRT_CLOSED));
}

TEST(ExecutionUnits, givenWorkWhenItDrainsItsOwnQueueThenItIsToldSo) {
  std::promise<ErrorCode> own;
  std::promise<bool> other, worker;
  ExecutionUnits units(1);
  EXPECT_FALSE(ExecutionUnits::on_worker());
  ASSERT_TRUE(units.schedule(
      0, Unit::kCompute, 0,
      [&] {
        own.set_value(units.drain(0, Unit::kCompute, 0).error().code);
        other.set_value(units.drain(0, Unit::kTensorRead, 0).has_value());
        worker.set_value(ExecutionUnits::on_worker());
        return static_cast<int>(NRT_SUCCESS);
      },
      nullptr));
  EXPECT_EQ(own.get_future().get(), ErrorCode::kState);
  EXPECT_TRUE(other.get_future().get());
  EXPECT_TRUE(worker.get_future().get());
}

TEST(ExecutionUnits, givenAWorkerWhenASignalIsSentToTheProcessThenItIsNotTheOneToTakeIt) {
  std::promise<bool> blocked;
  ExecutionUnits units(1);
  ASSERT_TRUE(units.schedule(
      0, Unit::kCompute, 0,
      [&] {
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        blocked.set_value(sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGCHLD) == 1);
        return static_cast<int>(NRT_SUCCESS);
      },
      nullptr));
  EXPECT_TRUE(blocked.get_future().get());
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  EXPECT_EQ(sigismember(&mask, SIGINT), 0) << "the caller's mask is as it was";
}

}  // namespace
