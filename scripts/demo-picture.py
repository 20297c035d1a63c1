"""Runs `chi-edge-lab demo --check` and draws what it printed as docs/demo.svg, the picture of the README."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

TARGET = Path(__file__).resolve().parents[1] / "docs" / "demo.svg"
COLUMNS = 118

done = subprocess.run(
    [sys.executable, "-m", "chi_edge_lab.cli", "demo", "--check"], capture_output=True, text=True, check=True
)
console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
console.print(Text.assemble(("$ ", "bold green"), "chi-edge-lab demo --check"))
for line in done.stdout.splitlines():
    text = Text(line, no_wrap=True, overflow="ellipsis")
    text.highlight_regex(r"^ok", "bold green")
    text.highlight_regex(r"\d+\.\d\d s", "cyan")
    text.truncate(COLUMNS, overflow="ellipsis")
    console.print(text)
svg = console.export_svg(title="chi-edge-lab")
# a picture that fetches nothing: the reader's own monospace font will do
TARGET.write_text(re.sub(r"@font-face\s*\{[^}]*\}", "", svg))
