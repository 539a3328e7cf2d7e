// SPDX-License-Identifier: Apache-2.0
//
// The user-mode driver over a backend whose notifications the test scripts (scripted_backend.cc): loading, refusals, and what each
// notification becomes (requirements E7, G2, G3).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "tests/support/subgraph_builder.h"
#include "tests/support/umd_fixture.h"

namespace opennrt::umd {
namespace {

using test::SubgraphBuilder;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint64_t kTimeout = 30'000'000'000;

class UmdScripted : public ::testing::TestWithParam<const char*> {
 protected:
  std::string path() const {
    const char* build = std::getenv("OPENNRT_BUILD_DIR");
    return std::string(build != nullptr ? build : ".") + "/tests/libtest_backend_" + GetParam() + ".so";
  }
  void open(const std::string& script = "e") {
    host_.config["OPENNRT_SCRIPT"] = script;
    auto backend = Backend::open(path(), "", host_.host);
    ASSERT_TRUE(backend) << backend.error().message;
    auto device = Device::open(*backend, 0);
    ASSERT_TRUE(device) << device.error().message;
    device_ = *device;
  }
  Result<std::unique_ptr<Program>> load(const neff::Subgraph& g, std::uint32_t core = 0) {
    return Program::load(device_, core, g);
  }
  std::string load_error(const neff::Subgraph& g) {
    auto program = load(g);
    return program ? "" : program.error().message;
  }
  /// One inference of the copy program on what is scripted.
  ExecutionReport run() {
    auto program = load(test::copy_program(2, 4).graph, 1);
    EXPECT_TRUE(program) << program.error().message;
    if (!program) return {};
    program_ = std::move(*program);
    return again();
  }
  ExecutionReport again() {
    std::vector<float> in(8, 1.0f), out(8);
    auto report = program_->execute(std::vector{test::host_binding("in", in)},
                                    std::vector{test::host_binding("out", out)}, kTimeout);
    EXPECT_TRUE(report) << report.error().message;
    return report ? *report : ExecutionReport{};
  }
  void script(const std::string& text) { host_.config["OPENNRT_SCRIPT"] = text; }

  test::Host host_;
  std::shared_ptr<Device> device_;
  std::unique_ptr<Program> program_;
};

INSTANTIATE_TEST_SUITE_P(Backends, UmdScripted, ::testing::Values("scripted", "scripted_poll"),
                         [](const auto& p) { return std::string(p.param); });

TEST_P(UmdScripted, givenEndsOfAllEnginesWhenExecutedThenItCompletes) {
  open();
  auto report = run();
  EXPECT_EQ(report.outcome, Outcome::kCompleted) << report.message;
  EXPECT_EQ(report.message, "");
  EXPECT_GT(report.device_ns, 0u);
}

TEST_P(UmdScripted, givenEachErrorNotificationWhenExecutedThenItsOutcomeAndMessageSayIt) {
  struct Case {
    const char* script;
    Outcome outcome;
    const char* text;
  };
  open();
  for (const Case& c :
       {Case{"ne", Outcome::kCompletedWithNumericalError, "NUMERICAL"},
        Case{"i", Outcome::kIllegalInstruction, "illegal instruction at instruction 7 of act"},
        Case{"o", Outcome::kOutOfBounds, "out-of-bounds access at instruction 7 of act"},
        Case{"s", Outcome::kSramUncorrectable, "uncorrectable SRAM"},
        Case{"d", Outcome::kDramUncorrectable, "uncorrectable DRAM"},
        Case{"ce", Outcome::kCompletedWithError, "semaphore error"},
        Case{"ve", Outcome::kCompletedWithError, "event error"},
        Case{"q", Outcome::kNotificationOverflow, "notification queue overflow"},
        Case{"u", Outcome::kCompletedWithError, "unknown error notification at instruction 7 of act (code 77)"},
        Case{"nve", Outcome::kCompletedWithError,
             "event error: it was set twice or cleared twice at instruction 7 of act (1 more error notifications)"},
        Case{"n01", Outcome::kTimeout, "before that: numerical error"}}) {
    script(c.script);
    auto report = run();
    EXPECT_EQ(report.outcome, c.outcome) << c.script;
    EXPECT_THAT(report.message, HasSubstr(c.text));
    script("e");
    EXPECT_EQ(again().outcome, Outcome::kCompleted) << c.script;  // the core is usable again
  }
}

TEST_P(UmdScripted, givenAFullTraceQueueWhenAnInferenceIsProfiledThenItIsNoFailure) {
  open("e");
  run();
  // The script's overflow says value 7: type 0, trace.
  script("qe");
  const observe::profile::ProgramId id{1, 1, 1, "m", "sg00"};
  const umd::Run how{kTimeout, 0, {}, &id};
  std::vector<float> in(8, 1.0f), out(8);
  const std::vector bound_in{test::host_binding("in", in)}, bound_out{test::host_binding("out", out)};
  ASSERT_TRUE(observe::profile::continuous_start());
  auto report = program_->execute(bound_in, bound_out, how);
  EXPECT_TRUE(observe::profile::continuous_stop());
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->outcome, Outcome::kCompleted) << report->message;
  report = program_->execute(bound_in, bound_out, how);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::kNotificationOverflow) << "without a trace queue nobody may lose entries";
}

