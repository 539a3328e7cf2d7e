// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "tools/opennrt/commands.h"
#include "tools/opennrt/faults.h"

namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

using opennrt::Status;

/// One line, whatever the message holds: a file's name or contents may carry line breaks and control characters.
int fail(int code, std::string message) {
  std::replace_if(
      message.begin(), message.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  fmt::print(stderr, "opennrt: error: {}\n", message);
  return code;
}

void add_compile(CLI::App& app, std::function<Status()>& action) {
  auto* command = app.add_subcommand("compile", "Compile an ONNX model to a NEFF");
  auto options = std::make_shared<opennrt::tool::CompileOptions>();
  command->add_option("model", options->model, "ONNX file")->required()->type_name("MODEL.onnx");
  command->add_option("-o,--output", options->output, "NEFF to write")->required()->type_name("FILE");
  command->add_option("--auto-cast", options->auto_cast, "What is computed in bfloat16: nothing, matrix products, all")
      ->check(CLI::IsMember({"none", "matmult", "all"}))
      ->type_name("none|matmult|all")
      ->default_str("none");
  command->add_option("--name", options->name, "Name of the NEFF (default: the graph's)");
  command
      ->add_option("--cores", options->cores,
                   "NeuronCores to spread the network over, as a pipeline (default: as few as nodes for the CPU allow)")
      ->check(CLI::Range(1, 64))
      ->type_name("N");
  command->add_option("--debug", options->debug, "Report this value of the graph on the debug stream; once per value")
      ->type_name("VALUE")
      ->allow_extra_args(false);
  command->callback([options, &action] { action = [options] { return opennrt::tool::compile(*options); }; });
}

void add_neff(CLI::App& app, std::function<Status()>& action) {
  auto* group = app.add_subcommand("neff", "Look into a NEFF");
  group->require_subcommand(1);

  auto* info = group->add_subcommand("info", "Header, tensors, variables, queues and instructions");
  auto file = std::make_shared<std::string>();
  info->add_option("file", *file, "NEFF")->required()->type_name("FILE.neff");
  info->callback([file, &action] { action = [file] { return opennrt::tool::neff_info(*file); }; });

  auto* unpack = group->add_subcommand("unpack", "Write the files of the payload into a folder");
  auto unpack_options = std::make_shared<opennrt::tool::UnpackOptions>();
  unpack->add_option("file", unpack_options->file, "NEFF")->required()->type_name("FILE.neff");
  unpack
      ->add_option("-d,--output-dir", unpack_options->folder,
                   "Folder, empty or not there yet (default: the file's name)")
      ->type_name("DIR");
  unpack->callback(
      [unpack_options, &action] { action = [unpack_options] { return opennrt::tool::neff_unpack(*unpack_options); }; });

  auto* disasm = group->add_subcommand("disasm", "Instructions as text, with the DMA transfers that they trigger");
  auto disasm_options = std::make_shared<opennrt::tool::DisasmOptions>();
  disasm->add_option("file", disasm_options->file, "NEFF")->required()->type_name("FILE.neff");
  disasm->add_option("--engine", disasm_options->engine, "Only this engine")
      ->check(CLI::IsMember({"pe", "act", "pool"}))
      ->type_name("pe|act|pool");
  disasm->add_option("--subgraph", disasm_options->subgraph, "Only this subgraph")->type_name("NAME");
  disasm->callback(
      [disasm_options, &action] { action = [disasm_options] { return opennrt::tool::neff_disasm(*disasm_options); }; });
}

void add_run(CLI::App& app, std::function<Status()>& action) {
  auto* command = app.add_subcommand("run", "Run a NEFF once and write its outputs as .npy files");
  auto options = std::make_shared<opennrt::tool::RunOptions>();
  command->add_option("model", options->model, "NEFF")->required()->type_name("MODEL.neff");
  // One value per --input, so that the model may also be named after it.
  command->add_option("-i,--input", options->inputs, "Contents of an input tensor; once per input")
      ->type_name("NAME=FILE.npy")
      ->allow_extra_args(false);
  command->add_flag("--zero-inputs", options->zero_inputs, "Inputs that are not given are zero");
  command->add_option("-d,--output-dir", options->output_dir, "Folder for <tensor>.npy of each output")
      ->type_name("DIR");
  command->add_option("--core", options->core, "NeuronCore of this process (default: the runtime chooses)")
      ->check(CLI::Range(0, 1023))
      ->type_name("N");
  command->add_option("--repeat", options->repeat, "Execute so often (nrt_execute_repeat)")
      ->check(CLI::Range(1, 1000000000))
      ->type_name("N")
      ->default_str("1");
  command->add_flag("--stats", options->stats,
                    "Show what the simulated chip did: busy, waits, bytes by link, roofline");
  command->callback([options, &action] { action = [options] { return opennrt::tool::run(*options); }; });
}

void add_bench(CLI::App& app, std::function<Status()>& action) {
  auto* command = app.add_subcommand("bench", "Measure wall time per inference and throughput");
  auto options = std::make_shared<opennrt::tool::BenchOptions>();
  command->add_option("model", options->model, "NEFF")->required()->type_name("MODEL.neff");
  command->add_option("--threads", options->threads, "Submitting threads")
      ->check(CLI::Range(1, 1024))
      ->type_name("N")
      ->default_str("1");
  command
      ->add_option("--copies", options->copies,
                   "Copies of the model, each on NeuronCores of its own; threads are spread over them")
      ->check(CLI::Range(1, 1024))
      ->type_name("N")
      ->default_str("1");
  auto* seconds = command->add_option("--seconds", options->seconds, "Measure so long")
                      ->check(CLI::Range(0.001, 86400.0))
                      ->type_name("S")
                      ->default_str("2");
  command->add_option("--iterations", options->iterations, "Measure so many inferences instead")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1000000000}))
      ->type_name("N")
      ->excludes(seconds);
  command->callback([options, &action] { action = [options] { return opennrt::tool::bench(*options); }; });
}

