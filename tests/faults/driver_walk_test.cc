// SPDX-License-Identifier: Apache-2.0
//
// What many parts of the C API do when the nth operation of the driver fails, for every n. The status is a documented one, the
// same call made again works, or the runtime opened anew, and nothing is lost.
#include <gtest/gtest.h>

#include <sstream>

#include "core/faults/catalogue.h"
#include "core/faults/report.h"
#include "tests/faults/driver_clients.h"

namespace fault_test {
namespace {

struct Walk {
  const char* name;
  std::unique_ptr<Client> (*make)();
  const char* where;
  const char *variable = nullptr, *value = nullptr;
};
void PrintTo(const Walk& walk, std::ostream* to) {
  *to << walk.where;
}
template <typename T>
std::unique_ptr<Client> make() {
  return std::make_unique<T>();
}

bool documented(const char* kind, NRT_STATUS status) {
  std::istringstream words{std::string(opennrt::faults::find_kind(kind)->status)};
  for (std::string word; words >> word;)
    if (word == nrt_get_status_as_str(status)) return true;
  return false;
}

struct Errno {
  const char* name;
  NRT_STATUS status;
};
constexpr Errno kErrnos[] = {
    {"EIO", NRT_HW_ERROR}, {"ENOMEM", NRT_RESOURCE}, {"EINTR", NRT_FAILURE}, {"ENODEV", NRT_FAILURE}};

class DriverWalk : public DriverFaults, public ::testing::WithParamInterface<Walk> {};

TEST_P(DriverWalk, givenTheNthOperationFailsThenTheCallSaysSoAndWorksAgainAndNothingIsLost) {
  const Walk& walk = GetParam();
  ::setenv("NEURON_RT_NUM_CORES", "4", 1);
  if (walk.variable != nullptr) ::setenv(walk.variable, walk.value, 1);
  const std::string report = folder_ + "/report";
  ::setenv("OPENNRT_FAULTS_REPORT", report.c_str(), 1);
  int strikes = 0, failures = 0;
  for (int n = 1; !HasFailure(); ++n) {
    const Errno& error = kErrnos[static_cast<std::size_t>(n) % std::size(kErrnos)];
    SCOPED_TRACE(std::string(error.name) + " from operation " + std::to_string(n));
    forget_log();
    std::filesystem::remove(report);
    inject(std::string(R"({"fault": "drv_error", "where": {)") + walk.where + R"(}, "when": {"nth": )" +
           std::to_string(n) + R"(}, "detail": {"errno": ")" + error.name + "\"}}");
    const std::unique_ptr<Client> client = walk.make();
    NRT_STATUS status = client->go();
    if (status != NRT_SUCCESS) {
      ++failures;
      EXPECT_TRUE(documented("drv_error", status)) << client->at() << ": " << nrt_get_status_as_str(status) << logged();
      if (std::string(client->at()) != "nrt_init") {
        EXPECT_TRUE(status == error.status || status == NRT_EXEC_UNIT_UNRECOVERABLE)
            << client->at() << ": " << nrt_get_status_as_str(status) << logged();
      }
      status = client->go();
      if (status == NRT_EXEC_UNIT_UNRECOVERABLE) {
        client->close();
        status = client->go();
      }
      EXPECT_EQ(status, NRT_SUCCESS) << client->at() << logged();
    }
    EXPECT_TRUE(client->right) << logged();
    const std::string log = logged();
    const bool kept = log.find(": mem_free") != std::string::npos;  // the driver's until the device is closed
    for (const int core : {0, 1, 2, 3}) {
      if (kept) break;
      for (const CoreCounter counter :
           {CoreCounter::kTensorsDevice, CoreCounter::kCodeDevice, CoreCounter::kConstantsDevice,
            CoreCounter::kScratchpadDevice, CoreCounter::kMiscDevice})
        EXPECT_EQ(counted(core, counter), 0u) << "core " << core << ", " << static_cast<int>(counter);
    }
    client->close();
    const auto reported = opennrt::faults::read_report(report);
    ASSERT_TRUE(reported.has_value()) << reported.error().message;
    EXPECT_FALSE(reported->closed.empty());
    for (const auto& closed : reported->closed) EXPECT_TRUE(closed.none());
    if (reported->strikes.empty()) break;
    ++strikes;
  }
  if (walk.variable != nullptr) ::unsetenv(walk.variable);
  RecordProperty("strikes", strikes);
  RecordProperty("failures", failures);
  EXPECT_GT(strikes, 2);
  EXPECT_GT(failures, 2);
}

constexpr const char *kFirst = R"("device": 0, "core": 0)", *kSecond = R"("device": 0, "core": 1)",
                     *kLast = R"("device": 0, "core": 3)";
INSTANTIATE_TEST_SUITE_P(
    , DriverWalk,
    ::testing::Values(Walk{"pipeline_first", make<PipelineClient>, kFirst},
                      Walk{"pipeline_second", make<PipelineClient>, kSecond},
                      Walk{"pipeline_replica_sharing_weights", make<PipelineClient>, kLast,
                           "NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS", "true"},
                      Walk{"pipeline_wait", make<PipelineClient>, R"("operation": "wait", "core": 1)"},
                      Walk{"pipeline_clock", make<PipelineClient>, R"("operation": "clock")"},
                      Walk{"mixed_first", make<MixedClient>, kFirst}, Walk{"mixed_second", make<MixedClient>, kSecond},
                      Walk{"async", make<AsyncClient>, kSecond},
                      Walk{"inflight", make<InflightClient>, kSecond, "NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS",
                           "2"},
                      Walk{"profile", make<ProfileClient>, kSecond}, Walk{"tensors", make<TensorClient>, kSecond},
                      Walk{"ranks", make<RanksClient>, kSecond, "OPENNRT_COLLECTIVES_TIMEOUT", "1"}),
    [](const auto& one) { return std::string(one.param.name); });

class DriverRemoval : public DriverFaults, public ::testing::WithParamInterface<Walk> {};

// The device goes at the nth operation, and is back when it has been asked for a few times.
TEST_P(DriverRemoval, givenTheDeviceGoesAtTheNthOperationThenARuntimeThatIsOpenedAnewWorksAndNothingIsLost) {
  const Walk& walk = GetParam();
  ::setenv("NEURON_RT_NUM_CORES", "4", 1);
  if (walk.variable != nullptr) ::setenv(walk.variable, walk.value, 1);
  const std::string report = folder_ + "/report";
  ::setenv("OPENNRT_FAULTS_REPORT", report.c_str(), 1);
  int failures = 0;
  for (int n = 1; !HasFailure(); n += 3) {
    SCOPED_TRACE("gone at operation " + std::to_string(n));
    forget_log();
    std::filesystem::remove(report);
    inject(std::string(R"({"fault": "drv_device_removed", "where": {)") + walk.where + R"(}, "when": {"nth": )" +
           std::to_string(n) + R"(}, "detail": {"return_after": 3}})");
    const std::unique_ptr<Client> client = walk.make();
    NRT_STATUS status = client->go();
    if (status != NRT_SUCCESS) ++failures;
    for (int tries = 0; status != NRT_SUCCESS && tries < 6; ++tries) {
      EXPECT_TRUE(documented("drv_device_removed", status))
          << client->at() << ": " << nrt_get_status_as_str(status) << logged();
      client->close();
      status = client->go();
    }
    EXPECT_EQ(status, NRT_SUCCESS) << client->at() << logged();
    EXPECT_TRUE(client->right) << logged();
    client->close();
    const auto reported = opennrt::faults::read_report(report);
    ASSERT_TRUE(reported.has_value()) << reported.error().message;
    for (const auto& closed : reported->closed) EXPECT_TRUE(closed.none());
    if (reported->strikes.empty()) break;
  }
  if (walk.variable != nullptr) ::unsetenv(walk.variable);
  EXPECT_GT(failures, 2);
}

INSTANTIATE_TEST_SUITE_P(, DriverRemoval,
                         ::testing::Values(Walk{"pipeline", make<PipelineClient>, kSecond},
                                           Walk{"async", make<AsyncClient>, kSecond},
                                           Walk{"inflight", make<InflightClient>, kSecond,
                                                "NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS", "2"},
                                           Walk{"profile", make<ProfileClient>, kSecond},
                                           Walk{"tensors", make<TensorClient>, kSecond}),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace fault_test
