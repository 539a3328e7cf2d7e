// SPDX-License-Identifier: Apache-2.0
// Requirement A2: tensors from one core to another (nrt_async_sendrecv.h) within one process.
#include <cstring>
#include <thread>

#include "tests/conformance/fixture.h"

namespace conformance {
namespace {

/// A port of the test program, so that programs side by side do not meet. Ports of the range for temporary ones.
std::string own_port() {
  return std::to_string(49152 + getpid() % 16384);
}

class SendRecv : public Open {
 protected:
  void SetUp() override {
    Open::SetUp();
    ASSERT_EQ(nrt_async_sendrecv_init(0), NRT_SUCCESS) << logged();
    ASSERT_EQ(nrt_async_sendrecv_init(1), NRT_SUCCESS) << logged();
  }
  static NRT_STATUS until_connected(nrt_async_sendrecv_comm_t* comm) {
    for (bool done = false;;) {
      const NRT_STATUS status = nrt_async_sendrecv_test_comm(comm, &done);
      if (status != NRT_SUCCESS || done) return status;
      std::this_thread::yield();
    }
  }
  static NRT_STATUS until_done(nrt_async_sendrecv_request_t* request, std::size_t& size) {
    for (bool done = false;;) {
      const NRT_STATUS status = nrt_async_sendrecv_test_request(request, &done, &size);
      if (status != NRT_SUCCESS || done) return status;
      std::this_thread::yield();
    }
  }
  /// From core 0 to core 1.
  void connect() {
    ASSERT_EQ(nrt_async_sendrecv_connect("127.0.0.1", 1, 0, &to), NRT_SUCCESS) << logged();
    ASSERT_EQ(nrt_async_sendrecv_accept("127.0.0.1", 0, 1, &from), NRT_SUCCESS) << logged();
    ASSERT_EQ(until_connected(to), NRT_SUCCESS) << logged();
    ASSERT_EQ(until_connected(from), NRT_SUCCESS) << logged();
  }
  nrt_async_sendrecv_comm_t *to = nullptr, *from = nullptr;

 private:
  Env port_{"NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT", own_port()};
};

class SendRecvTimeout : public SendRecv {
  Env timeout_{"OPENNRT_COLLECTIVES_TIMEOUT", "1"};
};

TEST_F(SendRecv, givenConnectedCoresWhenTensorsAreSentThenTheyArriveInOrderAndWithTheirSizes) {
  connect();
  constexpr std::size_t kBytes = 100000;
  nrt_tensor_t* source = allocate(NRT_TENSOR_PLACEMENT_DEVICE, kBytes, 0);
  nrt_tensor_t* target = allocate(NRT_TENSOR_PLACEMENT_DEVICE, 2 * kBytes, 1);
  const Bytes data = pattern(kBytes);
  ASSERT_EQ(nrt_tensor_write(source, data.data(), 0, kBytes), NRT_SUCCESS);
  nrt_async_sendrecv_request_t* sends[3] = {};
  nrt_async_sendrecv_request_t* receives[3] = {};
  const std::size_t lengths[3] = {kBytes, 10, 0};
  // One receive before its send, the others after; more room than is sent.
  ASSERT_EQ(nrt_async_sendrecv_recv_tensor(target, 0, kBytes + 5, from, &receives[0]), NRT_SUCCESS) << logged();
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(nrt_async_sendrecv_send_tensor(source, static_cast<std::size_t>(i), lengths[i], to, &sends[i]),
              NRT_SUCCESS)
        << logged();
  }
  ASSERT_EQ(nrt_async_sendrecv_recv_tensor(target, kBytes + 100, 20, from, &receives[1]), NRT_SUCCESS);
  ASSERT_EQ(nrt_async_sendrecv_recv_tensor(target, 0, 0, from, &receives[2]), NRT_SUCCESS);
  for (int i = 0; i < 3; ++i) {
    std::size_t sent = 1, received = 1;
    EXPECT_EQ(until_done(sends[i], sent), NRT_SUCCESS) << logged();
    EXPECT_EQ(until_done(receives[i], received), NRT_SUCCESS) << logged();
    EXPECT_EQ(sent, lengths[i]);
    EXPECT_EQ(received, lengths[i]);
  }
  EXPECT_EQ(nrt_async_sendrecv_flush(1), NRT_SUCCESS);
  EXPECT_EQ(read(target, 0, kBytes), data);
  EXPECT_EQ(read(target, kBytes + 100, 10), Bytes(data.begin() + 1, data.begin() + 11));
  bool done = false;
  std::size_t size = 0;
  EXPECT_EQ(nrt_async_sendrecv_test_request(sends[0], &done, &size), NRT_INVALID_HANDLE) << "it was said to be done";
  EXPECT_EQ(nrt_async_sendrecv_close(0), NRT_SUCCESS) << logged();
  EXPECT_EQ(nrt_async_sendrecv_close(1), NRT_SUCCESS) << logged();
  EXPECT_EQ(nrt_async_sendrecv_test_comm(to, &done), NRT_INVALID_HANDLE);
  EXPECT_EQ(nrt_async_sendrecv_init(0), NRT_SUCCESS) << "again";
  nrt_tensor_free(&source);
  nrt_tensor_free(&target);
}

TEST_F(SendRecv, givenMoreThanTheReceiverHasRoomForWhenSentThenBothFailAndTheNextOneArrives) {
  connect();
  nrt_tensor_t* source = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 16, 0);
  nrt_tensor_t* target = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 16, 1);
  const Bytes before = read(target);
  const Bytes data = pattern(16);
  ASSERT_EQ(nrt_tensor_write(source, data.data(), 0, 16), NRT_SUCCESS);
  for (const std::size_t room : {15, 16}) {
    nrt_async_sendrecv_request_t *send = nullptr, *receive = nullptr;
    ASSERT_EQ(nrt_async_sendrecv_send_tensor(source, 0, 16, to, &send), NRT_SUCCESS);
    ASSERT_EQ(nrt_async_sendrecv_recv_tensor(target, 0, room, from, &receive), NRT_SUCCESS);
    std::size_t size = 1;
    EXPECT_EQ(until_done(send, size), room == 16 ? NRT_SUCCESS : NRT_FAILURE);
    EXPECT_EQ(size, room == 16 ? 16u : 0u);
    EXPECT_EQ(until_done(receive, size), room == 16 ? NRT_SUCCESS : NRT_FAILURE);
    EXPECT_EQ(read(target), room == 16 ? data : before);
  }
  EXPECT_TRUE(has_logged("16 bytes have come, expected at most 15")) << logged();
  nrt_tensor_free(&source);
  nrt_tensor_free(&target);
}