TEST_P(UmdScripted, givenADmaAbortWhenExecutedThenTheQueueIsNamed) {
  open("a");
  auto report = run();  // engine 1 queue 2 is none of this program's
  EXPECT_EQ(report.outcome, Outcome::kDmaAbort);
  EXPECT_THAT(report.message, HasSubstr("DMA abort on DMA engine 1 queue 2 (not a queue of this program)"));
}

TEST_P(UmdScripted, givenMissingEndsWhenExecutedThenTheTimeoutNamesThem) {
  open("02");
  auto report = run();
  EXPECT_EQ(report.outcome, Outcome::kTimeout);
  EXPECT_THAT(
      report.message,
      AllOf(HasSubstr(
                "inference timeout (30000 ms) on Neuron Device 0 NC 1, waiting for execution completion notification"),
            HasSubstr("(end:1) of act"), Not(HasSubstr("(end:0)")), Not(HasSubstr("(end:2)"))));
  if (std::string(GetParam()) == "scripted") {
    EXPECT_THAT(report.message, HasSubstr("pe waits for semaphore 3"));
  }
  script("e");
  EXPECT_EQ(again().outcome, Outcome::kCompleted);
}

TEST_P(UmdScripted, givenAResetThatFailsWhenExecutedAgainThenTheCoreIsUnrecoverableAndOthersWork) {
  open("!");
  auto report = run();
  EXPECT_EQ(report.outcome, Outcome::kTimeout);
  EXPECT_THAT(report.message, HasSubstr("reset_start"));
  script("e");
  report = again();
  EXPECT_EQ(report.outcome, Outcome::kUnrecoverable);
  EXPECT_THAT(report.message, HasSubstr("NC 1 of Neuron Device 0 could not be brought back"));
  auto other = load(test::copy_program(2, 4).graph, 2);
  ASSERT_TRUE(other);
  program_ = std::move(*other);
  EXPECT_EQ(again().outcome, Outcome::kCompleted);
}

TEST_P(UmdScripted, givenQueuesThatWrapWhenExecutedOftenThenPhasesAreFollowed) {
  open("xe");  // 3001 entries in a queue of 4096 each time
  EXPECT_EQ(run().outcome, Outcome::kCompleted);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(again().outcome, Outcome::kCompleted) << i;
}

TEST_P(UmdScripted, givenSemaphoresLeftWhenExecutedThenTheyAreReportedAndClearedEachTime) {
  open("Se");
  for (int i = 0; i < 3; ++i) {
    auto report = i == 0 ? run() : again();
    EXPECT_EQ(report.outcome, Outcome::kCompletedWithError);
    EXPECT_THAT(report.message, HasSubstr("semaphore 3 is 2 at the end of the inference"));
  }
  script("e");
  EXPECT_EQ(again().outcome, Outcome::kCompleted);
}

