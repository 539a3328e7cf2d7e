// SPDX-License-Identifier: Apache-2.0
// Requirement A2: what goes between processes comes out as it went in, and what is no message is recognised.
#include "core/collectives/wire.h"

#include <gtest/gtest.h>

namespace opennrt::collectives {
namespace {

TEST(Wire, givenARequestWhenEncodedAndDecodedThenItIsTheSame) {
  Request request;
  request.type = Request::Type::kOperation;
  request.id = ~std::uint64_t{0};
  request.rank = 3;
  request.count = 4;
  request.world = 5;
  request.waited_s = 6;
  request.operation = {Kind::kReduce, Lane::kQueue, 0xa, 0x2, {2, 3, 0}};
  request.data = Bytes(10, std::byte{7});
  const auto back = decode_request(encode(request));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->type, request.type);
  EXPECT_EQ(back->id, request.id);
  EXPECT_EQ(back->rank, 3u);
  EXPECT_EQ(back->count, 4u);
  EXPECT_EQ(back->world, 5u);
  EXPECT_EQ(back->waited_s, 6u);
  EXPECT_EQ(back->operation.kind, Kind::kReduce);
  EXPECT_EQ(back->operation.lane, Lane::kQueue);
  EXPECT_EQ(back->operation.dtype, 0xa);
  EXPECT_EQ(back->operation.op, 0x2);
  EXPECT_EQ(back->operation.group, request.operation.group);
  EXPECT_EQ(back->data, request.data);
}

TEST(Wire, givenAnAnswerWhenEncodedAndDecodedThenResultAndFailureAreTheSame) {
  const auto bytes = std::make_shared<const Bytes>(3, std::byte{1});
  const auto good = decode_answer(encode(Answer{9, bytes}));
  ASSERT_TRUE(good && good->result);
  EXPECT_EQ(good->id, 9u);
  EXPECT_EQ(**good->result, *bytes);
  for (const ErrorCode code :
       {ErrorCode::kInvalidArgument, ErrorCode::kTimeout, ErrorCode::kPeerLost, ErrorCode::kResource}) {
    const auto bad = decode_answer(encode(Answer{9, make_error(code, "why \"so\"")}));
    ASSERT_TRUE(bad && !bad->result);
    EXPECT_EQ(bad->result.error().code, code);
    EXPECT_EQ(bad->result.error().message, "why \"so\"");
  }
}

TEST(Wire, givenWhatIsNoMessageWhenDecodedThenItIsRefused) {
  for (const char* meta : {"", "{", "[]", "{}", R"({"type":9})", R"({"type":"x","id":-1})"}) {
    EXPECT_FALSE(decode_request({meta, nullptr})) << meta;
    EXPECT_FALSE(decode_answer({meta, nullptr})) << meta;
  }
  Frame frame = encode(Request{});
  const std::size_t at = frame.meta.find("\"kind\":0");
  ASSERT_NE(at, std::string::npos);
  frame.meta[at + 7] = '7';
  EXPECT_FALSE(decode_request(frame));
}

TEST(Wire, givenAHeadWhenCheckedThenForeignAndHugeOnesAreRefused) {
  FrameHead head = head_of(encode(Request{}));
  EXPECT_FALSE(check(head, 10).has_value());
  head.data_bytes = 11;
  EXPECT_TRUE(check(head, 10).has_value());
  head.data_bytes = 0;
  head.meta_bytes = 1u << 30;
  EXPECT_TRUE(check(head, 10).has_value());
  head.meta_bytes = 1;
  head.magic ^= 1;
  EXPECT_TRUE(check(head, 10).has_value());
  EXPECT_TRUE(is_goodbye(goodbye()));
  EXPECT_FALSE(is_goodbye(encode(Request{})));
}

}  // namespace
}  // namespace opennrt::collectives
