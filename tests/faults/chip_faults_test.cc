// SPDX-License-Identifier: Apache-2.0
//
// docs/fault-injection.md, "The kinds": each fault that happens inside the chip, through the C API: the documented status, console
// text, counters and trace; the documented recovery works; a neighbour core that computes meanwhile notices nothing.
#include <gmock/gmock.h>
#include <opennrt/marker.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <thread>

#include "core/faults/report.h"
#include "tests/faults/chip_fixture.h"

namespace fault_test {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

enum class Recovery { kRetry, kReload, kReinit };

struct Case {
  const char* name;
  const char* rule;  ///< beside name and where.core
  NRT_STATUS status;
  const char* console;  ///< a regular expression; null: nothing but the strike is logged
  CoreCounter counter;
  Recovery recovery;
  const char* where = "";  ///< more of `where`
};

/// The console prefix of src/libnrt's documented examples (aws-neuron-sdk neuron-runtime/nrt-troubleshoot.rst).
#define FATAL "exec_consume_infer_status_notifications +\\(FATAL-RT-UNDEFINED-STATE\\) "

const Case kCases[] = {
    {"sram_correctable", R"("when": {"nth": 2})", NRT_SUCCESS, nullptr, CoreCounter::kCompleted, Recovery::kRetry},
    {"sram_uncorrectable", R"("when": {"nth": 2})", NRT_EXEC_HW_ERR_NC_UE,
     FATAL "\\[ND 0\\]\\[NC 1\\] Uncorrectable memory error is detected, metadata: 0x", CoreCounter::kCoreUncorrectable,
     Recovery::kRetry},
    {"dram_correctable", R"("when": {"nth": 1})", NRT_SUCCESS, nullptr, CoreCounter::kCompleted, Recovery::kRetry},
    {"dram_uncorrectable", R"("when": {"nth": 1})", NRT_EXEC_HW_ERR_HBM_UE,
     FATAL "Uncorrectable HBM memory error is detected. Execution results may be invalid.",
     CoreCounter::kHbmUncorrectable, Recovery::kReload},
    {"dma_abort", R"("when": {"nth": 3})", NRT_EXEC_HW_ERR_DMA_ABORT,
     "\\[MLA 0\\]\\[NC 1\\] DMA [TR]X engine [3-5] is in an abort state", CoreCounter::kDmaAbort, Recovery::kRetry},
    {"dma_stall", R"("when": {"nth": 3})", NRT_TIMEOUT,
     FATAL "inference timeout \\(30000 ms\\) on Neuron Device 0 NC 1.*q [3-5]/[0-9]+ is stalled",
     CoreCounter::kTimedOut, Recovery::kRetry},
    {"dma_stall", R"("when": {"nth": 3}, "detail": {"ns": 100000})", NRT_SUCCESS, nullptr, CoreCounter::kCompleted,
     Recovery::kRetry},
    {"descriptor_corrupt", R"("when": {"nth": 4})", NRT_EXEC_HW_ERR_DMA_ABORT, "is in an abort state",
     CoreCounter::kDmaAbort, Recovery::kRetry},
    {"descriptor_corrupt", R"("when": {"nth": 5}, "detail": {"field": "ring_id", "mask": 1})",
     NRT_EXEC_HW_ERR_DMA_ABORT, "is in an abort state", CoreCounter::kDmaAbort, Recovery::kRetry},
    {"engine_hang", R"("when": {"nth": 1})", NRT_TIMEOUT,
     FATAL "inference timeout \\(30000 ms\\) on Neuron Device 0 NC 1, waiting for execution completion notification.*"
           "pool stopped at instruction 0: it hangs",
     CoreCounter::kTimedOut, Recovery::kRetry, R"(, "engine": "pool")"},
    {"engine_slow", R"("when": {"nth": 1}, "detail": {"factor": 1000})", NRT_SUCCESS, nullptr, CoreCounter::kCompleted,
     Recovery::kRetry},
    {"engine_slow", R"("when": {"nth": 1}, "detail": {"factor": 1e9})", NRT_TIMEOUT, FATAL "inference timeout",
     CoreCounter::kTimedOut, Recovery::kRetry, R"(, "engine": "pool")"},
    {"nan_produced", R"("when": {"nth": 1})", NRT_EXEC_COMPLETED_WITH_NUM_ERR, "INFER_ERROR_SUBTYPE_NUMERICAL",
     CoreCounter::kCompletedWithNumericalError, Recovery::kRetry},
    {"notification_overflow", R"("when": {"nth": 1})", NRT_EXEC_SW_NQ_OVERFLOW, "notification queue overflow",
     CoreCounter::kNotificationOverflow, Recovery::kRetry},
    {"semaphore_stuck", R"("when": {"nth": 1})", NRT_TIMEOUT, FATAL "inference timeout.*waits for semaphore",
     CoreCounter::kTimedOut, Recovery::kRetry},
};

class EachChipFault : public ChipFaults, public ::testing::WithParamInterface<Case> {};

TEST_P(EachChipFault, givenItStrikesThenStatusTextCountersAndRecoveryAreAsDocumentedAndTheNeighbourIsWell) {
  const Case& c = GetParam();
  start(std::string(R"({"name": "the fault", "fault": ")") + c.name + R"(", "where": {"device": 0, "core": 1)" +
        c.where + "}, " + c.rule + "}");
  nrt_model_t *victim = load(kVictim), *neighbour = load(kNeighbour);
  ASSERT_NE(victim, nullptr);
  ASSERT_NE(neighbour, nullptr);
  Tensors tensors(kVictim, NRT_TENSOR_PLACEMENT_DEVICE);
  EXPECT_THAT(logged(), Not(HasSubstr("fault injection: rule"))) << "copies of the driver are not counted";

  std::atomic<bool> stop = false;
  std::uint64_t beside = 0;
  std::thread other([&] {
    Tensors own(kNeighbour, NRT_TENSOR_PLACEMENT_DEVICE);
    do {
      expect_well(neighbour, own, static_cast<float>(++beside));
    } while (!stop);
  });
  const NRT_STATUS status = run(victim, tensors, 5);
  const std::vector<float> result = tensors.result();
  stop = true;
  other.join();

  EXPECT_EQ(status, c.status) << logged();
  EXPECT_THAT(logged(), ContainsRegex(std::string("fault injection: rule 'the fault' \\(") + c.name +
                                      "\\) strikes at event [0-9]+ of device 0 core 1"));
  if (c.console != nullptr) {
    EXPECT_THAT(logged(), ContainsRegex(c.console));
  }
  if (c.status == NRT_SUCCESS) {
    EXPECT_EQ(result, tensors.expected());
  }
  if (c.status == NRT_EXEC_COMPLETED_WITH_NUM_ERR) {
    EXPECT_TRUE(std::isnan(result[0]));
    std::vector<float> others = tensors.expected();
    others[0] = result[0];
    EXPECT_TRUE(std::equal(others.begin() + 1, others.end(), result.begin() + 1));
  }
  EXPECT_EQ(counted(kVictim, c.counter), 1u);
  for (const auto& ending : opennrt::observe::kEndings) {
    EXPECT_EQ(counted(kNeighbour, ending.counter), ending.counter == CoreCounter::kCompleted ? beside : 0u)
        << ending.name;
  }

  if (c.recovery == Recovery::kReload) {
    ASSERT_EQ(nrt_unload(victim), NRT_SUCCESS);
    victim = load(kVictim);
  }
  for (int i = 0; i < 3; ++i) expect_well(victim, tensors, static_cast<float>(100 + i));
}

INSTANTIATE_TEST_SUITE_P(, EachChipFault, ::testing::ValuesIn(kCases),
                         [](const auto& c) { return std::string(c.param.name) + "_" + std::to_string(c.index); });

TEST_F(ChipFaults, givenABitFlippedInWhatADescriptorCarriesThenOneValueIsWrongAndNothingSaysSo) {
  // Byte 7, bit 7 of the first run of bytes that is moved: the sign of the second value of "a".
  start(R"({"name": "silent", "fault": "data_bit_flip", "where": {"core": 1}, "when": {"nth": 1},
            "detail": {"memory": "dma", "offset": 7, "bit": 7}})");
  nrt_model_t* model = load(kVictim);
  Tensors tensors(kVictim, NRT_TENSOR_PLACEMENT_DEVICE);
  ASSERT_EQ(run(model, tensors, 5), NRT_SUCCESS);
  auto expected = tensors.expected();
  expected[1] = -1.0f + 5.0f;
  EXPECT_EQ(tensors.result(), expected);
  expect_well(model, tensors, 6);
}

TEST_F(ChipFaults, givenABitFlippedInSbufBeforeTheSumThenTheSumIsWrong) {
  start(R"({"name": "cosmic ray", "fault": "data_bit_flip", "where": {"core": 1, "engine": "pool"}, "when": {"nth": 1},
            "detail": {"memory": "sbuf", "partition": 2, "offset": 11, "bit": 7}})");
  nrt_model_t* model = load(kVictim);
  Tensors tensors(kVictim, NRT_TENSOR_PLACEMENT_DEVICE);
  ASSERT_EQ(run(model, tensors, 5), NRT_SUCCESS);
  auto expected = tensors.expected();
  const std::size_t at = 2 * kColumns + 2;
  expected[at] = -static_cast<float>(at) + 5.0f;
  EXPECT_EQ(tensors.result(), expected);
  expect_well(model, tensors, 6);
}

