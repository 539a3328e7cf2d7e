// SPDX-License-Identifier: Apache-2.0
#include "simulator/chip/config.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "core/isa/inf1.h"
#include "simulator/engines/cost_json.h"

namespace opennrt::sim {
namespace {

using nlohmann::json;

constexpr std::uint32_t kMaxDevices = 16;

/// Reads fields "group.name" of the form {"value": number, "unit": text, "source": text}; keeps the first failure.
class Reader {
 public:
  Reader(const json& root, std::string file) : root_(root), file_(std::move(file)) {}

  double number(const char* group, const char* name, const char* unit, double low, double high) {
    const std::string field = group[0] == '\0' ? name : std::string(group) + "." + name;
    const json* node = &root_;
    if (group[0] != '\0') {
      if (!node->is_object() || !node->contains(group) || !(*node)[group].is_object()) {
        return fail(fmt::format("\"{}\" is missing, expected an object", group));
      }
      node = &(*node)[group];
    }
    if (!node->contains(name)) return fail(fmt::format("\"{}\" is missing", field));
    const json& leaf = (*node)[name];
    if (!leaf.is_object() || !leaf.contains("value") || !leaf.contains("unit") || !leaf.contains("source")) {
      return fail(fmt::format("\"{}\" is {}, expected an object with value, unit and source", field, leaf.dump()));
    }
    if (!leaf["value"].is_number()) {
      return fail(fmt::format("\"{}.value\" is {}, expected a number", field, leaf["value"].dump()));
    }
    if (!leaf["unit"].is_string() || leaf["unit"].get<std::string>() != unit) {
      return fail(fmt::format("\"{}.unit\" is {}, expected \"{}\"", field, leaf["unit"].dump(), unit));
    }
    if (!leaf["source"].is_string() || leaf["source"].get<std::string>().empty()) {
      return fail(fmt::format("\"{}.source\" is {}, expected where the number is from", field, leaf["source"].dump()));
    }
    const double value = leaf["value"].get<double>();
    if (!(value >= low && value <= high)) {
      return fail(fmt::format("\"{}.value\" is {}, expected {} to {}", field, value, low, high));
    }
    return value;
  }

  std::uint64_t integer(const char* group, const char* name, const char* unit, double low, double high) {
    const double value = number(group, name, unit, low, high);
    if (ok() && value != std::floor(value)) {
      fail(fmt::format("\"{}.{}.value\" is {}, expected a whole number", group, name, value));
    }
    return ok() ? static_cast<std::uint64_t>(value) : 0;
  }

  /// Every field of a group has unit and source; the values are somebody else's to check.
  void leaves(const char* group) {
    if (!root_.contains(group) || !root_[group].is_object()) {
      fail(fmt::format("\"{}\" is missing, expected an object", group));
      return;
    }
    for (const auto& item : root_[group].items()) {
      const json& leaf = item.value();
      if (!leaf.is_object() || !leaf.contains("value") || !leaf.contains("unit") || !leaf.contains("source")) {
        fail(fmt::format("\"{}.{}\" is {}, expected an object with value, unit and source", group, item.key(),
                         leaf.dump()));
      }
    }
  }

  double fail(std::string text) {
    if (ok()) message_ = file_ + ": " + std::move(text);
    return 0;
  }
  bool ok() const { return message_.empty(); }
  Error error() const { return Error{ErrorCode::kInvalidArgument, message_}; }

