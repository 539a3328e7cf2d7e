// SPDX-License-Identifier: Apache-2.0
//
// docs/fault-injection.md, "The kinds": faults between the runtime and its driver, through the C API. After each one the documented
// recovery works, and a neighbour core that computes meanwhile notices nothing.
#include <gmock/gmock.h>

#include <algorithm>
#include <sstream>
#include <thread>

#include "core/faults/catalogue.h"
#include "core/faults/report.h"
#include "tests/faults/driver_fixture.h"

namespace fault_test {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

/// Whether the catalogue has the status among those that a fault of this kind is documented to have.
bool documented(const std::string& kind, NRT_STATUS status) {
  std::istringstream words{std::string(opennrt::faults::find_kind(kind)->status)};
  for (std::string word; words >> word;)
    if (word == nrt_get_status_as_str(status)) return true;
  return false;
}

bool loaded(const char* library) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (line.find(library) != std::string::npos) return true;
  return false;
}

// The first test of the program: nothing has loaded the decorator yet.
TEST_F(DriverFaults, givenAPlanWithoutRulesForTheDriverThenTheDecoratorIsNotEvenLoaded) {
  Program without;
  ASSERT_EQ(without.go(), NRT_SUCCESS) << logged();
  EXPECT_TRUE(loaded("libopennrt_backend_sim.so"));
  EXPECT_FALSE(loaded("libopennrt_backend_fault.so"));
  without.close();
  inject(R"({"fault": "engine_hang", "when": {"nth": 1000000}})");  // the chip's
  ASSERT_EQ(without.go(), NRT_SUCCESS) << logged();
  EXPECT_FALSE(loaded("libopennrt_backend_fault.so"));
  without.close();
  inject(R"({"fault": "drv_slow", "when": {"nth": 1000000}})");
  ASSERT_EQ(without.go(), NRT_SUCCESS) << logged();
  EXPECT_TRUE(loaded("libopennrt_backend_fault.so"));
}

enum class Recovery { kNone, kRetry, kReinit };

struct Case {
  const char* kind;
  const char* rule;  ///< beside name and fault
  Step step;         ///< that does not succeed
  NRT_STATUS status;
  const char* console;  ///< a regular expression
  Recovery recovery;
};

