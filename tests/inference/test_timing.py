"""Times of what runs in processes of their own; what they load is pickled, and here needs nothing to be imported."""

import functools

import numpy as np
import pytest

from dlapp.errors import BundleError
from dlapp.inference.bundle import Bundle
from dlapp.inference.timing import ROUNDS, Candidate, measure


def open_bundle(folder, variant, threads):
    return Bundle(folder, variant=variant, threads=threads).run


def test_each_is_measured_and_what_fails_is_told(colours):
    rounds = []
    found = measure(
        {
            "bundle": Candidate(functools.partial(open_bundle, colours.folder, "float32", 1), "onnxruntime"),
            "lost": Candidate(functools.partial(open_bundle, colours.folder, "int8", 1), "onnxruntime"),
            "broken": Candidate(functools.partial(int, "x"), "numpy"),
        },
        {size: np.zeros((size, 4, 4, 3), np.uint8) for size in (1, 3)},
        seconds=0.01,
        tell=rounds.append,
    )
    assert rounds == list(range(1, ROUNDS + 1))
    whole = found["bundle"]
    assert whole.error == ""
    assert whole.load_s > 0
    assert whole.peak_memory is None or 2**24 < whole.peak_memory < 2**30
    assert sorted(whole.latencies) == [1, 3]
    for latency in whole.latencies.values():
        assert 0 < latency.median_s <= latency.p95_s
        assert latency.calls >= 2 * ROUNDS
    with pytest.raises(BundleError) as raised:
        open_bundle(colours.folder, "int8", 1)
    assert found["lost"].error == str(raised.value)
    assert found["broken"].error.startswith("ValueError: invalid literal")
    assert found["broken"].latencies == {}
