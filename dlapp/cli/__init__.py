"""The ``dlapp`` command: one file a verb.

Nothing heavy is imported here; each verb imports what it needs when it runs, so that ``--help`` and
``list`` answer at once. ``predict`` and ``generate`` do not even need typer: they run where there is nothing but
ONNX Runtime, NumPy and Pillow, and in the time that these take.
"""

import os
import sys


def main() -> None:
    """Runs the command line. Exit status: 0 done, 1 a check did not hold, 2 the input or the call is wrong."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        sys.exit(_run(arguments))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        told = _tell(error)
        if told is None:
            raise
        print(f"Error: {told[1]}", file=sys.stderr)
        sys.exit(told[0])


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["predict"]:
        from dlapp.cli import predict

        return predict.main(arguments[1:])
    if arguments[:1] == ["generate"]:
        from dlapp.cli import generate

        return generate.main(arguments[1:])
    from dlapp.cli.app import app

    return app(arguments, prog_name="dlapp")


def _tell(error: Exception) -> tuple[int, str] | None:
    """Exit status and message of an error that a person can do something about; None for a defect of dlapp."""
    from dlapp.errors import DlappError

    if isinstance(error, DlappError):
        return error.exit_status, str(error)
    if isinstance(error, ModuleNotFoundError):
        return 2, f"this needs {error.name}, which is not installed here: pip install it, or the whole of dlapp."
    if isinstance(error, OSError):  # a full disk, a missing permission
        what = f"{error.strerror or error}: {error.filename or 'the file system refused'}"
        return 2, f"{what}. What was there before is unchanged."
    return None
