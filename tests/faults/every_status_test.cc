// SPDX-License-Identifier: Apache-2.0
//
// docs/fault-injection.md: every NRT_STATUS that the runtime can return on Inf1 is reached by a plan, by way of the hardware where
// there is one: with the documented console text, counters and trace event (kCounted in cells.h); after each the application gets well
// again.
#include <gmock/gmock.h>

#include <regex>
#include <set>

#include "tests/faults/cells.h"

namespace fault_test {
namespace {

/// What the console says; in brackets where a user finds it (aws-neuron-sdk neuron-runtime/nrt-troubleshoot.rst).
#define STATUS "exec_consume_infer_status_notifications "
#define FATAL STATUS "\\(FATAL-RT-UNDEFINED-STATE\\) "

struct Reached {
  const char* status;
  const char* rules;  ///< nullptr: at the front door only
  const char* says;   ///< on the console, a regular expression ("": nothing); without rules: why there is no other way
  const char* how = "";  ///< option of the application
};

constexpr const char* kProgram = "says what the program did wrong, which no fault makes it do";
const Reached kReached[] = {
    {"NRT_FAILURE", R"({"fault": "drv_missing"})", "nrt_init +Unable to determine Neuron Driver version"},
    // DMA engine 5 feeds POOL from device memory. An instruction there that is damaged is reported as such; when it is run
    // again it is what it has become.
    {"NRT_INVALID", R"({"fault": "dram_uncorrectable", "where": {"core": 1, "engine": "dma5"}})",
     STATUS "illegal instruction at instruction 0 of pool"},
    {"NRT_INVALID_HANDLE", nullptr, kProgram},
    {"NRT_RESOURCE", R"({"fault": "drv_allocation_limit", "where": {"core": 1}})",
     "stage_kelf_models +Failed to stage graph: sg00 to NeuronCore 1: out of device memory"},
    {"NRT_TIMEOUT", R"({"fault": "engine_hang", "where": {"core": 1}})",
     FATAL "inference timeout \\(30000 ms\\) on Neuron Device 0 NC 1, waiting for execution completion notification"},
    {"NRT_HW_ERROR", R"({"fault": "drv_error", "where": {"core": 1, "operation": "mem_alloc"}})",
     "stage_kelf_models +Failed to stage graph: sg00 to NeuronCore 1: mem_alloc on Neuron Device 0: Input/output "
     "error"},
    // Not an error for the console: the program is told to wait.
    {"NRT_QUEUE_FULL", R"({"fault": "drv_slow", "where": {"core": 1, "operation": "wait"}, "detail": {"us": 500000}})",
     "", "queue"},
    {"NRT_LOAD_NOT_ENOUGH_NC", nullptr, kProgram},
    {"NRT_UNSUPPORTED_NEFF_VERSION", nullptr, kProgram},
    {"NRT_UNINITIALIZED", nullptr, kProgram},
    {"NRT_CLOSED", nullptr, kProgram},
    {"NRT_QUEUE_EMPTY", nullptr, "nothing is wrong: a debug stream has no event yet"},
    {"NRT_EXEC_UNIT_UNRECOVERABLE",
     R"({"fault": "engine_hang", "where": {"core": 1}}, {"fault": "firmware_silent", "detail": {"requests": 1}})",
     STATUS "NC 1 of Neuron Device 0 could not be brought back after a failed inference"},
    {"NRT_EXEC_BAD_INPUT", nullptr, kProgram},
    {"NRT_EXEC_COMPLETED_WITH_NUM_ERR", R"({"fault": "nan_produced", "where": {"core": 1}})",
     STATUS "numerical error \\(INFER_ERROR_SUBTYPE_NUMERICAL\\)"},
    // Byte 6 of an instruction: by how much it raises its semaphore.
    {"NRT_EXEC_COMPLETED_WITH_ERR",
     R"({"fault": "dram_uncorrectable", "where": {"core": 1, "engine": "dma5"}, "detail": {"offset": 6, "bit": 1}})",
     STATUS "semaphore 1 is 6 at the end of the inference on Neuron Device 0 NC 1, expected 0"},
    {"NRT_EXEC_NC_BUSY", nullptr,
     "cores are reserved at nrt_init, which says NRT_RESOURCE; from then on they are ours"},
    // Bytes 24 to 27: where it writes; it is far away, and in PSUM.
    {"NRT_EXEC_OOB",
     R"({"fault": "dram_uncorrectable", "where": {"core": 1, "engine": "dma5"}, "detail": {"offset": 26, "bit": 0}})",
     STATUS "out-of-bounds access at instruction 0 of pool"},
    // As documented, "possibly caused by a hardware error on another worker".
    {"NRT_EXEC_HW_ERR_COLLECTIVES", R"({"fault": "engine_hang", "where": {"core": 1}})",
     "nrt_barrier +.*rank 1 \\(process [0-9]+\\) ", "ranks"},
    {"NRT_EXEC_HW_ERR_HBM_UE", R"({"fault": "dram_uncorrectable", "where": {"core": 1, "engine": "dma5"}})",
     FATAL "Uncorrectable HBM memory error is detected. Execution results may be invalid."},
    {"NRT_EXEC_HW_ERR_NC_UE", R"({"fault": "sram_uncorrectable", "where": {"core": 1}})",
     FATAL "\\[ND 0\\]\\[NC 1\\] Uncorrectable memory error is detected, metadata: 0x"},
    {"NRT_EXEC_HW_ERR_DMA_ABORT", R"({"fault": "dma_abort", "where": {"core": 1, "engine": "dma4"}})",
     "\\[MLA 0\\]\\[NC 1\\] DMA [TR]X engine 4 is in an abort state"},
    {"NRT_EXEC_SW_NQ_OVERFLOW", R"({"fault": "notification_overflow", "where": {"core": 1}})",
     STATUS "notification queue overflow: an entry was lost in the notify queue of (pe|act|pool)"},
};

struct Unreachable {
  const char* status;
  const char* reason;
};
const Unreachable kUnreachable[] = {
    {"NRT_SUCCESS", "no failure"},
    {"NRT_FAIL_HOST_MEM_ALLOC", "never returned (nrt_status.h); host memory that runs out is NRT_RESOURCE"},
    {"NRT_COLL_PENDING", "of collectives that later generations start and ask for"},
    {"NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE", "Inf1 has no HBM whose rows can be repaired"},
    {"NRT_NETWORK_PROXY_FAILURE", "Inf1 has no network below its collectives"},
};

TEST(PublicStatuses, givenThePublicHeaderThenEachStatusIsReachedOrHasAReason) {
  const std::string header =
      opennrt::test::read_text(std::string(std::getenv("OPENNRT_SOURCE_DIR")) + "/core/include/nrt/nrt_status.h");
  const std::regex enumerator("(NRT_[A-Z_]+) = [0-9]+");
  std::set<std::string> all, known;
  for (std::sregex_iterator it(header.begin(), header.end(), enumerator), end; it != end; ++it) all.insert((*it)[1]);
  for (const Reached& reached : kReached) {
    EXPECT_TRUE(known.insert(reached.status).second) << reached.status;
    EXPECT_TRUE(reached.rules != nullptr || *reached.says != '\0')
        << reached.status << ": only at the front door, why?";
  }
  for (const Unreachable& other : kUnreachable) {
    EXPECT_TRUE(known.insert(other.status).second) << other.status;
    EXPECT_STRNE(other.reason, "");
  }
  EXPECT_EQ(known, all);
}

class EveryStatus : public ::testing::TestWithParam<Reached> {};

TEST_P(EveryStatus, givenAPlanForItThenItIsMetWithItsTextCounterAndEventAndTheApplicationGetsWell) {
  const Reached& reached = GetParam();
  const bool made_up = reached.rules == nullptr;
  const std::string rules =
      made_up
          ? std::string(
                R"({"fault": "fd_status", "where": {"function": "nrt_execute", "model": "victim"}, "when": {"nth": 2}, "detail": {"status": ")") +
                reached.status + "\"}}"
          : reached.rules;
  const Cell cell = observe("sim", R"({"version": 1, "rules": [)" + rules + "]}",
                            *reached.how == '\0' ? std::vector<std::string>{} : std::vector<std::string>{reached.how});
  SCOPED_TRACE(cell.run.out + cell.run.err);
  EXPECT_THAT(cell.statuses, ::testing::Contains(reached.status));
  EXPECT_TRUE(cell.well);
  EXPECT_NE(cell.recovery, "");
  EXPECT_FALSE(cell.reported.strikes.empty());
  const std::string says = made_up ? std::string("nrt_execute +fault injection: ") + reached.status +
                                         " \\([0-9]+\\) is returned and nothing is done"
                                   : reached.says;
  if (says.empty()) {
    EXPECT_THAT(error_lines(cell), ::testing::IsEmpty());
  } else {
    EXPECT_THAT(error_lines(cell), ::testing::Contains(::testing::ContainsRegex(says)));
  }
  expect_counted(cell, made_up);
  if (*reached.how == '\0') expect_neighbour_untouched(cell);
}

INSTANTIATE_TEST_SUITE_P(, EveryStatus, ::testing::ValuesIn(kReached),
                         [](const auto& one) { return std::string(one.param.status); });

}  // namespace
}  // namespace fault_test
