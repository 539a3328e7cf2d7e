// SPDX-License-Identifier: Apache-2.0
// What the library says about itself and the machine, and what it refuses because Inferentia does not have it.
#include <cstring>
#include <functional>
#include <utility>

#include "tests/conformance/fixture.h"

namespace conformance {
namespace {

using Machine = Open;

TEST_F(Machine, givenAVersionStructWhenFilledThenItSaysWhoWeAre) {
  nrt_version_t version;
  std::memset(&version, 0xff, sizeof(version));
  EXPECT_EQ(nrt_get_version(&version, sizeof(version)), NRT_SUCCESS);
  EXPECT_EQ(version.rt_major, 2u);
  EXPECT_EQ(std::string(version.rt_detail).rfind("OpenNRT ", 0), 0u);
  EXPECT_NE(std::memchr(version.git_hash, 0, sizeof(version.git_hash)), nullptr);
}

TEST_F(Machine, givenAnOlderCallersVersionStructWhenFilledThenOnlyItsBytesAreWritten) {
  unsigned char room[sizeof(nrt_version_t)];
  std::memset(room, 0xee, sizeof(room));
  EXPECT_EQ(nrt_get_version(reinterpret_cast<nrt_version_t*>(room), 16), NRT_SUCCESS);
  EXPECT_EQ(room[0], 2);
  EXPECT_EQ(room[16], 0xee);
  EXPECT_EQ(nrt_get_version(nullptr, sizeof(nrt_version_t)), NRT_INVALID);
  EXPECT_EQ(nrt_get_version(reinterpret_cast<nrt_version_t*>(room), 0), NRT_INVALID);
}

TEST_F(Machine, givenAnInstanceStructWhenFilledThenItIsAnInf1) {
  nrt_instance_info_t info{};
  EXPECT_EQ(nrt_get_instance_info(&info, sizeof(info)), NRT_SUCCESS);
  EXPECT_EQ(info.family, static_cast<std::uint32_t>(NRT_INSTANCE_INF1));
  EXPECT_STREQ(info.arch_name, "NDv1");
  EXPECT_EQ(nrt_get_instance_info(nullptr, sizeof(info)), NRT_INVALID);
  EXPECT_EQ(nrt_get_instance_info(&info, 0), NRT_INVALID);
}

TEST_F(Machine, givenAStatusWhenNamedThenTheNameIsTheEnumeratorsAndAnotherNumberIsUnknown) {
  EXPECT_STREQ(nrt_get_status_as_str(NRT_EXEC_HW_ERR_NC_UE), "NRT_EXEC_HW_ERR_NC_UE");
  EXPECT_STREQ(nrt_get_status_as_str(static_cast<NRT_STATUS>(8)), "NRT_UNKNOWN_STATUS");
}

TEST_F(Machine, givenATensorOnTheDeviceWhenMemoryIsAskedForThenItIsAccountedAndGivenBack) {
  nrt_vnc_memory_stats_t before{}, during{}, after{};
  std::size_t written = 0;
  EXPECT_EQ(nrt_get_vnc_memory_stats(0, &before, sizeof(before), &written), NRT_SUCCESS);
  EXPECT_EQ(written, sizeof(before));
  EXPECT_GT(before.bytes_limit, before.bytes_used);
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_DEVICE, 1 << 20);
  EXPECT_EQ(nrt_get_vnc_memory_stats(0, &during, sizeof(during), nullptr), NRT_SUCCESS);
  EXPECT_GE(during.bytes_used, before.bytes_used + (1 << 20));
  nrt_tensor_free(&tensor);
  EXPECT_EQ(nrt_get_vnc_memory_stats(0, &after, sizeof(after), nullptr), NRT_SUCCESS);
  EXPECT_EQ(after.bytes_used, before.bytes_used);
}

TEST_F(Machine, givenWrongArgumentsWhenMemoryIsAskedForThenTheyAreInvalid) {
  nrt_vnc_memory_stats_t stats{};
  EXPECT_EQ(nrt_get_vnc_memory_stats(999, &stats, sizeof(stats), nullptr), NRT_INVALID);
  EXPECT_TRUE(has_logged("vnc is 999"));
  EXPECT_EQ(nrt_get_vnc_memory_stats(0, nullptr, sizeof(stats), nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_get_vnc_memory_stats(0, &stats, 0, nullptr), NRT_INVALID);
}

TEST_F(Machine, givenADeviceNumberWhenTheHostsIsAskedForThenItAnswersForThoseThatAreThere) {
  std::uint32_t id = 99;
  EXPECT_EQ(nrt_host_device_id_get(0, &id), NRT_SUCCESS);
  EXPECT_EQ(id, 0u);
  EXPECT_EQ(nrt_host_device_id_get(1000, &id), NRT_INVALID);
  EXPECT_EQ(nrt_host_device_id_get(-1, &id), NRT_INVALID);
  EXPECT_EQ(nrt_host_device_id_get(0, nullptr), NRT_INVALID);
}

TEST_F(Machine, givenSynchronousExecutionWhenDrainedThenNothingIsQueued) {
  EXPECT_EQ(nrt_async_drain_queued_execs(0), NRT_SUCCESS);
  EXPECT_EQ(nrt_async_drain_queued_execs(-1), NRT_INVALID);
  EXPECT_EQ(nrt_async_drain_queued_execs(999), NRT_INVALID);
}

TEST_F(Machine, givenWhatInferentiaDoesNotHaveWhenCalledTwiceThenTheStatusIsTheDocumentedOneAndItIsLoggedOnce) {
  static int some;
  static std::uint32_t number = 0;
  static void* address;
  static std::size_t size;
  const std::vector<std::tuple<const char*, NRT_STATUS, std::function<NRT_STATUS()>>> calls = {
      {"nrt_get_dmabuf_fd", NRT_INVALID, [] { return nrt_get_dmabuf_fd(0, 0, &some); }},
      {"nrt_get_hbm_mmap_va", NRT_INVALID, [] { return nrt_get_hbm_mmap_va(0, 0, &address, &size); }},
      {"nrt_memcpy_to_device", NRT_INVALID, [] { return nrt_memcpy_to_device(&some, &some, 4); }},
      {"nrt_get_attached_efa_bdf", NRT_FAILURE, [] { return nrt_get_attached_efa_bdf(&some, nullptr, &size); }},
      {"nrt_host_device_id_rid_map_get", NRT_INVALID, [] { return nrt_host_device_id_rid_map_get(&number, &number); }},
      {"nrt_set_pool_eng_ucode", NRT_INVALID, [] { return nrt_set_pool_eng_ucode(nullptr); }},
      {"nrt_get_libnccl_net", NRT_INVALID,
       [] {
         int error = 0;
         char text[64] = "";
         EXPECT_EQ(nrt_get_libnccl_net(&error, text, sizeof(text)), nullptr);
         EXPECT_NE(std::string(text), "");
         EXPECT_EQ(nrt_get_libnccl_net(nullptr, nullptr, 0), nullptr);
         return static_cast<NRT_STATUS>(error);
       }},
  };
  for (const auto& [name, status, call] : calls) {
    EXPECT_EQ(call(), status) << name;
    EXPECT_EQ(call(), status) << name;
    EXPECT_EQ(times_logged(std::string("NRT:") + name + " "), 1) << name << "\n" << logged();
  }
}

}  // namespace
}  // namespace conformance
