"""Runs a dlapp bundle: python client.py BUNDLE picture.png|rows.csv|rows.npy ..."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

FORMAT = 4
TASKS = ("classification", "regression", "localization", "detection")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
MISSING = set("|?|#N/A|#N/A N/A|#NA|-NaN|-nan|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null".split("|"))


def read_signature(path):
    """What ``signature.json`` says of a bundle that this client can run."""
    signature = json.loads(path.read_text("utf-8"))
    if signature["format"] > FORMAT:
        raise ValueError(f"{path} has format {signature['format']}; this client reads up to {FORMAT}.")
    if signature["task"] not in TASKS or signature["inputs"][0]["name"] == "tokens":
        raise ValueError(f"{path} does {signature['task']} of texts; this client takes pictures and rows.")
    if "windows" in signature:
        raise ValueError(f"{path} slides over pictures and gives a map, which this client does not print.")
    return signature


def read_picture(path, channels):
    """(1, height, width, channels) uint8, upright; what is transparent lies on white."""
    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened)
    if picture.mode[0] in "IF":
        raise ValueError(f"{path} has more than 8 bits: save it with 8.")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if channels != 4:
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    if picture.mode not in ("1", "L", "RGBA"):
        picture = picture.convert("RGB")
    return np.asarray(picture.convert(MODES[channels])).reshape(1, picture.height, picture.width, channels)


def read_rows(path, preprocessing):
    """Name and (1, columns) float32 of every row of a CSV or NumPy file."""
    if path.lower().endswith(".npy"):
        for number, row in enumerate(np.load(path, mmap_mode="r").astype(np.float32)):
            yield f"{path}:{number}", row[np.newaxis]
        return
    delimiter = (preprocessing["layout"] or {}).get("delimiter", ",")
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        reader, rows, begins = csv.reader(file, delimiter=delimiter, strict=True), [], 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((begins, [cell.strip() for cell in cells]))
            begins = reader.line_num + 1
    if not rows:
        raise ValueError(f"{path} is empty.")
    columns = preprocessing["columns"] or [{"name": "", "categories": None}] * len(preprocessing["mean"])
    has_header, places = find_columns(path, rows[0][1], columns, preprocessing["layout"])
    for line, cells in rows[has_header:]:
        if len(cells) != len(rows[0][1]):
            raise ValueError(f"line {line} of {path} has {len(cells)} cells; the first row has {len(rows[0][1])}.")
        values = np.empty((1, len(columns)), np.float32)
        for index, (column, place) in enumerate(zip(columns, places, strict=True)):
            value = encode(cells[place], column["categories"], delimiter)
            if value is None or (value != value and not preprocessing["columns"]):  # NaN
                raise ValueError(f"line {line} of {path}: {cells[place]!r} must be a number.")
            values[0, index] = value
        yield f"{path}:{line}", values


def find_columns(path, first, columns, layout):
    """Whether the first row is a header, and where each column stands."""
    names = [column["name"] for column in columns]
    if layout and set(names) <= set(first):
        return True, [first.index(name) for name in names]
    if layout and layout["header"]:
        raise ValueError(f"the first row of {path} must name the columns {', '.join(names)}.")
    if len(first) == len(columns):
        is_header = not layout and any(encode(cell, None, ",") is None for cell in first)
        return is_header, range(len(columns))
    for given in layout and (layout["names"], [name for name in layout["names"] if name != layout["target"]]) or ():
        if len(first) == len(given):
            return False, [given.index(name) for name in names]
    raise ValueError(f"{path} has {len(first)} columns; the bundle takes {len(columns)}.")


def encode(cell, categories, delimiter):
    """A cell as the network takes it: NaN where it is missing, None where it should be a number and is none."""
    if cell in MISSING:
        return np.nan
    if categories is None:
        return number(cell, delimiter)
    if cell in categories:
        return categories.index(cell)
    value = number(cell, ",")  # a column with a gap comes as 1.0 where another has 1
    same = [index for index, name in enumerate(categories) if value is not None and number(name, ",") == value]
    return same[0] if same else -1


def number(cell, delimiter):
    """A finite float, or None; beside another delimiter the comma may be the decimal point."""
    if delimiter != "," and cell.count(",") == 1 and "." not in cell:
        cell = cell.replace(",", ".")
    try:
        value = float("x" if "_" in cell else cell)
    except ValueError:
        return None
    return value if abs(value) <= np.finfo(np.float32).max else None


def lines(signature, outputs):
    """What is printed of one picture or row."""
    labels, first = signature["labels"], {name: values[0] for name, values in outputs.items()}
    if signature["task"] == "regression":
        return [f"{first['value'][0]:.6g}"]
    if signature["task"] == "classification":
        best = first["probabilities"].argmax()
        return [f"{labels[best]}\t{first['probabilities'][best]:.4f}"]
    found = list(zip(first["classes"], first["scores"], first["boxes"], strict=True))[: first["count"]]
    return ["\t".join([labels[k], f"{score:.4f}", *(f"{corner:.2f}" for corner in box)]) for k, score, box in found]


def main(folder, *files):
    folder = Path(folder)
    signature = read_signature(folder / "signature.json")
    preprocessing = signature["preprocessing"]
    onnxruntime.set_default_logger_severity(3)  # else it warns of inputs that have defaults
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    given, names = signature["inputs"][0]["name"], [output["name"] for output in signature["outputs"]]
    for file in files:
        pictures = preprocessing["size"] is not None
        inputs = [(file, read_picture(file, preprocessing["channels"]))] if pictures else read_rows(file, preprocessing)
        for name, value in inputs:
            outputs = dict(zip(names, session.run(names, {given: value}), strict=True))
            for line in lines(signature, outputs):
                print(name, line, sep="\t")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