void add_stats(CLI::App& app, std::function<Status()>& action) {
  auto* command = app.add_subcommand("stats", "Show a summary that the simulator wrote (OPENNRT_SIM_STATS)");
  auto options = std::make_shared<opennrt::tool::StatsOptions>();
  command->add_option("file", options->file, "Summary")->required()->type_name("STATS.json");
  command->add_option("--inferences", options->inferences, "Inferences in that run, for time per inference")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 53))
      ->type_name("N");
  command->callback([options, &action] { action = [options] { return opennrt::tool::stats(*options); }; });
}

void add_ps(CLI::App& app, std::function<Status()>& action) {
  auto* command = app.add_subcommand("ps", "Show who holds which NeuronCores, inferences, errors and memory");
  auto options = std::make_shared<opennrt::tool::PsOptions>();
  command->add_flag("--json", options->json, "As JSON, with every counter");
  command->callback([options, &action] { action = [options] { return opennrt::tool::ps(*options); }; });
}

constexpr char kCommandLine[] = "command";

void add_command_line(CLI::App* command, std::vector<std::string>& words) {
  command->add_option(kCommandLine, words, "Program to be run")->required()->option_text("[ARGUMENT...]");
}

/// Shows where a command line begins.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_usage(const CLI::Option* option) const override {
    if (option->get_name(true) != kCommandLine) return Formatter::make_option_usage(option);
    return option->get_required() ? "-- command [ARGUMENT...]" : "[-- command [ARGUMENT...]]";
  }
};

void add_ioctl(CLI::App& app, std::function<Status()>& action, int& exit_status) {
  auto* group = app.add_subcommand("ioctl", "Record, replay and sum up what programs say to /dev/neuron*");
  group->require_subcommand(1);
  const auto command_line = [](CLI::App* command, const std::shared_ptr<opennrt::tool::IoctlOptions>& options) {
    add_command_line(command, options->command);
  };
  const auto run = [&](opennrt::Result<int> (*what)(const opennrt::tool::IoctlOptions&),
                       const std::shared_ptr<opennrt::tool::IoctlOptions>& options) {
    return [what, options, &action, &exit_status] {
      action = [what, options, &exit_status]() -> Status {
        const auto status = what(*options);
        if (!status) return tl::unexpected(status.error());
        exit_status = *status;
        return {};
      };
    };
  };

  auto* record = group->add_subcommand("record", "Run a command and write down what it says to the devices");
  auto recorded = std::make_shared<opennrt::tool::IoctlOptions>();
  record->add_option("-o,--output", recorded->file, "Transcript to write")->required()->type_name("FILE");
  record->add_flag("--payload", recorded->payload, "With the contents of buffers: weights, inputs, outputs, programs");
  command_line(record, recorded);
  record->callback(run(opennrt::tool::ioctl_record, recorded));

  auto* replay = group->add_subcommand("replay", "Run a command against a transcript instead of devices");
  auto replayed = std::make_shared<opennrt::tool::IoctlOptions>();
  replay->add_option("file", replayed->file, "Transcript")->required()->type_name("FILE");
  command_line(replay, replayed);
  replay->callback(run(opennrt::tool::ioctl_replay, replayed));

  auto* show = group->add_subcommand("show", "Check a transcript and count its calls");
  auto file = std::make_shared<std::string>();
  show->add_option("file", *file, "Transcript")->required()->type_name("FILE");
  show->callback([file, &action] { action = [file] { return opennrt::tool::ioctl_show(*file); }; });
}

