"""Sources -> examples in train, dev and test -> tf.data pipelines.

``load`` and what it returns need no TensorFlow; ``dlapp.data.pipelines`` does.
"""

from dlapp.data.examples import Data, Examples
from dlapp.data.sources import SOURCES, load

__all__ = ["SOURCES", "Data", "Examples", "load"]