const Case kCases[] = {
    {"drv_open_fail", R"("where": {"device": 0})", Step::kInit, NRT_FAILURE,
     "Neuron Device 0 cannot be opened: No such device", Recovery::kReinit},
    {"drv_open_fail", R"("detail": {"errno": "EBUSY"})", Step::kInit, NRT_RESOURCE,
     "Neuron Device 0 cannot be opened: Device or resource busy", Recovery::kReinit},
    {"drv_open_fail", R"("detail": {"errno": "EIO"})", Step::kInit, NRT_HW_ERROR,
     "Neuron Device 0 cannot be opened: Input/output error", Recovery::kReinit},
    {"drv_open_fail", R"("detail": {"errno": "EACCES"})", Step::kInit, NRT_FAILURE,
     "Neuron Device 0 cannot be opened: Permission denied", Recovery::kReinit},
    {"drv_probe_fail", R"("where": {"device": 0})", Step::kInit, NRT_FAILURE,
     "This instance has no neuron devices: backend sim sees none", Recovery::kReinit},
    {"drv_probe_fail", R"("detail": {"how": "info"})", Step::kInit, NRT_HW_ERROR,
     "device_info on Neuron Device 0: Input/output error", Recovery::kReinit},
    {"drv_missing", R"("times": 1)", Step::kInit, NRT_FAILURE,
     "Unable to determine Neuron Driver version. Please check aws-neuron-dkms package is installed.",
     Recovery::kReinit},
    {"drv_old", R"("times": 1)", Step::kInit, NRT_FAILURE,
     "This runtime requires Neuron Driver version 2.0 or greater. Please upgrade aws-neuron-dkms package.",
     Recovery::kReinit},
    {"drv_cores_taken", R"("detail": {"pid": 4194000, "command": "python3 pod.py"})", Step::kInit, NRT_RESOURCE,
     "NeuronCore\\(s\\) not available - Requested:nc0-nc3 Available:0 - held: nc0,nc1,nc2,nc3 by pid 4194000 "
     "\\(python3 pod.py\\)",
     Recovery::kReinit},
    {"drv_allocation_limit", R"("where": {"core": 1}, "detail": {"bytes": 64})", Step::kLoad, NRT_RESOURCE,
     "out of device memory on Neuron Device 0 NC 1: [0-9]+ bytes asked for .*, 64 of 64 free", Recovery::kRetry},
    {"drv_allocation_limit", R"("where": {"core": 1}, "detail": {"memory": "host"})", Step::kLoad, NRT_RESOURCE,
     "out of host memory for DMA on Neuron Device 0 NC 1", Recovery::kRetry},
    {"drv_error", R"("where": {"operation": "mem_alloc", "core": 1}, "detail": {"errno": "ENOMEM"})", Step::kLoad,
     NRT_RESOURCE, "out of device memory on Neuron Device 0 NC 1", Recovery::kRetry},
    {"drv_error", R"("where": {"operation": "dma_queue_start", "core": 1}, "when": {"nth": 2})", Step::kExecute,
     NRT_HW_ERROR, "dma_queue_start on Neuron Device 0: Input/output error", Recovery::kRetry},
    {"drv_error", R"("where": {"operation": "dma_queue_init", "core": 1}, "detail": {"errno": "EINTR"})",
     Step::kExecute, NRT_FAILURE, "dma_queue_init on Neuron Device 0: Interrupted system call", Recovery::kRetry},
    {"drv_error", R"("where": {"operation": "wait", "core": 1}, "detail": {"errno": "EIO"})", Step::kExecute,
     NRT_HW_ERROR, "wait on Neuron Device 0: Input/output error", Recovery::kRetry},
    {"drv_error", R"("where": {"operation": "mem_read", "core": 1}, "detail": {"errno": "EBUSY"})", Step::kRead,
     NRT_RESOURCE, "mem_read on Neuron Device 0: Device or resource busy", Recovery::kRetry},
    {"drv_slow", R"("where": {"core": 1}, "detail": {"us": 1}, "times": 0)", Step::kDone, NRT_SUCCESS,
     "rule 'the fault' \\(drv_slow\\) strikes", Recovery::kNone},
    {"drv_notification_lost", R"("where": {"core": 1, "queue": 1})", Step::kExecute, NRT_TIMEOUT,
     "\\(FATAL-RT-UNDEFINED-STATE\\) inference timeout \\(30000 ms\\) on Neuron Device 0 NC 1, waiting for execution "
     "completion notification; missing infer_status notification",
     Recovery::kRetry},
    {"drv_notification_delayed", R"("where": {"core": 1}, "when": {"nth": 2})", Step::kDone, NRT_SUCCESS,
     "drv_notification_delayed\\) strikes at event 2 of device 0 core 1", Recovery::kNone},
    {"drv_notification_delayed", R"("where": {"core": 1}, "detail": {"ns": 60000000000})", Step::kExecute, NRT_TIMEOUT,
     "inference timeout \\(30000 ms\\) on Neuron Device 0 NC 1", Recovery::kRetry},
    {"drv_notification_duplicated", R"("where": {"core": 1}, "when": {"every": 1}, "times": 0)", Step::kDone,
     NRT_SUCCESS, "drv_notification_duplicated\\) strikes at event 3 of device 0 core 1", Recovery::kNone},
    // Phase 1 becomes 254: nobody ever sees it, nor what is behind it.
    {"drv_notification_corrupted", R"("where": {"core": 1})", Step::kExecute, NRT_TIMEOUT,
     "inference timeout \\(30000 ms\\) on Neuron Device 0 NC 1", Recovery::kRetry},
    // The end of another program.
    {"drv_notification_corrupted", R"("where": {"core": 1}, "detail": {"word": 1})", Step::kExecute, NRT_TIMEOUT,
     "inference timeout \\(30000 ms\\) on Neuron Device 0 NC 1", Recovery::kRetry},
    // NotificationType 1 becomes 3, an error, and its code 4.
    {"drv_notification_corrupted", R"("where": {"core": 1}, "detail": {"mask": 67109376})", Step::kExecute,
     NRT_EXEC_HW_ERR_NC_UE, "\\[ND 0\\]\\[NC 1\\] Uncorrectable memory error is detected", Recovery::kRetry},
    {"drv_device_removed", R"("where": {"operation": "dma_queue_start"}, "detail": {"return_after": 5})",
     Step::kExecute, NRT_FAILURE, "dma_queue_start on Neuron Device 0: No such device", Recovery::kReinit},
};