TEST_F(ChipFaults, givenAFirmwareThatIsSilentWhenACoreNeedsAResetThenItIsUnrecoverableUntilTheRuntimeIsOpenedAgain) {
  start(R"({"name": "first", "fault": "engine_hang", "where": {"core": 1}, "when": {"nth": 1}},
           {"name": "then", "fault": "firmware_silent"})");
  nrt_model_t *victim = load(kVictim), *neighbour = load(kNeighbour);
  {
    Tensors tensors(kVictim, NRT_TENSOR_PLACEMENT_DEVICE), own(kNeighbour, NRT_TENSOR_PLACEMENT_DEVICE);
    EXPECT_EQ(run(victim, tensors, 1), NRT_TIMEOUT);
    EXPECT_THAT(logged(), ContainsRegex("rule 'then' \\(firmware_silent\\) strikes at event 1 of device 0, "));
    EXPECT_EQ(run(victim, tensors, 2), NRT_EXEC_UNIT_UNRECOVERABLE) << logged();
    EXPECT_THAT(logged(), HasSubstr("could not be brought back after a failed inference"));
    expect_well(neighbour, own, 3);
  }
  nrt_close();
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  victim = load(kVictim);
  Tensors tensors(kVictim, NRT_TENSOR_PLACEMENT_DEVICE);
  expect_well(victim, tensors, 4);
}

