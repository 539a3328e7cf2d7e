// SPDX-License-Identifier: Apache-2.0
// Requirements F1, F3, E7: tensors of every placement, their bounds, slices, batches, completion counters, tensor sets.
#include <chrono>
#include <numeric>
#include <thread>

#include "tests/conformance/fixture.h"

namespace conformance {
namespace {

using Tensor = Open;

constexpr nrt_tensor_placement_t kPlacements[] = {NRT_TENSOR_PLACEMENT_DEVICE, NRT_TENSOR_PLACEMENT_HOST,
                                                  NRT_TENSOR_PLACEMENT_VIRTUAL};

TEST_F(Tensor, givenEachPlacementWhenWrittenThenItReadsBack) {
  for (const auto placement : kPlacements) {
    nrt_tensor_t* tensor = allocate(placement, 10000);
    EXPECT_EQ(nrt_tensor_get_size(tensor), 10000u);
    const Bytes data = pattern(10000);
    EXPECT_EQ(nrt_tensor_write(tensor, data.data(), 0, data.size()), NRT_SUCCESS);
    EXPECT_EQ(read(tensor), data) << placement;
    const Bytes part = pattern(37, 2);
    EXPECT_EQ(nrt_tensor_write(tensor, part.data(), 333, part.size()), NRT_SUCCESS);
    EXPECT_EQ(read(tensor, 333, 37), part);
    EXPECT_EQ(read(tensor, 0, 333), Bytes(data.begin(), data.begin() + 333));
    EXPECT_EQ(read(tensor, 370, 9630), Bytes(data.begin() + 370, data.end()));
    nrt_tensor_free(&tensor);
    EXPECT_EQ(tensor, nullptr);
  }
}

TEST_F(Tensor, givenSizesAroundDescriptorLimitsWhenWrittenToTheDeviceThenTheyReadBack) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{3}, std::size_t{4}, std::size_t{63}, std::size_t{65535},
                                  std::size_t{65536}, std::size_t{65537}, (std::size_t{1} << 20) + 5}) {
    nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_DEVICE, bytes);
    const Bytes data = pattern(bytes, static_cast<unsigned>(bytes));
    EXPECT_EQ(nrt_tensor_write(tensor, data.data(), 0, bytes), NRT_SUCCESS) << bytes;
    EXPECT_EQ(read(tensor), data) << bytes;
    nrt_tensor_free(&tensor);
  }
}

TEST_F(Tensor, givenHostPlacementsWhenAllocatedThenTheyAreZeroed) {
  for (const auto placement : {NRT_TENSOR_PLACEMENT_HOST, NRT_TENSOR_PLACEMENT_VIRTUAL}) {
    nrt_tensor_t* tensor = allocate(placement, 100);
    EXPECT_EQ(read(tensor), Bytes(100));
    nrt_tensor_free(&tensor);
  }
}

TEST_F(Tensor, givenNoNameWhenAllocatedThenItWorks) {
  nrt_tensor_t* tensor = nullptr;
  EXPECT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, -1, 8, nullptr, &tensor), NRT_SUCCESS);
  nrt_tensor_free(&tensor);
  EXPECT_EQ(nrt_tensor_allocate_empty(nullptr, &tensor), NRT_SUCCESS);
  nrt_tensor_free(&tensor);
}

TEST_F(Tensor, givenWrongArgumentsWhenAllocatedThenTheyAreRefused) {
  nrt_tensor_t* tensor = nullptr;
  EXPECT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 0, "x", &tensor), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, -1, 8, "x", &tensor), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 999, 8, "x", &tensor), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 999, 8, "x", &tensor), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_allocate(static_cast<nrt_tensor_placement_t>(7), 0, 8, "x", &tensor), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 8, "x", nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_HOST, 0, (4 << 20) + 1, "x", &tensor), NRT_INVALID);
  EXPECT_TRUE(has_logged("expected at most 4194304")) << logged();
  EXPECT_EQ(nrt_tensor_allocate_empty("x", nullptr), NRT_INVALID);
  EXPECT_EQ(tensor, nullptr);
}

