"""Train a classic network, diagnose it, and ship it as a SavedModel and an ONNX file that agree."""

import os

__version__ = "0.1.0"

# Keras reads this when it is first imported. The pipelines, the SavedModel and the ONNX file all come
# from TensorFlow, so no other backend can work.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

# TensorFlow reads this when it is first imported, and by itself turns oneDNN on only for processors with AVX-512.
# On others too every convolutional network trains faster with it: `python -m tests.benchmarks architectures`.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