class EachDriverFault : public DriverFaults, public ::testing::WithParamInterface<Case> {};

TEST_P(EachDriverFault, givenItStrikesThenStatusAndTextAreAsDocumentedAndTheRecoveryWorks) {
  const Case& c = GetParam();
  if (c.step == Step::kInit) ::unsetenv("NEURON_RT_NUM_CORES");
  inject(std::string(R"({"name": "the fault", "fault": ")") + c.kind + "\", " + c.rule + "}");
  Program program;
  NRT_STATUS status = program.go();
  EXPECT_EQ(status, c.status) << logged();
  EXPECT_STREQ(name_of(program.at), name_of(c.step)) << logged();
  EXPECT_TRUE(documented(c.kind, c.status));
  EXPECT_THAT(logged(), ContainsRegex(std::string("fault injection: rule 'the fault' \\(") + c.kind +
                                      "\\) strikes at event [0-9]+.*"));
  EXPECT_THAT(logged(), ContainsRegex(c.console));
  // Driver upgrades take some tries: the device counts those until it is back.
  for (int i = 0; i < 10 && status != NRT_SUCCESS; ++i) {
    if (c.recovery == Recovery::kReinit) program.close();
    forget_log();
    status = program.go();
    if (std::string(c.kind) != "drv_device_removed") break;
  }
  EXPECT_EQ(status, NRT_SUCCESS) << name_of(program.at) << logged();
  EXPECT_TRUE(program.right);
}

INSTANTIATE_TEST_SUITE_P(, EachDriverFault, ::testing::ValuesIn(kCases),
                         [](const auto& one) { return std::string(one.param.kind) + "_" + std::to_string(one.index); });

/// What happens on a core while another one is disturbed.
class Neighbour {
 public:
  Neighbour() {
    const auto neff = add_neff();
    EXPECT_EQ(nrt_load(neff.data(), neff.size(), kNeighbour, 1, &model_), NRT_SUCCESS);
    thread_ = std::thread([this] {
      Tensors tensors(kNeighbour, NRT_TENSOR_PLACEMENT_DEVICE);
      EXPECT_TRUE(tensors.good());
      do {
        EXPECT_EQ(run(model_, tensors, static_cast<float>(++runs)), NRT_SUCCESS);
        EXPECT_EQ(tensors.result(), tensors.expected());
      } while (!stop_);
    });
  }
  ~Neighbour() {
    stop_ = true;
    thread_.join();
    nrt_unload(model_);
  }
  int runs = 0;

 private:
  nrt_model_t* model_ = nullptr;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

TEST_F(DriverFaults, givenSeveralThreadsAndAnErrorAtEverySeventhOperationOfACoreThenItsNeighbourIsWell) {
  inject(R"({"fault": "drv_error", "where": {"core": 1}, "when": {"nth": 200, "every": 7}, "times": 0})");
  Program program;
  ASSERT_EQ(program.go_until(Step::kExecute), NRT_SUCCESS) << logged();
  {
    Neighbour neighbour;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 20; ++i) {
          const NRT_STATUS status = nrt_execute(program.model, program.tensors->in, program.tensors->out);
          EXPECT_TRUE(documented("drv_error", status)) << nrt_get_status_as_str(status);
        }
      });
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_THAT(logged(), HasSubstr("(drv_error) strikes at event 200 of device 0 core 1"));
  program.close();
  ::unsetenv("OPENNRT_FAULTS");
  EXPECT_EQ(program.go(), NRT_SUCCESS);
  EXPECT_TRUE(program.right);
}