TEST_P(UmdScripted, givenBadBindingsWhenExecutedThenTheTensorIsNamed) {
  open();
  run();
  std::vector<float> in(8), out(8), small(7);
  auto other = test::Host();
  auto error = [&](std::vector<Binding> i, std::vector<Binding> o) {
    auto report = program_->execute(i, o, kTimeout);
    EXPECT_FALSE(report);
    return report ? "" : report.error().message;
  };
  using test::host_binding;
  EXPECT_THAT(error({}, {host_binding("out", out)}), HasSubstr("input 'in' is not bound"));
  EXPECT_THAT(error({host_binding("in", in)}, {}), HasSubstr("output 'out' is not bound"));
  EXPECT_THAT(error({host_binding("in", in), host_binding("in", in)}, {}), HasSubstr("'in' is bound twice"));
  EXPECT_THAT(error({host_binding("ni", in)}, {}), HasSubstr("'ni' is bound, but the program has none"));
  EXPECT_THAT(error({host_binding("in", small)}, {}), HasSubstr("'in' is bound to 28 bytes, expected at least 32"));
  auto memory = *device_->allocate_device(64, 1, OPENNRT_MEM_TENSORS_DEVICE);
  EXPECT_THAT(error({test::device_binding("in", memory, 40)}, {}), HasSubstr("'in' is bound to 24 bytes"));
  EXPECT_EQ(again().outcome, Outcome::kCompleted);
}

