// SPDX-License-Identifier: Apache-2.0
//
// What makes a second build of our library a stand-in for the vendor's: it runs on a backend of its own whatever
// OPENNRT_BACKEND says, and neither records nor injects faults. (Linked with --wrap; the library itself knows nothing of it.)
#include <cstdlib>

#include "core/runtime/config.h"

namespace opennrt {

Variables really_read_environment() __asm__("__real__ZN7opennrt16read_environmentB5cxx11Ev");
Variables stand_in_environment() __asm__("__wrap__ZN7opennrt16read_environmentB5cxx11Ev");

Variables stand_in_environment() {
  Variables variables = really_read_environment();
  for (const char* front_door : {"OPENNRT_VENDOR_LIBNRT", "OPENNRT_CALL_RECORD", "OPENNRT_CALL_STATS", "OPENNRT_FAULTS",
                                 "OPENNRT_FAULTS_REPORT"})
    variables.erase(front_door);
  const char* backend = std::getenv("STAND_IN_BACKEND");
  variables["OPENNRT_BACKEND"] = backend == nullptr ? "sim" : backend;
  return variables;
}

}  // namespace opennrt
