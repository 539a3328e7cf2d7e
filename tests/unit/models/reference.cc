// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/models/reference.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>

namespace opennrt::test {
namespace {

using compile::onnx_model::Node;
using Shape = std::vector<std::int64_t>;

std::int64_t count(const Shape& s) {
  std::int64_t n = 1;
  for (auto d : s) n *= d;
  return n;
}
std::int64_t integer(const Node& n, const char* name, std::int64_t fallback) {
  const auto it = n.attributes.find(name);
  return it == n.attributes.end() ? fallback : it->second.i;
}
double real(const Node& n, const char* name, double fallback) {
  const auto it = n.attributes.find(name);
  return it == n.attributes.end() ? fallback : static_cast<double>(it->second.f);
}
Shape list(const Node& n, const char* name, Shape fallback) {
  const auto it = n.attributes.find(name);
  return it == n.attributes.end() ? fallback : it->second.ints;
}

Tensor map(const Tensor& x, const std::function<double(double)>& f) {
  Tensor y = x;
  for (double& v : y.data) v = f(v);
  return y;
}

/// Offsets of an operand of shape `s` for the element `index` of a result of shape `out`.
std::size_t broadcast_offset(const Shape& s, const Shape& out, std::int64_t index) {
  std::int64_t offset = 0, stride = 1;
  for (std::size_t back = 0; back < out.size(); ++back) {
    const std::int64_t d = out[out.size() - 1 - back], at = index % d;
    index /= d;
    if (back >= s.size()) continue;
    const std::int64_t own = s[s.size() - 1 - back];
    if (own != 1) offset += at * stride;
    stride *= own;
  }
  return static_cast<std::size_t>(offset);
}

Tensor binary(const Tensor& a, const Tensor& b, const std::function<double(double, double)>& f) {
  Shape out(std::max(a.shape.size(), b.shape.size()), 1);
  for (const Shape* s : {&a.shape, &b.shape}) {
    for (std::size_t i = 0; i < s->size(); ++i) {
      auto& d = out[out.size() - 1 - i];
      d = std::max(d, (*s)[s->size() - 1 - i]);
    }
  }
  Tensor y{out, std::vector<double>(static_cast<std::size_t>(count(out)))};
  for (std::int64_t i = 0; i < count(out); ++i)
    y.data[static_cast<std::size_t>(i)] =
        f(a.data[broadcast_offset(a.shape, out, i)], b.data[broadcast_offset(b.shape, out, i)]);
  return y;
}

struct Window {
  Shape kernel, stride, dilation, pad, out;
};
Window window(const Node& n, const Shape& x, const Shape& kernel) {
  Window w{kernel, list(n, "strides", {1, 1}), list(n, "dilations", {1, 1}), list(n, "pads", {0, 0, 0, 0}), {0, 0}};
  const auto it = n.attributes.find("auto_pad");
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t extent = (kernel[i] - 1) * w.dilation[i] + 1;
    if (it != n.attributes.end() && it->second.s.rfind("SAME", 0) == 0) {
      const std::int64_t outputs = (x[2 + i] + w.stride[i] - 1) / w.stride[i];
      const std::int64_t total = std::max<std::int64_t>(0, (outputs - 1) * w.stride[i] + extent - x[2 + i]);
      w.pad[i] = it->second.s == "SAME_UPPER" ? total / 2 : total - total / 2;
      w.pad[i + 2] = total - w.pad[i];
    }
    w.out[i] = (x[2 + i] + w.pad[i] + w.pad[i + 2] - extent) / w.stride[i] + 1;
  }
  return w;
}

double at4(const Tensor& t, std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) {
  return t.data[static_cast<std::size_t>(((n * t.shape[1] + c) * t.shape[2] + h) * t.shape[3] + w)];
}

Tensor conv(const Node& n, const Tensor& x, const Tensor& weights, const Tensor* bias) {
  const Window w = window(n, x.shape, {weights.shape[2], weights.shape[3]});
  const std::int64_t groups = integer(n, "group", 1), in = weights.shape[1], out = weights.shape[0];
  Tensor y{{x.shape[0], out, w.out[0], w.out[1]}, {}};
  for (std::int64_t b = 0; b < x.shape[0]; ++b) {
    for (std::int64_t o = 0; o < out; ++o) {
      for (std::int64_t oh = 0; oh < w.out[0]; ++oh) {
        for (std::int64_t ow = 0; ow < w.out[1]; ++ow) {
          double sum = bias ? bias->data[static_cast<std::size_t>(o)] : 0;
          for (std::int64_t i = 0; i < in; ++i) {
            for (std::int64_t kh = 0; kh < w.kernel[0]; ++kh) {
              for (std::int64_t kw = 0; kw < w.kernel[1]; ++kw) {
                const std::int64_t h = oh * w.stride[0] - w.pad[0] + kh * w.dilation[0],
                                   v = ow * w.stride[1] - w.pad[1] + kw * w.dilation[1];
                if (h < 0 || v < 0 || h >= x.shape[2] || v >= x.shape[3]) continue;
                sum += at4(x, b, o / (out / groups) * in + i, h, v) * at4(weights, o, i, kh, kw);
              }
            }
          }
          y.data.push_back(sum);
        }
      }
    }
  }
  return y;
}

Tensor pool(const Node& n, const Tensor& x, bool average, Shape kernel, bool include) {
  const Window w = window(n, x.shape, kernel);
  Tensor y{{x.shape[0], x.shape[1], w.out[0], w.out[1]}, {}};
  for (std::int64_t b = 0; b < x.shape[0]; ++b) {
    for (std::int64_t c = 0; c < x.shape[1]; ++c) {
      for (std::int64_t oh = 0; oh < w.out[0]; ++oh) {
        for (std::int64_t ow = 0; ow < w.out[1]; ++ow) {
          double sum = 0, largest = -std::numeric_limits<double>::infinity();
          std::int64_t seen = 0;
          for (std::int64_t kh = 0; kh < kernel[0]; ++kh) {
            for (std::int64_t kw = 0; kw < kernel[1]; ++kw) {
              const std::int64_t h = oh * w.stride[0] - w.pad[0] + kh * w.dilation[0],
                                 v = ow * w.stride[1] - w.pad[1] + kw * w.dilation[1];
              if (h < 0 || v < 0 || h >= x.shape[2] || v >= x.shape[3]) continue;
              const double value = at4(x, b, c, h, v);
              sum += value;
              largest = std::max(largest, value);
              ++seen;
            }
          }
          y.data.push_back(average ? sum / static_cast<double>(include ? kernel[0] * kernel[1] : seen) : largest);
        }
      }
    }
  }
  return y;
}

Tensor matmul(const Tensor& a, const Tensor& b, bool ta, bool tb) {
  // The left operand may have more dimensions: they are rows.
  const std::int64_t k = ta ? a.shape[0] : a.shape.back(), m = count(a.shape) / k, n = tb ? b.shape[0] : b.shape[1];
  Tensor y{{m, n}, {}};
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t l = 0; l < k; ++l)
        sum += a.data[static_cast<std::size_t>(ta ? l * m + i : i * k + l)] *
               b.data[static_cast<std::size_t>(tb ? j * k + l : l * n + j)];
      y.data.push_back(sum);
    }
  }
  if (!ta) {
    y.shape = a.shape;
    y.shape.back() = n;
  }
  return y;
}

