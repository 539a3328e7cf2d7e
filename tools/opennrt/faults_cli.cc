// SPDX-License-Identifier: Apache-2.0
//
// The command line of `opennrt faults`.
#include <CLI/CLI.hpp>
#include <memory>

#include "tools/opennrt/faults.h"

namespace opennrt::tool {
namespace {

using Action = std::function<Status()>;

void add_catalogue(CLI::App& group, Action& action) {
  auto* list = group.add_subcommand("list", "The kinds of faults");
  auto list_options = std::make_shared<FaultsListOptions>();
  list->add_flag("--json", list_options->json, "As JSON, with all that explain tells");
  list->add_option("--backend", list_options->backend, "Only what this backend can have")
      ->type_name("sim|null|neuron|emulated|vendor");
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
      ->type_name("sim|null|neuron|emulated|vendor");
  check->callback([check_options, &action] { action = [check_options] { return faults_check(*check_options); }; });
}

void add_record(CLI::App& group, Action& action) {
  auto* record = group.add_subcommand("record", "Run a command and write down the faults that struck, as a plan");
  auto options = std::make_shared<FaultsRecordOptions>();
  record->add_option("-p,--plan", options->plan, "Plan")->required()->type_name("PLAN.json");
  record->add_option("-o,--output", options->output, "Plan to write")->required()->type_name("FILE");
  record->add_option("command", options->command, "Command, after --")->required();
  record->callback([options, &action] { action = [options] { return faults_record(*options); }; });

  auto* replay =
      group.add_subcommand("replay", "Run a command under a recorded plan; fails unless the same faults strike");
  auto again = std::make_shared<FaultsRecordOptions>();
  replay->add_option("plan", again->plan, "Plan that record wrote")->required()->type_name("PLAN.json");
  replay->add_option("command", again->command, "Command, after --")->required();
  replay->callback([again, &action] { action = [again] { return faults_replay(*again); }; });
}

void add_campaign(CLI::App& group, Action& action) {
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
  command->add_option("--seed", options->seed, "Seed of the first run (default: the plan's)")->type_name("N");
  command->add_option("--timeout", options->timeout_s, "A run that takes longer hangs")
      ->check(CLI::Range(0.001, 86400.0))
      ->type_name("S")
      ->default_str("60");
  command->add_option("--shard", options->shard, "Only the i-th of n parts")->type_name("I/N")->default_str("1/1");
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
  command->add_flag("!--no-shrink", options->shrink, "Do not make failing plans small");
  command->add_option("--merge", options->merge, "Put the folders of all shards together, run nothing")
      ->type_name("DIR");
  command->add_option("command", options->command, "Command, after --");
  command->callback([options, &action] { action = [options] { return faults_campaign(*options); }; });
}

}  // namespace

void add_faults(CLI::App& app, Action& action) {
  auto* group = app.add_subcommand("faults", "Make faults happen, see docs/fault-injection.md");
  group->require_subcommand(1);
  add_catalogue(*group, action);
  add_record(*group, action);
  add_campaign(*group, action);
}

}  // namespace opennrt::tool
