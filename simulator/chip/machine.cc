// SPDX-License-Identifier: Apache-2.0
#include "simulator/machine.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "core/faults/report.h"
#include "simulator/chip/sim_thread.h"
#include "simulator/chip/stats.h"
#include "simulator/chip/system.h"
#include "simulator/chip/vcd.h"

namespace opennrt::sim {
namespace {

std::atomic<bool> g_powered_on{false};

class MachineImpl final : public Machine {
 public:
  explicit MachineImpl(const MachineConfig& config) : settings_(config) {}
  ~MachineImpl() override {
    if (system_ != nullptr) {
      thread_.call([this] { power_off(); });
    }
    thread_.stop();
    g_powered_on.store(false);
  }

  Status power_on(const ChipConfig& config) {
    facts_.instance = config.instance;
    facts_.devices = config.devices;
    facts_.cores_per_device = inf1::kCoresPerDevice;
    facts_.dram_channel_bytes = config.dram_channel_bytes;
    facts_.limits = config.limits;
    facts_.clock_ghz = config.cost.clock_ghz;
    facts_.pci_revision = config.pci_revision;
    faults_ = Faults::of(settings_.fault_plan);
    if (faults_ != nullptr && !settings_.fault_report.empty()) {
      auto report = faults::Report::open(settings_.fault_report, [log = settings_.log](const std::string& why) {
        if (log) log(static_cast<int>(LogLevel::kError), why);
      });
      if (!report) return tl::unexpected(report.error());
      fault_report_ = std::move(*report);
    }
    Status status = thread_.start();
    if (!status) return status;
    thread_.call([&] {
      auto system = System::instance();
      if (!system) {
        status = tl::unexpected(system.error());
        return;
      }
      status = (*system)->power_on(config, settings_.log, faults_.get());
      if (!status) return;
      system_ = *system;
      thread_.attach(system_);
      system_->context().host_written = [this] { thread_.host_written(); };
      system_->context().trace.start(!settings_.trace_file.empty() || !settings_.vcd_file.empty());
      thread_.pace(settings_.realtime);
      if (fault_report_ != nullptr) {
        system_->context().fault_struck = [this](const faults::Strike& strike) { fault_report_->strike(strike); };
      }
    });
    return status;
  }

  const ChipFacts& facts() const override { return facts_; }

  std::uint32_t bar_read(std::uint32_t device, std::uint32_t bar, std::uint64_t offset) override {
    if (device >= facts_.devices) return 0xffff'ffff;
    std::uint32_t value = 0;
    thread_.call([&] { value = system_->device(device).host_read(bar, offset); });
    return value;
  }
  void bar_write(std::uint32_t device, std::uint32_t bar, std::uint64_t offset, std::uint32_t value) override {
    if (device < facts_.devices) thread_.post_write(device, bar, offset, value);
  }

  std::uint32_t config_read(std::uint32_t device, std::uint32_t offset, std::uint32_t bytes) override {
    std::uint32_t value = PciConfig::ones(bytes);
    if (device < facts_.devices) thread_.call([&] { value = system_->device(device).config_read(offset, bytes); });
    return value;
  }
  void config_write(std::uint32_t device, std::uint32_t offset, std::uint32_t value, std::uint32_t bytes) override {
    if (device < facts_.devices) thread_.call([&] { system_->device(device).config_write(offset, value, bytes); });
  }

  std::uint64_t host_register(void* memory, std::uint64_t bytes) override {
    std::uint64_t address = 0;
    thread_.call([&] { address = system_->context().host.add(memory, bytes); });
    return address;
  }
  bool host_register_at(std::uint64_t bus_address, void* memory, std::uint64_t bytes) override {
    bool done = false;
    thread_.call([&] { done = system_->context().host.add_at(bus_address, memory, bytes); });
    return done;
  }
  void host_unregister(std::uint64_t bus_address) override {
    thread_.call([&] { (void)system_->context().host.remove(bus_address); });
  }

  std::uint64_t now_ns() override { return thread_.now_ps() / 1000; }
  void post_now(std::atomic<std::uint64_t>& to) override { thread_.post_now(to); }
  Ran run_until(const std::function<bool()>& condition, std::uint64_t deadline_ns) override {
    return thread_.run_until(condition, std::min(deadline_ns, kNoDeadlinePs / 1000) * 1000);
  }

  bool reset_cores(std::uint32_t device, std::uint32_t core_map) override {
    bool answered = true;
    if (device < facts_.devices) thread_.call([&] { answered = system_->device(device).reset_by_firmware(core_map); });
    return answered;
  }

  void memory_error(std::uint32_t device, MemoryKind memory, std::uint32_t channel, bool corrected) override {
    if (device >= facts_.devices) return;
    thread_.call([&] { system_->device(device).memory_error(memory, channel, corrected); });
  }

  void pass_marker(const std::string& name) override {
    if (faults_ != nullptr) thread_.call([&] { faults_->marker(name); });
  }

  std::string describe_core(std::uint32_t device, std::uint32_t core) override {
    if (device >= facts_.devices || core >= facts_.cores_per_device) return {};
    std::string text;
    thread_.call([&] { text = system_->device(device).describe_core(core); });
    return text;
  }

 private:
  void power_off() {
    Context& context = system_->context();
    if (!settings_.vcd_file.empty()) report(write_vcd(settings_.vcd_file, context.trace));
    if (!settings_.trace_file.empty()) report(context.trace.write(settings_.trace_file));
    if (!settings_.stats_file.empty()) {
      std::vector<CoreStatsEntry> cores;
      for (std::uint32_t d = 0; d < facts_.devices; ++d) {
        for (std::uint32_t c = 0; c < facts_.cores_per_device; ++c) {
          cores.push_back({d, c, system_->device(d).core(c).stats()});
        }
      }
      report(write_stats(settings_.stats_file, facts_.instance, facts_.clock_ghz, context.config.roof(),
                         context.now_ps(), cores));
    }
    system_->power_off();
  }
  void report(const Status& status) const {
    if (!status) system_->context().log(LogLevel::kError, status.error().message);
  }

  MachineConfig settings_;
  ChipFacts facts_;
  std::shared_ptr<Faults> faults_;
  std::unique_ptr<faults::Report> fault_report_;
  System* system_ = nullptr;  ///< null until power_on() has worked
  SimThread thread_;
};

}  // namespace

Result<std::unique_ptr<Machine>> Machine::power_on(const MachineConfig& config) {
  auto chip = load_chip_config(config.chips_dir, config.instance);
  if (!chip) return tl::unexpected(chip.error());
  if (config.pci_revision) chip->pci_revision = *config.pci_revision;
  if (g_powered_on.exchange(true)) {
    return make_error(ErrorCode::kState, "the simulated machine is on already; there is one per process");
  }
  auto machine = std::make_unique<MachineImpl>(config);
  if (auto status = machine->power_on(*chip); !status) return tl::unexpected(status.error());
  return machine;
}

}  // namespace opennrt::sim