TEST_F(Tensor, givenMoreThanTheDeviceHasWhenAllocatedThenItIsResourceWithTheAmounts) {
  nrt_tensor_t* tensor = nullptr;
  EXPECT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, std::size_t{1} << 40, "huge", &tensor), NRT_RESOURCE);
  EXPECT_TRUE(has_logged("1099511627776")) << logged();
  EXPECT_TRUE(has_logged("huge"));
}

TEST_F(Tensor, givenADeviceThatIsFullWhenTensorsAreFreedThenTheirMemoryIsThereAgain) {
  nrt_vnc_memory_stats_t stats{};
  ASSERT_EQ(nrt_get_vnc_memory_stats(0, &stats, sizeof(stats), nullptr), NRT_SUCCESS);
  const std::size_t piece = std::size_t{8} << 20;
  std::vector<nrt_tensor_t*> tensors;
  const std::size_t most = stats.bytes_limit / piece + 2;
  NRT_STATUS last = NRT_SUCCESS;
  while (tensors.size() < most) {
    nrt_tensor_t* tensor = nullptr;
    last = nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, piece, "piece", &tensor);
    if (last != NRT_SUCCESS) break;
    tensors.push_back(tensor);
  }
  EXPECT_EQ(last, NRT_RESOURCE);
  EXPECT_GT(tensors.size(), 0u);
  EXPECT_TRUE(has_logged("tensor \"piece\": out of device memory on Neuron Device 0 NC 0: " + std::to_string(piece) +
                         " bytes asked for"))
      << logged();
  EXPECT_TRUE(has_logged(" of " + std::to_string(stats.bytes_limit) + " free")) << logged();
  for (nrt_tensor_t*& tensor : tensors) nrt_tensor_free(&tensor);
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_DEVICE, piece);
  nrt_tensor_free(&tensor);
}

TEST_F(Tensor, givenAccessOutOfBoundsWhenTriedThenItIsInvalidAndNothingMoves) {
  for (const auto placement : kPlacements) {
    nrt_tensor_t* tensor = allocate(placement, 100);
    const Bytes data = pattern(100);
    ASSERT_EQ(nrt_tensor_write(tensor, data.data(), 0, 100), NRT_SUCCESS);
    const Bytes other = pattern(200, 9);
    Bytes back(200, std::byte{0x5a});
    for (const auto& [offset, size] : std::vector<std::pair<std::size_t, std::size_t>>{
             {0, 101}, {100, 1}, {99, 2}, {101, 0}, {SIZE_MAX, 1}, {1, SIZE_MAX}, {SIZE_MAX, SIZE_MAX}}) {
      EXPECT_EQ(nrt_tensor_write(tensor, other.data(), offset, size), NRT_INVALID) << offset << " " << size;
      EXPECT_EQ(nrt_tensor_read(tensor, back.data(), offset, size), NRT_INVALID) << offset << " " << size;
      EXPECT_EQ(nrt_tensor_memset(tensor, offset, 1, size), NRT_INVALID) << offset << " " << size;
    }
    EXPECT_EQ(back, Bytes(200, std::byte{0x5a}));
    EXPECT_EQ(read(tensor), data);
    EXPECT_EQ(nrt_tensor_write(tensor, nullptr, 0, 4), NRT_INVALID);
    EXPECT_EQ(nrt_tensor_read(tensor, nullptr, 0, 4), NRT_INVALID);
    EXPECT_EQ(nrt_tensor_write(tensor, nullptr, 100, 0), NRT_SUCCESS) << "nothing at the end is within";
    nrt_tensor_free(&tensor);
  }
}