void add_emulate(CLI::App& app, std::function<Status()>& action, int& exit_status) {
  auto* command =
      app.add_subcommand("emulate", "Run a command that sees simulated devices as /dev/neuron<N>, with their driver");
  auto options = std::make_shared<opennrt::tool::EmulateOptions>();
  const CLI::Validator not_empty(
      [](std::string& text) { return std::string(text.empty() ? "a value is missing" : ""); }, "");
  command->add_option("--instance", options->instance, "Kind of machine (default: OPENNRT_SIM_INSTANCE)")
      ->check(not_empty)
      ->type_name("TYPE");
  command->add_option("--devices", options->devices, "Only these devices, as a container may see them")
      ->check(not_empty)
      ->type_name("N,N...");
  command->add_option("--driver", options->driver, "Version of the driver that is presented")
      ->check(not_empty)
      ->type_name("VERSION|none")
      ->default_str("2.24.7.0");
  command->add_option("--machine", options->machine, "Share the machine of this name with other such commands")
      ->check(not_empty)
      ->type_name("NAME");
  command->add_flag("-v,--verbose", options->verbose, "Show the driver's log on standard error");
  add_command_line(command, options->command);
  command->callback([options, &action, &exit_status] {
    action = [options, &exit_status]() -> Status {
      const auto status = opennrt::tool::emulate(*options);
      if (!status) return tl::unexpected(status.error());
      exit_status = *status;
      return {};
    };
  });
}

/// What is wrong, where CLI11's own words mislead: it only says that a command is required when one is given that it does not
/// know, and that it did not expect options which are those of a program to be run.
std::string usage_error(const CLI::App& app, int argc, char** argv, const std::string& said) {
  const CLI::App* at = &app;
  for (int i = 1; i < argc && argv[i][0] != '-'; ++i) {
    const auto commands = at->get_subcommands([](const CLI::App*) { return true; });
    if (commands.empty()) break;
    const auto known =
        std::find_if(commands.begin(), commands.end(), [&](const CLI::App* c) { return c->check_name(argv[i]); });
    if (known == commands.end()) return fmt::format("there is no command '{}'", argv[i]);
    at = *known;
  }
  const bool dashes =
      std::any_of(argv + 1, argv + argc, [](const char* word) { return std::string_view(word) == "--"; });
  if (dashes || at->get_option_no_throw(kCommandLine) == nullptr) return said;
  return said + "; what is to be run comes after --";
}

int run_tool(int argc, char** argv) {
  CLI::App app{"OpenNRT: compile, look into, run and measure models for NeuronCores", "opennrt"};
  app.require_subcommand(1);
  app.formatter(std::make_shared<HelpFormatter>());
  app.get_formatter()->column_width(40);

  std::function<Status()> action;
  int exit_status = 0;  ///< of a command that was run
  add_compile(app, action);
  add_neff(app, action);
  add_run(app, action);
  add_bench(app, action);
  add_stats(app, action);
  add_ps(app, action);
  opennrt::tool::add_faults(app, action, exit_status);
  add_emulate(app, action, exit_status);
  add_ioctl(app, action, exit_status);
  app.add_subcommand("version", "Versions of this tool, the runtime, NEFF and the instruction set")
      ->callback([&action] { action = [] { return opennrt::tool::version(); }; });
  // After the commands, which would inherit it.
  app.footer(
      "The device is chosen by OPENNRT_BACKEND, see docs/host-contract.md. `opennrt <command> --help` tells more.\n"
      "Exit status: 0 done, 1 failed, 2 wrong usage, 128 + signal where one interrupted `faults`; of `emulate`,\n"
      "`ioctl record` and `ioctl replay` the command's.");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    return fail(kExitUsage, usage_error(app, argc, argv, error.what()) + " (opennrt --help tells more)");
  }
  if (const Status status = action(); !status)
    return fail(exit_status != 0 ? exit_status : kExitFailure, status.error().message);
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    return fail(kExitFailure, "cannot write to standard output");
  return exit_status;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_tool(argc, argv);
  } catch (const std::bad_alloc&) {
    return fail(kExitFailure, "out of memory");
  } catch (const std::exception& error) {
    return fail(kExitFailure, std::string("internal error: ") + error.what());
  }
}
