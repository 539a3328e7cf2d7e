// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <limits>

#include "models/lower/constants.h"
#include "models/lower/context.h"

namespace opennrt::compile::lower {

std::vector<Box> boxes(const Dims& d, std::int64_t elements) {
  std::vector<Box> list;
  const std::int64_t image = d.h * d.w;
  // Steps between images must fit the instruction's 16 bits when a box has several.
  if (image <= elements && image <= std::numeric_limits<std::int16_t>::max()) {
    const std::int64_t count = std::clamp<std::int64_t>(elements / image, 1, d.n);
    for (std::int64_t n = 0; n < d.n; n += count) list.push_back({n, std::min(count, d.n - n), 0, d.h});
    return list;
  }
  std::int64_t rows = std::clamp<std::int64_t>(elements / d.w, 1, d.h);
  if (d.w > std::numeric_limits<std::int16_t>::max()) rows = 1;
  for (std::int64_t n = 0; n < d.n; ++n) {
    for (std::int64_t h = 0; h < d.h; h += rows) list.push_back({n, 1, h, std::min(rows, d.h - h)});
  }
  return list;
}

std::vector<Transfer> make_transfers(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                                     std::int64_t unit, std::vector<TransferDim> dims) {
  // Merge what continues its inner neighbour on both sides.
  std::vector<TransferDim> merged;
  for (const TransferDim& d : dims) {
    if (d.count == 1) continue;
    if (merged.empty() && d.from == unit && d.to == unit) {
      unit *= d.count;
    } else if (!merged.empty() && d.from == merged.back().from * merged.back().count &&
               d.to == merged.back().to * merged.back().count) {
      merged.back().count *= d.count;
    } else {
      merged.push_back(d);
    }
  }
  std::vector<Transfer> list;
  std::vector<std::int64_t> index(merged.size() > 3 ? merged.size() - 3 : 0);
  for (;;) {
    Transfer t;
    t.from.variable = static_cast<std::size_t>(from);
    t.to.variable = static_cast<std::size_t>(to);
    t.from.offset = from_offset;
    t.to.offset = to_offset;
    for (std::size_t i = 0; i < index.size(); ++i) {
      t.from.offset += static_cast<std::uint64_t>(index[i] * merged[i + 3].from);
      t.to.offset += static_cast<std::uint64_t>(index[i] * merged[i + 3].to);
    }
    t.from.sizes = t.to.sizes = {static_cast<std::uint64_t>(unit)};
    t.from.steps = t.to.steps = {1};
    for (std::size_t i = 0; i < std::min<std::size_t>(3, merged.size()); ++i) {
      t.from.sizes.push_back(static_cast<std::uint64_t>(merged[i].count));
      t.to.sizes.push_back(static_cast<std::uint64_t>(merged[i].count));
      t.from.steps.push_back(merged[i].from);
      t.to.steps.push_back(merged[i].to);
    }
    list.push_back(std::move(t));
    std::size_t i = 0;
    for (; i < index.size(); ++i) {
      if (++index[i] < merged[i + 3].count) break;
      index[i] = 0;
    }
    if (i == index.size()) return list;
  }
}

Context::Context(const graph::Graph& g, const Options& o, std::uint32_t column_count, std::uint32_t ring)
    : graph(g),
      options(o),
      recorder(o.limits),
      column_capacity(column_count),
      ring_begin((column_count * 4 + Arena::kAlignment - 1) / Arena::kAlignment * Arena::kAlignment),
      ring_bytes(ring),
      arena(ring_begin + ring, std::max(o.limits.sbuf_bytes_per_partition, ring_begin + ring)),
      resident_limit(arena.size() - std::min<std::uint32_t>(16 * 1024, arena.size() / 4)) {
  uses = g.use_counts();
  storage.resize(g.values.size());
}

void Context::fail(ErrorCode code, const graph::Node& node, const std::string& text) {
  recorder.fail(Error{code, node.text() + ": " + text});
}

std::uint32_t Context::add_column(const float* values, std::size_t count) {
  const auto index = static_cast<std::uint32_t>(columns.size() / kPartitions);
  if (index >= column_capacity) {
    recorder.fail(
        Error{ErrorCode::kInternal, fmt::format("more than the {} planned constant columns", column_capacity)});
    return 0;
  }
  columns.resize(columns.size() + kPartitions, 0.0f);
  std::copy(values, values + count, columns.end() - kPartitions);
  return index * 4;
}

isa::Operand Context::column(std::uint32_t offset) const {
  isa::Operand o;
  o.offset = offset;
  return o;
}

int Context::add_variable(neff::VariableType type, std::string name, std::uint64_t bytes) {
  neff::Variable v;
  // Inputs and outputs come first and keep their names; ours give way.
  const auto taken = [&](const std::string& n) {
    return std::any_of(subgraph.tensors.begin(), subgraph.tensors.end(), [&](const auto& t) { return t.name == n; });
  };
  if (type != neff::VariableType::kInput && type != neff::VariableType::kOutput) {
    while (taken(name)) name += '_';
  }
  v.name = std::move(name);
  v.type = type;
  v.id = subgraph.variables.size();
  v.size = bytes;
  v.alignment = 64;
  subgraph.variables.push_back(std::move(v));
  return static_cast<int>(subgraph.variables.size()) - 1;
}

int Context::add_file(std::string name, std::vector<std::byte> data) {
  const int id = add_variable(neff::VariableType::kFile, name, data.size());
  auto& v = subgraph.variables.back();
  v.file_name = name + ".bin";
  v.data = std::move(data);
  report.constant_bytes += v.size;
  return id;
}

Queue Context::load_queue(int variable) const {
  return subgraph.variables[static_cast<std::size_t>(variable)].type == neff::VariableType::kInput ? Queue::kIn
                                                                                                   : Queue::kLoad;
}
Queue Context::store_queue(int variable) const {
  return subgraph.variables[static_cast<std::size_t>(variable)].type == neff::VariableType::kOutput ? Queue::kOut
                                                                                                    : Queue::kStore;
}

void Context::prepare_constant(ValueId id) {
  Storage& s = at(id);
  if (s.dram >= 0 || s.sbuf || !value(id).constant) return;
  s.dram = add_file(fmt::format("c{}", id), pack(*value(id).constant, s.dtype));
}

namespace {
/// Bytes of channel tiles [t0, t0 + nt) of a box between DRAM (row-major) and SBUF ([tile][n][h][w] from `offset`).
std::vector<Transfer> box_transfers(const Storage& s, int variable, std::uint32_t offset, std::int64_t t0,
                                    std::int64_t nt, const Box& b, bool load) {
  const std::int64_t es = s.element_bytes(), plane = s.dims.h * s.dims.w * es, run = b.nh * s.dims.w * es;
  std::vector<Transfer> all;
  for (std::int64_t t = t0; t < t0 + nt; ++t) {
    const std::uint64_t dram =
        static_cast<std::uint64_t>((b.n0 * s.dims.c + t * kPartitions) * plane + b.h0 * s.dims.w * es);
    const std::uint64_t sbuf = offset + static_cast<std::uint64_t>((t - t0) * b.nn * run);
    TransferDim images{b.nn, s.dims.c * plane, run},
        channels{tile_channels(s.dims.c, t), plane, static_cast<std::int64_t>(kPartitionStride)};
    if (!load) {
      std::swap(images.from, images.to);
      std::swap(channels.from, channels.to);
    }
    auto part = load ? make_transfers(variable, dram, kStateBufferVariable, sbuf, run, {images, channels})
                     : make_transfers(kStateBufferVariable, sbuf, variable, dram, run, {images, channels});
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}
}  // namespace

bool Context::try_resident(ValueId id) {
  prepare_constant(id);
  Storage& s = at(id);
  if (s.sbuf) return true;
  s.sbuf = arena.allocate(static_cast<std::uint64_t>(s.partition_bytes()), resident_limit);
  if (!s.sbuf) return false;
  const std::int64_t tile_bytes = s.dims.n * s.dims.h * s.dims.w * s.element_bytes();
  // One transfer per channel tile and image: whoever needs the first does not wait for the last.
  for (std::int64_t t = 0; t < tiles(s.dims.c); ++t) {
    const bool split = s.dims.n > 1 && tile_bytes >= 8 * 1024;
    for (std::int64_t n = 0; n < (split ? s.dims.n : 1); ++n) {
      const Box b{n, split ? 1 : s.dims.n, 0, s.dims.h};
      const auto offset =
          s.sbuf->offset() + static_cast<std::uint32_t>(t * tile_bytes + (split ? n * (tile_bytes / s.dims.n) : 0));
      recorder.dma(load_queue(s.dram), box_transfers(s, s.dram, offset, t, 1, b, true), true);
    }
  }
  return true;
}

bool Context::need_resident(ValueId id, const graph::Node& node) {
  if (try_resident(id)) return true;
  fail(ErrorCode::kUnsupported, node,
       fmt::format("a tensor of {} needs {} bytes of each SBUF partition at once, and {} are free",
                   graph::shape_text(value(id).shape), at(id).partition_bytes(), arena.largest_hole()));
  return false;
}

void Context::place_output(ValueId out, std::initializer_list<ValueId> replaces) {
  Storage& s = at(out);
  for (const ValueId old : replaces) {
    const Storage& r = at(old);
    // A copy in DRAM stays as it is: it holds the old value, and nobody is left to read it.
    if (r.sbuf && r.sbuf.use_count() == 1 && uses[static_cast<std::size_t>(old)] == 1 && r.dims == s.dims &&
        r.dtype == s.dtype) {
      s.sbuf = r.sbuf;
      return;
    }
  }
  s.sbuf = arena.allocate(static_cast<std::uint64_t>(s.partition_bytes()), resident_limit);
  if (!s.sbuf) s.dram = dram_for_output(out);
}

int Context::dram_for_output(ValueId id) {
  if (value(id).is_output) {
    for (std::size_t i = 0; i < subgraph.variables.size(); ++i) {
      if (subgraph.variables[i].type == neff::VariableType::kOutput && subgraph.variables[i].name == value(id).name)
        return static_cast<int>(i);
    }
  }
  const Storage& s = at(id);
  const auto bytes = static_cast<std::uint64_t>(s.dims.elements() * s.element_bytes());
  report.scratch_bytes += bytes;
  return add_variable(neff::VariableType::kTmpBuf, fmt::format("t{}", subgraph.variables.size()), bytes);
}

void Context::write_back(ValueId id, int variable) {
  const Storage& s = at(id);
  for (std::int64_t t = 0; t < tiles(s.dims.c); ++t) {
    const std::int64_t tile_bytes = s.dims.n * s.dims.h * s.dims.w * s.element_bytes();
    const Box all{0, s.dims.n, 0, s.dims.h};
    recorder.dma(
        store_queue(variable),
        box_transfers(s, variable, s.sbuf->offset() + static_cast<std::uint32_t>(t * tile_bytes), t, 1, all, false),
        false);
  }
}

int Context::need_dram(ValueId id, int into) {
  prepare_constant(id);
  Storage& s = at(id);
  if (s.dram < 0) {
    const int variable = into >= 0 ? into : dram_for_output(id);
    write_back(id, variable);
    s.dram = variable;
  }
  return s.dram;
}

View Context::whole(ValueId id) {
  const Storage& s = at(id);
  View v;
  v.dtype = s.dtype;
  v.offset = s.sbuf->offset();
  v.h_step = s.dims.w;
  v.n_step = s.dims.h * s.dims.w;
  v.t_step = v.n_step * s.dims.n;
  return v;
}

std::shared_ptr<Arena::Buffer> Context::scratch(std::uint64_t bytes, const graph::Node& node) {
  auto b = arena.allocate(bytes);
  if (!b) {
    fail(ErrorCode::kUnsupported, node,
         fmt::format("the tensors are too large: {} bytes of working memory per partition are needed, and {} are free",
                     bytes, arena.largest_hole()));
  }
  return b;
}

std::int64_t Context::slot_bytes(std::size_t streams) const {
  if (streams == 0) return 0;
  const std::int64_t share = arena.largest_hole() / (2 * static_cast<std::int64_t>(streams)) - Arena::kAlignment;
  return std::clamp<std::int64_t>(share / Arena::kAlignment * Arena::kAlignment, 0, 16 * 1024);
}

isa::Operand Context::operand(const View& v, std::int64_t tile, std::int64_t n, std::int64_t h, std::int64_t w) {
  isa::Operand o;
  o.dtype = v.dtype;
  const std::int64_t at_element =
      (tile - v.t0) * v.t_step + (n - v.n0) * v.n_step + (h - v.h0) * v.h_step + w * v.w_step;
  o.offset =
      v.offset + static_cast<std::uint32_t>(at_element * static_cast<std::int64_t>(isa::data_type_bytes(v.dtype)));
  return o;
}

void Context::steps(isa::Operand& o, const View& v, std::int64_t stride_w, std::int64_t stride_h) {
  set_steps(o, {v.w_step * stride_w, v.h_step * stride_h, v.n_step, 0});
}

namespace {
constexpr std::int16_t kUnfit =
    std::numeric_limits<std::int16_t>::min();  // a step that is too long; emit() looks at it
}

void Context::set_steps(isa::Operand& o, std::array<std::int64_t, 4> values) {
  for (std::size_t i = 0; i < 4; ++i) {
    const bool fits = values[i] > kUnfit && values[i] <= std::numeric_limits<std::int16_t>::max();
    o.steps[i] = fits ? static_cast<std::int16_t>(values[i]) : kUnfit;
  }
}

void Context::emit(Engine engine, isa::Instruction in) {
  for (isa::Operand* o : {&in.dst, &in.src0, &in.src1}) {
    for (std::size_t i = 0; i < 4; ++i) {
      if (o->steps[i] != kUnfit) continue;
      if (in.counts[i] > 1)
        return recorder.fail(
            Error{ErrorCode::kUnsupported,
                  "a tensor has rows or images too long for an access pattern (a step of more than 32767 elements)"});
      o->steps[i] = 0;
    }
  }
  recorder.instruction(engine, in);
}

void Context::set_counts(isa::Instruction& in, std::int64_t w, std::int64_t h, std::int64_t n, std::int64_t outer) {
  in.counts = {static_cast<std::uint16_t>(w), static_cast<std::uint16_t>(h), static_cast<std::uint16_t>(n),
               static_cast<std::uint16_t>(outer)};
}

Reader::Reader(Context& context, ValueId id, std::int64_t bytes, const graph::Node& node) : c_(context), id_(id) {
  c_.prepare_constant(id);
  if (c_.at(id).sbuf) return;
  for (auto& slot : slots_) slot = c_.scratch(static_cast<std::uint64_t>(bytes), node);
}

View Reader::get(std::int64_t t0, std::int64_t nt, const Box& box) {
  const Storage& s = c_.at(id_);
  if (s.sbuf) return c_.whole(id_);
  View v;
  v.dtype = s.dtype;
  if (c_.failed()) return v;
  v.offset = slots_[next_]->offset();
  next_ ^= 1;
  v.t0 = t0, v.n0 = box.n0, v.h0 = box.h0;
  v.h_step = s.dims.w;
  v.n_step = box.nh * s.dims.w;
  v.t_step = v.n_step * box.nn;
  c_.recorder.dma(c_.load_queue(s.dram), box_transfers(s, s.dram, v.offset, t0, nt, box, true), true);
  return v;
}

Writer::Writer(Context& context, ValueId id, std::int64_t bytes, const graph::Node& node) : c_(context), id_(id) {
  if (c_.at(id).sbuf) return;
  for (auto& slot : slots_) slot = c_.scratch(static_cast<std::uint64_t>(bytes), node);
}

View Writer::begin(std::int64_t t0, std::int64_t nt, const Box& box) {
  const Storage& s = c_.at(id_);
  if (s.sbuf) return c_.whole(id_);
  view_ = View{};
  view_.dtype = s.dtype;
  if (c_.failed()) return view_;
  view_.offset = slots_[next_]->offset();
  next_ ^= 1;
  view_.t0 = t0, view_.n0 = box.n0, view_.h0 = box.h0;
  view_.h_step = s.dims.w;
  view_.n_step = box.nh * s.dims.w;
  view_.t_step = view_.n_step * box.nn;
  nt_ = nt;
  box_ = box;
  return view_;
}

void Writer::end() {
  const Storage& s = c_.at(id_);
  if (s.sbuf || c_.failed()) return;
  c_.recorder.dma(c_.store_queue(s.dram), box_transfers(s, s.dram, view_.offset, view_.t0, nt_, box_, false), false);
}

}  // namespace opennrt::compile::lower
