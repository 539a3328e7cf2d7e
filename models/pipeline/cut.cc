// SPDX-License-Identifier: Apache-2.0
#include "models/pipeline/cut.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "models/lower/schedule.h"

namespace opennrt::compile::pipeline {
namespace {

using graph::Graph;
using graph::Node;
using graph::ValueId;

constexpr std::size_t kMaxCandidates = 4096;  // bounds the search, whatever the model
constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

/// Where a stage may end: behind node `end` - 1.
struct Candidate {
  std::size_t end = 0;
  std::uint64_t cycles = 0;    ///< of all nodes before
  std::uint64_t crossing = 0;  ///< cycles of moving the values that cross
  bool forced = false;         ///< the CPU has its turn here
};

/// The node that makes a value and the last one that reads it.
struct Life {
  std::size_t made = 0, last = 0;
};
std::vector<Life> lives(const Graph& g) {
  std::vector<Life> life(g.values.size());
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const auto output = static_cast<std::size_t>(g.nodes[i].output);
    life[output] = {i, i};
    for (const ValueId v : g.nodes[i].inputs) life[static_cast<std::size_t>(v)].last = i;
  }
  return life;
}

std::vector<Candidate> candidates(const Graph& g, const std::vector<isa::DataType>& types,
                                  const std::vector<std::uint64_t>& cycles) {
  // What crosses changes by what is made and what is read for the last time at each node.
  std::vector<std::int64_t> values(g.nodes.size() + 1), bytes(g.nodes.size() + 1);
  const auto life = lives(g);
  for (const Node& n : g.nodes) {
    const auto v = static_cast<std::size_t>(n.output);
    const auto size = graph::element_count(g.values[v].shape) * static_cast<std::int64_t>(data_type_bytes(types[v]));
    values[life[v].made] += 1, values[life[v].last] -= 1;
    bytes[life[v].made] += size, bytes[life[v].last] -= size;
  }
  std::vector<Candidate> list{{}};
  std::uint64_t sum = 0;
  std::int64_t crossing = 0, crossing_bytes = 0;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    sum += cycles.empty() ? 1 : cycles[i];
    crossing += values[i], crossing_bytes += bytes[i];
    const bool last = i + 1 == g.nodes.size(), forced = last || g.nodes[i].phase != g.nodes[i + 1].phase;
    if (!forced && crossing > static_cast<std::int64_t>(kMaxCrossing)) continue;
    const auto moved = lower::transfer_cycles(static_cast<std::uint64_t>(crossing_bytes)) / lower::kOverlap;
    list.push_back({i + 1, sum, moved, forced});
  }
  return list;
}

/// Of very many candidates in a row the one where least crosses stands for a group.
std::vector<Candidate> thin_out(std::vector<Candidate> all) {
  const std::size_t group = (all.size() + kMaxCandidates - 1) / kMaxCandidates;
  if (group == 1) return all;
  std::vector<Candidate> list{all.front()};
  std::size_t in_group = group;
  for (std::size_t i = 1; i < all.size(); ++i) {
    if (in_group == group || list.back().forced) {
      list.push_back(all[i]);
      in_group = 1;
      continue;
    }
    ++in_group;
    if (all[i].forced || all[i].crossing < list.back().crossing) list.back() = all[i];
  }
  return list;
}

/// best[k][j]: the slowest of k stages that end with candidate j, when all is cut best.
std::vector<std::size_t> search(const std::vector<Candidate>& c, std::size_t stages) {
  std::vector<std::vector<std::uint64_t>> best(stages + 1, std::vector<std::uint64_t>(c.size(), kNever));
  std::vector<std::vector<std::size_t>> from(stages + 1, std::vector<std::size_t>(c.size(), 0));
  best[0][0] = 0;
  for (std::size_t k = 1; k <= stages; ++k) {
    for (std::size_t j = k; j < c.size(); ++j) {
      for (std::size_t i = j; i-- > 0;) {
        const std::uint64_t work = c[j].cycles - c[i].cycles;
        if (work > best[k][j]) break;  // and more the further back it begins
        if (best[k - 1][i] != kNever) {
          const std::uint64_t slowest = std::max(best[k - 1][i], work + c[i].crossing + c[j].crossing);
          if (slowest < best[k][j]) best[k][j] = slowest, from[k][j] = i;
        }
        if (c[i].forced) break;
      }
    }
  }
  std::vector<std::size_t> ends;
  for (std::size_t k = stages, j = c.size() - 1; k > 0; j = from[k--][j]) ends.push_back(j);
  std::reverse(ends.begin(), ends.end());
  return ends;
}

}  // namespace