TEST_F(Tensor, givenAHandleThatIsNoneWhenUsedThenItIsRefusedNotFollowed) {
  nrt_tensor_t* stale = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 8);
  nrt_tensor_t* copy = stale;
  nrt_tensor_free(&copy);
  int local = 0;
  char byte = 0;
  for (nrt_tensor_t* bad :
       {stale, reinterpret_cast<nrt_tensor_t*>(&local), reinterpret_cast<nrt_tensor_t*>(std::uintptr_t{1})}) {
    EXPECT_EQ(nrt_tensor_read(bad, &byte, 0, 1), NRT_INVALID_HANDLE);
    EXPECT_EQ(nrt_tensor_write(bad, &byte, 0, 1), NRT_INVALID_HANDLE);
    EXPECT_EQ(nrt_tensor_memset(bad, 0, 0, 1), NRT_INVALID_HANDLE);
    EXPECT_EQ(nrt_tensor_copy(bad, 0, bad, 0, 1), NRT_INVALID_HANDLE);
    EXPECT_EQ(nrt_tensor_attach_buffer(bad, &byte, 1), NRT_INVALID_HANDLE);
    EXPECT_EQ(nrt_tensor_get_size(bad), 0u);
    EXPECT_EQ(nrt_tensor_get_va(bad), nullptr);
    nrt_tensor_t* slice = nullptr;
    EXPECT_EQ(nrt_tensor_allocate_slice(bad, 0, 1, "s", &slice), NRT_INVALID_HANDLE);
    nrt_tensor_device_allocation_info_t info{};
    EXPECT_EQ(nrt_tensor_get_device_allocation_info(bad, &info), NRT_INVALID_HANDLE);
    EXPECT_EQ(nrt_tensor_check_output_completion(bad, 0, 0), NRT_INVALID_HANDLE);
    EXPECT_EQ(nrt_tensor_reset_output_completion(bad), NRT_INVALID_HANDLE);
    nrt_tensor_t* again = bad;
    nrt_tensor_free(&again);
    EXPECT_EQ(again, nullptr);
  }
  EXPECT_EQ(nrt_tensor_read(nullptr, &byte, 0, 1), NRT_INVALID);
  nrt_tensor_free(nullptr);
  nrt_tensor_t* null = nullptr;
  nrt_tensor_free(&null);
}

TEST_F(Tensor, givenEveryPairOfPlacementsWhenCopiedThenTheBytesArrive) {
  for (const auto from : kPlacements) {
    for (const auto to : kPlacements) {
      nrt_tensor_t* source = allocate(from, 5000);
      nrt_tensor_t* target = allocate(to, 6000);
      const Bytes data = pattern(5000);
      ASSERT_EQ(nrt_tensor_write(source, data.data(), 0, 5000), NRT_SUCCESS);
      ASSERT_EQ(nrt_tensor_memset(target, 0, 0xab, 6000), NRT_SUCCESS);
      EXPECT_EQ(nrt_tensor_copy(source, 100, target, 200, 4000), NRT_SUCCESS) << from << " " << to << "\n" << logged();
      EXPECT_EQ(read(target, 200, 4000), Bytes(data.begin() + 100, data.begin() + 4100)) << from << " " << to;
      EXPECT_EQ(read(target, 0, 200), Bytes(200, std::byte{0xab}));
      EXPECT_EQ(read(target, 4200, 1800), Bytes(1800, std::byte{0xab}));
      EXPECT_EQ(nrt_tensor_copy(source, 4000, target, 0, 1001), NRT_INVALID);
      EXPECT_EQ(nrt_tensor_copy(source, 0, target, 5000, 1001), NRT_INVALID);
      nrt_tensor_free(&source);
      nrt_tensor_free(&target);
    }
  }
}

TEST_F(Tensor, givenDeviceTensorsOfTwoCoresWhenCopiedThenItIsInvalidAsDocumented) {
  nrt_tensor_t* source = allocate(NRT_TENSOR_PLACEMENT_DEVICE, 64, 0, "left");
  nrt_tensor_t* target = allocate(NRT_TENSOR_PLACEMENT_DEVICE, 64, 1, "right");
  EXPECT_EQ(nrt_tensor_copy(source, 0, target, 0, 64), NRT_INVALID);
  EXPECT_TRUE(has_logged("\"left\" on nc0 to tensor \"right\" on nc1")) << logged();
  nrt_tensor_free(&source);
  nrt_tensor_free(&target);
}