Tensor transpose(const Tensor& x, const Shape& perm) {
  Tensor y;
  for (auto p : perm) y.shape.push_back(x.shape[static_cast<std::size_t>(p)]);
  y.data.resize(x.data.size());
  Shape index(perm.size());
  for (double& v : y.data) {
    std::int64_t at = 0;
    Shape source(perm.size());
    for (std::size_t i = 0; i < perm.size(); ++i) source[static_cast<std::size_t>(perm[i])] = index[i];
    for (std::size_t i = 0; i < perm.size(); ++i) at = at * x.shape[i] + source[i];
    v = x.data[static_cast<std::size_t>(at)];
    for (std::size_t i = perm.size(); i-- > 0;) {
      if (++index[i] < y.shape[i]) break;
      index[i] = 0;
    }
  }
  return y;
}

Tensor concat(const std::vector<const Tensor*>& parts, std::size_t axis) {
  Tensor y = *parts[0];
  y.shape[axis] = 0;
  for (const Tensor* p : parts) y.shape[axis] += p->shape[axis];
  y.data.clear();
  std::int64_t outer = 1;
  for (std::size_t i = 0; i < axis; ++i) outer *= y.shape[i];
  for (std::int64_t o = 0; o < outer; ++o) {
    for (const Tensor* p : parts) {
      const std::int64_t block = count(p->shape) / outer;
      y.data.insert(y.data.end(), p->data.begin() + o * block, p->data.begin() + (o + 1) * block);
    }
  }
  return y;
}

