"""How long calls and containers show themselves in a notebook, a terminal, or not at all."""

from __future__ import annotations

import html
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from chi_edge_lab.core.progress import OnProgress, Progress

QUIET_FOR = 1.0  # seconds of a transfer before it shows itself
NAME_LONGEST = 24  # characters of a file's name, so that the line fits a terminal
PACKAGE = "chi_edge_lab."


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


@contextmanager
def stages(label: str) -> Iterator[OnProgress | None]:
    """A callback that adds each stage with the time it began to one line ("web: requested -> scheduled 0.1 s
    -> running 1.2 s"), which ends with the block; None where nobody reads.
    """
    if not is_watched():
        yield None
        return
    seen: list[str] = []

    def show(progress: Progress) -> None:
        if progress.stage in seen:
            return
        _write(f" -> {progress.stage} {progress.elapsed:.1f} s" if seen else f"{label}: {progress.stage}")
        seen.append(progress.stage)

    try:
        yield show
    finally:
        if seen:
            _write("\n")


@contextmanager
def transfer(doing: str, path: object) -> Iterator[OnProgress | None]:
    """A callback that keeps one line up to date with bytes, rate and the time left; None where nobody
    reads. What is over within a second shows nothing.
    """
    if not is_watched():
        yield None
        return
    name = str(path).rstrip("/").rpartition("/")[2] or str(path)
    name = name if len(name) <= NAME_LONGEST else f"{name[: NAME_LONGEST - 3]}..."
    written = 0

    def show(progress: Progress) -> None:
        nonlocal written
        if progress.elapsed < QUIET_FOR:
            return
        line = f"{doing} {name}: {_so_far(progress)}"
        _write("\r" + line.ljust(written))  # blanks over what is left of a longer line
        written = len(line)

    try:
        yield show
    finally:
        if written:
            _write("\n")


def _so_far(progress: Progress) -> str:
    done, total, seconds = progress.done, progress.total, progress.stage_elapsed
    if done is None or not total:
        return progress.message
    if progress.stage == "done":
        return f"{_megabytes(total)} MB in {progress.elapsed:.1f} s, {progress.message}"
    text = f"{_megabytes(done)} of {_megabytes(total)} MB, {100 * done // total} %"
    if done and seconds > 0:
        text += f", {_megabytes(done / seconds)} MB/s, {seconds * (total - done) / done:.0f} s left"
    return text


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f}"


def warn(text: str) -> None:
    """A UserWarning that names the line outside of this package which led to it."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)


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