TEST_F(Tensor, givenAPartWhenSetThenOnlyThatPartChanges) {
  for (const auto placement : kPlacements) {
    nrt_tensor_t* tensor = allocate(placement, 1000);
    const Bytes data = pattern(1000);
    ASSERT_EQ(nrt_tensor_write(tensor, data.data(), 0, 1000), NRT_SUCCESS);
    EXPECT_EQ(nrt_tensor_memset(tensor, 101, 0x1c3, 303), NRT_SUCCESS) << logged();
    Bytes expected = data;
    std::fill(expected.begin() + 101, expected.begin() + 404, std::byte{0xc3});
    EXPECT_EQ(read(tensor), expected) << placement;
    nrt_tensor_free(&tensor);
  }
}

TEST_F(Tensor, givenASliceWhenItsSourceIsFreedThenTheStorageLives) {
  for (const auto placement : kPlacements) {
    nrt_tensor_t* source = allocate(placement, 1000);
    const Bytes data = pattern(1000);
    ASSERT_EQ(nrt_tensor_write(source, data.data(), 0, 1000), NRT_SUCCESS);
    nrt_tensor_t *slice = nullptr, *inner = nullptr;
    EXPECT_EQ(nrt_tensor_allocate_slice(source, 100, 500, "slice", &slice), NRT_SUCCESS);
    EXPECT_EQ(nrt_tensor_allocate_slice(slice, 50, 100, nullptr, &inner), NRT_SUCCESS);
    EXPECT_EQ(nrt_tensor_get_size(slice), 500u);
    const Bytes change = pattern(10, 5);
    EXPECT_EQ(nrt_tensor_write(inner, change.data(), 0, 10), NRT_SUCCESS);
    EXPECT_EQ(read(source, 150, 10), change);
    nrt_tensor_free(&source);
    nrt_tensor_free(&slice);
    EXPECT_EQ(read(inner, 0, 10), change);
    EXPECT_EQ(read(inner, 10, 90), Bytes(data.begin() + 160, data.begin() + 250));
    char byte = 0;
    EXPECT_EQ(nrt_tensor_read(inner, &byte, 100, 1), NRT_INVALID)
        << "the source's bytes behind the slice are not the slice's";
    nrt_tensor_free(&inner);
  }
}

TEST_F(Tensor, givenSlicesOfADeviceTensorWhenFreedThenItsMemoryIsGivenBackWithTheLastOfThem) {
  const auto used = [] {
    nrt_vnc_memory_stats_t stats{};
    EXPECT_EQ(nrt_get_vnc_memory_stats(0, &stats, sizeof(stats), nullptr), NRT_SUCCESS);
    return stats.bytes_used;
  };
  const std::size_t before = used();
  nrt_tensor_t* source = allocate(NRT_TENSOR_PLACEMENT_DEVICE, 1 << 20);
  const std::size_t during = used();
  EXPECT_GE(during, before + (1 << 20));
  nrt_tensor_t *first = nullptr, *second = nullptr;
  ASSERT_EQ(nrt_tensor_allocate_slice(source, 0, 16, "first", &first), NRT_SUCCESS);
  ASSERT_EQ(nrt_tensor_allocate_slice(source, 16, 16, "second", &second), NRT_SUCCESS);
  EXPECT_EQ(used(), during) << "a slice takes nothing";
  nrt_tensor_free(&source);
  nrt_tensor_free(&first);
  EXPECT_EQ(used(), during);
  nrt_tensor_free(&second);
  EXPECT_EQ(used(), before);
  nrt_tensor_t* host = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 1 << 20);
  EXPECT_EQ(used(), before) << "memory of the process is not the device's";
  nrt_tensor_free(&host);
}