Tensor softmax(const Tensor& x, std::size_t axis, bool rest) {
  Tensor y = x;
  std::int64_t outer = 1, size = 1, inner = 1;
  for (std::size_t i = 0; i < x.shape.size(); ++i) (i < axis ? outer : i == axis || rest ? size : inner) *= x.shape[i];
  for (std::int64_t o = 0; o < outer; ++o) {
    for (std::int64_t k = 0; k < inner; ++k) {
      const auto at = [&](std::int64_t i) { return static_cast<std::size_t>((o * size + i) * inner + k); };
      double largest = -std::numeric_limits<double>::infinity(), sum = 0;
      for (std::int64_t i = 0; i < size; ++i) largest = std::max(largest, x.data[at(i)]);
      for (std::int64_t i = 0; i < size; ++i) sum += std::exp(x.data[at(i)] - largest);
      for (std::int64_t i = 0; i < size; ++i) y.data[at(i)] = std::exp(x.data[at(i)] - largest) / sum;
    }
  }
  return y;
}

// ---- what the CPU does ----
using Outer = std::array<std::int64_t, 3>;
/// Elements before, along and after an axis.
Outer split_at(const Shape& s, std::size_t axis) {
  Outer parts{1, s[axis], 1};
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (i != axis) parts[i < axis ? 0 : 2] *= s[i];
  }
  return parts;
}

Tensor gather(const Tensor& x, const Tensor& indices, std::size_t axis) {
  const auto [outer, size, inner] = split_at(x.shape, axis);
  Tensor y;
  y.shape.assign(x.shape.begin(), x.shape.begin() + static_cast<std::ptrdiff_t>(axis));
  y.shape.insert(y.shape.end(), indices.shape.begin(), indices.shape.end());
  y.shape.insert(y.shape.end(), x.shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1, x.shape.end());
  for (std::int64_t o = 0; o < outer; ++o) {
    for (const double index : indices.data) {
      const auto at = static_cast<std::int64_t>(index) + (index < 0 ? size : 0);
      for (std::int64_t i = 0; i < inner; ++i)
        y.data.push_back(x.data.at(static_cast<std::size_t>((o * size + at) * inner + i)));
    }
  }
  return y;
}

/// The k largest (or smallest) along an axis, best first, the first of equal ones first: values and indices.
std::pair<Tensor, Tensor> top_k(const Tensor& x, std::size_t axis, std::int64_t k, bool largest) {
  const auto [outer, size, inner] = split_at(x.shape, axis);
  Tensor values = x, indices;
  values.shape[axis] = k;
  values.data.assign(static_cast<std::size_t>(count(values.shape)), 0);
  indices = values;
  for (std::int64_t o = 0; o < outer; ++o) {
    for (std::int64_t i = 0; i < inner; ++i) {
      std::vector<std::pair<double, std::int64_t>> all;
      for (std::int64_t s = 0; s < size; ++s) {
        const double v = x.data[static_cast<std::size_t>((o * size + s) * inner + i)];
        all.emplace_back(largest ? -v : v, s);
      }
      std::sort(all.begin(), all.end());
      for (std::int64_t s = 0; s < k; ++s) {
        const auto to = static_cast<std::size_t>((o * k + s) * inner + i);
        values.data[to] = largest ? -all[static_cast<std::size_t>(s)].first : all[static_cast<std::size_t>(s)].first;
        indices.data[to] = static_cast<double>(all[static_cast<std::size_t>(s)].second);
      }
    }
  }
  return {values, indices};
}

