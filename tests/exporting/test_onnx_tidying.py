"""A graph as tf2onnx leaves it, made readable for every runtime, and the same at every export."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from dlapp.exporting import onnx_tidying


def graph(suffix, *, order=(0, 1, 2, 3), kept=""):
    """min(2 x, 9) + 3 of a layer, less 3, as tf2onnx names and orders it in one process and in another."""
    nodes = [
        helper.make_node("Sub", ["z__4:0", f"const__{suffix + 2}"], ["y"], f"sub{kept}"),
        helper.make_node("Mul", ["x", f"a__{suffix}"], [f"net/mul_1__{suffix + 1}:0"], f"net/mul_1__{suffix + 1}"),
        helper.make_node("Abs", ["x"], ["unused"], f"abs__{suffix}"),
        helper.make_node(
            "Min", [f"net/mul_1__{suffix + 1}:0", f"const__{suffix + 3}"], [f"scope{kept}/min:0"], f"scope{kept}/min"
        ),
        helper.make_node("Add", [f"scope{kept}/min:0", f"const__{suffix + 2}"], ["z__4:0"], f"net/add__{suffix + 4}"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "xy")
    numbers = {f"a__{suffix}": 2.0, f"const__{suffix + 2}": 3.0, f"const__{suffix + 3}": 9.0, "unused_number": 1.0}
    constants = [numpy_helper.from_array(np.float32(value), name) for name, value in numbers.items()]
    made = helper.make_graph(nodes, "any", [x], [y], [constants[place] for place in order])
    made.doc_string = "converted at noon"
    return made


def test_names_and_order_do_not_hang_on_counters_or_chance():
    first, second = graph(7), graph(121, order=(2, 3, 1, 0), kept="_1")
    for one in (first, second):
        onnx_tidying.rename(one, "net")
    assert first.SerializeToString() == second.SerializeToString()
    assert [node.name for node in first.node] == ["net/mul_1", "scope/min", "net/add", "sub"]
    assert [list(node.input) for node in first.node] == [
        ["x", "a"],
        ["net/mul_1:0", "const"],
        ["scope/min:0", "net/add/input1"],
        ["z:0", "net/add/input1"],
    ]
    numbers = {one.name: float(numpy_helper.to_array(one)) for one in first.initializer}
    assert list(numbers.items()) == [("a", 2.0), ("const", 9.0), ("net/add/input1", 3.0)]
    assert first.doc_string == ""
    proto = helper.make_model(first, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(["y"], {"x": np.array([1, 7], np.float32)})[0], [2, 9])


def test_names_of_inputs_and_their_defaults_stay():
    given = graph(1)
    least = numpy_helper.from_array(np.float32(0.5), "min_score__1")
    given.input.append(helper.make_tensor_value_info("min_score__1", TensorProto.FLOAT, []))
    given.initializer.append(least)
    given.node[1].input[1] = "min_score__1"
    onnx_tidying.rename(given, "net")
    assert given.node[0].input[1] == "min_score__1"
    assert given.initializer[0] == least


def test_limits_of_suppression_have_one_axis():
    tensors = {
        "boxes": np.array([[[0, 0, 1, 1], [0, 0, 1, 0.9], [2, 2, 3, 3]]], np.float32),
        "scores": np.array([[[0.9, 0.8, 0.7]]], np.float32),
    }
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, v.shape) for name, v in tensors.items()]
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in ("overlap", "least")]
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["kept"], "nms")
    again = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "", "least"], ["kept2"], "nms2")
    outputs = [helper.make_tensor_value_info(name, TensorProto.INT64, [None, 3]) for name in ("kept", "kept2")]
    most = numpy_helper.from_array(np.array(5, np.int64), "most")
    made = helper.make_graph([node, again], "any", inputs, outputs, [most])
    onnx_tidying.give_axes(made)
    assert [one.op_type for one in made.node] == ["Reshape"] * 3 + ["NonMaxSuppression"] + ["Reshape"] * 2 + [
        "NonMaxSuppression"
    ]
    assert made.node[-1].input[3] == "", "what is left out stays so"
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    kept, _ = session.run(None, {**tensors, "overlap": np.array(0.5, np.float32), "least": np.array(0.1, np.float32)})
    assert kept[:, 2].tolist() == [0, 2]


def pooled(
    *,
    activation="Relu",
    widths=(0, 0, 1, 1, 0, 0, 1, 1),
    value=0.0,
    mode="constant",
    kernel=3,
    output=False,
    shared=False,
):
    """Padding in front of a max pooling, of a picture of negative and positive numbers."""
    nodes = [
        *([] if activation is None else [helper.make_node(activation, ["x"], ["active"])]),
        helper.make_node("Pad", ["active" if activation else "x", "widths", "value"], ["padded"], mode=mode),
        helper.make_node("MaxPool", ["padded"], ["y"], kernel_shape=[kernel, kernel], strides=[2, 2]),
    ]
    if shared:
        nodes += [helper.make_node("MaxPool", ["padded"], ["z"], kernel_shape=[1, 1])]
    constants = [
        numpy_helper.from_array(np.array(widths, np.int64), "widths"),
        numpy_helper.from_array(np.float32(value), "value"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2, 7, 6])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", None, None, None])
    padded = helper.make_tensor_value_info("padded", TensorProto.FLOAT, ["batch", None, None, None])
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", None, None, None])
    return helper.make_graph(nodes, "any", [x], [y, *[padded] * output, *[z] * shared], constants)


def answer(graph):
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.random.default_rng(0).normal(size=(2, 2, 7, 6)).astype(np.float32)})[0]


@pytest.mark.parametrize("widths", [(0, 0, 1, 1, 0, 0, 1, 1), (0, 0, 0, 2, 0, 0, 1, 0)], ids=["both sides", "uneven"])
def test_zeros_in_front_of_a_pooling_become_its_padding(widths):
    wanted, graph = answer(pooled(widths=widths)), pooled(widths=widths)
    onnx_tidying.fold_padding(graph)
    assert [node.op_type for node in graph.node] == ["Relu", "MaxPool"]
    np.testing.assert_array_equal(answer(graph), wanted)


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "Elu"},  # gives negative numbers, of which a zero would be the largest
        {"value": 1.0},
        {"mode": "reflect"},
        {"widths": (0, 1, 1, 1, 0, 0, 1, 1)},  # channels
        {"widths": (0, 0, 3, 1, 0, 0, 1, 1)},  # a window of zeros alone
        {"activation": None},  # a picture of any numbers
        {"output": True},  # which is an answer itself
        {"shared": True},  # which a second operator reads
    ],
    ids=lambda options: next(iter(options)),
)
def test_other_padding_stays(options):
    wanted, graph = answer(pooled(**options)), pooled(**options)
    onnx_tidying.fold_padding(graph)
    assert graph == pooled(**options)
    np.testing.assert_array_equal(answer(graph), wanted)


def sized(*, maker="Resize", channels=3, plain=False, before=()):
    """A picture of any size in one of 4 x 5, scaled, in front of a convolution and a shortcut."""
    makes = {
        "Resize": helper.make_node("Resize", ["given", "", "", "sizes"], ["picture"]),
        "Pad": helper.make_node("Pad", ["given", "widths"], ["picture"]),
        "AveragePool": helper.make_node("AveragePool", ["given"], ["picture"], kernel_shape=[2, 2]),
        "Reshape": helper.make_node("Reshape", ["given", "shape"], ["picture"]),
    }
    nodes = [
        helper.make_node("Resize", ["x", "", "", "sizes"], ["given"])
        if before
        else helper.make_node("Identity", ["x"], ["given"]),
        helper.make_node("Gather", ["x", "none"], ["unused"]),
        helper.make_node("Conv", ["unused", "weights"], ["leads nowhere"]),
        makes[maker],
        helper.make_node("Mul", ["scale", "picture"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "weights"], ["first"]),
        helper.make_node("Conv", ["first", "weights"], ["second"]),
        helper.make_node("Add", ["first", "weights" if plain else "second"], ["y"]),
    ]
    constants = {
        "sizes": np.array([1, 3, 4, 5], np.int64),
        "widths": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "shape": np.array([-1, 3, 5, 4], np.int64),
        "scale": np.float32(2),
        "weights": np.ones((channels, channels, 1, 1), np.float32),
        "none": np.array([0], np.int64),
    }
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3, 4, 5])
    known = [helper.make_tensor_value_info("first", TensorProto.FLOAT, ["unk__7", 3, 4, 5])]
    initializers = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    return helper.make_graph(nodes, "any", [x], [y], initializers, value_info=known)


def test_the_size_is_told_where_pictures_get_it():
    graph = sized()
    onnx_tidying.tidy(graph, "net", pictures=("batch", 3, 4, 5))
    (told,) = graph.value_info
    assert told.name == next(node for node in graph.node if node.op_type == "Resize").output[0]
    assert [one.dim_param or one.dim_value for one in told.type.tensor_type.shape.dim] == ["batch", 3, 4, 5]


@pytest.mark.parametrize(
    ("options", "pictures"),
    [
        ({}, None),
        ({"plain": True}, ("batch", 3, 4, 5)),  # no shortcuts
        ({"channels": 1}, ("batch", 3, 4, 5)),  # not the picture
        # a layer changes the size that the preprocessing gave
        *(
            ({"maker": layer, "before": True}, ("batch", 3, 4, 5))
            for layer in ("Resize", "Pad", "AveragePool", "Reshape")
        ),
    ],
    ids=lambda given: " ".join(map(str, given.values())) if isinstance(given, dict) else "",
)
def test_no_other_size_is_told(options, pictures):
    graph = sized(**options)
    onnx_tidying.tidy(graph, "net", pictures=pictures)
    assert not graph.value_info