Result<std::vector<Stage>> cut(const Graph& g, const std::vector<isa::DataType>& types,
                               const std::vector<std::uint64_t>& cycles, std::size_t stages) {
  auto list = candidates(g, types, cycles);
  const std::size_t parts =
      static_cast<std::size_t>(std::count_if(list.begin(), list.end(), [](const Candidate& c) { return c.forced; }));
  const std::size_t most = std::min(list.size() - 1, kMaxStages);
  if (stages == 0) stages = parts;
  if (parts > kMaxStages)
    return make_error(
        ErrorCode::kUnsupported,
        "nodes for the CPU divide the network into {} parts, each for a NeuronCore; a NEFF has at most {}", parts,
        kMaxStages);
  if (stages < parts)
    return make_error(
        ErrorCode::kInvalidArgument,
        "{} NeuronCores do not suffice: nodes for the CPU divide the network into {} parts, expected {} to {}", stages,
        parts, parts, most);
  if (stages > most)
    return make_error(ErrorCode::kInvalidArgument,
                      "{} NeuronCores are more than there are parts: the network can be cut at {} points (at most {} "
                      "values may cross one), expected {} to {} NeuronCores",
                      stages, list.size() - 1 - parts, kMaxCrossing, parts, most);
  list = thin_out(std::move(list));
  std::vector<Stage> out;
  std::size_t begin = 0;
  for (const std::size_t end : search(list, stages)) {
    out.push_back({list[begin].end, list[end].end, g.nodes[list[begin].end].phase,
                   list[end].cycles - list[begin].cycles + list[begin].crossing + list[end].crossing});
    begin = end;
  }
  return out;
}

std::vector<Graph> stage_graphs(Graph& g, const std::vector<Stage>& stages) {
  std::vector<std::size_t> stage_of(g.values.size(), stages.size());  // of the maker; nobody: an input
  for (std::size_t s = 0; s < stages.size(); ++s) {
    for (std::size_t i = stages[s].begin; i < stages[s].end; ++i)
      stage_of[static_cast<std::size_t>(g.nodes[i].output)] = s;
  }
  std::vector<bool> read_at_all(g.values.size());
  for (const Node& n : g.nodes) {
    for (const ValueId v : n.inputs) read_at_all[static_cast<std::size_t>(v)] = true;
  }
  std::vector<Graph> graphs(stages.size());
  std::vector<std::vector<bool>> reads(stages.size(), std::vector<bool>(g.values.size()));
  std::vector<bool> leaves(g.values.size());
  for (std::size_t s = 0; s < stages.size(); ++s) {
    for (std::size_t i = stages[s].begin; i < stages[s].end; ++i) {
      for (const ValueId v : g.nodes[i].inputs) {
        const auto index = static_cast<std::size_t>(v);
        reads[s][index] = true;
        leaves[index] = leaves[index] || (stage_of[index] < s);
      }
    }
  }
  for (std::size_t s = 0; s < stages.size(); ++s) {
    Graph& part = graphs[s];
    part.name = g.name;
    part.values = g.values;
    for (graph::Value& v : part.values) v.is_input = v.is_output = v.is_debug = false;
    for (const ValueId v : g.inputs) {
      const auto i = static_cast<std::size_t>(v);
      if (reads[s][i] || (s == 0 && !read_at_all[i])) part.inputs.push_back(v);
    }
    for (const ValueId v : g.outputs) {
      if (stage_of[static_cast<std::size_t>(v)] == s) part.outputs.push_back(v);
    }
    for (std::size_t i = 0; i < g.values.size(); ++i) {
      if (reads[s][i] && stage_of[i] < s) part.inputs.push_back(static_cast<ValueId>(i));
      if (leaves[i] && stage_of[i] == s && !g.values[i].is_output) part.outputs.push_back(static_cast<ValueId>(i));
    }
    for (const ValueId v : part.inputs) part.values[static_cast<std::size_t>(v)].is_input = true;
    for (const ValueId v : part.outputs) part.values[static_cast<std::size_t>(v)].is_output = true;
    for (const auto& [name, v] : g.debug) {
      if (stage_of[static_cast<std::size_t>(v)] != s) continue;
      part.values[static_cast<std::size_t>(v)].is_debug = true;
      part.debug.emplace_back(name, v);
    }
    part.nodes.assign(std::make_move_iterator(g.nodes.begin() + static_cast<std::ptrdiff_t>(stages[s].begin)),
                      std::make_move_iterator(g.nodes.begin() + static_cast<std::ptrdiff_t>(stages[s].end)));
  }
  return graphs;
}

}  // namespace opennrt::compile::pipeline
