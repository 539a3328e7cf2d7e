// SPDX-License-Identifier: Apache-2.0
#include "core/collectives/settings.h"

#include <charconv>
#include <limits>

namespace opennrt::collectives {
namespace {

template <typename T>
Status read_number(const std::string* text, std::string_view name, std::uint32_t most, T& number) {
  if (text == nullptr) return {};
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc{} || end != text->data() + text->size() || value == 0 || value > most) {
    return make_error(ErrorCode::kInvalidArgument, "{} is \"{}\", expected an integer from 1 to {}", name, *text, most);
  }
  number = static_cast<T>(value);
  return {};
}

}  // namespace

Result<RootId> parse_root_id(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  RootId id;
  if (colon != std::string_view::npos) {
    const std::string_view port = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), id.port);
    if (error != std::errc{} || end != port.data() + port.size()) id.port = 0;
    id.host = text.substr(0, colon);
    if (id.host.size() > 2 && id.host.front() == '[' && id.host.back() == ']')
      id.host = id.host.substr(1, id.host.size() - 2);
  }
  if (id.host.empty() || id.port == 0) {
    return make_error(ErrorCode::kInvalidArgument,
                      "NEURON_RT_ROOT_COMM_ID is \"{}\", expected <host>:<port> with a port from 1 to 65535", text);
  }
  return id;
}

Result<Settings> parse_settings(const std::function<const std::string*(std::string_view)>& lookup) {
  Settings settings;
  if (const std::string* text = lookup("NEURON_RT_ROOT_COMM_ID")) {
    Result<RootId> root = parse_root_id(*text);
    if (!root) return tl::unexpected(root.error());
    settings.root = std::move(*root);
  }
  constexpr std::string_view kTimeout = "OPENNRT_COLLECTIVES_TIMEOUT",
                             kPort = "NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT";
  // 2147483647 s fit any clock.
  const Status timeout =
      read_number(lookup(kTimeout), kTimeout, std::numeric_limits<std::int32_t>::max(), settings.timeout_s);
  if (!timeout) return tl::unexpected(timeout.error());
  const Status port =
      read_number(lookup(kPort), kPort, std::numeric_limits<std::uint16_t>::max(), settings.sendrecv_port);
  if (!port) return tl::unexpected(port.error());
  return settings;
}

}  // namespace opennrt::collectives
