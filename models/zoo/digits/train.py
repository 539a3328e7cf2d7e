#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the digits network and writes everything this folder holds besides this script and its README.

A LeNet-like network on scikit-learn's 8x8 handwritten digits, in plain numpy: forward, backward and Adam are
below, there is no framework. Runs once, by hand; neither the build, nor the demo, nor the tests need it.

    apt-get install python3-numpy python3-sklearn python3-onnx
    ./train.py                 # writes digits.onnx and heldout_*.npy next to this file
    ./train.py --validate      # 4-fold cross-validation within the training part; writes nothing

The held-out part is looked at once, at the end: settings are chosen with --validate. The reference logits come
from the exported file, read back and evaluated in float64 by evaluate(), not from the training code.
"""
import argparse
import os
import pathlib
import sys

# One BLAS thread: the order of summation, and so the trained weights, do not depend on the number of processors.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, train_test_split

SEED = 20260101
HELD_OUT = 360
EPOCHS = 60
BATCH = 64
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-4
BN_MOMENTUM = 0.1
BN_EPSILON = 1e-5
REQUIRED_ACCURACY = 0.985


def columns(x, kernel, pad):
    """[N,C,H,W] -> [N,H',W',C*k*k]: the patches that a stride-1 convolution multiplies."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(*windows.shape[:1], *windows.shape[2:4], -1)


class Conv:
    """3x3, stride 1, pad 1."""

    def __init__(self, rng, inputs, outputs):
        scale = np.sqrt(2.0 / (inputs * 9))
        self.weight = (rng.standard_normal((outputs, inputs, 3, 3)) * scale).astype(np.float32)
        self.bias = np.zeros(outputs, np.float32)

    def forward(self, x, training):
        self.shape, self.patches = x.shape, columns(x, 3, 1)
        y = self.patches @ self.weight.reshape(len(self.bias), -1).T + self.bias
        return y.transpose(0, 3, 1, 2)

    def backward(self, dy):
        rows = dy.transpose(0, 2, 3, 1).reshape(-1, len(self.bias))
        self.grads = [(rows.T @ self.patches.reshape(len(rows), -1)).reshape(self.weight.shape), rows.sum(0)]
        # The gradient with respect to the input is a convolution with the kernel turned by 180 degrees.
        turned = self.weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3).reshape(self.shape[1], -1)
        return (columns(dy, 3, 1) @ turned.T).transpose(0, 3, 1, 2)

    def parameters(self):
        return [self.weight, self.bias]


class BatchNorm:
    def __init__(self, channels):
        self.gamma, self.beta = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        self.mean, self.variance = np.zeros(channels, np.float32), np.ones(channels, np.float32)

    def forward(self, x, training):
        if training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
            self.mean += BN_MOMENTUM * (mean - self.mean)
            self.variance += BN_MOMENTUM * (variance - self.variance)
        else:
            mean, variance = self.mean, self.variance
        self.inverse = 1 / np.sqrt(variance + np.float32(BN_EPSILON))
        self.normal = (x - mean[:, None, None]) * self.inverse[:, None, None]
        return self.normal * self.gamma[:, None, None] + self.beta[:, None, None]

    def backward(self, dy):
        count = dy.size // dy.shape[1]
        self.grads = [(dy * self.normal).sum((0, 2, 3)), dy.sum((0, 2, 3))]
        centred = dy - (self.grads[1] / count)[:, None, None] - self.normal * (self.grads[0] / count)[:, None, None]
        return centred * (self.gamma * self.inverse)[:, None, None]

    def parameters(self):
        return [self.gamma, self.beta]


class Relu:
    def forward(self, x, training):
        self.open = x > 0
        return x * self.open

    def backward(self, dy):
        return dy * self.open

    def parameters(self):
        return []


