"""The ``dlapp`` command: one file a verb.

Nothing heavy is imported here; each verb imports what it needs when it runs, so that ``--help`` and
``list`` answer at once and ``predict`` never loads TensorFlow.
"""

from dlapp.cli.app import main

__all__ = ["main"]
