// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "models/graph/graph.h"

namespace opennrt::compile::graph {
namespace {

Node* producer(Graph& g, ValueId v) {
  const int p = g.values[static_cast<std::size_t>(v)].producer;
  return p < 0 ? nullptr : &g.nodes[static_cast<std::size_t>(p)];
}

/// `node` is done by its producer `into` now: that one computes node's output.
void absorb(Graph& g, Node& into, Node& node) {
  const int index = g.values[static_cast<std::size_t>(into.output)].producer;
  into.output = node.output;
  g.values[static_cast<std::size_t>(node.output)].producer = index;
  node.dead = true;
}

bool is_movement(const Node& n) {
  return n.as<Reshape>() || n.as<Transpose>() || n.as<Concat>();
}
bool is_matmul(const Node& n) {
  return n.as<Conv>() || n.as<MatMul>();
}

}  // namespace

void remove_dead(Graph& g) {
  std::vector<bool> needed(g.values.size());
  for (const ValueId o : g.outputs) needed[static_cast<std::size_t>(o)] = true;
  for (const auto& [name, v] : g.debug) needed[static_cast<std::size_t>(v)] = true;
  for (std::size_t i = g.nodes.size(); i-- > 0;) {
    Node& n = g.nodes[i];
    n.dead = n.dead || !(needed[static_cast<std::size_t>(n.output)] ||
                         std::any_of(n.more_outputs.begin(), n.more_outputs.end(),
                                     [&](ValueId v) { return needed[static_cast<std::size_t>(v)]; }));
    if (n.dead) continue;
    for (const ValueId v : n.inputs) needed[static_cast<std::size_t>(v)] = true;
  }
}

void fold_batch_norm(Graph& g) {
  const auto uses = g.use_counts();
  for (Node& n : g.nodes) {
    const auto* affine = n.as<ScaleShift>();
    if (n.dead || !affine || uses[static_cast<std::size_t>(n.inputs[0])] != 1) continue;
    Node* p = producer(g, n.inputs[0]);
    Conv* conv = p && !p->dead ? p->as<Conv>() : nullptr;
    if (!conv || conv->activation != isa::Activation::kCopy) continue;
    const std::size_t per_output = conv->weights.size() / static_cast<std::size_t>(conv->outputs);
    for (std::size_t o = 0; o < static_cast<std::size_t>(conv->outputs); ++o) {
      for (std::size_t i = 0; i < per_output; ++i) conv->weights[o * per_output + i] *= affine->scale[o];
      conv->bias[o] = conv->bias[o] * affine->scale[o] + affine->shift[o];
    }
    absorb(g, *p, n);
  }
}

void fold_reshape_into_dense(Graph& g) {
  for (Node& n : g.nodes) {
    Conv* conv = n.as<Conv>();
    if (n.dead || !conv || g.values[static_cast<std::size_t>(n.inputs[0])].shape.size() != 2) continue;
    const Dims flat = dims_of(g.values[static_cast<std::size_t>(n.inputs[0])].shape);
    ValueId source = n.inputs[0];
    for (Node* p = producer(g, source); p && p->as<Reshape>(); p = producer(g, source)) source = p->inputs[0];
    const Dims d = dims_of(g.values[static_cast<std::size_t>(source)].shape);
    if (source == n.inputs[0] || d.n != flat.n || d.c * d.h * d.w != flat.c) continue;
    // The taps become single instructions: with very many of them moving the data is the better deal.
    if (d.h * d.w > 1024 || (d.c < 16 && d.h * d.w > 64)) continue;
    n.inputs[0] = source;
    conv->kernel = {d.h, d.w};
  }
}

void fuse_activations(Graph& g) {
  const auto uses = g.use_counts();
  for (Node& n : g.nodes) {
    const auto* unary = n.as<Unary>();
    if (n.dead || !unary || unary->scale != 1 || uses[static_cast<std::size_t>(n.inputs[0])] != 1) continue;
    Node* p = producer(g, n.inputs[0]);
    if (!p || p->dead) continue;
    isa::Activation* slot = p->as<Conv>()         ? &p->as<Conv>()->activation
                            : p->as<MatMul>()     ? &p->as<MatMul>()->activation
                            : p->as<ScaleShift>() ? &p->as<ScaleShift>()->activation
                                                  : nullptr;
    if (!slot || *slot != isa::Activation::kCopy) continue;
    *slot = unary->function;
    absorb(g, *p, n);
  }
}

void simplify(Graph& g) {
  remove_dead(g);
  fold_batch_norm(g);
  fold_reshape_into_dense(g);
  fuse_activations(g);
  remove_dead(g);
}

std::vector<isa::DataType> assign_types(Graph& g, Options::AutoCast cast) {
  using isa::DataType;
  const DataType base = cast == Options::AutoCast::kAll ? DataType::kBf16 : DataType::kFp32;
  const DataType product = cast == Options::AutoCast::kNone ? DataType::kFp32 : DataType::kBf16;

  std::vector<bool> only_products(g.values.size(), true);
  for (const Node& n : g.nodes) {
    if (n.dead || is_matmul(n)) continue;
    for (const ValueId v : n.inputs) only_products[static_cast<std::size_t>(v)] = false;
  }
  std::vector<DataType> types(g.values.size(), base);
  for (const ValueId v : g.inputs) types[static_cast<std::size_t>(v)] = DataType::kFp32;

  std::vector<Node> nodes;
  std::map<std::pair<ValueId, DataType>, ValueId> casts;
  for (Node& n : g.nodes) {
    if (n.dead) continue;
    const auto out = static_cast<std::size_t>(n.output);
    types[out] = g.values[out].is_output ? DataType::kFp32 : !is_movement(n) && only_products[out] ? product : base;
    for (ValueId& v : n.inputs) {
      const DataType have = types[static_cast<std::size_t>(v)];
      const DataType want = is_matmul(n) ? product : is_movement(n) ? types[out] : have;
      if (want == have) continue;
      auto [it, fresh] = casts.try_emplace({v, want}, kNoValue);
      if (fresh) {
        const Value source = g.values[static_cast<std::size_t>(v)];
        it->second = g.add_value(source.name + "/" + std::string(isa::data_type_name(want)), source.shape);
        types.push_back(want);
        nodes.push_back(Node{Copy{}, n.name, n.onnx_op, {v}, it->second, {}, n.phase});
      }
      v = it->second;
    }
    nodes.push_back(std::move(n));
  }
  g.nodes = std::move(nodes);
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    g.values[static_cast<std::size_t>(g.nodes[i].output)].producer = static_cast<int>(i);
  }
  return types;
}

}  // namespace opennrt::compile::graph