TEST_F(ChipFaults, givenTheLinkToTheHostIsDownThenNothingComesBackUntilTheRuntimeIsOpenedAgain) {
  start(
      R"({"name": "link", "fault": "link_down", "where": {"core": 1}, "when": {"nth": 2}, "detail": {"link": "host"}})");
  nrt_model_t* victim = load(kVictim);
  {
    Tensors tensors(kVictim, NRT_TENSOR_PLACEMENT_HOST);
    ASSERT_EQ(tensors.write(1), NRT_SUCCESS);
    EXPECT_EQ(nrt_execute(victim, tensors.in, tensors.out), NRT_TIMEOUT) << logged();
    EXPECT_EQ(nrt_execute(victim, tensors.in, tensors.out), NRT_EXEC_UNIT_UNRECOVERABLE) << logged();
  }
  nrt_close();
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  victim = load(kVictim);
  Tensors tensors(kVictim, NRT_TENSOR_PLACEMENT_HOST);
  expect_well(victim, tensors, 4);
}

TEST_F(ChipFaults, givenFaultsWhenTheSystemTraceRecordsThenItHasTheirEvents) {
  start(R"({"name": "nan", "fault": "nan_produced", "where": {"core": 1}, "when": {"nth": 2}, "detail": {"element": 9}},
           {"name": "ecc", "fault": "sram_uncorrectable", "where": {"core": 1, "engine": "pool"}, "when": {"nth": 7}})");
  nrt_model_t* model = load(kVictim);
  Tensors tensors(kVictim, NRT_TENSOR_PLACEMENT_DEVICE);
  ASSERT_EQ(nrt_sys_trace_start(nullptr), NRT_SUCCESS);
  const auto events = [] {
    char* text = nullptr;
    std::size_t bytes = 0;
    EXPECT_EQ(nrt_sys_trace_fetch_events(&text, &bytes, nullptr), NRT_SUCCESS);
    const std::string result(text, bytes);
    nrt_sys_trace_buffer_free(text);
    return result;
  };
  EXPECT_EQ(run(model, tensors, 1), NRT_SUCCESS);
  EXPECT_THAT(events(),
              AllOf(HasSubstr("nc_exec_running"), Not(HasSubstr("numerical_err")), Not(HasSubstr("hw_notify"))));
  EXPECT_EQ(run(model, tensors, 2), NRT_EXEC_COMPLETED_WITH_NUM_ERR);
  EXPECT_TRUE(std::isnan(tensors.result()[9]));
  EXPECT_THAT(events(), AllOf(HasSubstr("numerical_err"), Not(HasSubstr("hw_notify"))));
  NRT_STATUS status = NRT_SUCCESS;
  for (int i = 0; i < 7 && status == NRT_SUCCESS; ++i) status = run(model, tensors, 3);
  EXPECT_EQ(status, NRT_EXEC_HW_ERR_NC_UE);
  EXPECT_THAT(events(), AllOf(HasSubstr("hw_notify"), Not(HasSubstr("numerical_err"))));
  EXPECT_EQ(nrt_sys_trace_stop(), NRT_SUCCESS);
}

