"""Makes the pictures of the README from a run of the demo: `.venv/bin/python docs/pictures.py`."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

DOCS = Path(__file__).parent
WIDTH = 118
# Dark grey on paper white; reds and greens as in print.
THEME = TerminalTheme(
    (252, 252, 250),
    (40, 44, 52),
    [
        (40, 44, 52),
        (190, 50, 40),
        (30, 130, 60),
        (160, 110, 0),
        (40, 90, 160),
        (130, 60, 140),
        (0, 120, 130),
        (110, 110, 110),
    ],
)
SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans CJK SC", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>{lines}</defs>
<rect fill="#fcfcfa" stroke="#d0d0cc" x="1" y="1" width="{terminal_width}" height="{terminal_height}" rx="8"/>
<g transform="translate({terminal_x}, 10)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


def main() -> None:
    """Run the demo, draw its output, and copy its two pictures."""
    with tempfile.TemporaryDirectory() as place:
        environment = {**os.environ, "FORCE_COLOR": "1", "TTY_INTERACTIVE": "0", "COLUMNS": str(WIDTH)}
        program = Path(sys.executable).with_name("glassbert")
        command = [str(program), "demo", "--out", "glassbert-demo"]
        done = subprocess.run(
            command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
        )
        for name in ("learning_curve.png", "confusion_matrix.png"):
            shutil.copy(Path(place, "glassbert-demo", name), DOCS / name)
    shown = done.stdout.replace(os.path.relpath(program, place), ".venv/bin/glassbert")
    shown = shown.replace(os.path.relpath(DOCS.parent, place) + os.sep, "")
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    console.print(Text.assemble("$ ", ("make demo", "bold")))
    console.print(Text.from_ansi(shown.rstrip()))
    console.print()  # room at the lower edge
    console.save_svg(str(DOCS / "demo.svg"), theme=THEME, code_format=SVG)


main()