TEST_F(Tensor, givenASliceBeyondItsSourceWhenAllocatedThenItIsInvalid) {
  nrt_tensor_t* source = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 100);
  nrt_tensor_t* slice = nullptr;
  EXPECT_EQ(nrt_tensor_allocate_slice(source, 1, 100, "s", &slice), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_allocate_slice(source, SIZE_MAX, 2, "s", &slice), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_allocate_slice(source, 0, 0, "s", &slice), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_allocate_slice(source, 0, 1, "s", nullptr), NRT_INVALID);
  nrt_tensor_free(&source);
}

TEST_F(Tensor, givenAnEmptyTensorWhenABufferIsAttachedThenItIsItsStorage) {
  nrt_tensor_t* tensor = nullptr;
  ASSERT_EQ(nrt_tensor_allocate_empty("e", &tensor), NRT_SUCCESS);
  char byte = 0;
  EXPECT_EQ(nrt_tensor_get_size(tensor), 0u);
  EXPECT_EQ(nrt_tensor_get_va(tensor), nullptr);
  EXPECT_EQ(nrt_tensor_read(tensor, &byte, 0, 0), NRT_INVALID);
  EXPECT_TRUE(has_logged("\"e\": it is empty"));
  Bytes buffer = pattern(64);
  EXPECT_EQ(nrt_tensor_attach_buffer(tensor, buffer.data(), buffer.size()), NRT_SUCCESS);
  EXPECT_EQ(nrt_tensor_get_size(tensor), 64u);
  EXPECT_EQ(nrt_tensor_get_va(tensor), buffer.data());
  EXPECT_EQ(read(tensor), buffer);
  const Bytes change = pattern(8, 3);
  EXPECT_EQ(nrt_tensor_write(tensor, change.data(), 8, 8), NRT_SUCCESS);
  EXPECT_EQ(Bytes(buffer.begin() + 8, buffer.begin() + 16), change);
  nrt_tensor_free(&tensor);
  EXPECT_EQ(Bytes(buffer.begin() + 8, buffer.begin() + 16), change) << "the caller's buffer stays the caller's";
}

TEST_F(Tensor, givenADeviceTensorWhenABufferIsAttachedThenItsMemoryIsGivenBack) {
  nrt_vnc_memory_stats_t before{}, after{};
  ASSERT_EQ(nrt_get_vnc_memory_stats(0, &before, sizeof(before), nullptr), NRT_SUCCESS);
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_DEVICE, 1 << 16);
  Bytes buffer(32);
  EXPECT_EQ(nrt_tensor_attach_buffer(tensor, buffer.data(), buffer.size()), NRT_SUCCESS);
  EXPECT_EQ(nrt_tensor_get_size(tensor), 32u);
  ASSERT_EQ(nrt_get_vnc_memory_stats(0, &after, sizeof(after), nullptr), NRT_SUCCESS);
  EXPECT_EQ(after.bytes_used, before.bytes_used);
  EXPECT_EQ(nrt_tensor_attach_buffer(tensor, nullptr, 4), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_attach_buffer(tensor, buffer.data(), 0), NRT_INVALID);
  nrt_tensor_free(&tensor);
}

