"""What the libraries say while they write a bundle, which nobody asked."""

import contextlib
import io
import logging
from collections.abc import Iterator

_LOGGERS = ("tf2onnx", "tensorflow")


@contextlib.contextmanager
def silently() -> Iterator[None]:
    """Nothing that tf2onnx and TensorFlow log and Keras prints; what matters is checked afterwards."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
