// SPDX-License-Identifier: Apache-2.0
//
// What the simulated chip delivers, measured from outside, next to what its chip file says. All times are simulated: arguments,
// repetitions and the speed of this machine change nothing. Fails where the two differ by more than 2%.
#include <cmath>
#include <cstdio>

#include "tests/golden/chip_numbers.h"

int main() {
  constexpr double kTolerance = 0.02;
  auto machine = opennrt::sim::test::power_on();
  opennrt::sim::test::ChipMeter meter(*machine);
  std::printf("%-60s %12s %12s %-7s %9s\n", "", "chip file", "measured", "", "");
  bool good = true;
  for (const auto& number : meter.all()) {
    good = good && std::abs(number.error()) <= kTolerance;
    std::printf("%-60s %12.3f %12.3f %-7s %+8.2f%%\n", number.what.c_str(), number.expected, number.measured,
                number.unit.c_str(), 100 * number.error());
  }
  return good ? 0 : 1;
}