TEST_F(ChipFaults, givenAnAbortOfTheDriversOwnCopiesThenWhatCopiedSaysSoAndWorksWhenTriedAgain) {
  start(R"({"name": "copies", "fault": "dma_abort", "where": {"core": 1, "queue": 15}, "when": {"nth": 1}})");
  const auto neff = add_neff();
  nrt_model_t* model = nullptr;
  EXPECT_EQ(nrt_load(neff.data(), neff.size(), kVictim, 1, &model), NRT_HW_ERROR) << logged();
  EXPECT_THAT(logged(), ContainsRegex("ERROR +NRT:nrt_load +mem_write on Neuron Device 0: Input/output error"));
  model = load(kVictim);
  Tensors tensors(kVictim, NRT_TENSOR_PLACEMENT_DEVICE);
  expect_well(model, tensors, 1);
}

TEST_F(ChipFaults, givenARuleBetweenMarkersThenItStrikesOnlyThere) {
  start(R"({"name": "window", "fault": "nan_produced", "where": {"core": 1}, "times": 0,
            "when": {"between": ["warm:2", "nrt_execute:3"]}})");
  nrt_model_t* model = load(kVictim);
  Tensors tensors(kVictim, NRT_TENSOR_PLACEMENT_DEVICE);
  ASSERT_EQ(run(model, tensors, 1), NRT_SUCCESS) << "before all markers";
  opennrt_marker("warm");
  ASSERT_EQ(run(model, tensors, 2), NRT_SUCCESS) << "the first \"warm\"";
  opennrt_marker("warm");
  EXPECT_EQ(run(model, tensors, 3), NRT_EXEC_COMPLETED_WITH_NUM_ERR);
  EXPECT_EQ(run(model, tensors, 4), NRT_SUCCESS) << "the third nrt_execute has returned";
  opennrt_marker("warm");
  expect_well(model, tensors, 5);
}

TEST_F(ChipFaults, givenAMarkerPassedWhileTheLibraryIsClosedThenTheChipKnowsWhenItIsOpenAgain) {
  start(R"({"name": "second life", "fault": "nan_produced", "where": {"core": 1}, "times": 0,
            "when": {"between": ["nrt_close", ""]}})");
  {
    nrt_model_t* model = load(kVictim);
    Tensors tensors(kVictim, NRT_TENSOR_PLACEMENT_DEVICE);
    ASSERT_EQ(run(model, tensors, 1), NRT_SUCCESS);
  }
  nrt_close();
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS);
  nrt_model_t* model = load(kVictim);
  Tensors tensors(kVictim, NRT_TENSOR_PLACEMENT_DEVICE);
  EXPECT_EQ(run(model, tensors, 2), NRT_EXEC_COMPLETED_WITH_NUM_ERR);
}

TEST_F(ChipFaults, givenManyRulesAtOnceThenEachInferenceEndsAsDocumentedAndTheCoreAlwaysComesBack) {
  start(R"({"name": "a", "fault": "engine_hang", "where": {"core": 1}, "when": {"probability": 0.02}, "times": 0},
           {"name": "b", "fault": "dma_abort", "where": {"core": 1}, "when": {"probability": 0.01}, "times": 0},
           {"name": "c", "fault": "descriptor_corrupt", "where": {"core": 1}, "when": {"probability": 0.01}, "times": 0},
           {"name": "d", "fault": "dma_stall", "where": {"core": 1}, "when": {"probability": 0.01}, "times": 0},
           {"name": "e", "fault": "semaphore_stuck", "where": {"core": 1}, "when": {"probability": 0.02}, "times": 0},
           {"name": "f", "fault": "notification_overflow", "where": {"core": 1}, "when": {"probability": 0.02}, "times": 0},
           {"name": "g", "fault": "sram_uncorrectable", "where": {"core": 1}, "when": {"probability": 0.01}, "times": 0},
           {"name": "h", "fault": "nan_produced", "where": {"core": 1}, "when": {"probability": 0.1}, "times": 0})");
  nrt_model_t *victim = load(kVictim), *neighbour = load(kNeighbour);
  Tensors tensors(kVictim, NRT_TENSOR_PLACEMENT_DEVICE), own(kNeighbour, NRT_TENSOR_PLACEMENT_DEVICE);
  std::map<NRT_STATUS, int> ended;
  for (int i = 0; i < 300; ++i) {
    const NRT_STATUS status = run(victim, tensors, static_cast<float>(i));
    ++ended[status];
    if (status == NRT_SUCCESS) {
      ASSERT_EQ(tensors.result(), tensors.expected()) << i;
    }
    expect_well(neighbour, own, static_cast<float>(i));
  }
  for (const NRT_STATUS status : {NRT_SUCCESS, NRT_TIMEOUT, NRT_EXEC_HW_ERR_DMA_ABORT, NRT_EXEC_SW_NQ_OVERFLOW,
                                  NRT_EXEC_HW_ERR_NC_UE, NRT_EXEC_COMPLETED_WITH_NUM_ERR}) {
    EXPECT_GT(ended[status], 0) << status;
    ended.erase(status);
  }
  for (const auto& [status, count] : ended) ADD_FAILURE() << count << " ended with " << status;
}

