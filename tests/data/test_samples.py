"""Which pictures come onto a sheet of samples."""

import numpy as np

from dlapp.data.examples import Examples
from dlapp.data.samples import _choose, draw_samples
from tests.data.test_objects import labelled


def test_every_class_is_shown_before_any_is_shown_again():
    box = (0, 0, 9, 9)
    parts = {"train": labelled(*[[(0, *box)]] * 30, [(1, *box), (2, *box)], []), "dev": labelled([(3, *box)], [])}
    order = _choose(parts, 4)
    assert len(order) == len(set(order)) == 34
    shown = [set(parts[split].boxes[index].classes.tolist()) for split, index in order[:3]]
    assert set.union(*shown) == {0, 1, 2, 3}
    assert _choose(parts, 4) == order


def test_numbers_are_captions_too_and_where_nothing_can_be_read_nothing_is_drawn(tmp_path):
    grey = Examples(np.zeros((3, 8, 8, 1), np.uint8), np.array([0.5, 1, 2], np.float32), channels=1)
    assert draw_samples({"train": grey}, ()) is not None
    (tmp_path / "a.png").write_bytes(b"")
    files = Examples(np.array([str(tmp_path / "a.png")]), np.zeros(1, np.int32), channels=3)
    assert draw_samples({"train": files}, ("a", "b")) is None
