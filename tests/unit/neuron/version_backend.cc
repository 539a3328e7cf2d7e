// SPDX-License-Identifier: Apache-2.0
//
// A backend whose driver is of the version that TEST_DRIVER says: "<major> <compatible min> <compatible max>", or
// "absent", or "unasked", which fails with a sentence in the log. It has no devices.
#include <opennrt/backend.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

const opennrt_host_t* host = nullptr;

int open_backend(const opennrt_host_t* given, opennrt_backend_t** backend) {
  host = given;
  *backend = reinterpret_cast<opennrt_backend_t*>(&host);
  return 0;
}
void close_backend(opennrt_backend_t*) {}
int version(opennrt_backend_t*, opennrt_driver_version_t* version) {
  const std::string_view driver = std::getenv("TEST_DRIVER");
  if (driver == "absent") return -ENOENT;
  if (driver == "unasked") {
    host->log(host->context, OPENNRT_LOG_ERROR, "open", "/dev/neuron0 cannot be opened: Permission denied");
    return -EACCES;
  }
  *version = {};
  version->minor = 5;
  std::sscanf(driver.data(), "%u %u %u", &version->major, &version->compatible_min, &version->compatible_max);
  std::snprintf(version->text, sizeof(version->text), "%u.5.1.0", version->major);
  return 0;
}
int devices(opennrt_backend_t*, uint32_t*, uint32_t*) {
  host->log(host->context, OPENNRT_LOG_ERROR, "open", "/dev/neuron0 is a device of architecture 2");
  return -ENOTSUP;
}
int device_open(opennrt_backend_t*, uint32_t, opennrt_device_t**) {
  return -ENODEV;
}
void device_close(opennrt_device_t*) {}

const opennrt_backend_api_t* table() {
  static opennrt_backend_api_t table = [] {
    opennrt_backend_api_t t{};
    t.abi_major = OPENNRT_BACKEND_ABI_MAJOR;
    t.size = sizeof(t);
    t.name = "version";
    t.description = "for tests";
    t.open = open_backend, t.close = close_backend, t.version = version, t.devices = devices;
    t.device_open = device_open, t.device_close = device_close;
    return t;
  }();
  return &table;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const opennrt_backend_api_t* opennrt_backend_entry(uint32_t) {
  return table();
}
