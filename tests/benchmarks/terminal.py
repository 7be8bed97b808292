"""What commands print, as pictures of a terminal: ``python -m tests.benchmarks.terminal`` draws ``models/demo.svg``.

``python -m tests.benchmarks.terminal FILE.svg COMMAND...`` draws what any other command prints.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

_DEMO = Path(__file__).parents[2] / "models" / "demo.svg"
_COLUMNS = 100
_EPOCHS = re.compile(r"((?:^epoch .*\n){2})(?:^epoch .*\n)+(^epoch .*\n)", re.MULTILINE)  # of which three are enough


def main(arguments: Sequence[str]) -> None:
    """Runs a command in an empty folder and draws what it printed into a pipe, without colours."""
    path, command = (Path(arguments[0]).absolute(), list(arguments[1:])) if arguments else (_DEMO, ["dlapp", "demo"])
    executable = Path(sys.executable).parent / command[0]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(executable) if executable.exists() else command[0], *command[1:]],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
    draw(f"$ {' '.join(command)}\n" + _EPOCHS.sub(r"\1...\n\2", done.stdout), path)


def draw(text: str, path: Path) -> None:
    """Draws text as a terminal of 100 columns shows it, into an SVG file."""
    with tempfile.TemporaryFile("w") as nowhere:
        console = Console(record=True, width=_COLUMNS, file=nowhere)
        console.print(Text.from_ansi(text))
        console.save_svg(str(path), title="dlapp", unique_id="terminal")


if __name__ == "__main__":
    main(sys.argv[1:])
