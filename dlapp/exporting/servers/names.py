"""The name of a bundle as the servers take it."""

import re


def model_name(name: str) -> str:
    """Letters, digits, dots, dashes and underscores: it stands in URLs."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "model"


def service_name(name: str) -> str:
    """What Kubernetes takes as the name of a service: small letters, digits and dashes, a letter first."""
    label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return (label if label[:1].isalpha() else f"model-{label}")[:50].strip("-")


# Triton's words
TYPES = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64"} | {
    f"{kind}{bits}": f"{kind.upper()}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
}
