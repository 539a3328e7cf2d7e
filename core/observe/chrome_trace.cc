// SPDX-License-Identifier: Apache-2.0
#include "core/observe/chrome_trace.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

namespace opennrt::observe {
namespace {

// Rows of a core in the system trace: the device's, then the threads' by their number.
constexpr std::int64_t kDeviceRow = 0;

}  // namespace

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

std::string host_name() {
  char name[256] = "";
  if (gethostname(name, sizeof(name) - 1) != 0) return "localhost";
  return name;
}

Status make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return make_error(ErrorCode::kResource, "folder \"{}\" cannot be made: {}", path, error.message());
  return {};
}

std::string ChromeTrace::microseconds(std::uint64_t ns) const {
  return fmt::format("{}.{:03}", ns / 1000, ns % 1000);
}

void ChromeTrace::item(std::string_view text) {
  items_ += items_.empty() ? "{" : ",\n{";
  items_ += text;
  items_ += '}';
}

void ChromeTrace::name_group(std::int64_t group, std::string_view name) {
  item(fmt::format(R"("ph":"M","name":"process_name","pid":{},"args":{{"name":{}}})", group, json_string(name)));
}

void ChromeTrace::name_row(std::int64_t group, std::int64_t row, std::string_view name) {
  item(fmt::format(R"("ph":"M","name":"thread_name","pid":{},"tid":{},"args":{{"name":{}}})", group, row,
                   json_string(name)));
}

void ChromeTrace::span(std::int64_t group, std::int64_t row, std::string_view category, std::string_view name,
                       std::uint64_t begin_ns, std::uint64_t duration_ns, std::string_view args) {
  const std::uint64_t begin = begin_ns < origin_ns_ ? 0 : begin_ns - origin_ns_;
  item(fmt::format(R"("ph":"X","cat":{},"name":{},"pid":{},"tid":{},"ts":{},"dur":{},"args":{{{}}})",
                   json_string(category), json_string(name), group, row, microseconds(begin), microseconds(duration_ns),
                   args));
}

void ChromeTrace::counter(std::int64_t group, std::string_view name, std::uint64_t at_ns, std::string_view args) {
  const std::uint64_t at = at_ns < origin_ns_ ? 0 : at_ns - origin_ns_;
  item(fmt::format(R"("ph":"C","name":{},"pid":{},"tid":0,"ts":{},"args":{{{}}})", json_string(name), group,
                   microseconds(at), args));
}

void ChromeTrace::add(const trace::Taken& taken) {
  std::set<std::pair<std::int64_t, std::int64_t>> rows;
  for (const trace::Event& event : taken.events) {
    const trace::TypeInfo& type = trace::event_types()[event.type];
    const std::int64_t group = event.subject.vnc + 1;  // 0: what belongs to no core
    const std::int64_t row = type.hardware ? kDeviceRow : std::int64_t{event.thread};
    rows.emplace(group, row);
    span(group, row, type.hardware ? "hardware" : "software", type.name, event.timestamp_ns, event.duration_ns,
         trace::subject_json(event));
  }
  std::int64_t named = -1;
  for (const auto& [group, row] : rows) {
    if (group != named) name_group(group, group == 0 ? "host" : fmt::format("nrt-nc-{:03}", group - 1));
    named = group;
    name_row(group, row, row == kDeviceRow ? "NeuronCore" : fmt::format("thread {}", row));
  }
}

Status ChromeTrace::write(const std::string& path, std::string_view other) const {
  const auto failed = [&](const char* what) {
    return make_error(ErrorCode::kResource, "\"{}\" cannot be {}: {}", path, what, std::strerror(errno));
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "we"), &std::fclose);
  if (file == nullptr) return failed("opened for writing");
  const std::string head = fmt::format(
      R"({{"displayTimeUnit":"ns","otherData":{{"instance_id":{},"process_id":"{}","origin_ns":{}{}{}}},"traceEvents":[)",
      json_string(host_name()), getpid(), origin_ns_, other.empty() ? "" : ",", other);
  constexpr std::string_view kTail = "\n]}\n";
  for (const std::string_view part :
       {std::string_view(head), std::string_view("\n"), std::string_view(items_), kTail}) {
    if (std::fwrite(part.data(), 1, part.size(), file.get()) != part.size()) return failed("written");
  }
  if (std::fflush(file.get()) != 0) return failed("written");
  return {};
}

}  // namespace opennrt::observe