 private:
  const json& root_;
  std::string file_, message_;
};

double ps_per_byte(double gigabytes_per_second) {
  return gigabytes_per_second > 0 ? 1000.0 / gigabytes_per_second : 0;
}

void read_devices(Reader& reader, const json& root, const std::string& wanted, ChipConfig& config) {
  const std::string full = wanted.rfind("inf1.", 0) == 0 ? wanted : "inf1." + wanted;
  if (!root.contains("instances") || !root["instances"].is_object()) {
    reader.fail("\"instances\" is missing, expected an object");
    return;
  }
  const json& instances = root["instances"];
  if (!instances.contains(full)) {
    std::string names;
    for (const auto& item : instances.items()) names += (names.empty() ? "" : ", ") + item.key();
    reader.fail(fmt::format("instance \"{}\" is not known, expected one of {}", wanted, names));
    return;
  }
  const json& entry = instances[full];
  if (!entry.is_object() || !entry.contains("chips") || !entry["chips"].is_number_unsigned() || entry["chips"] < 1u ||
      entry["chips"] > kMaxDevices) {
    reader.fail(
        fmt::format("\"instances.{}.chips\" must be a number from 1 to {}, is {}", full, kMaxDevices, entry.dump()));
    return;
  }
  config.instance = full;
  config.devices = entry["chips"].get<std::uint32_t>();
}

}  // namespace

Result<ChipConfig> load_chip_config(const std::string& chips_dir, const std::string& instance) {
  const std::string path = chips_dir + "/inf1.json";
  std::ifstream file(path);
  if (!file) return make_error(ErrorCode::kInvalidArgument, "cannot read the chip file {}", path);
  std::stringstream text;
  text << file.rdbuf();
  const json root = json::parse(text.str(), nullptr, false);
  if (root.is_discarded() || !root.is_object()) {
    return make_error(ErrorCode::kInvalidArgument, "{}: not a JSON object", path);
  }

  Reader in(root, path);
  ChipConfig c;
  read_devices(in, root, instance, c);
  auto u32 = [&](const char* group, const char* name, const char* unit, double low, double high) {
    return static_cast<std::uint32_t>(in.integer(group, name, unit, low, high));
  };
  // Upper bounds are what the address map of core/isa/inf1.h has room for.
  c.limits.partitions = u32("core", "partitions", "partitions", 1, inf1::chosen::kPartitions);
  c.limits.sbuf_bytes_per_partition =
      u32("core", "sbuf_bytes_per_partition", "B", 64, inf1::chosen::kSbufPartitionStride);
  c.limits.psum_bytes_per_partition =
      u32("core", "psum_bytes_per_partition", "B", 64, inf1::chosen::kPsumPartitionStride);
  c.limits.psum_bank_bytes = u32("core", "psum_bank_bytes", "B", 64, c.limits.psum_bytes_per_partition);
  c.limits.pe_rows = u32("core", "pe_rows", "rows", 1, 128);
  c.limits.pe_columns = u32("core", "pe_columns", "columns", 1, 128);
  c.limits.matmul_max_moving = u32("core", "matmul_max_moving", "columns", 1, 65535);
  c.fifo_bytes = u32("core", "instruction_fifo_bytes", "B", isa::kInstructionBytes, inf1::kFifoBytes);
  if (in.ok() && c.fifo_bytes % isa::kInstructionBytes != 0) {
    in.fail(fmt::format("\"core.instruction_fifo_bytes.value\" is {}, expected a multiple of {}", c.fifo_bytes,
                        isa::kInstructionBytes));
  }

  c.fetch_bytes = u32("core", "instruction_fetch_bytes", "B", isa::kInstructionBytes, c.fifo_bytes);

  in.number("", "clock", "GHz", 0.001, 100);
  in.leaves("engines");
  if (in.ok()) {
    const auto cost = cost_model_from_json(root);
    if (!cost) return with_context(cost.error(), path);
    c.cost = *cost;
  }

  c.dma_queue_ps_per_byte = ps_per_byte(in.number("dma", "queue_bandwidth", "GB/s", 0.001, 1e5));
  c.dma_engine_ps_per_byte = ps_per_byte(in.number("dma", "engine_bandwidth", "GB/s", 0.001, 1e5));
  c.dma_start_ps = in.integer("dma", "start_latency", "ns", 0, 1e9) * 1000;
  c.dma_descriptor_ps = in.integer("dma", "descriptor_cost", "ns", 0, 1e9) * 1000;
  c.dma_barrier_ps = in.integer("dma", "barrier_cost", "ns", 0, 1e9) * 1000;
  c.dram_channel_bytes = in.integer("dram", "channel_bytes", "B", 4096, static_cast<double>(inf1::kDramChannelSize));
  c.dram_ps_per_byte = ps_per_byte(in.number("dram", "channel_bandwidth", "GB/s", 0.001, 1e5));
  c.host_ps_per_byte = ps_per_byte(in.number("host_link", "bandwidth", "GB/s", 0.001, 1e5));
  c.host_latency_ps = in.integer("host_link", "latency", "ns", 0, 1e9) * 1000;
  c.neighbour_ps_per_byte = ps_per_byte(in.number("neighbour_link", "bandwidth", "GB/s", 0.001, 1e5));
  c.neighbour_latency_ps = in.integer("neighbour_link", "latency", "ns", 0, 1e9) * 1000;
  c.pci_revision = static_cast<std::uint8_t>(in.integer("pci", "revision", "revision", 0, 255));
  c.pci_bar4_bytes = in.integer("pci", "bar4_bytes", "B", 4096, 1u << 31);
  if (in.ok() && (c.pci_bar4_bytes & (c.pci_bar4_bytes - 1)) != 0) {
    in.fail(fmt::format("\"pci.bar4_bytes.value\" is {}, expected a power of two", c.pci_bar4_bytes));
  }
  c.firmware_api_version = u32("firmware", "api_version", "version", 1, 65535);
  c.serial_number = in.integer("firmware", "serial_number", "number", 0, 1e15);
  c.mailbox_ps = in.integer("firmware", "mailbox_latency", "ns", 1, 1e9) * 1000;
  c.device_reset_ps = in.integer("firmware", "device_reset_time", "ms", 1, 1e6) * 1'000'000'000;
  c.core_reset_ps = in.integer("firmware", "core_reset_time", "ms", 1, 1e6) * 1'000'000'000;
  if (!in.ok()) return tl::unexpected(in.error());
  return c;
}

}  // namespace opennrt::sim