TEST_F(ChipFaults, givenTheLinkReturnsWhenItsTimeIsOverThenOtherCoresGoOn) {
  start(R"({"name": "flap", "fault": "link_down", "where": {"core": 1}, "when": {"nth": 1},
            "detail": {"link": "host", "ns": 1000}})");
  nrt_model_t *victim = load(kVictim), *other = load(kNeighbour);
  Tensors tensors(kVictim, NRT_TENSOR_PLACEMENT_HOST), own(kNeighbour, NRT_TENSOR_PLACEMENT_DEVICE);
  ASSERT_EQ(tensors.write(1), NRT_SUCCESS);
  EXPECT_NE(nrt_execute(victim, tensors.in, tensors.out), NRT_SUCCESS) << "its packet met the link when it was down";
  expect_well(other, own, 2);
}

/// Four cores, each with inferences of its own.
class Reproducible : public ChipFaults {
 protected:
  static constexpr int kCores = 4, kInferences = 20;

  /// What struck, one line each, sorted; and how each inference of each core ended.
  std::vector<std::string> strikes(unsigned seed, bool threads, std::vector<std::vector<NRT_STATUS>>& ended) {
    static int number = 0;
    const std::string report = folder_ + "/report" + std::to_string(++number);
    ::setenv("OPENNRT_FAULTS_REPORT", report.c_str(), 1);
    start(
        R"({"name": "nan", "fault": "nan_produced", "where": {"engine": "pool"}, "when": {"probability": 0.3}, "times": 0},
           {"name": "ecc", "fault": "sram_correctable", "when": {"probability": 0.1}, "times": 0},
           {"name": "hang", "fault": "engine_hang", "where": {"engine": "pe"}, "when": {"every": 7}, "times": 2},
           {"name": "abort", "fault": "dma_abort", "where": {"core": 2}, "when": {"nth": 40}})",
        seed);
    ended.assign(kCores, {});
    std::vector<nrt_model_t*> models;
    for (int core = 0; core < kCores; ++core) models.push_back(load(core));
    const auto work = [&](int core) {
      Tensors tensors(core, NRT_TENSOR_PLACEMENT_DEVICE);
      for (int i = 0; i < kInferences; ++i) {
        ended[core].push_back(run(models[static_cast<std::size_t>(core)], tensors, static_cast<float>(i)));
      }
    };
    std::vector<std::thread> running;
    for (int core = 0; core < kCores; ++core) {
      if (threads) {
        running.emplace_back(work, core);
      } else {
        work(core);
      }
    }
    for (std::thread& thread : running) thread.join();
    nrt_close();
    ::unsetenv("OPENNRT_FAULTS_REPORT");
    const auto reported = opennrt::faults::read_report(report);
    EXPECT_TRUE(reported) << reported.error().message;
    return reported ? opennrt::faults::strike_lines(*reported) : std::vector<std::string>{};
  }
};

TEST_F(Reproducible, givenOnePlanAndSeedWhenRunAgainAndWithFourThreadsThenTheSameFaultsStrikeInTheSamePlaces) {
  std::vector<std::vector<NRT_STATUS>> one, again, four, other;
  const auto first = strikes(7, false, one);
  EXPECT_GT(first.size(), 20u);
  EXPECT_EQ(strikes(7, false, again), first);
  EXPECT_EQ(again, one);
  EXPECT_EQ(strikes(7, true, four), first);
  EXPECT_EQ(four, one);
  EXPECT_NE(strikes(8, false, other), first);
}

}  // namespace
}  // namespace fault_test
