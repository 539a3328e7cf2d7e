// SPDX-License-Identifier: Apache-2.0
//
// The command line of `opennrt faults`.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>

#include "backends/emulator/protocol.h"
#include "tools/opennrt/faults.h"

namespace opennrt::tool {
namespace {

using Action = std::function<Status()>;

constexpr char kBackends[] = "sim|null|neuron|emulated|vendor|PATH";

/// A misspelt name would be taken for a third party's, of which nothing is known. Inside `opennrt emulate`, neuron is emulated.
std::string check_backend(std::string& name) {
  constexpr std::array kKnown{"sim", "null", "neuron", "emulated", "vendor"};
  if (name == "neuron" && std::getenv(emulator::kMachineVariable) != nullptr) name = "emulated";
  if (name.find('/') != std::string::npos || std::find(kKnown.begin(), kKnown.end(), name) != kKnown.end()) return {};
  return "'" + name + "' is no backend, expected sim, null, neuron, emulated, vendor or the path of a plug-in";
}

/// CLI11 takes -1 for the largest number that there is.
std::string check_seed(const std::string& text) {
  std::uint64_t seed = 0;
  const char* end = text.data() + text.size();
  const auto [last, bad] = std::from_chars(text.data(), end, seed);
  return bad == std::errc{} && last == end ? "" : "'" + text + "' is no seed, expected an integer from 0 to 2^64-1";
}

void take_shard(const std::string& text, CampaignOptions& options) {
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, options.shard);
  const bool slash = first.ec == std::errc{} && first.ptr != end && *first.ptr == '/';
  const auto second = slash ? std::from_chars(first.ptr + 1, end, options.shards) : first;
  if (!slash || second.ec != std::errc{} || second.ptr != end || options.shard == 0 || options.shard > options.shards)
    throw CLI::ValidationError("--shard is '" + text + "', expected i/n with i from 1 to n");
}

void add_catalogue(CLI::App& group, Action& action) {
  auto* list = group.add_subcommand("list", "The kinds of faults");
  auto list_options = std::make_shared<FaultsListOptions>();
  list->add_flag("--json", list_options->json, "As JSON, with all that explain tells");
  list->add_option("--backend", list_options->backend, "Only what this backend can have")
      ->transform(CLI::Validator(check_backend, ""))
      ->type_name(kBackends);
  list->callback([list_options, &action] { action = [list_options] { return faults_list(*list_options); }; });

  auto* explain = group.add_subcommand("explain", "What a fault does, where it can be, what follows and what helps");
  auto kind = std::make_shared<std::string>();
  explain->add_option("fault", *kind, "Name of the fault")->required()->type_name("FAULT");
  explain->callback([kind, &action] { action = [kind] { return faults_explain(*kind); }; });

  group.add_subcommand("schema", "The JSON Schema of plans")->callback([&action] {
    action = [] { return faults_schema(); };
  });

  auto* check = group.add_subcommand("check", "Whether a plan is understood");
  auto check_options = std::make_shared<FaultsCheckOptions>();
  check->add_option("plan", check_options->plan, "Plan")->required()->type_name("PLAN.json");
  check->add_option("--backend", check_options->backend, "And whether this backend can have its faults")
      ->transform(CLI::Validator(check_backend, ""))
      ->type_name(kBackends);
  check->callback([check_options, &action] { action = [check_options] { return faults_check(*check_options); }; });
}

CLI::Option* add_timeout(CLI::App* command, std::optional<double>& seconds) {
  return command->add_option("--timeout", seconds, "End the command when it takes longer (default: never)")
      ->check(CLI::Range(0.001, 86400.0))
      ->type_name("S");
}

void add_record(CLI::App& group, Action& action, int& exit_status) {
  auto* record = group.add_subcommand("record", "Run a command and write down the faults that struck, as a plan");
  auto options = std::make_shared<FaultsRecordOptions>();
  record->add_option("-p,--plan", options->plan, "Plan")->required()->type_name("PLAN.json");
  record->add_option("-o,--output", options->output, "Plan to write")->required()->type_name("FILE");
  add_timeout(record, options->timeout_s);
  record->add_option("command", options->command, "Command, after --")->required();
  record->callback([options, &action, &exit_status] {
    std::error_code ignored;
    if (options->plan == options->output || std::filesystem::equivalent(options->plan, options->output, ignored))
      throw CLI::ValidationError("--output is the plan itself (" + options->output + "), expected another file");
    action = [options, &exit_status] { return faults_record(*options, exit_status); };
  });

  auto* replay =
      group.add_subcommand("replay", "Run a command under a recorded plan; fails unless the same faults strike");
  auto again = std::make_shared<FaultsRecordOptions>();
  replay->add_option("plan", again->plan, "Plan that record wrote")->required()->type_name("PLAN.json");
  add_timeout(replay, again->timeout_s);
  replay->add_option("command", again->command, "Command, after --")->required();
  replay->callback([again, &action, &exit_status] {
    action = [again, &exit_status] { return faults_replay(*again, exit_status); };
  });
}

void add_campaign(CLI::App& group, Action& action, int& exit_status) {
  auto* command =
      group.add_subcommand("campaign", "Run a command many times under a plan, with another seed each time");
  auto options = std::make_shared<CampaignOptions>();
  command->add_option("-p,--plan", options->plan, "Plan")->type_name("PLAN.json");
  command->add_option("-n,--runs", options->runs, "How many runs")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{10'000'000}))
      ->type_name("N")
      ->default_str("100");
  command->add_option("-j,--jobs", options->jobs, "Runs at a time (default: as many as processors)")
      ->check(CLI::Range(1, 4096))
      ->type_name("N");
  command->add_option("--seed", options->seed, "Seed of the first run (default: the plan's)")
      ->check(CLI::Validator(check_seed, ""))
      ->type_name("N");
  command->add_option("--timeout", options->timeout_s, "A run that takes longer hangs")
      ->check(CLI::Range(0.001, 86400.0))
      ->type_name("S")
      ->default_str("60");
  auto shard = std::make_shared<std::string>("1/1");
  command->add_option("--shard", *shard, "Only the i-th of n parts")->type_name("I/N")->default_str("1/1");
  command->add_flag("--resume", options->resume, "Go on with a campaign that was interrupted");
  command->add_option("--state", options->state, "Folder of the campaign")
      ->type_name("DIR")
      ->default_str("faults-campaign");
  command->add_option("--junit", options->junit, "JUnit XML to write")->type_name("FILE");
  command->add_option("--html", options->html, "HTML page to write")->type_name("FILE");
  auto* expected =
      command->add_option("--expect-output", options->expect_output, "What the command must print if it ends well")
          ->type_name("FILE");
  command->add_flag("--same-output", options->same_output, "It must print what it prints without faults")
      ->excludes(expected);
  command
      ->add_option("--wrong-exit", options->wrong_exit,
                   "Exit status by which the command says that its result is wrong")
      ->check(CLI::Range(1, 255))
      ->type_name("N");
  command->add_flag("--in-scratch", options->in_scratch, "Run the command in a folder of its own (default: here)");
  command->add_flag("--no-shrink", options->no_shrink, "Do not make failing plans small");
  auto* merge = command->add_option("--merge", options->merge, "Put the folders of all shards together, run nothing")
                    ->type_name("DIR");
  command->add_option("command", options->command, "Command, after --");
  command->callback([command, merge, options, shard, &action, &exit_status] {
    for (const CLI::Option* other : command->get_options([](const CLI::Option* option) { return option->count() > 0; }))
      if (merge->count() > 0 && other != merge && !other->check_name("--junit") && !other->check_name("--html"))
        throw CLI::ValidationError("--merge runs nothing and goes only with --junit and --html, not with " +
                                   other->get_name());
    take_shard(*shard, *options);
    if (options->merge.empty() && (options->plan.empty() || options->command.empty()))
      throw CLI::ValidationError("expected --plan PLAN and, after --, a command (or --merge DIR...)");
    action = [options, &exit_status] { return faults_campaign(*options, exit_status); };
  });
}

}  // namespace

void add_faults(CLI::App& app, Action& action, int& exit_status) {
  auto* group = app.add_subcommand("faults", "Make faults happen, see docs/fault-injection.md");
  group->require_subcommand(1);
  add_catalogue(*group, action);
  add_record(*group, action, exit_status);
  add_campaign(*group, action, exit_status);
}

}  // namespace opennrt::tool
