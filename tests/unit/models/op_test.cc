// SPDX-License-Identifier: Apache-2.0
//
// Every operator over shapes that take different ways through the compiler, on the simulated chip, against plain loops.
#include <functional>

#include "models/onnx/builder.h"
#include "tests/unit/models/on_chip.h"

namespace opennrt::compile {
namespace {

using Cast = Options::AutoCast;
using B = OnnxBuilder;
using A = OnnxBuilder::Attributes;

struct Case {
  std::string name;
  std::function<void(B&)> build;
  double low = -1, high = 1;
  std::int64_t opset = 13;
  double loosen = 1;  ///< of the tolerance, where the operator itself magnifies errors
};

A window(std::vector<std::int64_t> kernel, std::vector<std::int64_t> stride = {1, 1},
         std::vector<std::int64_t> pads = {0, 0, 0, 0}, std::vector<std::int64_t> dilation = {1, 1}) {
  A a;
  a.lists = {{"kernel_shape", std::move(kernel)},
             {"strides", std::move(stride)},
             {"pads", std::move(pads)},
             {"dilations", std::move(dilation)}};
  return a;
}
A ints(std::map<std::string, std::int64_t> values) {
  A a;
  a.ints = std::move(values);
  return a;
}
A lists(std::map<std::string, std::vector<std::int64_t>> values) {
  A a;
  a.lists = std::move(values);
  return a;
}

/// One node on input x of `shape`, result y.
Case one(const std::string& name, const std::string& op, std::vector<std::int64_t> shape, A a = {}, double low = -1,
         double high = 1, std::int64_t opset = 13) {
  return {name,
          [=](B& b) {
            b.input("x", shape);
            b.node(op, {"x"}, a, "y");
            b.output("y", {});
          },
          low, high, opset};
}
Case conv(const std::string& name, std::vector<std::int64_t> x, std::int64_t outputs, A a, std::int64_t groups = 1,
          bool bias = true) {
  return {name, [=](B& b) {
            b.input("x", x);
            const auto& k = a.lists.at("kernel_shape");
            std::vector<std::string> in{"x", b.random("w", {outputs, x[1] / groups, k[0], k[1]}, 1)};
            if (bias) in.push_back(b.random("b", {outputs}, 1));
            A with = a;
            with.ints["group"] = groups;
            b.node("Conv", in, with, "y");
            b.output("y", {});
          }};
}
Case two(const std::string& name, const std::string& op, std::vector<std::int64_t> x, std::vector<std::int64_t> y,
         bool constant = false, bool left = false, double low = -1, double high = 1) {
  return {name,
          [=](B& b) {
            b.input("a", x);
            if (constant) {
              std::int64_t n = 1;
              for (auto d : y) n *= d;
              std::vector<float> values;
              for (std::int64_t i = 0; i < n; ++i) values.push_back(0.5f + static_cast<float>(i % 7) * 0.25f);
              b.constant("b", y, values);
            } else {
              b.input("b", y);
            }
            b.node(op, left ? std::vector<std::string>{"b", "a"} : std::vector<std::string>{"a", "b"}, {}, "y");
            b.output("y", {});
          },
          low, high};
}
Case gemm(const std::string& name, std::vector<std::int64_t> a, std::vector<std::int64_t> w, A attributes,
          std::vector<std::int64_t> c, bool computed = false) {
  return {name, [=](B& b) {
            b.input("x", a);
            std::vector<std::string> in{"x"};
            if (computed) {
              b.input("w", w);
              in.push_back("w");
            } else {
              in.push_back(b.random("w", w, 1));
            }
            if (!c.empty()) in.push_back(b.random("c", c, 1));
            b.node("Gemm", in, attributes, "y");
            b.output("y", {});
          }};
}
Case reshape(const std::string& name, std::vector<std::int64_t> x, std::vector<std::int64_t> shape) {
  return {name, [=](B& b) {
            b.input("x", x);
            // Something before and after, so that the value is not simply passed from input to output.
            const auto v = b.node("Abs", {"x"});
            b.constant_ints("shape", shape);
            b.node("Neg", {b.node("Reshape", {v, "shape"})}, {}, "y");
            b.output("y", {});
          }};
}
Case concat(const std::string& name, std::int64_t axis, std::vector<std::vector<std::int64_t>> shapes,
            bool computed = true) {
  return {name, [=](B& b) {
            std::vector<std::string> in;
            for (std::size_t i = 0; i < shapes.size(); ++i) {
              b.input("x" + std::to_string(i), shapes[i]);
              in.push_back(computed ? b.node("Neg", {"x" + std::to_string(i)}) : "x" + std::to_string(i));
            }
            b.node("Concat", in, ints({{"axis", axis}}), "y");
            b.output("y", {});
          }};
}

std::vector<Case> cases() {
  std::vector<Case> list{
      conv("conv_1x1", {1, 8, 5, 5}, 16, window({1, 1})),
      conv("conv_3x3_padded", {1, 3, 8, 8}, 16, window({3, 3}, {1, 1}, {1, 1, 1, 1})),
      conv("conv_no_bias", {1, 3, 8, 8}, 5, window({3, 3}), 1, false),
      conv("conv_stride_2", {2, 4, 9, 11}, 6, window({3, 3}, {2, 2}, {1, 1, 1, 1})),
      conv("conv_7x7_stride_2", {1, 3, 30, 30}, 64, window({7, 7}, {2, 2}, {3, 3, 3, 3})),
      conv("conv_dilated", {1, 5, 12, 10}, 7, window({3, 2}, {1, 1}, {2, 0, 2, 1}, {2, 3})),
      conv("conv_uneven_pads", {1, 2, 6, 7}, 3, window({3, 5}, {1, 2}, {0, 3, 2, 1})),
      conv("conv_pads_larger_than_kernel", {1, 2, 4, 4}, 3, window({2, 2}, {1, 1}, {3, 3, 3, 3})),
      conv("conv_many_channels", {1, 200, 6, 6}, 150, window({3, 3}, {1, 1}, {1, 1, 1, 1})),
      conv("conv_exactly_128", {1, 128, 4, 4}, 128, window({1, 1})),
      conv("conv_129_to_65", {3, 129, 4, 4}, 65, window({1, 1})),
      conv("conv_grouped", {1, 12, 7, 7}, 20, window({3, 3}, {1, 1}, {1, 1, 1, 1}), 4),
      conv("conv_depthwise", {1, 32, 9, 9}, 32, window({3, 3}, {1, 1}, {1, 1, 1, 1}), 32),
      conv("conv_depthwise_wide", {1, 260, 5, 5}, 260, window({3, 3}, {2, 2}, {1, 1, 1, 1}), 260),
      conv("conv_grouped_wide", {1, 192, 4, 4}, 320, window({1, 1}), 2),
      conv("conv_batch", {7, 6, 5, 5}, 10, window({3, 3}, {1, 1}, {1, 1, 1, 1})),
      conv("conv_wide_rows", {1, 2, 3, 700}, 4, window({1, 3}, {1, 1}, {0, 1, 0, 1})),
      conv("conv_larger_than_sbuf", {1, 4, 160, 200}, 8, window({3, 3}, {1, 1}, {1, 1, 1, 1})),
      conv("conv_1x1_input_padded", {2, 3, 1, 1}, 4, window({3, 3}, {1, 1}, {1, 1, 1, 1})),
      gemm("gemm", {1, 20}, {20, 10}, {}, {10}),
      gemm("gemm_trans_b", {3, 20}, {10, 20}, ints({{"transB", 1}}), {10}),
      gemm("gemm_large", {5, 300}, {300, 200}, {}, {1, 200}),
      gemm("gemm_trans_a", {20, 4}, {20, 9}, ints({{"transA", 1}}), {}),
      gemm("gemm_full_c", {4, 6}, {6, 5}, {}, {4, 5}),
      gemm("gemm_column_c", {4, 6}, {6, 5}, {}, {4, 1}),
      gemm("gemm_computed", {5, 30}, {30, 70}, {}, {70}, true),
      gemm("gemm_computed_trans_b", {140, 150}, {70, 150}, ints({{"transB", 1}}), {}, true),
      two("matmul_computed", "MatMul", {6, 140}, {140, 9}),
      two("matmul_constant", "MatMul", {6, 14}, {14, 9}, true),
      two("matmul_constant_left", "MatMul", {14, 9}, {6, 14}, true, true),
      two("matmul_three_dimensions", "MatMul", {2, 3, 14}, {14, 9}, true),
      two("add", "Add", {2, 5, 4, 4}, {2, 5, 4, 4}),
      two("add_scalar_constant", "Add", {2, 5, 4, 4}, {1}, true),
      two("add_channel_constant", "Add", {2, 150, 4, 4}, {1, 150, 1, 1}, true),
      two("add_row_constant", "Add", {2, 5, 4, 6}, {6}, true),
      two("add_full_constant", "Add", {2, 5, 4, 6}, {2, 5, 4, 6}, true),
      two("add_channel_computed", "Add", {2, 150, 4, 4}, {1, 150, 1, 1}),
      two("add_one_channel", "Add", {2, 150, 4, 4}, {2, 1, 4, 4}),
      two("add_row_computed", "Add", {2, 5, 4, 6}, {6}),
      two("add_both_broadcast", "Add", {2, 1, 4, 1}, {1, 5, 1, 6}),
      two("add_two_dimensions", "Add", {3, 40}, {40}),
      two("add_three_dimensions", "Add", {3, 4, 40}, {4, 1}),
      two("add_larger_than_sbuf", "Add", {1, 3, 160, 200}, {1, 3, 160, 200}),
      two("sub", "Sub", {1, 5, 4, 4}, {1, 5, 4, 4}),
      two("sub_from_constant", "Sub", {1, 5, 4, 4}, {1, 5, 1, 1}, true, true),
      two("mul", "Mul", {1, 5, 4, 4}, {1, 5, 4, 4}),
      two("mul_gate", "Mul", {2, 20, 6, 6}, {2, 20, 1, 1}),
      two("div", "Div", {1, 5, 4, 4}, {1, 5, 4, 4}, false, false, 1, 2),
      two("div_by_constant", "Div", {1, 5, 4, 4}, {1, 5, 1, 1}, true),
      two("div_constant_by", "Div", {1, 5, 4, 4}, {1}, true, true, 1, 2),
      two("max", "Max", {1, 5, 4, 4}, {1, 5, 4, 4}),
      two("min", "Min", {1, 5, 4, 4}, {1, 5, 4, 4}),
      one("relu", "Relu", {2, 5, 4, 4}),
      one("sigmoid", "Sigmoid", {2, 5, 4, 4}, {}, -4, 4),
      one("tanh", "Tanh", {2, 150, 4}, {}, -3, 3),
      one("exp", "Exp", {30}),
      one("abs", "Abs", {3, 3}),
      one("neg", "Neg", {3, 3}),
      one("erf", "Erf", {3, 30}, {}, -2, 2),
      one("sqrt", "Sqrt", {3, 30}, {}, 0.1, 4),
      one("log", "Log", {3, 30}, {}, 0.1, 4),
      one("softplus", "Softplus", {3, 30}, {}, -4, 4),
      one("sign", "Sign", {3, 30}),
      one("reciprocal", "Reciprocal", {3, 30}, {}, 0.5, 2),
      one("relu_larger_than_sbuf", "Relu", {2, 140, 100, 120}),
      one("max_pool", "MaxPool", {1, 5, 8, 8}, window({2, 2}, {2, 2})),
      one("max_pool_padded", "MaxPool", {2, 5, 9, 11}, window({3, 3}, {2, 2}, {1, 1, 1, 1})),
      one("max_pool_negative", "MaxPool", {1, 5, 6, 6}, window({3, 3}, {1, 1}, {1, 1, 1, 1}), -3, -1),
      one("max_pool_dilated", "MaxPool", {1, 5, 12, 12}, window({2, 3}, {1, 2}, {0, 1, 1, 0}, {2, 2})),
      one("max_pool_larger_than_sbuf", "MaxPool", {1, 3, 160, 200}, window({3, 3}, {2, 2}, {1, 1, 1, 1})),
      one("average_pool", "AveragePool", {1, 150, 8, 8}, window({2, 2}, {2, 2})),
      one("average_pool_padded", "AveragePool", {1, 5, 7, 7}, window({3, 3}, {2, 2}, {1, 1, 1, 1})),
      one("global_average_pool", "GlobalAveragePool", {2, 150, 7, 7}),
      one("global_max_pool", "GlobalMaxPool", {2, 15, 7, 7}),
      one("flatten", "Flatten", {2, 5, 3, 4}),
      one("flatten_axis_2", "Flatten", {2, 5, 3, 4}, ints({{"axis", 2}})),
      one("flatten_axis_0", "Flatten", {2, 5, 3}, ints({{"axis", 0}})),
      one("transpose_2d", "Transpose", {30, 200}),
      one("transpose_nhwc", "Transpose", {2, 5, 3, 4}, lists({{"perm", {0, 2, 3, 1}}})),
      one("transpose_all", "Transpose", {2, 150, 3, 4}, lists({{"perm", {3, 1, 0, 2}}})),
      one("transpose_3d", "Transpose", {2, 5, 3}, lists({{"perm", {1, 0, 2}}})),
      one("transpose_larger_than_sbuf", "Transpose", {1, 2, 120, 200}, lists({{"perm", {0, 1, 3, 2}}})),
      one("transpose_5d_rows", "Transpose", {2, 3, 40, 20, 14}, lists({{"perm", {0, 2, 1, 3, 4}}})),
      reshape("reshape_same_channels", {2, 6, 3, 4}, {2, 6, 12}),
      reshape("reshape_other_channels", {2, 6, 3, 4}, {2, 3, 8, 3}),
      reshape("reshape_to_vector", {2, 6, 3, 4}, {-1}),
      reshape("reshape_zero_and_minus_one", {2, 6, 3, 4}, {0, -1}),
      reshape("reshape_from_vector", {48}, {2, 3, 8}),
      concat("concat_channels", 1, {{2, 5, 3, 3}, {2, 7, 3, 3}, {2, 130, 3, 3}}),
      concat("concat_aligned_channels", 1, {{1, 32, 3, 3}, {1, 64, 3, 3}, {1, 64, 3, 3}}),
      concat("concat_batch", 0, {{1, 5, 3, 3}, {2, 5, 3, 3}}),
      concat("concat_rows", 2, {{1, 5, 3, 3}, {1, 5, 2, 3}}),
      concat("concat_columns", -1, {{2, 140, 3, 3}, {2, 140, 3, 2}}),
      concat("concat_inputs", 1, {{2, 5, 3, 3}, {2, 7, 3, 3}}, false),
      concat("concat_larger_than_sbuf", 1, {{1, 2, 100, 150}, {1, 3, 100, 150}}),
      concat("concat_two_dimensions", 1, {{3, 5}, {3, 9}}),
      one("softmax_2d", "Softmax", {3, 10}, {}, -5, 5),
      one("softmax_many_classes", "Softmax", {2, 300}, {}, -5, 5),
      one("softmax_channels", "Softmax", {2, 20, 3, 3}, ints({{"axis", 1}}), -5, 5),
      one("softmax_rows", "Softmax", {2, 20, 3, 5}, ints({{"axis", 2}}), -5, 5),
      one("softmax_columns", "Softmax", {2, 150, 3, 5}, {}, -5, 5),
      one("softmax_batch", "Softmax", {4, 20, 3, 5}, ints({{"axis", 0}}), -5, 5),
      one("softmax_vector", "Softmax", {17}, {}, -5, 5),
      one("softmax_opset_11", "Softmax", {2, 20, 3, 3}, {}, -5, 5, 11),
      one("softmax_opset_11_axis_2", "Softmax", {2, 20, 3, 3}, ints({{"axis", 2}}), -5, 5, 11),
      one("softmax_large_values", "Softmax", {3, 10}, {}, 80, 100),
      one("identity", "Identity", {2, 5, 3, 4}),
      one("dropout", "Dropout", {2, 5, 3, 4}),
      one("identity_scalar", "Identity", {}),
  };
  {
    A a = window({3, 3}, {2, 2}, {1, 1, 1, 1});
    a.ints["count_include_pad"] = 1;
    list.push_back(one("average_pool_include_pad", "AveragePool", {1, 5, 7, 7}, a));
    A same;
    same.lists = {{"kernel_shape", {3, 2}}, {"strides", {2, 2}}};
    same.strings["auto_pad"] = "SAME_UPPER";
    list.push_back(one("max_pool_same_upper", "MaxPool", {1, 5, 8, 7}, same));
    list.push_back(conv("conv_same_upper", {1, 3, 8, 7}, 4, same));
    same.strings["auto_pad"] = "SAME_LOWER";
    list.push_back(conv("conv_same_lower", {1, 3, 8, 7}, 4, same));
    A leaky;
    leaky.floats["alpha"] = 0.2f;
    list.push_back(one("leaky_relu", "LeakyRelu", {2, 5, 4, 4}, leaky));
    A scaled;
    scaled.floats = {{"alpha", 0.5f}, {"beta", 2.0f}};
    list.push_back(gemm("gemm_alpha_beta", {3, 20}, {20, 10}, scaled, {10}));
    list.push_back(gemm("gemm_alpha_beta_computed", {3, 20}, {20, 10}, scaled, {3, 10}, true));
  }
  list.push_back({"clip", [](B& b) {
                    b.input("x", {2, 5, 4, 4});
                    b.constant("low", {}, {-0.25f});
                    b.constant("high", {}, {0.5f});
                    b.node("Clip", {"x", "low", "high"}, {}, "y");
                    b.output("y", {});
                  }});
  list.push_back({"batch_norm_alone", [](B& b) {
                    b.input("x", {2, 150, 4, 4});
                    std::vector<float> variance(150, 0.5f);
                    b.node("Relu",
                           {b.node("BatchNormalization", {"x", b.random("s", {150}, 1), b.random("b", {150}, 1),
                                                          b.random("m", {150}, 1), b.constant("v", {150}, variance)})},
                           {}, "y");
                    b.output("y", {});
                  }});
  for (const char* f : {"Relu", "Sigmoid", "Tanh"}) {
    list.push_back({std::string("conv_batch_norm_") + f, [f](B& b) {
                      b.input("x", {1, 3, 8, 8});
                      auto v = b.conv("x", 3, 10, 3, 1, 1);
                      v = b.node("BatchNormalization",
                                 {v, b.random("s", {10}, 1), b.random("b", {10}, 1), b.random("m", {10}, 1),
                                  b.constant("v", {10}, std::vector<float>(10, 2.0f))});
                      b.node(f, {v}, {}, "y");
                      b.output("y", {});
                    }});
  }
  list.push_back({"flatten_into_dense", [](B& b) {
                    b.input("x", {3, 140, 4, 3});
                    b.node("Gemm", {b.node("Flatten", {"x"}), b.random("w", {140 * 12, 20}, 0.2f)}, {}, "y");
                    b.output("y", {});
                  }});
  list.push_back({"value_used_and_returned", [](B& b) {
                    b.input("x", {1, 8, 6, 6});
                    const auto v = b.node("Relu", {"x"}, {}, "v");
                    b.node("Add", {v, b.conv(v, 8, 8, 3, 1, 1)}, {}, "y");
                    b.output("v", {});
                    b.output("y", {});
                  }});
  list.push_back({"add_to_itself", [](B& b) {
                    b.input("x", {1, 8, 6, 6});
                    b.node("Add", {"x", "x"}, {}, "y");
                    b.output("y", {});
                  }});
  list.push_back({"shuffle", [](B& b) {
                    b.input("x", {1, 12, 4, 4});
                    b.constant_ints("s", {1, 3, 4, 16});
                    b.constant_ints("t", {1, 12, 4, 4});
                    const auto v = b.node("Transpose", {b.node("Reshape", {b.conv("x", 12, 12, 1, 1, 0), "s"})},
                                          lists({{"perm", {0, 2, 1, 3}}}));
                    b.node("Relu", {b.node("Reshape", {v, "t"})}, {}, "y");
                    b.output("y", {});
                  }});
  list.push_back({"reshape_is_output_too", [](B& b) {
                    b.input("x", {1, 12, 4, 4});
                    b.constant_ints("s", {1, 3, 4, 16});
                    const auto v = b.node("Relu", {"x"}, {}, "v");
                    b.node("Reshape", {v, "s"}, {}, "y");
                    b.output("v", {});
                    b.output("y", {});
                  }});
  return list;
}

class Operators : public ::testing::TestWithParam<std::tuple<Case, Cast>> {};

TEST_P(Operators, GivenAModelOfOneOperatorWhenRunThenItEqualsPlainLoops) {
  const auto& [c, cast] = GetParam();
  OnnxBuilder b("test", 3, c.opset);
  c.build(b);
  test::expect_equals_reference(b.serialise(), cast, c.low, c.high, c.loosen);
}

std::string case_name(const ::testing::TestParamInfo<std::tuple<Case, Cast>>& info) {
  static constexpr const char* kCasts[] = {"fp32", "matmult", "all"};
  return std::get<0>(info.param).name + "_" + kCasts[static_cast<int>(std::get<1>(info.param))];
}

INSTANTIATE_TEST_SUITE_P(All, Operators,
                         ::testing::Combine(::testing::ValuesIn(cases()),
                                            ::testing::Values(Cast::kNone, Cast::kMatmult, Cast::kAll)),
                         case_name);

}  // namespace
}  // namespace opennrt::compile