TEST_F(SendRecv, givenSeveralConnectionsWhenMadeThenTheFirstMeetsTheFirst) {
  nrt_async_sendrecv_comm_t *tos[3] = {}, *froms[3] = {};
  for (auto& comm : froms) ASSERT_EQ(nrt_async_sendrecv_accept("localhost", 0, 1, &comm), NRT_SUCCESS);
  for (auto& comm : tos) {
    ASSERT_EQ(nrt_async_sendrecv_connect("localhost", 1, 0, &comm), NRT_SUCCESS);
    ASSERT_EQ(until_connected(comm), NRT_SUCCESS);  // the next one comes after it
  }
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 8);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(until_connected(froms[i]), NRT_SUCCESS);
    nrt_async_sendrecv_request_t *send = nullptr, *receive = nullptr;
    ASSERT_EQ(nrt_async_sendrecv_recv_tensor(tensor, 0, 8, froms[i], &receive), NRT_SUCCESS);
    ASSERT_EQ(nrt_async_sendrecv_send_tensor(tensor, 0, static_cast<std::size_t>(i), tos[i], &send), NRT_SUCCESS);
    std::size_t size = 9;
    EXPECT_EQ(until_done(receive, size), NRT_SUCCESS);
    EXPECT_EQ(size, static_cast<std::size_t>(i));
    EXPECT_EQ(until_done(send, size), NRT_SUCCESS);
  }
  nrt_tensor_free(&tensor);
}

