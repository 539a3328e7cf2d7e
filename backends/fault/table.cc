// SPDX-License-Identifier: Apache-2.0
//
// The C side: a table whose functions lead through faults to another backend's.
#include <cerrno>
#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

#include "backends/fault/decorated.h"
#include "core/faults/plan.h"
#include "core/umd/decorator.h"

namespace {

using namespace opennrt;
using fault::Backend;
using fault::Device;
using Api = opennrt_backend_api_t;

Backend& of(opennrt_backend_t* backend) {
  return *reinterpret_cast<Backend*>(backend);
}
Device& of(opennrt_device_t* device) {
  return *reinterpret_cast<Device*>(device);
}
Backend& backend_of(opennrt_backend_t* backend) {
  return of(backend);
}
Backend& backend_of(opennrt_device_t* device) {
  return of(device).backend();
}

/// No exception crosses the table.
template <typename Act>
int guarded(Act&& act) {
  try {
    return act();
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  } catch (...) {
    return -EIO;
  }
}

/// How an operation says which core it is about.
struct NoCore {
  template <typename... A>
  static std::int64_t find(Device&, A...) {
    return -1;
  }
};
struct CoreFirst {
  template <typename... A>
  static std::int64_t find(Device&, std::uint32_t core, A...) {
    return core;
  }
};
struct MachineCoreFirst {
  template <typename... A>
  static std::int64_t find(Device& device, std::uint32_t core, A...) {
    return device.core_of_number(core);
  }
};
struct EngineFirst {
  template <typename... A>
  static std::int64_t find(Device&, std::uint32_t engine, A...) {
    return engine / inf1::kDmaEnginesPerCore;
  }
};
struct MemoryFirst {
  template <typename... A>
  static std::int64_t find(Device& device, opennrt_mem_t memory, A...) {
    return device.core_of_memory(memory);
  }
};
struct Queues {
  static std::int64_t find(Device&, const opennrt_queue_init_t* queues, std::uint32_t count) {
    return queues == nullptr || count == 0 ? -1 : queues->engine / inf1::kDmaEnginesPerCore;
  }
};

/// The name of an entry, as a template argument.
template <std::size_t N>
struct Name {
  char text[N];
  constexpr Name(const char (&name)[N]) { std::copy(name, name + N, text); }  // NOLINT: a literal is meant
};

/// The function for an entry that has no faults but those of any operation.
template <auto Entry, Name name, typename Core, typename Function = std::remove_reference_t<decltype(Api{}.*Entry)>>
struct Plain;
template <auto Entry, Name name, typename Core, typename... A>
struct Plain<Entry, name, Core, int (*)(opennrt_device_t*, A...)> {
  static int call(opennrt_device_t* handle, A... arguments) {
    Device& device = of(handle);
    const auto function = device.inner().*Entry;
    if (device.backend().forked()) return function(device.handle(), arguments...);
    return guarded([&] {
      const int error = device.before(name.text, Core::find(device, arguments...));
      return error != 0 ? error : function(device.handle(), arguments...);
    });
  }
};
template <auto Entry, Name name, typename Core, typename... A>
struct Plain<Entry, name, Core, int (*)(opennrt_backend_t*, A...)> {
  static int call(opennrt_backend_t* handle, A... arguments) {
    const Backend& backend = of(handle);
    const auto function = backend.inner().*Entry;
    if (backend.forked()) return function(backend.handle, arguments...);
    return guarded([&] {
      const int error = backend.before({name.text});
      return error != 0 ? error : function(backend.handle, arguments...);
    });
  }
};

/// The function for an entry that Backend or Device has a function of its own for.
template <auto Entry, auto Own, typename Function = std::remove_reference_t<decltype(Api{}.*Entry)>>
struct Special;
template <auto Entry, auto Own, typename Handle, typename... A>
struct Special<Entry, Own, int (*)(Handle*, A...)> {
  static int call(Handle* handle, A... arguments) {
    auto& object = of(handle);
    if (backend_of(handle).forked()) return (object.inner().*Entry)(inner_handle(object), arguments...);
    return guarded([&] { return (object.*Own)(arguments...); });
  }
  static opennrt_backend_t* inner_handle(const Backend& backend) { return backend.handle; }
  static opennrt_device_t* inner_handle(const Device& device) { return device.handle(); }
};

void close_backend(opennrt_backend_t* handle) {
  Backend& backend = of(handle);
  if (!backend.forked()) backend.before_void({"close"});
  backend.inner().close(backend.handle);
  if (!backend.forked()) delete &backend;
}

void device_close(opennrt_device_t* handle) {
  Device& device = of(handle);
  const bool forked = device.backend().forked();
  if (!forked) device.backend().before_void({"device_close", device.number()});
  device.inner().device_close(device.handle());
  if (!forked) delete &device;
}

int mem_alloc(opennrt_device_t* handle, const opennrt_mem_params_t* params, opennrt_mem_t* memory) {
  Device& device = of(handle);
  if (device.backend().forked() || params == nullptr || memory == nullptr)
    return device.inner().mem_alloc(device.handle(), params, memory);
  return guarded([&] { return device.mem_alloc(*params, memory); });
}

/// open() has been answered with a handle of the first kind, all else is reached through it.
Api decorated(const Api& inner) {
  Api table = inner;
  table.size = sizeof(Api);
  table.open = nullptr;
  table.close = close_backend;
  table.device_close = device_close;
  if (table.mem_alloc != nullptr) table.mem_alloc = mem_alloc;
// NOLINTBEGIN(bugprone-macro-parentheses): the names of a member and of a function
#define OPENNRT_SPECIAL(entry, function) \
  if (table.entry != nullptr) table.entry = Special<&Api::entry, &function>::call
  // NOLINTEND(bugprone-macro-parentheses)
  OPENNRT_SPECIAL(version, Backend::version);
  OPENNRT_SPECIAL(devices, Backend::devices);
  OPENNRT_SPECIAL(device_open, Backend::device_open);
  OPENNRT_SPECIAL(cores_reserve, Backend::cores_reserve);
  OPENNRT_SPECIAL(core_holder, Backend::core_holder);
  OPENNRT_SPECIAL(device_info, Device::info);
  OPENNRT_SPECIAL(mem_free, Device::mem_free);
  OPENNRT_SPECIAL(mem_stats, Device::mem_stats);
  OPENNRT_SPECIAL(nq_init, Device::nq_init);
  OPENNRT_SPECIAL(nq_destroy, Device::nq_destroy);
  OPENNRT_SPECIAL(nq_consume, Device::nq_consume);
  OPENNRT_SPECIAL(reset_start, Device::reset_start);
  OPENNRT_SPECIAL(reset_wait, Device::reset_wait);
  OPENNRT_SPECIAL(clock, Device::clock);
  OPENNRT_SPECIAL(wait, Device::wait);
#undef OPENNRT_SPECIAL
#define OPENNRT_PLAIN(entry, core) \
  if (table.entry != nullptr) table.entry = Plain<&Api::entry, #entry, core>::call
  OPENNRT_PLAIN(cores_release, NoCore);
  OPENNRT_PLAIN(core_lock, MachineCoreFirst);
  OPENNRT_PLAIN(core_unlock, MachineCoreFirst);
  OPENNRT_PLAIN(mem_info, MemoryFirst);
  OPENNRT_PLAIN(mem_map, MemoryFirst);
  OPENNRT_PLAIN(mem_unmap, MemoryFirst);
  OPENNRT_PLAIN(mem_write, MemoryFirst);
  OPENNRT_PLAIN(mem_read, MemoryFirst);
  OPENNRT_PLAIN(mem_copy, MemoryFirst);
  OPENNRT_PLAIN(mem_set, MemoryFirst);
  OPENNRT_PLAIN(dma_engine_set_state, EngineFirst);
  OPENNRT_PLAIN(dma_engine_get_state, EngineFirst);
  OPENNRT_PLAIN(dma_queue_init, Queues);
  OPENNRT_PLAIN(dma_write_descriptors, MemoryFirst);
  OPENNRT_PLAIN(dma_queue_start, EngineFirst);
  OPENNRT_PLAIN(dma_queue_get_state, EngineFirst);
  OPENNRT_PLAIN(dma_queue_release, EngineFirst);
  OPENNRT_PLAIN(dma_quiesce, CoreFirst);
  OPENNRT_PLAIN(bar_read, NoCore);
  OPENNRT_PLAIN(bar_write, NoCore);
  OPENNRT_PLAIN(semaphore_read, CoreFirst);
  OPENNRT_PLAIN(semaphore_write, CoreFirst);
  OPENNRT_PLAIN(semaphore_increment, CoreFirst);
  OPENNRT_PLAIN(semaphore_decrement, CoreFirst);
  OPENNRT_PLAIN(event_get, CoreFirst);
  OPENNRT_PLAIN(event_set, CoreFirst);
  OPENNRT_PLAIN(counters_map, NoCore);
  OPENNRT_PLAIN(counters_unmap, NoCore);
  OPENNRT_PLAIN(work_started, CoreFirst);
  if (inner.marker != nullptr) {
    table.marker = [](opennrt_backend_t* backend, const char* name) {
      return of(backend).inner().marker(of(backend).handle, name);
    };
  }
#undef OPENNRT_PLAIN
  return table;
}

std::string value(const opennrt_host_t& host, const char* name) {
  const char* text = host.config != nullptr ? host.config(host.context, name) : nullptr;
  return text != nullptr ? text : "";
}

int refuse(const opennrt_host_t& host, const Error& error) {
  if (host.log != nullptr) host.log(host.context, OPENNRT_LOG_ERROR, "open", error.message.c_str());
  return -EINVAL;
}

}  // namespace

