// SPDX-License-Identifier: Apache-2.0
// Requirement H3: debug streams.
#include <poll.h>

#include "tests/conformance/fixture.h"

namespace conformance {
namespace {

bool readable(int descriptor) {
  pollfd entry{descriptor, POLLIN, 0};
  return poll(&entry, 1, 0) == 1 && (entry.revents & POLLIN) != 0;
}

/// The sum of two tensors, listed for debugging as what it is and as its first row.
Bytes debug_neff() {
  auto builder = opennrt::test::binary_program(opennrt::isa::Alu::kAdd, 4, 16);
  std::size_t out = 0;
  while (builder.graph.variables[out].name != "out") ++out;
  builder.graph.debug_tensors.push_back({"layer1/sum", "float32", {4, 16}, 256, out});
  builder.graph.debug_tensors.push_back({"layer1/row", "float32", {16}, 64, out});
  return neff_of(builder);
}

class DebugStream : public Open {
 protected:
  void TearDown() override {
    if (stream_ >= 0) nrt_debug_client_connect_close(stream_);
    Open::TearDown();
  }
  void execute(nrt_model_t* model, unsigned seed) {
    a_ = numbers(64, seed);
    b_ = numbers(64, seed + 1);
    Set in, out;
    in.add("a", NRT_TENSOR_PLACEMENT_DEVICE, a_, 1);
    in.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, b_);
    nrt_tensor_t* sum = out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(64));
    ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS) << logged();
    const auto values = values_of<float>(sum);
    for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], a_[i] + b_[i]) << i;
  }
  void expect_event(const std::string& name, std::vector<std::uint64_t> shape, std::size_t values) {
    ndebug_stream_event_header_t header{};
    void* payload = nullptr;
    ASSERT_EQ(nrt_debug_client_read_one_event(stream_, &header, &payload), NRT_SUCCESS) << logged();
    EXPECT_EQ(header.type, static_cast<std::uint32_t>(NDEBUG_STREAM_EVENT_TYPE_DEBUG_TENSOR_READ));
    EXPECT_EQ(header.data_size, sizeof(ndebug_stream_payload_debug_tensor_read_t) + 4 * values);
    const auto* tensor = static_cast<const ndebug_stream_payload_debug_tensor_read_t*>(payload);
    EXPECT_EQ(tensor->prefix, name);
    EXPECT_EQ(tensor->logical_nc_id, 1u);
    EXPECT_STREQ(tensor->tensor_dtype, "float32");
    shape.resize(8);
    EXPECT_TRUE(std::equal(shape.begin(), shape.end(), tensor->tensor_shape));
    ASSERT_EQ(tensor->tensor_data_size, 4 * values);
    for (std::size_t i = 0; i < values; ++i) {
      float value = 0;
      std::memcpy(&value, tensor->tensor_data + 4 * i, 4);
      EXPECT_EQ(value, a_[i] + b_[i]) << i;
    }
    free(payload);
  }

  int stream_ = -1;
  std::vector<float> a_, b_;
};

TEST_F(DebugStream, givenDebugTensorsWhenAnInferenceEndsThenTheClientReadsThemInOrder) {
  nrt_model_t* model = load(debug_neff(), 1);
  execute(model, 1);  // nobody listens: not kept
  ASSERT_EQ(nrt_debug_client_connect(1, &stream_), NRT_SUCCESS) << logged();
  EXPECT_FALSE(readable(stream_));
  execute(model, 5);
  EXPECT_TRUE(readable(stream_));
  expect_event("layer1/sum", {4, 16}, 64);
  EXPECT_TRUE(readable(stream_));
  expect_event("layer1/row", {16}, 16);
  EXPECT_FALSE(readable(stream_));
  execute(model, 9);
  expect_event("layer1/sum", {4, 16}, 64);
}

TEST_F(DebugStream, givenEventsWhenTheRuntimeIsClosedThenTheyCanStillBeRead) {
  nrt_model_t* model = load(debug_neff(), 1);
  ASSERT_EQ(nrt_debug_client_connect(1, &stream_), NRT_SUCCESS);
  execute(model, 3);
  nrt_close();
  expect_event("layer1/sum", {4, 16}, 64);
  expect_event("layer1/row", {16}, 16);
}

