// SPDX-License-Identifier: Apache-2.0
//
// Issue 6, deliver 3: every NRT_STATUS that the runtime can return on Inf1 is reached by a plan, by way of the hardware where
// there is one, and after each the application gets well again.
#include <gmock/gmock.h>

#include <regex>
#include <set>

#include "tests/faults/cells.h"

namespace fault_test {
namespace {

struct Reached {
  const char* status;
  const char* rules;  ///< nullptr: only at the front door, since it says what the program or its file did wrong
};

constexpr const char* kHang = R"({"fault": "engine_hang", "where": {"core": 1}})";
const Reached kReached[] = {
    {"NRT_FAILURE", R"({"fault": "drv_missing"})"},
    {"NRT_INVALID", nullptr},
    {"NRT_INVALID_HANDLE", nullptr},
    {"NRT_RESOURCE", R"({"fault": "drv_cores_taken"})"},
    {"NRT_TIMEOUT", kHang},
    {"NRT_HW_ERROR", R"({"fault": "drv_error", "where": {"core": 1, "operation": "mem_alloc"}})"},
    {"NRT_QUEUE_FULL", nullptr},
    {"NRT_LOAD_NOT_ENOUGH_NC", nullptr},
    {"NRT_UNSUPPORTED_NEFF_VERSION", nullptr},
    {"NRT_UNINITIALIZED", nullptr},
    {"NRT_CLOSED", nullptr},
    {"NRT_QUEUE_EMPTY", nullptr},
    {"NRT_EXEC_UNIT_UNRECOVERABLE",
     R"({"fault": "engine_hang", "where": {"core": 1}}, {"fault": "firmware_silent", "detail": {"requests": 1}})"},
    {"NRT_EXEC_BAD_INPUT", nullptr},
    {"NRT_EXEC_COMPLETED_WITH_NUM_ERR", R"({"fault": "nan_produced", "where": {"core": 1}})"},
    {"NRT_EXEC_COMPLETED_WITH_ERR", nullptr},
    {"NRT_EXEC_NC_BUSY", nullptr},
    {"NRT_EXEC_OOB", nullptr},
    {"NRT_EXEC_HW_ERR_COLLECTIVES", nullptr},
    {"NRT_EXEC_HW_ERR_HBM_UE", R"({"fault": "dram_uncorrectable", "where": {"core": 1}})"},
    {"NRT_EXEC_HW_ERR_NC_UE", R"({"fault": "sram_uncorrectable", "where": {"core": 1}})"},
    {"NRT_EXEC_HW_ERR_DMA_ABORT", R"({"fault": "dma_abort", "where": {"core": 1}, "when": {"nth": 3}})"},
    {"NRT_EXEC_SW_NQ_OVERFLOW", R"({"fault": "notification_overflow", "where": {"core": 1}})"},
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
  for (const Reached& reached : kReached) EXPECT_TRUE(known.insert(reached.status).second) << reached.status;
  for (const Unreachable& other : kUnreachable) {
    EXPECT_TRUE(known.insert(other.status).second) << other.status;
    EXPECT_STRNE(other.reason, "");
  }
  EXPECT_EQ(known, all);
}

class EveryStatus : public ::testing::TestWithParam<Reached> {};

TEST_P(EveryStatus, givenAPlanForItThenTheApplicationMeetsItAndGetsWell) {
  const Reached& reached = GetParam();
  const std::string rules =
      reached.rules != nullptr
          ? reached.rules
          : std::string(
                R"({"fault": "fd_status", "where": {"function": "nrt_execute", "model": "victim"}, "when": {"nth": 2}, "detail": {"status": ")") +
                reached.status + "\"}}";
  const Cell cell = observe("sim", R"({"version": 1, "rules": [)" + rules + "]}");
  EXPECT_THAT(cell.statuses, ::testing::Contains(reached.status)) << cell.run.out << cell.run.err;
  EXPECT_TRUE(cell.well) << cell.run.out << cell.run.err;
  EXPECT_FALSE(cell.reported.strikes.empty());
  EXPECT_THAT(cell.run.err, ::testing::HasSubstr("ERROR")) << "a failure is said on the console";
}

INSTANTIATE_TEST_SUITE_P(, EveryStatus, ::testing::ValuesIn(kReached),
                         [](const auto& one) { return std::string(one.param.status); });

}  // namespace
}  // namespace fault_test
