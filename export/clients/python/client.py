"""Runs a dlapp bundle: python client.py BUNDLE picture.png|rows.csv|rows.npy ..."""

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

FORMAT = 4
TASKS = ("classification", "regression", "localization", "detection")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
MISSING = re.compile(r"|[?]|#N/A|#N/A N/A|#NA|-NaN|-nan|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null")


def read_signature(path):
    """What ``signature.json`` says of a bundle that this client can run."""
    signature = json.loads(path.read_text("utf-8"))
    task, given = signature["task"], signature["inputs"][0]["name"]
    if task not in TASKS or given == "tokens" or "windows" in signature:
        raise ValueError(f"{path} is for {task}, or for texts, or slides; this client takes pictures and rows.")
    if signature["format"] > FORMAT:
        raise ValueError(f"{path} has format {signature['format']}; this client reads up to {FORMAT}.")
    return signature


def read(path, preprocessing):
    """Name and tensor of a picture, or of every row of a table."""
    try:
        yield from (read_rows if preprocessing["size"] is None else read_picture)(path, preprocessing)
    except (OSError, SyntaxError, csv.Error) as error:  # whose words may lack the name of the file
        raise ValueError(f"{path} cannot be read: {error}") from error


def read_picture(path, preprocessing):
    """Name and (1, height, width, channels) uint8, upright; what is transparent lies on white."""
    channels = preprocessing["channels"]
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
    yield path, np.asarray(picture.convert(MODES[channels])).reshape(1, picture.height, picture.width, channels)


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
        values = [
            encode(cells[place], column["categories"], delimiter) for column, place in zip(columns, places, strict=True)
        ]
        if None in values or (not preprocessing["columns"] and np.isnan(values).any()):
            raise ValueError(f"line {line} of {path}: {', '.join(cells)} must be {len(values)} numbers.")
        yield f"{path}:{line}", np.array([values], np.float32)


def find_columns(path, first, columns, layout):
    """Whether the first row is a header, and where each column stands."""
    names = [column["name"] for column in columns]
    if layout and set(names) <= set(first):
        return True, [first.index(name) for name in names]
    if layout and layout["header"]:
        raise ValueError(f"the first row of {path} must name the columns {', '.join(names)}.")
    if len(first) == len(columns):
        return not layout and any(encode(cell, None, ",") is None for cell in first), range(len(columns))
    for given in [layout["names"], [name for name in layout["names"] if name != layout["target"]]] if layout else []:
        if len(first) == len(given):
            return False, [given.index(name) for name in names]
    raise ValueError(f"{path} has {len(first)} columns; the bundle takes {len(columns)}.")


def encode(cell, categories, delimiter):
    """A cell as the network takes it: NaN where it is missing, None where it should be a number and is none."""
    if MISSING.fullmatch(cell):
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
    value = float(cell) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", cell, re.IGNORECASE) else np.inf
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
    onnxruntime.set_default_logger_severity(3)  # else it warns of inputs that have defaults
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    given, names = signature["inputs"][0]["name"], [output["name"] for output in signature["outputs"]]
    for file in files:
        for name, value in read(file, signature["preprocessing"]):
            outputs = dict(zip(names, session.run(names, {given: value}), strict=True))
            for line in lines(signature, outputs):
                print(name, line, sep="\t")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except Exception as error:  # ONNX Runtime's own classes share no base but this
        sys.exit(f"Error: {error}")