Tensor run(const Node& n, std::int64_t opset, const std::vector<const Tensor*>& in) {
  const Tensor& x = *in.at(0);
  const auto axis = [&](std::int64_t fallback) {
    const std::int64_t a = integer(n, "axis", fallback);
    return static_cast<std::size_t>(a < 0 ? a + static_cast<std::int64_t>(x.shape.size()) : a);
  };
  if (n.op == "Conv") return conv(n, x, *in.at(1), in.size() > 2 ? in[2] : nullptr);
  if (n.op == "Gemm") {
    const double alpha = real(n, "alpha", 1), beta = real(n, "beta", 1);
    Tensor y = matmul(x, *in.at(1), integer(n, "transA", 0), integer(n, "transB", 0));
    y = map(y, [&](double v) { return alpha * v; });
    return in.size() > 2 ? binary(y, *in[2], [&](double a, double b) { return a + beta * b; }) : y;
  }
  if (n.op == "MatMul") return matmul(x, *in.at(1), false, false);
  if (n.op == "Add") return binary(x, *in.at(1), [](double a, double b) { return a + b; });
  if (n.op == "Sub") return binary(x, *in.at(1), [](double a, double b) { return a - b; });
  if (n.op == "Mul") return binary(x, *in.at(1), [](double a, double b) { return a * b; });
  if (n.op == "Div") return binary(x, *in.at(1), [](double a, double b) { return a / b; });
  if (n.op == "Max") return binary(x, *in.at(1), [](double a, double b) { return std::max(a, b); });
  if (n.op == "Min") return binary(x, *in.at(1), [](double a, double b) { return std::min(a, b); });
  if (n.op == "Relu") return map(x, [](double v) { return std::max(v, 0.0); });
  if (n.op == "Sigmoid") return map(x, [](double v) { return 1 / (1 + std::exp(-v)); });
  if (n.op == "Tanh") return map(x, [](double v) { return std::tanh(v); });
  if (n.op == "Exp") return map(x, [](double v) { return std::exp(v); });
  if (n.op == "Abs") return map(x, [](double v) { return std::abs(v); });
  if (n.op == "Sqrt") return map(x, [](double v) { return std::sqrt(v); });
  if (n.op == "Log") return map(x, [](double v) { return std::log(v); });
  if (n.op == "Neg") return map(x, [](double v) { return -v; });
  if (n.op == "Erf") return map(x, [](double v) { return std::erf(v); });
  if (n.op == "Softplus") return map(x, [](double v) { return std::log1p(std::exp(v)); });
  if (n.op == "Sign") return map(x, [](double v) { return static_cast<double>((v > 0) - (v < 0)); });
  if (n.op == "Reciprocal") return map(x, [](double v) { return 1 / v; });
  if (n.op == "LeakyRelu") return map(x, [&](double v) { return v < 0 ? real(n, "alpha", 0.01) * v : v; });
  if (n.op == "Clip")
    return map(x, [&](double v) { return std::min(std::max(v, in.at(1)->data[0]), in.at(2)->data[0]); });
  if (n.op == "MaxPool") return pool(n, x, false, list(n, "kernel_shape", {}), false);
  if (n.op == "AveragePool")
    return pool(n, x, true, list(n, "kernel_shape", {}), integer(n, "count_include_pad", 0) != 0);
  if (n.op == "GlobalAveragePool") return pool(n, x, true, {x.shape[2], x.shape[3]}, false);
  if (n.op == "GlobalMaxPool") return pool(n, x, false, {x.shape[2], x.shape[3]}, false);
  if (n.op == "BatchNormalization") {
    Tensor y = x;
    const std::int64_t inner = count(x.shape) / (x.shape[0] * x.shape[1]);
    for (std::size_t i = 0; i < y.data.size(); ++i) {
      const std::size_t c = static_cast<std::size_t>(static_cast<std::int64_t>(i) / inner % x.shape[1]);
      y.data[i] = in.at(1)->data[c] * (x.data[i] - in.at(3)->data[c]) /
                      std::sqrt(in.at(4)->data[c] + real(n, "epsilon", 1e-5)) +
                  in.at(2)->data[c];
    }
    return y;
  }
  if (n.op == "Flatten") {
    const auto a = axis(1);
    std::int64_t outer = 1;
    for (std::size_t i = 0; i < a; ++i) outer *= x.shape[i];
    return {{outer, count(x.shape) / outer}, x.data};
  }
  if (n.op == "Reshape") {
    Shape s;
    std::int64_t known = 1;
    for (std::size_t i = 0; i < in.at(1)->data.size(); ++i) {
      const auto v = static_cast<std::int64_t>(in[1]->data[i]);
      s.push_back(v == 0 ? x.shape[i] : v);
      if (v != -1) known *= s.back();
    }
    for (auto& d : s) d = d == -1 ? count(x.shape) / known : d;
    return {s, x.data};
  }
  if (n.op == "Transpose") {
    Shape reversed;
    for (std::size_t i = x.shape.size(); i-- > 0;) reversed.push_back(static_cast<std::int64_t>(i));
    return transpose(x, list(n, "perm", reversed));
  }
  if (n.op == "Concat") return concat(in, axis(0));
  if (n.op == "Softmax") return softmax(x, axis(opset >= 13 ? -1 : 1), opset < 13);
  if (n.op == "Identity" || n.op == "Dropout") return x;
  if (n.op == "Gather") return gather(x, *in.at(1), axis(0));
  if (n.op == "ArgMax") {
    Tensor y = top_k(x, axis(0), 1, true).second;
    if (integer(n, "keepdims", 1) == 0) y.shape.erase(y.shape.begin() + static_cast<std::ptrdiff_t>(axis(0)));
    return y;
  }
  if (n.op == "Cast") return integer(n, "to", 1) == 1 ? x : map(x, [](double v) { return std::trunc(v); });
  throw std::runtime_error("the reference does not know " + n.op);
}

}  // namespace