TEST_F(SendRecv, givenTheLimitsWhenReachedThenItIsAResource) {
  int comms = 0, requests = 0;
  EXPECT_EQ(nrt_async_sendrecv_get_max_num_communicators_per_lnc(&comms), NRT_SUCCESS);
  EXPECT_EQ(nrt_async_sendrecv_get_max_num_pending_request(&requests), NRT_SUCCESS);
  EXPECT_GT(comms, 0);
  EXPECT_GT(requests, 0);
  EXPECT_EQ(nrt_async_sendrecv_get_max_num_communicators_per_lnc(nullptr), NRT_FAILURE);
  EXPECT_EQ(nrt_async_sendrecv_get_max_num_pending_request(nullptr), NRT_FAILURE);
  connect();
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 8);
  nrt_async_sendrecv_request_t* request = nullptr;
  for (int i = 0; i < requests; ++i) {
    ASSERT_EQ(nrt_async_sendrecv_recv_tensor(tensor, 0, 8, from, &request), NRT_SUCCESS) << i;
  }
  EXPECT_EQ(nrt_async_sendrecv_recv_tensor(tensor, 0, 8, from, &request), NRT_RESOURCE);
  nrt_async_sendrecv_comm_t* more = nullptr;
  for (int i = 1; i < comms; ++i) {
    ASSERT_EQ(nrt_async_sendrecv_accept("127.0.0.1", 0, 1, &more), NRT_SUCCESS) << i;
  }
  EXPECT_EQ(nrt_async_sendrecv_accept("127.0.0.1", 0, 1, &more), NRT_RESOURCE);
  EXPECT_EQ(nrt_async_sendrecv_connect("127.0.0.1", 0, 1, &more), NRT_RESOURCE);
  nrt_tensor_free(&tensor);
}

TEST_F(SendRecv, givenSomethingUnderWayWhenClosedThenItIsAnErrorAndTheCoreStaysClosed) {
  nrt_async_sendrecv_comm_t* comm = nullptr;
  ASSERT_EQ(nrt_async_sendrecv_accept("127.0.0.1", 1, 0, &comm), NRT_SUCCESS);
  EXPECT_EQ(nrt_async_sendrecv_close(0), NRT_FAILURE);
  EXPECT_TRUE(has_logged("lnc 0 from lnc 1 was not connected when lnc 0 was closed")) << logged();
  EXPECT_EQ(nrt_async_sendrecv_init(0), NRT_FAILURE);
  EXPECT_TRUE(has_logged("lnc 0 was closed with errors")) << logged();
  nrt_close();
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS);
  ASSERT_EQ(nrt_async_sendrecv_init(0), NRT_SUCCESS) << logged();
  ASSERT_EQ(nrt_async_sendrecv_init(1), NRT_SUCCESS) << logged();
  connect();
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 8);
  nrt_async_sendrecv_request_t* request = nullptr;
  ASSERT_EQ(nrt_async_sendrecv_recv_tensor(tensor, 0, 8, from, &request), NRT_SUCCESS);
  EXPECT_EQ(nrt_async_sendrecv_close(1), NRT_FAILURE);
  EXPECT_TRUE(has_logged("1 requests under way")) << logged();
  bool done = false;
  std::size_t size = 0;
  EXPECT_EQ(nrt_async_sendrecv_test_request(request, &done, &size), NRT_INVALID_HANDLE);
  nrt_tensor_free(&tensor);
}

TEST_F(SendRecv, givenAnEndThatClosesWhenTheOtherGoesOnThenItIsTold) {
  connect();
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 8);
  nrt_async_sendrecv_request_t* request = nullptr;
  ASSERT_EQ(nrt_async_sendrecv_send_tensor(tensor, 0, 8, to, &request), NRT_SUCCESS);
  EXPECT_EQ(nrt_async_sendrecv_close(1), NRT_SUCCESS);
  std::size_t size = 0;
  EXPECT_EQ(until_done(request, size), NRT_FAILURE);
  EXPECT_TRUE(has_logged("has closed")) << logged();
  EXPECT_EQ(nrt_async_sendrecv_send_tensor(tensor, 0, 8, to, &request), NRT_FAILURE);
  bool done = false;
  EXPECT_EQ(nrt_async_sendrecv_test_comm(to, &done), NRT_FAILURE);
  nrt_tensor_free(&tensor);
}