TEST_F(Tensor, givenPlacementsWhenTheirAddressIsAskedForThenHostOnesHaveOne) {
  nrt_tensor_t* device = allocate(NRT_TENSOR_PLACEMENT_DEVICE, 64);
  nrt_tensor_t* host = allocate(NRT_TENSOR_PLACEMENT_HOST, 64);
  nrt_tensor_t* virtual_one = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 64);
  EXPECT_EQ(nrt_tensor_get_va(device), nullptr);
  ASSERT_NE(nrt_tensor_get_va(host), nullptr);
  ASSERT_NE(nrt_tensor_get_va(virtual_one), nullptr);
  static_cast<char*>(nrt_tensor_get_va(virtual_one))[5] = 'q';
  EXPECT_EQ(read(virtual_one, 5, 1)[0], std::byte{'q'});
  static_cast<char*>(nrt_tensor_get_va(host))[6] = 'r';
  EXPECT_EQ(read(host, 6, 1)[0], std::byte{'r'});
  nrt_tensor_device_allocation_info_t info{};
  EXPECT_EQ(nrt_tensor_get_device_allocation_info(device, &info), NRT_SUCCESS);
  EXPECT_GE(info.size, 64u);
  EXPECT_TRUE(info.hbm_index == 0 || info.hbm_index == 1);
  nrt_tensor_t* slice = nullptr;
  ASSERT_EQ(nrt_tensor_allocate_slice(device, 16, 8, "s", &slice), NRT_SUCCESS);
  nrt_tensor_device_allocation_info_t part{};
  EXPECT_EQ(nrt_tensor_get_device_allocation_info(slice, &part), NRT_SUCCESS);
  EXPECT_EQ(part.physical_address, info.physical_address + 16);
  EXPECT_EQ(nrt_tensor_get_device_allocation_info(virtual_one, &info), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_get_device_allocation_info(device, nullptr), NRT_INVALID);
  for (nrt_tensor_t** tensor : {&device, &host, &virtual_one, &slice}) nrt_tensor_free(tensor);
}

TEST_F(Tensor, givenABatchWhenWrittenAndReadThenEveryPieceArrives) {
  nrt_tensor_t* first = allocate(NRT_TENSOR_PLACEMENT_DEVICE, 100);
  nrt_tensor_t* second = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 100);
  Bytes a = pattern(10, 1), b = pattern(20, 2), c = pattern(30, 3);
  const nrt_tensor_batch_op_t ops_first[] = {{0, 10, a.data()}, {50, 20, b.data()}};
  const nrt_tensor_batch_op_t ops_second[] = {{70, 30, c.data()}};
  const nrt_tensor_batch_t batches[] = {{first, ops_first, 2}, {second, ops_second, 1}};
  EXPECT_EQ(nrt_tensor_write_batch(batches, 2, false), NRT_SUCCESS) << logged();
  EXPECT_EQ(read(first, 0, 10), a);
  EXPECT_EQ(read(first, 50, 20), b);
  EXPECT_EQ(read(second, 70, 30), c);
  Bytes back_a(10), back_c(30);
  const nrt_tensor_batch_op_t read_first[] = {{0, 10, back_a.data()}};
  const nrt_tensor_batch_op_t read_second[] = {{70, 30, back_c.data()}};
  const nrt_tensor_batch_t reads[] = {{first, read_first, 1}, {second, read_second, 1}};
  EXPECT_EQ(nrt_tensor_read_batch(reads, 2, true), NRT_SUCCESS);
  EXPECT_EQ(back_a, a);
  EXPECT_EQ(back_c, c);
  EXPECT_EQ(nrt_tensor_read_batch(nullptr, 0, false), NRT_SUCCESS);
  nrt_tensor_free(&first);
  nrt_tensor_free(&second);
}

TEST_F(Tensor, givenOneBadPieceInABatchWhenWrittenThenNothingMoves) {
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 100);
  Bytes data = pattern(10);
  const nrt_tensor_batch_op_t ops[] = {{0, 10, data.data()}, {95, 10, data.data()}};
  const nrt_tensor_batch_t batch[] = {{tensor, ops, 2}};
  EXPECT_EQ(nrt_tensor_write_batch(batch, 1, false), NRT_INVALID);
  EXPECT_TRUE(has_logged("batch 0, operation 1")) << logged();
  EXPECT_EQ(read(tensor), Bytes(100));
  const nrt_tensor_batch_t no_ops[] = {{tensor, nullptr, 1}};
  EXPECT_EQ(nrt_tensor_write_batch(no_ops, 1, false), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_write_batch(nullptr, 1, false), NRT_INVALID);
  const nrt_tensor_batch_t no_tensor[] = {{nullptr, ops, 1}};
  EXPECT_EQ(nrt_tensor_read_batch(no_tensor, 1, false), NRT_INVALID);
  nrt_tensor_free(&tensor);
}