TEST_F(DebugStream, givenNoEventWhenReadThenTheQueueIsEmpty) {
  ASSERT_EQ(nrt_debug_client_connect(1, &stream_), NRT_SUCCESS);
  ndebug_stream_event_header_t header{};
  void* payload = nullptr;
  EXPECT_FALSE(readable(stream_));
  EXPECT_EQ(nrt_debug_client_read_one_event(stream_, &header, &payload), NRT_QUEUE_EMPTY);
  EXPECT_EQ(payload, nullptr);
}

TEST_F(DebugStream, givenAClientWhenAnotherConnectsThenItIsRefusedUntilTheFirstHasLeft) {
  int second = -1, other = -1;
  ASSERT_EQ(nrt_debug_client_connect(1, &stream_), NRT_SUCCESS);
  EXPECT_EQ(nrt_debug_client_connect(1, &second), NRT_INVALID);
  EXPECT_TRUE(has_logged("the debug stream of nc1 has a client already")) << logged();
  ASSERT_EQ(nrt_debug_client_connect(0, &other), NRT_SUCCESS) << "another core";
  nrt_debug_client_connect_close(other);
  nrt_debug_client_connect_close(stream_);
  EXPECT_EQ(nrt_debug_client_connect(1, &stream_), NRT_SUCCESS) << logged();
}

TEST_F(DebugStream, givenWrongArgumentsWhenCalledThenTheyAreNamed) {
  ndebug_stream_event_header_t header{};
  void* payload = nullptr;
  int stream = -1;
  EXPECT_EQ(nrt_debug_client_connect(99, &stream), NRT_INVALID);
  EXPECT_EQ(nrt_debug_client_connect(-1, &stream), NRT_INVALID);
  EXPECT_EQ(nrt_debug_client_connect(0, nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_debug_client_read_one_event(0, &header, &payload), NRT_INVALID_HANDLE);
  nrt_debug_client_connect_close(0);
  EXPECT_TRUE(has_logged("stream_fd is 0, expected a connection")) << logged();
  ASSERT_EQ(nrt_debug_client_connect(0, &stream_), NRT_SUCCESS);
  EXPECT_EQ(nrt_debug_client_read_one_event(stream_, nullptr, &payload), NRT_INVALID);
  EXPECT_EQ(nrt_debug_client_read_one_event(stream_, &header, nullptr), NRT_INVALID);
}

TEST(DebugStreamSize, givenAFullStreamWhenEventsComeThenTheyAreDropped) {
  const Env size("NEURON_RT_DEBUG_STREAM_BUFFER_SIZE", "3");
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS);
  int stream = -1;
  ASSERT_EQ(nrt_debug_client_connect(0, &stream), NRT_SUCCESS);
  nrt_model_t* model = nullptr;
  const Bytes neff = debug_neff();
  ASSERT_EQ(nrt_load(neff.data(), neff.size(), 0, 1, &model), NRT_SUCCESS);
  {
    Set in, out;
    in.add("a", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(64, 1));
    in.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(64, 2));
    out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(64));
    for (int i = 0; i < 3; ++i) EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_SUCCESS);
  }
  int events = 0;
  ndebug_stream_event_header_t header{};
  for (void* payload = nullptr; nrt_debug_client_read_one_event(stream, &header, &payload) == NRT_SUCCESS; ++events)
    free(payload);
  EXPECT_EQ(events, 3) << "of 6";
  nrt_debug_client_connect_close(stream);
  nrt_close();
}

TEST(DebugStreamSize, givenAMalformedSizeWhenInitialisedThenItIsRefused) {
  for (const char* value : {"0", "-1", "many"}) {
    const Env size("NEURON_RT_DEBUG_STREAM_BUFFER_SIZE", value);
    EXPECT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_INVALID) << value;
  }
}

}  // namespace
}  // namespace conformance