#define OPENNRT_EXPORT extern "C" __attribute__((visibility("default")))

OPENNRT_EXPORT int opennrt_backend_decorate(const Api* inner, const opennrt_host_t* host, Api* table,
                                            opennrt_backend_t** handle) {
  return guarded([&] {
    auto plan = faults::read_plan(value(*host, "OPENNRT_FAULTS"));
    if (!plan) return refuse(*host, plan.error());
    fault::Listener listener{host, nullptr};
    if (const std::string path = value(*host, "OPENNRT_FAULTS_REPORT"); !path.empty()) {
      auto report = faults::Report::open(path, [host](const std::string& why) {
        if (host->log != nullptr) host->log(host->context, OPENNRT_LOG_ERROR, "fault", why.c_str());
      });
      if (!report) return refuse(*host, report.error());
      listener.report = std::move(*report);
    }
    auto backend = std::make_unique<Backend>(*inner, std::move(listener), fault::Faults::of(*plan));
    if (const int error = backend->before({"open"})) return error;
    if (const int error = inner->open(backend->host_of_inner(), &backend->handle)) return error;
    *table = decorated(*inner);
    *handle = reinterpret_cast<opennrt_backend_t*>(backend.release());
    return 0;
  });
}

OPENNRT_EXPORT void opennrt_backend_pass_marker(const char* name) {
  (void)guarded([&] {
    if (const auto faults = fault::Faults::in_force(); faults != nullptr) faults->marker(name);
    return 0;
  });
}