std::map<std::string, Tensor> evaluate(const compile::onnx_model::Model& model,
                                       const std::map<std::string, Tensor>& inputs) {
  std::map<std::string, Tensor> values = inputs;
  for (const auto& [name, c] : model.constants) {
    Tensor t{c.shape, {}};
    if (c.is_float())
      t.data.assign(c.floats.begin(), c.floats.end());
    else
      t.data.assign(c.ints.begin(), c.ints.end());
    values[name] = std::move(t);
  }
  for (const Node& n : model.nodes) {
    std::vector<const Tensor*> in;
    for (const auto& name : n.inputs) in.push_back(&values.at(name));
    if (n.op == "TopK") {
      const auto rank = static_cast<std::int64_t>(in[0]->shape.size());
      const std::int64_t axis = integer(n, "axis", -1);
      auto best = top_k(*in[0], static_cast<std::size_t>(axis < 0 ? axis + rank : axis),
                        static_cast<std::int64_t>(in.at(1)->data[0]), integer(n, "largest", 1) != 0);
      values[n.outputs[0]] = std::move(best.first);
      if (n.outputs.size() > 1) values[n.outputs[1]] = std::move(best.second);
      continue;
    }
    values[n.outputs[0]] = run(n, model.opset, in);
  }
  return values;
}

}  // namespace opennrt::test