class MaxPool:
    """2x2, stride 2; a tie passes its gradient to the first of the equal ones."""

    def forward(self, x, training):
        n, c, h, w = x.shape
        self.shape = x.shape
        cells = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
        self.choice = cells.argmax(-1)[..., None]
        return np.take_along_axis(cells, self.choice, -1)[..., 0]

    def backward(self, dy):
        n, c, h, w = self.shape
        cells = np.zeros((n, c, h // 2, w // 2, 4), dy.dtype)
        np.put_along_axis(cells, self.choice, dy[..., None], -1)
        return cells.reshape(n, c, h // 2, w // 2, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(self.shape)

    def parameters(self):
        return []


class Flatten:
    def forward(self, x, training):
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dy):
        return dy.reshape(self.shape)

    def parameters(self):
        return []


class Gemm:
    """y = x W^T + b, as ONNX Gemm with transB = 1."""

    def __init__(self, rng, inputs, outputs):
        self.weight = (rng.standard_normal((outputs, inputs)) * np.sqrt(2.0 / inputs)).astype(np.float32)
        self.bias = np.zeros(outputs, np.float32)

    def forward(self, x, training):
        self.x = x
        return x @ self.weight.T + self.bias

    def backward(self, dy):
        self.grads = [dy.T @ self.x, dy.sum(0)]
        return dy @ self.weight

    def parameters(self):
        return [self.weight, self.bias]


def network(rng):
    """(name, layer) in order; the names become the ONNX nodes' names."""
    return [("conv1", Conv(rng, 1, 16)), ("bn1", BatchNorm(16)), ("relu1", Relu()), ("pool1", MaxPool()),
            ("conv2", Conv(rng, 16, 32)), ("bn2", BatchNorm(32)), ("relu2", Relu()), ("pool2", MaxPool()),
            ("flatten", Flatten()), ("fc1", Gemm(rng, 128, 64)), ("relu3", Relu()), ("fc2", Gemm(rng, 64, 10))]


def forward(layers, x, training=False):
    for _, layer in layers:
        x = layer.forward(x, training)
    return x


def warped(rng, images):
    """Each image under a small random affine map (turn, scale, shear, half a pixel of shift), sampled bilinearly."""
    count = len(images)
    matrix = np.eye(2) + rng.uniform(-0.2, 0.2, (count, 2, 2))
    shift = rng.uniform(-0.5, 0.5, (count, 2))
    grid = np.stack(np.meshgrid(np.arange(8) - 3.5, np.arange(8) - 3.5, indexing="ij"))
    padded = np.pad(images[:, 0], ((0, 0), (1, 2), (1, 2)))
    where = np.clip(np.einsum("nij,jhw->nihw", matrix, grid) + shift[:, :, None, None] + 4.5, 0, 9)
    cell = np.floor(where).astype(int)
    (y, x), (fy, fx), n = cell.swapaxes(0, 1), (where - cell).swapaxes(0, 1), np.arange(count)[:, None, None]
    result = ((1 - fy) * ((1 - fx) * padded[n, y, x] + fx * padded[n, y, x + 1]) +
              fy * ((1 - fx) * padded[n, y + 1, x] + fx * padded[n, y + 1, x + 1]))
    return result[:, None].astype(np.float32)


def train(images, labels):
    rng = np.random.default_rng(SEED)
    layers = network(rng)
    parameters = [p for _, layer in layers for p in layer.parameters()]
    first, second, step = [np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters], 0
    for epoch in range(EPOCHS):
        rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
        order, loss = rng.permutation(len(images)), 0.0
        for start in range(0, len(order), BATCH):
            pick = order[start:start + BATCH]
            logits = forward(layers, warped(rng, images[pick]), training=True)
            p = softmax(logits)
            loss -= np.log(p[np.arange(len(pick)), labels[pick]] + 1e-12).sum()
            p[np.arange(len(pick)), labels[pick]] -= 1
            gradient = p / len(pick)
            for _, layer in reversed(layers):
                gradient = layer.backward(gradient)
            gradients = [g for _, layer in layers for g in (layer.grads if layer.parameters() else [])]
            step += 1
            for p, g, m, v in zip(parameters, gradients, first, second):  # Adam with decoupled weight decay
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                update = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
                p -= (rate * (update + WEIGHT_DECAY * p)).astype(np.float32)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3d}/{EPOCHS}  loss {loss / len(order):.4f}", flush=True)
    return layers


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def export(layers):
    """The ONNX model: batch 1, BatchNormalization kept as nodes of their own."""
    nodes, constants, value = [], [], "image"

    def constant(name, array):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    for index, (name, layer) in enumerate(layers):
        last = index == len(layers) - 1
        out = "logits" if last else f"{name}_out"
        if isinstance(layer, Conv):
            inputs = [value, constant(f"{name}_weight", layer.weight), constant(f"{name}_bias", layer.bias)]
            op, attributes = "Conv", dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
        elif isinstance(layer, BatchNorm):
            inputs = [value, constant(f"{name}_scale", layer.gamma), constant(f"{name}_bias", layer.beta),
                      constant(f"{name}_mean", layer.mean), constant(f"{name}_var", layer.variance)]
            op, attributes = "BatchNormalization", dict(epsilon=BN_EPSILON)
        elif isinstance(layer, Gemm):
            inputs = [value, constant(f"{name}_weight", layer.weight), constant(f"{name}_bias", layer.bias)]
            op, attributes = "Gemm", dict(transB=1)
        elif isinstance(layer, MaxPool):
            inputs, op, attributes = [value], "MaxPool", dict(kernel_shape=[2, 2], strides=[2, 2])
        elif isinstance(layer, Flatten):
            inputs, op, attributes = [value], "Flatten", dict(axis=1)
        else:
            inputs, op, attributes = [value], "Relu", {}
        nodes.append(helper.make_node(op, inputs, [out], name=name, **attributes))
        value = out
    nodes.append(helper.make_node("Softmax", [value], ["probabilities"], name="softmax", axis=1))
    graph = helper.make_graph(
        nodes, "digits", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10]),
         helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 10])], initializer=constants)
    model = helper.make_model(graph, producer_name="opennrt-zoo", opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def evaluate(model, image):
    """Runs the ONNX graph on one [1,1,8,8] image in float64, by plain loops over windows: not the code that trained."""
    values = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in model.graph.initializer}
    values["image"] = image.astype(np.float64)
    for node in model.graph.node:
        a = [values[name] for name in node.input]
        attribute = {x.name: helper.get_attribute_value(x) for x in node.attribute}
        if node.op_type == "Conv":
            x = np.pad(a[0][0], ((0, 0), (1, 1), (1, 1)))
            h, w = a[0].shape[2:]
            y = np.array([[[(x[:, i:i + 3, j:j + 3] * kernel).sum() + bias for j in range(w)] for i in range(h)]
                          for kernel, bias in zip(a[1], a[2])])[None]
        elif node.op_type == "BatchNormalization":
            scale, bias, mean, variance = (v[:, None, None] for v in a[1:])
            y = scale * (a[0] - mean) / np.sqrt(variance + attribute["epsilon"]) + bias
        elif node.op_type == "Relu":
            y = np.maximum(a[0], 0)
        elif node.op_type == "MaxPool":
            h, w = a[0].shape[2:]
            y = np.array([[[channel[i:i + 2, j:j + 2].max() for j in range(0, w, 2)] for i in range(0, h, 2)]
                          for channel in a[0][0]])[None]
        elif node.op_type == "Flatten":
            y = a[0].reshape(1, -1)
        elif node.op_type == "Gemm":
            y = a[0] @ a[1].T + a[2]
        elif node.op_type == "Softmax":
            y = softmax(a[0])
        else:
            raise ValueError(f"node {node.name}: operator {node.op_type} is not one that this script exports")
        values[node.output[0]] = y
    return values["logits"][0]


