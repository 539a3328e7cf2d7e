// SPDX-License-Identifier: Apache-2.0
// Requirements A2, A4: what the environment says about collectives, and which hosts are this machine.
#include "core/collectives/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>

#include "core/collectives/rendezvous.h"

namespace opennrt::collectives {
namespace {

Result<Settings> parse(std::map<std::string, std::string, std::less<>> variables) {
  return parse_settings([&](std::string_view name) -> const std::string* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : &found->second;
  });
}

TEST(CollectivesSettings, givenNothingWhenParsedThenRanksAreInOneProcess) {
  const auto settings = parse({});
  ASSERT_TRUE(settings);
  EXPECT_FALSE(settings->root.has_value());
  EXPECT_EQ(settings->timeout_s, kDefaultTimeoutSeconds);
  EXPECT_EQ(settings->sendrecv_port, kDefaultSendRecvPort);
}

TEST(CollectivesSettings, givenValuesWhenParsedThenTheyAreTaken) {
  const auto settings = parse({{"NEURON_RT_ROOT_COMM_ID", "10.0.1.2:46820"},
                               {"OPENNRT_COLLECTIVES_TIMEOUT", "3"},
                               {"NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT", "65535"}});
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->root, (RootId{"10.0.1.2", 46820}));
  EXPECT_EQ(settings->timeout_s, 3u);
  EXPECT_EQ(settings->sendrecv_port, 65535);
  EXPECT_EQ(*parse_root_id("[::1]:80"), (RootId{"::1", 80}));
  EXPECT_EQ(*parse_root_id("localhost:48620"), (RootId{"localhost", 48620}));
}

TEST(CollectivesSettings, givenMalformedValuesWhenParsedThenVariableValueAndExpectationAreNamed) {
  for (const char* bad : {"host", ":80", "host:", "host:0", "host:65536", "host:80x", "host:-1", "host: 80"}) {
    const auto settings = parse({{"NEURON_RT_ROOT_COMM_ID", bad}});
    ASSERT_FALSE(settings) << bad;
    EXPECT_EQ(settings.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(settings.error().message,
              fmt::format("NEURON_RT_ROOT_COMM_ID is \"{}\", expected <host>:<port> with a port "
                          "from 1 to 65535",
                          bad));
  }
  for (const char* bad : {"0", "-1", "x", "1.5", "2147483648", "99999999999"}) {
    const auto settings = parse({{"OPENNRT_COLLECTIVES_TIMEOUT", bad}});
    ASSERT_FALSE(settings) << bad;
    EXPECT_THAT(settings.error().message,
                testing::StartsWith(fmt::format("OPENNRT_COLLECTIVES_TIMEOUT is \"{}\", expected", bad)));
  }
  EXPECT_FALSE(parse({{"NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT", "65536"}}));
}

TEST(Rendezvous, givenHostsWhenCheckedThenOnlyThisMachineIsLocal) {
  EXPECT_TRUE(check_local("127.0.0.1"));
  EXPECT_TRUE(check_local("localhost"));
  const Status other = check_local("192.0.2.1");  // RFC 5737: nobody's address
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(other.error().message, testing::HasSubstr("192.0.2.1"));
  const Status nobody = check_local("256.1.1.1");
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().code, ErrorCode::kInvalidArgument);
}

TEST(Rendezvous, givenANameWhenListenedAtThenItIsTakenUntilClosed) {
  const std::string name = "test-" + std::to_string(getpid());
  ASSERT_FALSE(connect_to(name));
  {
    const auto listener = listen_at(name);
    ASSERT_TRUE(listener);
    const auto second = listen_at(name);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kState);
    EXPECT_EQ(accept_from(listener->get()).error().code, ErrorCode::kState);
    const auto client = connect_to(name);
    ASSERT_TRUE(client);
    const auto server = accept_from(listener->get());
    ASSERT_TRUE(server);
    EXPECT_EQ(*peer_of(server->get()), getpid());
    EXPECT_EQ(*peer_of(client->get()), getpid());
  }
  EXPECT_TRUE(listen_at(name));
}

}  // namespace
}  // namespace opennrt::collectives
