"""A bundle that finds boxes whose corners, scores and overlaps can be worked out by hand."""

import dataclasses
from pathlib import Path

import onnx
import onnx.parser

from dlapp.files import sha256
from dlapp.signature import Detection, Preprocessing, boxes

LABELS = ("circle", "square")

# Three places, as fractions of the picture: A, B (intersection over union with A: 0.75) and C, far from them.
# A circle is at each of them with 0.9, 0.8 and 0.6 times the share of red in the picture, a square likewise of green.
_GRAPH = """
<ir_version: 8, opset_import: ["": 13]>
tiny (uint8[batch, height, width, channels] image, float min_score = {0.3}, float max_overlap = {0.5})
    => (float[batch, MOST, 4] boxes, float[batch, MOST] scores, int32[batch, MOST] classes, int32[batch] count)
<
    float[1, 3, 4] places = {0, 0, 0.5, 0.5, 0, 0, 0.5, 0.375, 0.5, 0.5, 1, 1},
    float[3] weights = {0.9, 0.8, 0.6},
    float white = {255}, float zero = {0}, float one = {1}, int64 most = {6}, int64 three = {3}, int64[1] first = {0},
    int64[1] last = {2}, int64[2] red_green = {0, 1}, int64[4] twice = {1, 2, 1, 2}, int64[2] flat = {0, 6},
    int64[1] wanted = {MOST}, int64[2] units = {1, 1}, int64[1] along = {1}
>
{
    float = Cast <to = 1> (image)
    means = ReduceMean <axes = [1, 2], keepdims = 0> (float)
    shares = Div (means, white)
    shown = Gather <axis = 1> (shares, red_green)
    of_class = Unsqueeze (shown, last)
    every = Mul (of_class, weights)
    shape = Shape (image)
    batch_size = Gather (shape, first)
    sides = Gather (shape, twice)
    pixels = Cast <to = 1> (sides)
    batches = Concat <axis = 0> (batch_size, units)
    repeated = Expand (places, batches)
    corners = Mul (repeated, pixels)
    overlap = Unsqueeze (max_overlap, first)
    least = Unsqueeze (min_score, first)
    selected = NonMaxSuppression (corners, every, most, overlap, least)
    nothing = Mul (every, zero)
    selected_shape = Shape (selected)
    how_many = Gather (selected_shape, first)
    ones = Expand (one, how_many)
    kept = ScatterND (nothing, selected, ones)
    told = Mul (every, kept)
    told_flat = Reshape (told, flat)
    scores, order = TopK (told_flat, wanted)
    class = Div (order, three)
    place = Mod (order, three)
    valid = Greater (scores, zero)
    valid_int = Cast <to = 6> (valid)
    valid_float = Cast <to = 1> (valid)
    class_int = Cast <to = 6> (class)
    classes = Mul (class_int, valid_int)
    count = ReduceSum <keepdims = 0> (valid_int, along)
    place_index = Unsqueeze (place, last)
    chosen = GatherND <batch_dims = 1> (corners, place_index)
    valid_corners = Unsqueeze (valid_float, last)
    boxes = Mul (chosen, valid_corners)
}
"""


def write_bundle(folder: Path, *, most: int = 6) -> Path:
    """Writes the bundle into ``folder``, which it makes; with ``most`` of 1 it is one for localization."""
    folder.mkdir(parents=True)
    detection = Detection(grid=(2, 2) if most > 1 else (1, 1), min_score=0.3, max_overlap=0.5, most=most)
    signature = boxes(LABELS, Preprocessing(3, (8, 8), scale="unit"), detection, {"name": folder.name})
    model = onnx.parser.parse_model(_GRAPH.replace("MOST", str(most)))
    onnx.checker.check_model(model)
    onnx.helper.set_model_props(model, signature.metadata())
    onnx.save(model, folder / "model.onnx")
    signature = dataclasses.replace(signature, files={"model.onnx": sha256(folder / "model.onnx")})
    signature.write(folder / "signature.json")
    return folder
