// SPDX-License-Identifier: Apache-2.0
//
// neff.json → kelf-*.json → subgraphs.
#include <new>

#include "core/neff/graph.h"
#include "core/neff/header.h"
#include "core/neff/limits.h"
#include "core/neff/subgraph.h"

namespace opennrt::neff {
namespace {

Result<Json> json_file(const Files& files, const std::string& name) {
  auto found = files.find(name);
  if (found == files.end())
    return make_error(ErrorCode::kInvalidFile, "{}: there is no such file in the payload", name);
  return parse_json(found->second, name);
}

Status read_subgraph(const std::string& definition, std::uint64_t& constant_bytes_left, const Files& files,
                     Subgraph& subgraph) {
  auto slash = definition.rfind('/');
  SubgraphContext context{files, slash == definition.npos ? "" : definition.substr(0, slash + 1), constant_bytes_left};
  if (auto status = read_definition(definition, context, subgraph); !status) return status;
  for (std::size_t i = 0; i < isa::kEngines; ++i)
    if (auto status = read_engine(static_cast<isa::Engine>(i), context, subgraph); !status) return status;
  constant_bytes_left = context.constant_bytes_left;
  return read_tensor_map(context, subgraph);
}

Status read_kelf(const std::string& name, std::uint64_t& constant_bytes_left, const Files& files, Neff& neff) {
  auto json = json_file(files, name);
  if (!json) return tl::unexpected(json.error());
  Failure failure(name);
  Object kelf(*json, "", failure);
  std::string target = kelf.text("target", kMaxNameBytes);
  std::string version = kelf.text("version", kMaxNameBytes);
  if (!failure.failed() && target == kTarget && version != "0.5")
    failure.set(ErrorCode::kUnsupportedVersion, "version is {}, expected \"0.5\"", shown(version));
  if (!failure.failed() && !neff.target.empty() && neff.target != target)
    failure.set(ErrorCode::kInvalidFile, "target is {}, but that of another kelf is {}, expected one target",
                shown(target), shown(neff.target));
  neff.target = target;
  const Json& graphs = kelf.array("graphs", kMaxSubgraphs);
  if (!failure.failed() && graphs.empty())
    failure.set(ErrorCode::kInvalidFile, "graphs is empty, expected at least one");
  for (std::size_t i = 0; i < graphs.size() && !failure.failed(); ++i) {
    Object graph(graphs[i], fmt::format("graphs[{}]", i), failure);
    Subgraph subgraph;
    subgraph.name = graph.text("name", kMaxNameBytes);
    std::string definition = graph.text("definition", kMaxPathBytes);
    if (!failure.failed() && !files.contains(definition))
      failure.set(ErrorCode::kInvalidFile, "{} is {}, but there is no such file in the payload",
                  graph.path("definition"), shown(definition));
    if (failure.failed()) break;
    for (const Subgraph& other : neff.subgraphs)
      if (other.name == subgraph.name)
        failure.set(ErrorCode::kInvalidFile, "graphs[{}].name is {}, which is there twice", i, shown(subgraph.name));
    if (!failure.failed()) {
      auto status = read_subgraph(definition, constant_bytes_left, files, subgraph);
      if (!status && target == kTarget) return status;
      if (!status) {
        // Another generation's subgraph: its shape may differ in ways that are not public. Describe what there is.
        neff.notices.push_back(fmt::format("subgraph '{}' of target \"{}\" was not read in full: {}", subgraph.name,
                                           target, status.error().message));
      }
      if (target != kTarget) subgraph.isa_version = 0;
    }
    neff.subgraphs.push_back(std::move(subgraph));
    if (neff.subgraphs.size() > kMaxSubgraphs)
      failure.set(ErrorCode::kInvalidFile, "graphs makes more than {} subgraphs in all kelfs, which is the limit",
                  kMaxSubgraphs);
  }
  if (failure.failed()) return tl::unexpected(failure.error());
  return {};
}

Result<Neff> parse_all(std::span<const std::byte> bytes, const ParseOptions& options) {
  Neff neff;
  auto header = parse_header(bytes);
  if (!header) return tl::unexpected(header.error());
  neff.header = *header;
  if (options.validate_hash) {
    auto check = check_hash(*header, bytes.subspan(kHeaderBytes, header->data_size));
    if (!check) return tl::unexpected(check.error());
    if (*check == HashCheck::kCannotTell)
      neff.notices.push_back(fmt::format(
          "NEFF header: hash cannot be validated: what the writer \"{}\" hashes is not public", header->build_version));
  }
  auto files = unpack(bytes, options);
  if (!files) return tl::unexpected(files.error());
  auto graph = read_graph(*files);
  if (!graph) return tl::unexpected(graph.error());
  std::uint64_t constant_bytes_left = options.max_unpacked_bytes;
  for (KelfNode& kelf : graph->kelfs) {
    kelf.first = neff.subgraphs.size();
    if (auto status = read_kelf(kelf.file, constant_bytes_left, *files, neff); !status)
      return tl::unexpected(status.error());
    kelf.count = neff.subgraphs.size() - kelf.first;
  }
  if (neff.target != kTarget) return neff;  // described; refused where it would be loaded
  if (header->feature_bits != 0)
    return make_error(ErrorCode::kUnsupportedVersion,
                      "NEFF header: feature_bits is {:#x}, expected 0: this runtime knows no such feature",
                      header->feature_bits);
  if (header->lnc_size > 1)
    return make_error(ErrorCode::kUnsupported,
                      "NEFF header: lnc_size is {}, expected 1: NeuronCore-v1 has no logical cores", header->lnc_size);
  if (header->num_tpb != neff.subgraphs.size())
    return make_error(ErrorCode::kInvalidFile, "NEFF header: num_tpb is {}, but there are {} subgraphs",
                      header->num_tpb, neff.subgraphs.size());
  if (auto status = resolve_graph(*graph, *files, constant_bytes_left, neff); !status)
    return tl::unexpected(status.error());
  return neff;
}

}  // namespace

Result<Neff> parse(std::span<const std::byte> bytes, const ParseOptions& options) {
  try {
    return parse_all(bytes, options);
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kResource, "NEFF: no memory to read {} bytes", bytes.size());
  } catch (const std::exception& e) {
    return make_error(ErrorCode::kInternal, "NEFF: {}", e.what());
  }
}

}  // namespace opennrt::neff