def main():
    parser = argparse.ArgumentParser(description="Train and export the digits network.")
    parser.add_argument("--validate", action="store_true", help="cross-validate on the training part; write nothing")
    arguments = parser.parse_args()
    folder = pathlib.Path(__file__).resolve().parent

    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]  # 0..16 -> 0..1: every value is exact, in bfloat16 too
    labels = digits.target.astype(np.uint8)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=HELD_OUT, random_state=SEED, stratify=labels)
    if arguments.validate:
        scores = []
        folds = StratifiedKFold(4, shuffle=True, random_state=SEED)
        for chosen, rest in folds.split(train_images, train_labels):
            layers = train(train_images[chosen], train_labels[chosen])
            scores.append(np.mean(forward(layers, train_images[rest]).argmax(1) == train_labels[rest]))
            print(f"fold {len(scores)}: accuracy {scores[-1]:.4f}", flush=True)
        print(f"mean accuracy {np.mean(scores):.4f}")
        return 0

    print(f"{len(train_images)} images to train on, {len(test_images)} held out")
    layers = train(train_images, train_labels)
    direct = forward(layers, test_images)
    onnx.save(export(layers), str(folder / "digits.onnx"))
    model = onnx.load(str(folder / "digits.onnx"))
    logits = np.stack([evaluate(model, image[None]) for image in test_images])
    accuracy, apart = np.mean(logits.argmax(1) == test_labels), np.abs(logits - direct).max()
    print(f"exported file, evaluated in float64: accuracy {accuracy:.4f}; "
          f"largest difference of a logit from the training code in float32: {apart:.2e}")
    if accuracy < REQUIRED_ACCURACY or apart > 1e-3:
        print(f"error: wanted accuracy >= {REQUIRED_ACCURACY} and a difference <= 1e-3", file=sys.stderr)
        return 1
    np.save(folder / "heldout_images.npy", np.ascontiguousarray(test_images, "<f4"))
    np.save(folder / "heldout_labels.npy", test_labels)
    np.save(folder / "heldout_logits.npy", logits.astype("<f4"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