TEST_P(UmdScripted, givenProgramsThatBreakTheProfileWhenLoadedThenTheFieldIsNamedAndNothingIsLeft) {
  open();
  run();
  opennrt_mem_stats_t before{}, after{};
  device_->api().mem_stats(device_->handle(), 0, &before);
  struct Case {
    std::function<void(SubgraphBuilder&)> change;
    const char* text;
  };
  auto instruction = [](isa::Opcode op, std::uint32_t immediate) {
    isa::Instruction i;
    i.opcode = op;
    i.immediate_u32 = immediate;
    return i;
  };
  for (const Case& c : {
           Case{[](auto& b) { b.graph.isa_version = 0; }, "Unsupported hardware operator code 6 found in neff."},
           Case{[](auto& b) { b.graph.isa_version = 9; }, "isa_version is 9, expected 1"},
           Case{[](auto& b) { b.engine(isa::Engine::kPool).instructions[64] = std::byte{214}; },
                "Unsupported hardware operator code 214 found in neff."},
           Case{[](auto& b) { b.engine(isa::Engine::kAct).instructions.resize(65); },
                "the instructions of act have 65 bytes"},
           Case{[](auto& b) { b.trigger(isa::Engine::kPool, 2); },
                "triggers descriptor id 2, expected no more next on queue set 'store'"},
           Case{[](auto& b) { b.trigger(isa::Engine::kPe, 1); },
                "instruction 0 of pe: triggers descriptor id 1, expected an id of the engine's dma list"},
           Case{[](auto& b) { b.engine(isa::Engine::kPool).instructions.resize(64); },
                "descriptor id 2 of queue set 'store' is never triggered by pool"},
           Case{[&](auto& b) { b.add(isa::Engine::kPe, instruction(isa::Opcode::kNotify, 0x1000'0000)); },
                "notify value is 0x10000000"},
           Case{[&](auto& b) { b.add(isa::Engine::kPe, instruction(isa::Opcode::kDmaTrigger, 0)); },
                "dma_trigger is the loader's"},
           Case{[&](auto& b) { b.add(isa::Engine::kPe, instruction(isa::Opcode::kEventSet, 999)); },
                "instruction 0 of pe: "},
           Case{[](auto& b) { b.graph.queues[0].pinned = true; }, "'load' has pinned = true"},
           Case{[](auto& b) { b.variable("huge", neff::VariableType::kTmpBuf, 16u << 20); },
                "out of device memory on Neuron Device 0 NC 0: 16777216 bytes asked for (scratchpad)"},
       }) {
    SubgraphBuilder b = test::copy_program(2, 4);
    c.change(b);
    EXPECT_THAT(load_error(b.graph), HasSubstr(c.text));
  }
  device_->api().mem_stats(device_->handle(), 0, &after);
  EXPECT_EQ(before.used, after.used);
}

TEST_P(UmdScripted, givenMoreQueueSetsThanACoreHasWhenLoadedThenTheCountsAreNamed) {
  open();
  for (std::uint32_t sets : {44u, 45u}) {
    SubgraphBuilder b;
    auto scratch = b.variable("s", neff::VariableType::kTmpBuf, 64);
    for (std::uint32_t i = 0; i < sets; ++i) {
      auto q = b.queue("q" + std::to_string(i), neff::QueueType::kData, isa::Engine::kPe);
      b.dma(q, i, SubgraphBuilder::flat(scratch, 32), SubgraphBuilder::flat(scratch, 32, 32));
      b.trigger(isa::Engine::kPe, i);
    }
    auto program = load(b.graph);
    if (sets == 44) {
      EXPECT_TRUE(program) << program.error().message;
    } else {
      ASSERT_FALSE(program);
      EXPECT_EQ(program.error().code, ErrorCode::kResource);
      EXPECT_THAT(program.error().message, HasSubstr("uses 45 DMA queue sets, but a NeuronCore has 44"));
    }
  }
}

TEST_P(UmdScripted, givenMemoryWhenAccessedOutsideThenNothingMoves) {
  open();
  for (bool host : {false, true}) {
    auto memory = host ? *device_->allocate_host(100, 0, OPENNRT_MEM_TENSORS_HOST)
                       : *device_->allocate_device(100, 0, OPENNRT_MEM_TENSORS_DEVICE);
    EXPECT_EQ(memory->host() != nullptr, host);
    std::vector<std::byte> data(100, std::byte{7}), back(100);
    ASSERT_TRUE(memory->write(0, data));
    EXPECT_FALSE(memory->write(1, data));
    EXPECT_FALSE(memory->write(UINT64_MAX, data));
    EXPECT_FALSE(memory->read(101, {}));
    EXPECT_FALSE(memory->set(50, 0, 51));
    EXPECT_TRUE(memory->set(99, 1, 1));
    ASSERT_TRUE(memory->read(0, back));
    data[99] = std::byte{1};
    EXPECT_EQ(back, data);
    auto other = *device_->allocate_device(50, 0, OPENNRT_MEM_TENSORS_DEVICE);
    EXPECT_FALSE(device_->copy(*memory, 0, *other, 1, 50));
    EXPECT_TRUE(device_->copy(*memory, 50, *other, 0, 50));
  }
  EXPECT_FALSE(device_->allocate_device(0, 0, OPENNRT_MEM_TENSORS_DEVICE));
  EXPECT_FALSE(device_->allocate_device(8, 0, OPENNRT_MEM_TENSORS_DEVICE, 3));
  auto full = device_->allocate_device(9u << 20, 3, OPENNRT_MEM_TENSORS_DEVICE);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::kResource);
  EXPECT_THAT(full.error().message, HasSubstr("NC 3: 9437184 bytes asked for (tensors), 8388608 of 8388608 free"));
}

TEST_P(UmdScripted, givenWrongBackendsWhenOpenedThenTheErrorNamesThePath) {
  auto error = [&](const std::string& name) {
    auto backend = Backend::open(name, "/nowhere", host_.host);
    return backend ? "" : backend.error().message;
  };
  EXPECT_THAT(error("sim"), HasSubstr("/nowhere/libopennrt_backend_sim.so cannot be loaded"));
  EXPECT_THAT(error("../x.so"), HasSubstr("../x.so cannot be loaded"));
  EXPECT_THAT(error("a b"), HasSubstr("backend 'a b': expected a name"));
  EXPECT_THAT(error(""), HasSubstr("expected a name"));
  EXPECT_THAT(error("/lib/x86_64-linux-gnu/libz.so.1"), HasSubstr("is not a backend"));
  host_.config["OPENNRT_SCRIPT_REFUSE"] = "1";
  EXPECT_THAT(error(path()), HasSubstr("OPENNRT_SCRIPT_REFUSE is set"));
}

TEST_P(UmdScripted, givenAnotherArchitectureOrSiliconWhenUsedThenItIsRefused) {
  open("silicon");
  EXPECT_THAT(load_error(test::copy_program(2, 4).graph), HasSubstr("executes version 0 of the open instruction set"));
  host_.config["OPENNRT_SCRIPT"] = "trn";
  auto backend = Backend::open(path(), "", host_.host);
  ASSERT_TRUE(backend);
  auto device = Device::open(*backend, 0);
  ASSERT_FALSE(device);
  EXPECT_THAT(device.error().message, HasSubstr("architecture 2, expected 1"));
  auto none = Device::open(*backend, 5);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kDeviceGone);
}

TEST_P(UmdScripted, givenManyThreadsWhenExecutingOneProgramThenAllComplete) {
  open();
  run();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) EXPECT_EQ(again().outcome, Outcome::kCompleted);
    });
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace opennrt::umd