TEST_F(Tensor, givenATensorThatWasNeverAnOutputWhenItsCompletionIsAskedForThenItTimesOut) {
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 8);
  EXPECT_EQ(nrt_tensor_check_output_completion(tensor, 0, 0), NRT_SUCCESS);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(nrt_tensor_check_output_completion(tensor, 120'000, 1), NRT_TIMEOUT);
  const auto waited = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(waited, std::chrono::milliseconds(120));
  EXPECT_EQ(nrt_tensor_check_output_completion(nullptr, 0, 0), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_reset_output_completion(nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_reset_output_completion(tensor), NRT_SUCCESS);
  nrt_tensor_free(&tensor);
}

TEST_F(Tensor, givenAWaitForCompletionWithoutEndWhenTheLibraryIsClosedThenTheWaitEnds) {
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 8);
  NRT_STATUS unbounded = NRT_SUCCESS, longest = NRT_SUCCESS;
  std::thread waiter([&] { unbounded = nrt_tensor_check_output_completion(tensor, -1, 1); });
  std::thread other([&] { longest = nrt_tensor_check_output_completion(tensor, INT64_MAX, 1); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  nrt_close();
  waiter.join();
  other.join();
  EXPECT_EQ(unbounded, NRT_CLOSED);
  EXPECT_EQ(longest, NRT_CLOSED);
  nrt_tensor_free(&tensor);
}

TEST_F(Tensor, givenTensorsWhenFreedAfterCloseThenThatIsFineAndTheirDeviceMemoryIsGone) {
  nrt_tensor_t* device = allocate(NRT_TENSOR_PLACEMENT_DEVICE, 64, 0, "gone");
  nrt_tensor_t* slice = nullptr;
  ASSERT_EQ(nrt_tensor_allocate_slice(device, 0, 8, "s", &slice), NRT_SUCCESS);
  nrt_tensor_t* host = allocate(NRT_TENSOR_PLACEMENT_HOST, 64);
  nrt_tensor_t* virtual_one = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 64);
  nrt_tensor_set_t* set = nullptr;
  ASSERT_EQ(nrt_allocate_tensor_set(&set), NRT_SUCCESS);
  ASSERT_EQ(nrt_add_tensor_to_tensor_set(set, "x", device), NRT_SUCCESS);
  nrt_close();
  EXPECT_EQ(nrt_tensor_get_size(device), 64u);
  EXPECT_NE(nrt_tensor_get_va(virtual_one), nullptr);
  EXPECT_EQ(nrt_tensor_get_va(host), nullptr);
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS);
  char byte = 0;
  EXPECT_EQ(nrt_tensor_read(device, &byte, 0, 1), NRT_INVALID);
  EXPECT_TRUE(has_logged("\"gone\": its storage on the device went with nrt_close")) << logged();
  EXPECT_EQ(nrt_tensor_read(slice, &byte, 0, 1), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_read(host, &byte, 0, 1), NRT_INVALID);
  EXPECT_EQ(nrt_tensor_read(virtual_one, &byte, 0, 1), NRT_SUCCESS);
  nrt_close();
  for (nrt_tensor_t** tensor : {&device, &slice, &host, &virtual_one}) nrt_tensor_free(tensor);
  nrt_destroy_tensor_set(&set);
  EXPECT_EQ(set, nullptr);
}

TEST_F(Tensor, givenATensorSetWhenTensorsAreAddedReplacedAndFreedThenItSaysWhatItHas) {
  nrt_tensor_set_t* set = nullptr;
  ASSERT_EQ(nrt_allocate_tensor_set(&set), NRT_SUCCESS);
  nrt_tensor_t* first = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 8);
  nrt_tensor_t* second = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 16);
  EXPECT_EQ(nrt_add_tensor_to_tensor_set(set, "x", first), NRT_SUCCESS);
  nrt_tensor_t* found = nullptr;
  EXPECT_EQ(nrt_get_tensor_from_tensor_set(set, "x", &found), NRT_SUCCESS);
  EXPECT_EQ(found, first);
  EXPECT_EQ(nrt_add_tensor_to_tensor_set(set, "x", second), NRT_SUCCESS);
  EXPECT_EQ(nrt_get_tensor_from_tensor_set(set, "x", &found), NRT_SUCCESS);
  EXPECT_EQ(found, second);
  found = first;
  EXPECT_EQ(nrt_get_tensor_from_tensor_set(set, "y", &found), NRT_FAILURE);
  EXPECT_EQ(found, first) << "untouched";
  EXPECT_TRUE(has_logged("there is no tensor \"y\" in the set; it has \"x\""));
  nrt_tensor_free(&second);
  EXPECT_EQ(nrt_get_tensor_from_tensor_set(set, "x", &found), NRT_INVALID_HANDLE);
  nrt_tensor_free(&first);
  nrt_destroy_tensor_set(&set);
}