// The reset that follows a time limit does not succeed: the core is lost until the runtime is opened anew.
TEST_F(DriverFaults, givenAResetThatFailsThenOnlyItsCoreIsUnusableUntilTheRuntimeIsOpenedAnew) {
  for (const char* how : {"none", "EIO", "ENODEV", "ETIMEDOUT"}) {
    inject(std::string(R"({"fault": "engine_hang", "where": {"core": 1}, "when": {"nth": 1}},
                          {"fault": "drv_reset_fail", "where": {"core": 1}, "detail": {"errno": ")") +
           how + "\"}}");
    Program program;
    ASSERT_EQ(program.go_until(Step::kExecute), NRT_SUCCESS) << logged();
    {
      Neighbour neighbour;
      EXPECT_EQ(program.go(), NRT_TIMEOUT) << how << logged();
      EXPECT_EQ(program.go(), NRT_EXEC_UNIT_UNRECOVERABLE) << how << logged();
      EXPECT_THAT(logged(), HasSubstr("NC 1 of Neuron Device 0 could not be brought back after a failed inference"));
    }
    program.close();
    EXPECT_EQ(program.go(), NRT_SUCCESS) << how << logged();
    EXPECT_TRUE(program.right);
    program.close();
  }
}

TEST_F(DriverFaults, givenAResetThatIsSlowThenTheCoreIsBackAfterIt) {
  inject(R"({"fault": "engine_hang", "where": {"core": 1}, "when": {"nth": 1}},
            {"fault": "drv_reset_slow", "where": {"core": 1}, "detail": {"us": 2000}})");
  Program program;
  EXPECT_EQ(program.go(), NRT_TIMEOUT);
  EXPECT_THAT(logged(), HasSubstr("(drv_reset_slow) strikes at event 1 of device 0 core 1: reset_wait"));
  EXPECT_EQ(program.go(), NRT_SUCCESS) << logged();
  EXPECT_TRUE(program.right);
}

TEST_F(DriverFaults, givenADeviceThatStaysAwayThenEveryCallSaysSoAndNoneHangs) {
  inject(R"({"fault": "drv_device_removed", "where": {"operation": "mem_write", "core": 1}, "when": {"nth": 3}})");
  Program program;
  const NRT_STATUS status = program.go();
  EXPECT_EQ(status, NRT_FAILURE) << logged();
  EXPECT_THAT(logged(), HasSubstr("No such device"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(program.go(), NRT_FAILURE) << name_of(program.at);
  program.close();
  EXPECT_EQ(program.go(), NRT_FAILURE);
  EXPECT_THAT(logged(), HasSubstr("This instance has no neuron devices"));
  EXPECT_EQ(program.at, Step::kInit);
}

TEST_F(DriverFaults, givenOneCoreThatIsTakenThenTheOthersCanBeHad) {
  inject(R"({"fault": "drv_cores_taken", "where": {"core": 1}, "times": 0})");
  ::setenv("NEURON_RT_NUM_CORES", "2", 1);  // nc2 and nc3
  Program program;
  EXPECT_EQ(program.go(), NRT_SUCCESS) << logged();
  EXPECT_THAT(logged(), HasSubstr("Visible cores: 2, 3"));
  program.close();
  ::setenv("NEURON_RT_NUM_CORES", "3", 1);
  EXPECT_EQ(program.go(), NRT_RESOURCE);
  EXPECT_THAT(logged(), ContainsRegex("Requested:3 Available:2 - held: nc1 by pid 4194304"));
}

TEST_F(DriverFaults, givenAReportThenEachStrikeIsInIt) {
  ::setenv("OPENNRT_FAULTS_REPORT", (folder_ + "/report").c_str(), 1);
  inject(
      R"({"name": "third", "fault": "drv_error", "where": {"core": 1, "operation": "mem_alloc"}, "when": {"nth": 3}})");
  Program program;
  EXPECT_EQ(program.go(), NRT_HW_ERROR);
  program.close();
  const auto reported = opennrt::faults::read_report(folder_ + "/report");
  ASSERT_TRUE(reported.has_value()) << reported.error().message;
  ASSERT_EQ(reported->strikes.size(), 1u);
  EXPECT_EQ(reported->strikes[0].rule.name, "third");
  EXPECT_EQ(reported->strikes[0].event, 3u);
  EXPECT_EQ(reported->strikes[0].device, 0);
  EXPECT_EQ(reported->strikes[0].core, 1);
}

TEST_F(DriverFaults, givenAFaultThatTheBackendCannotHaveThenInitRefusesThePlan) {
  ::setenv("OPENNRT_BACKEND", "null", 1);
  inject(R"({"fault": "drv_notification_lost"})");
  EXPECT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_INVALID);
  EXPECT_THAT(logged(), HasSubstr("backend null cannot have drv_notification_lost"));
}

// ---- the nth operation fails, for every n ----

struct Walk {
  const char* name;
  const char* where;
  const char* error;
  NRT_STATUS status;  ///< of calls, where nothing more specific is known
  nrt_tensor_placement_t placement = NRT_TENSOR_PLACEMENT_DEVICE;
};

class EveryOperation : public DriverFaults, public ::testing::WithParamInterface<Walk> {};

TEST_P(EveryOperation, givenItFailsThenTheCallSaysSoAndCanBeRepeatedAndNothingIsLost) {
  const Walk& walk = GetParam();
  std::uint64_t strikes = 0, failures = 0;
  for (int n = 1;; ++n) {
    SCOPED_TRACE("operation " + std::to_string(n));
    forget_log();
    inject(std::string(R"({"fault": "drv_error", "where": {)") + walk.where + R"(}, "when": {"nth": )" +
           std::to_string(n) + R"(}, "detail": {"errno": ")" + walk.error + "\"}}");
    Program program(walk.placement);
    NRT_STATUS status = program.go();
    if (status != NRT_SUCCESS) {
      ++failures;
      EXPECT_TRUE(documented("drv_error", status)) << name_of(program.at) << logged();
      const bool no_version = logged().find("Unable to determine Neuron Driver version") != std::string::npos;
      if (program.at != Step::kExecute) {
        EXPECT_EQ(status, no_version ? NRT_FAILURE : walk.status) << name_of(program.at) << logged();
      }
      // The same call again; a core that could not be brought back needs a runtime that is opened anew.
      status = program.go();
      if (status == NRT_EXEC_UNIT_UNRECOVERABLE) {
        program.close();
        status = program.go();
      }
      EXPECT_EQ(status, NRT_SUCCESS) << name_of(program.at) << logged();
    }
    EXPECT_TRUE(program.right) << logged();
    const std::string log = logged();
    const bool struck = log.find("(drv_error) strikes at event") != std::string::npos;
    // Memory that the driver refused to take back is the driver's until the device is closed; all else is free again.
    if (log.find(": mem_free") == std::string::npos) {
      EXPECT_EQ(counted(kVictim, CoreCounter::kTensorsDevice), 0u);
      EXPECT_EQ(counted(kVictim, CoreCounter::kCodeDevice), 0u);
      EXPECT_EQ(counted(kVictim, CoreCounter::kConstantsDevice), 0u);
      EXPECT_EQ(counted(kVictim, CoreCounter::kMiscDevice), 0u);
    }
    program.close();
    if (!struck && logged().find("(drv_error) strikes at event") == std::string::npos) break;
    ++strikes;
    if (HasFailure()) break;
  }
  RecordProperty("strikes", static_cast<int>(strikes));
  RecordProperty("failures", static_cast<int>(failures));
  EXPECT_GT(strikes, 2u);
  EXPECT_GT(failures, 0u);
}

constexpr const char *kOfBackend = R"("device": null)", *kOfDevice = R"("device": 0, "core": null)",
                     *kOfCore = R"("device": 0, "core": 1)";
INSTANTIATE_TEST_SUITE_P(
    , EveryOperation,
    ::testing::Values(
        Walk{"backend_eio", kOfBackend, "EIO", NRT_HW_ERROR},
        Walk{"backend_enomem", kOfBackend, "ENOMEM", NRT_RESOURCE}, Walk{"device_eio", kOfDevice, "EIO", NRT_HW_ERROR},
        Walk{"device_enomem", kOfDevice, "ENOMEM", NRT_RESOURCE}, Walk{"core_eio", kOfCore, "EIO", NRT_HW_ERROR},
        Walk{"core_enomem", kOfCore, "ENOMEM", NRT_RESOURCE},
        Walk{"wait_eio", R"("operation": "wait", "core": 1)", "EIO", NRT_HW_ERROR},
        Walk{"host_tensors_eio", kOfCore, "EIO", NRT_HW_ERROR, NRT_TENSOR_PLACEMENT_HOST},
        Walk{"virtual_tensors_enomem", kOfCore, "ENOMEM", NRT_RESOURCE, NRT_TENSOR_PLACEMENT_VIRTUAL},
        Walk{"core_eintr", kOfCore, "EINTR", NRT_FAILURE}, Walk{"core_enodev", kOfCore, "ENODEV", NRT_FAILURE}),
    [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace fault_test
