// SPDX-License-Identifier: Apache-2.0
//
// Makes failing plans small: fewer rules by delta debugging (A. Zeller, R. Hildebrandt, "Simplifying and Isolating
// Failure-Inducing Input", 2002), then simpler rules.
#include <algorithm>

#include "tools/opennrt/faults_campaign.h"

namespace opennrt::tool {
namespace {

using Fails = std::function<Result<bool>(const faults::Plan&)>;

class Shrinker {
 public:
  Shrinker(const Fails& fails, std::uint32_t attempts) : fails_(fails), left_(attempts) {}

  /// False as well when there are no attempts left or one could not be made.
  bool still_fails(const faults::Plan& plan) {
    if (left_ == 0 || failed) return false;
    --left_;
    const auto answer = fails_(plan);
    if (!answer) failed = answer.error();
    return answer && *answer;
  }

  void fewer_rules(faults::Plan& plan) {
    std::size_t parts = 2;
    while (!plan.rules.empty()) {
      const std::size_t count = plan.rules.size(), size = (count + parts - 1) / parts;
      bool smaller = false;
      for (std::size_t begin = 0; begin < count && !smaller; begin += size) {
        faults::Plan without = plan;
        without.rules.erase(without.rules.begin() + static_cast<std::ptrdiff_t>(begin),
                            without.rules.begin() + static_cast<std::ptrdiff_t>(std::min(count, begin + size)));
        if (!still_fails(without)) continue;
        plan = std::move(without);
        smaller = true;
      }
      if (smaller)
        parts = std::max<std::size_t>(2, parts - 1);
      else if (size == 1)
        return;
      else
        parts = std::min(plan.rules.size(), parts * 2);
    }
  }

  void simpler_rules(faults::Plan& plan) {
    const std::vector<std::function<void(faults::Rule&)>> changes = {
        [](faults::Rule& rule) { rule.when.from.clear(), rule.when.to.clear(); },
        [](faults::Rule& rule) { rule.when.after_ns = 0; },
        [](faults::Rule& rule) { rule.when.probability = 1; },
        [](faults::Rule& rule) { rule.when = {}; },
        [](faults::Rule& rule) { rule.times = 1; },
        [](faults::Rule& rule) { rule.where.process.clear(); },
        [](faults::Rule& rule) { rule.where.engine.clear(); },
        [](faults::Rule& rule) { rule.where.queue.reset(); },
        [](faults::Rule& rule) { rule.where.core.reset(), rule.where.no_core = false; },
        [](faults::Rule& rule) { rule.where.device.reset(), rule.where.no_device = false; },
    };
    for (std::size_t i = 0; i < plan.rules.size(); ++i)
      for (const auto& change : changes) {
        faults::Plan simpler = plan;
        change(simpler.rules[i]);
        if (faults::to_json(simpler) != faults::to_json(plan) && still_fails(simpler)) plan = std::move(simpler);
      }
  }

  std::optional<Error> failed;

 private:
  const Fails& fails_;
  std::uint32_t left_;
};

}  // namespace

void name_rules(faults::Plan& plan) {
  // A name that is the default of another position would be left out of the file, and then mean another.
  for (std::size_t i = 0; i < plan.rules.size(); ++i) plan.rules[i].position = UINT32_MAX;
}

Result<faults::Plan> shrink(faults::Plan plan, const Fails& fails, std::uint32_t attempts) {
  Shrinker shrinker(fails, attempts);
  shrinker.fewer_rules(plan);
  shrinker.simpler_rules(plan);
  if (shrinker.failed) return tl::unexpected<Error>(*shrinker.failed);
  return plan;
}

}  // namespace opennrt::tool