TEST_F(SendRecv, givenWrongArgumentsWhenCalledThenTheyAreNamed) {
  connect();
  EXPECT_EQ(nrt_async_sendrecv_init(0), NRT_FAILURE);
  EXPECT_TRUE(has_logged("lnc 0 is initialized already"));
  EXPECT_EQ(nrt_async_sendrecv_init(999), NRT_FAILURE);
  EXPECT_TRUE(has_logged("lnc is 999, expected a NeuronCore of this process: 0, 1"));
  EXPECT_EQ(nrt_async_sendrecv_init(-1), NRT_FAILURE);
  EXPECT_EQ(nrt_async_sendrecv_close(2), NRT_FAILURE);
  EXPECT_EQ(nrt_async_sendrecv_flush(2), NRT_FAILURE);
  EXPECT_TRUE(has_logged("lnc 2 is not initialized"));
  nrt_async_sendrecv_comm_t* comm = nullptr;
  EXPECT_EQ(nrt_async_sendrecv_connect("127.0.0.1", 1, 2, &comm), NRT_FAILURE);
  EXPECT_EQ(nrt_async_sendrecv_connect("192.0.2.1", 1, 0, &comm), NRT_FAILURE);
  EXPECT_TRUE(has_logged("peer_ip: host \"192.0.2.1\" is another machine"));
  EXPECT_EQ(nrt_async_sendrecv_connect(nullptr, 1, 0, &comm), NRT_FAILURE);
  EXPECT_EQ(nrt_async_sendrecv_connect("127.0.0.1", -1, 0, &comm), NRT_FAILURE);
  EXPECT_EQ(nrt_async_sendrecv_accept("127.0.0.1", 1, 0, nullptr), NRT_FAILURE);
  bool done = false;
  std::size_t size = 0;
  EXPECT_EQ(nrt_async_sendrecv_test_comm(nullptr, &done), NRT_INVALID_HANDLE);
  EXPECT_EQ(nrt_async_sendrecv_test_comm(to, nullptr), NRT_FAILURE);
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 8);
  nrt_async_sendrecv_request_t* request = nullptr;
  EXPECT_EQ(nrt_async_sendrecv_send_tensor(tensor, 0, 8, nullptr, &request), NRT_INVALID_HANDLE);
  EXPECT_EQ(nrt_async_sendrecv_send_tensor(nullptr, 0, 8, to, &request), NRT_INVALID_HANDLE);
  EXPECT_EQ(nrt_async_sendrecv_send_tensor(tensor, 1, 8, to, &request), NRT_FAILURE);
  EXPECT_TRUE(has_logged("send of tensor \"t\": offset 1 and size 8 do not fit")) << logged();
  EXPECT_EQ(nrt_async_sendrecv_send_tensor(tensor, 0, 8, from, &request), NRT_FAILURE);
  EXPECT_TRUE(has_logged("lnc 1 from lnc 0 receives, expected a communicator that sends")) << logged();
  EXPECT_EQ(nrt_async_sendrecv_recv_tensor(tensor, 0, 8, to, &request), NRT_FAILURE);
  EXPECT_EQ(nrt_async_sendrecv_recv_tensor(tensor, 0, 8, from, nullptr), NRT_FAILURE);
  EXPECT_EQ(nrt_async_sendrecv_test_request(nullptr, &done, &size), NRT_INVALID_HANDLE);
  ASSERT_EQ(nrt_async_sendrecv_accept("127.0.0.1", 5, 0, &comm), NRT_SUCCESS);
  EXPECT_EQ(nrt_async_sendrecv_recv_tensor(tensor, 0, 8, comm, &request), NRT_FAILURE);
  EXPECT_TRUE(has_logged("lnc 0 from lnc 5 is not connected")) << logged();
  nrt_tensor_free(&tensor);
}

TEST_F(SendRecvTimeout, givenNobodyAtTheOtherEndWhenTheTimeHasPassedThenItTimesOut) {
  nrt_async_sendrecv_comm_t *sender = nullptr, *receiver = nullptr;
  ASSERT_EQ(nrt_async_sendrecv_connect("127.0.0.1", 3, 0, &sender), NRT_SUCCESS);
  ASSERT_EQ(nrt_async_sendrecv_accept("127.0.0.1", 3, 0, &receiver), NRT_SUCCESS);
  EXPECT_EQ(until_connected(sender), NRT_TIMEOUT);
  EXPECT_EQ(until_connected(receiver), NRT_TIMEOUT);
  EXPECT_TRUE(has_logged("lnc 0 to lnc 3: the other end has not come within 1 s")) << logged();
  connect();
  nrt_tensor_t* tensor = allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 8);
  nrt_async_sendrecv_request_t* request = nullptr;
  ASSERT_EQ(nrt_async_sendrecv_recv_tensor(tensor, 0, 8, from, &request), NRT_SUCCESS);
  std::size_t size = 0;
  EXPECT_EQ(until_done(request, size), NRT_TIMEOUT);
  nrt_tensor_free(&tensor);
}

}  // namespace
}  // namespace conformance
