"""How long calls and containers show themselves in a notebook, a terminal, or not at all."""

from __future__ import annotations

import html
import sys
from collections.abc import Mapping
from typing import Any

from chi_edge_lab.core.progress import OnProgress, Progress


def in_notebook() -> bool:
    """Whether this is an IPython kernel (a notebook), told without importing IPython."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None
    return shell is not None and shell.has_trait("kernel") if hasattr(shell, "has_trait") else False


def is_watched() -> bool:
    """Whether somebody reads what is printed: a notebook or a terminal, not a pipe, a log or a test."""
    if in_notebook():
        return True
    try:
        return bool(sys.stdout.isatty())
    except (AttributeError, ValueError):  # stdout is closed or was replaced by something small
        return False


def say(text: str) -> None:
    """Print a line where somebody reads it."""
    if is_watched():
        _write(text + "\n")


def stages(label: str) -> OnProgress | None:
    """A callback that prints each stage once with the time it began ("web: requested · scheduled 0.3 s ·
    running 1.2 s"); None where nobody reads.
    """
    if not is_watched():
        return None
    seen: list[str] = []

    def show(progress: Progress) -> None:
        if progress.stage in seen:
            return
        text = progress.message if not seen else f" · {progress.message} {progress.elapsed:.1f} s"
        _write(f"{label}: {text}" if not seen else text)
        seen.append(progress.stage)
        if progress.stage in {"running", "done"}:
            _write("\n")

    return show


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def table(rows: Mapping[str, Any]) -> str:
    """An HTML table of names and values; everything in it is escaped, since names and reasons come from a
    site.
    """
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(str(name))}</th>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table>{cells}</table>"


def show(rows: Mapping[str, Any], kind: str) -> None:
    """Show rows as a table in a notebook (kind "widget"), else as lines of text."""
    if kind == "widget" and in_notebook():
        from IPython.display import HTML, display

        display(HTML(table(rows)))
        return
    _write("".join(f"{name}: {value}\n" for name, value in rows.items()))
