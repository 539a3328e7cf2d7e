// SPDX-License-Identifier: Apache-2.0
//
// opennrt emulate: runs a command on a machine whose Neuron devices are simulated (backends/emulator).
#include <fmt/core.h>
#include <opennrt/backend.h>
#include <signal.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "backends/emulator/machine/listener.h"
#include "backends/emulator/machine/machine.h"
#include "backends/emulator/machine/server.h"
#include "backends/emulator/preload/client.h"
#include "backends/emulator/protocol.h"
#include "tools/opennrt/commands.h"
#include "tools/opennrt/device_command.h"

namespace opennrt::tool {
namespace {

constexpr char kInstance[] = "OPENNRT_SIM_INSTANCE", kDevices[] = "OPENNRT_SIM_DEVICES";

using Values = std::map<std::string, std::string>;

/// What the runtime would offer the simulator: here the environment, and `values` in its place.
class Host {
 public:
  Host(Values values, std::string data_dir, bool verbose) : values_(std::move(values)), data_dir_(std::move(data_dir)) {
    table_.size = sizeof(table_);
    table_.context = this;
    table_.data_dir = data_dir_.c_str();
    table_.config = [](void* self, const char* name) -> const char* {
      const auto& here = static_cast<Host*>(self)->values_;
      const auto at = here.find(name);
      return at != here.end() ? at->second.c_str() : std::getenv(name);
    };
    if (!verbose) return;
    table_.log = [](void*, opennrt_log_level_t level, const char* function, const char* text) {
      if (level <= OPENNRT_LOG_WARNING) fmt::print(stderr, "opennrt emulate: {}: {}\n", function, text);
    };
    table_.log_enabled = [](void*, opennrt_log_level_t level) { return level <= OPENNRT_LOG_WARNING; };
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  const opennrt_host_t* table() const { return &table_; }

 private:
  Values values_;
  std::string data_dir_;
  opennrt_host_t table_{};
};

/// The simulator names its variables; who has given an option reads the option's name.
Error in_words_of(const EmulateOptions& options, Error error) {
  const auto rename = [&](const std::string& given, const std::string& variable, const std::string& option) {
    const std::size_t at = given.empty() ? std::string::npos : error.message.find(variable);
    if (at != std::string::npos) error.message.replace(at, variable.size(), option);
  };
  rename(options.instance, kInstance, "--instance");
  rename(options.devices, kDevices, "--devices");
  return error;
}

std::string full_name(const std::string& instance) {
  return instance.starts_with("inf1.") ? instance : "inf1." + instance;
}

std::string numbers(std::uint64_t mask) {
  std::string text;
  for (unsigned number = 0; number < 64; ++number) {
    if (((mask >> number) & 1) != 0) text += (text.empty() ? "" : ",") + std::to_string(number);
  }
  return text;
}

/// What a machine says that another command has started.
struct Running {
  std::string instance, driver;  ///< "inf1.6xlarge"; a version or "none"
  std::uint64_t devices = 0;     ///< a bit for each that is there
};

Result<Running> ask(const std::string& socket) {
  constexpr unsigned kMask = 6;  // protocol.h, Op::kMachine
  emulator::use_machine(socket.c_str());
  emulator::Session session(true);
  const int error = session.call(emulator::Op::kMachine, 0);
  // A machine without a driver says what it is, too; one that has gone says nothing.
  const bool none = error == -ENODEV && session.error() == 0;
  if (error != 0 && !none)
    return make_error(ErrorCode::kState, "the machine at {} does not answer: {}", socket,
                      std::generic_category().message(-error));
  const auto* text = reinterpret_cast<const char*>(session.window());
  const std::size_t bytes = session.reply().bytes;
  const auto word = [&](std::size_t at) {
    return at < bytes ? std::string(text + at, ::strnlen(text + at, bytes - at)) : "";
  };
  Running running;
  running.instance = word(0);
  running.driver = none ? "none" : word(running.instance.size() + 1);
  running.devices = session.v(kMask);
  return running;
}

/// A machine that runs is what it is: options may say the same, or nothing.
Status check_joined(const EmulateOptions& options, const Running& machine, const std::string& data_dir) {
  const auto differs = [&](const char* option, const std::string& given, const std::string& is) {
    return make_error(ErrorCode::kState, "{} is '{}', but machine '{}' runs already, with '{}'", option, given,
                      options.machine, is);
  };
  if (options.verbose)
    return make_error(ErrorCode::kState,
                      "--verbose: machine '{}' runs already, and its log is with the command that has started it",
                      options.machine);
  if (!options.driver.empty() && options.driver != machine.driver)
    return differs("--driver", options.driver, machine.driver);
  if (options.instance.empty() && options.devices.empty()) return {};
  const Host host(
      {{kInstance, options.instance.empty() ? machine.instance : options.instance}, {kDevices, options.devices}},
      data_dir, false);
  const auto config = driver::Config::read(*host.table());
  if (!config) return tl::unexpected<Error>(in_words_of(options, config.error()));
  if (full_name(config->machine.instance) != machine.instance)
    return differs("--instance", options.instance, machine.instance);
  std::uint64_t devices = 0;
  for (const std::uint32_t number : config->visible) devices |= std::uint64_t{1} << number;
  if (!options.devices.empty() && devices != machine.devices)
    return differs("--devices", options.devices, numbers(machine.devices));
  return {};
}

Result<Command> start(const EmulateOptions& options, const std::string& library, const std::string& socket,
                      const Signals& signals) {
  return Command::start(options.command, library, {{emulator::kMachineVariable, socket}}, signals);
}

int run_command(const EmulateOptions& options, const Command& command, const Signals& signals) {
  signals.release();
  const int exit_status = command.wait();
  signals.restore();  // whom it has left behind we wait for, but may be told not to
  if (command.error() != 0)
    fmt::print(stderr, "opennrt: error: {}: {}\n", options.command.front(),
               std::generic_category().message(command.error()));
  return exit_status;
}

}  // namespace

Result<int> emulate(const EmulateOptions& options) {
  auto version =
      emulator::DriverVersion::parse(options.driver.empty() ? emulator::DriverVersion().text : options.driver);
  if (!version) return with_context(version.error(), "--driver");
  const auto library = device_library();
  if (!library) return tl::unexpected<Error>(library.error());
  const std::string data_dir = std::filesystem::path(*library).parent_path();
  // Where machines are does not depend on what this one is to be.
  const auto place = driver::Config::read(*Host({{kInstance, ""}, {kDevices, ""}}, data_dir, false).table());
  if (!place) return tl::unexpected<Error>(place.error());

  const Signals signals;
  const auto listener = emulator::Listener::open(place->runtime_dir, options.machine);
  if (!listener) return tl::unexpected<Error>(listener.error());
  if (listener->joined()) {
    const auto running = ask(listener->path());
    if (!running) return tl::unexpected<Error>(running.error());
    if (auto same = check_joined(options, *running, data_dir); !same) return tl::unexpected<Error>(same.error());
    const auto command = start(options, *library, listener->path(), signals);
    if (!command) return tl::unexpected<Error>(command.error());
    return run_command(options, *command, signals);
  }

  Values given;
  if (!options.instance.empty()) given[kInstance] = options.instance;
  if (!options.devices.empty()) given[kDevices] = options.devices;
  const Host host(std::move(given), data_dir, options.verbose);
  auto config = driver::Config::read(*host.table());
  if (!config) return tl::unexpected<Error>(in_words_of(options, config.error()));
  const auto command = start(options, *library, listener->path(), signals);
  if (!command) return tl::unexpected<Error>(command.error());
  auto machine = emulator::Machine::make(host.table(), std::move(*config), std::move(*version));
  if (!machine) {
    command->kill(SIGTERM);
    command->wait();
    return tl::unexpected<Error>(machine.error());
  }
  emulator::Server server(**machine, listener->socket());
  const int exit_status = run_command(options, *command, signals);
  server.wait_until_idle();
  return exit_status;
}

}  // namespace opennrt::tool