TEST_F(Tensor, givenWrongArgumentsWhenATensorSetIsUsedThenTheyAreRefused) {
  EXPECT_EQ(nrt_allocate_tensor_set(nullptr), NRT_INVALID);
  nrt_tensor_set_t* set = nullptr;
  ASSERT_EQ(nrt_allocate_tensor_set(&set), NRT_SUCCESS);
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 8);
  nrt_tensor_t* found = nullptr;
  EXPECT_EQ(nrt_add_tensor_to_tensor_set(nullptr, "x", tensor), NRT_INVALID);
  EXPECT_EQ(nrt_add_tensor_to_tensor_set(set, nullptr, tensor), NRT_INVALID);
  EXPECT_EQ(nrt_add_tensor_to_tensor_set(set, "x", nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_add_tensor_to_tensor_set(tensor, "x", tensor), NRT_INVALID_HANDLE) << "a tensor is no set";
  EXPECT_EQ(nrt_add_tensor_to_tensor_set(set, "x", static_cast<nrt_tensor_t*>(set)), NRT_INVALID_HANDLE)
      << "a set is no tensor";
  EXPECT_EQ(nrt_get_tensor_from_tensor_set(set, nullptr, &found), NRT_INVALID);
  EXPECT_EQ(nrt_get_tensor_from_tensor_set(set, "x", nullptr), NRT_INVALID);
  nrt_tensor_set_t* stale = set;
  nrt_destroy_tensor_set(&set);
  EXPECT_EQ(set, nullptr);
  EXPECT_EQ(nrt_add_tensor_to_tensor_set(stale, "x", tensor), NRT_INVALID_HANDLE);
  nrt_destroy_tensor_set(&stale);
  nrt_destroy_tensor_set(nullptr);
  nrt_tensor_free(&tensor);
}

TEST_F(Tensor, givenManyThreadsWhenTheyUseTensorsOfAllCoresThenEveryByteIsRight) {
  std::uint32_t cores = 0;
  ASSERT_EQ(nrt_get_visible_nc_count(&cores), NRT_SUCCESS);
  std::vector<std::thread> threads;
  std::vector<int> wrong(8, 0);
  for (unsigned t = 0; t < 8; ++t) {
    threads.emplace_back([t, cores, &wrong] {
      for (unsigned i = 0; i < 20; ++i) {
        nrt_tensor_t* tensor = nullptr;
        if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, static_cast<int>((t + i) % cores), 9000, "x", &tensor) !=
            NRT_SUCCESS)
          ++wrong[t];
        const Bytes data = pattern(9000, t * 100 + i);
        if (nrt_tensor_write(tensor, data.data(), 0, data.size()) != NRT_SUCCESS) ++wrong[t];
        Bytes back(9000);
        if (nrt_tensor_read(tensor, back.data(), 0, back.size()) != NRT_SUCCESS || back != data) ++wrong[t];
        nrt_tensor_free(&tensor);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(8, 0));
}

}  // namespace
}  // namespace conformance
