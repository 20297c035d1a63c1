"""Async twins of a container's long calls, for those who `await`."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from chi_edge_lab.exitcode import ExitCode

Result = TypeVar("Result")


class AsyncTwins:
    """The same calls in a thread; cancelling the task cancels the call."""

    submit: Callable[..., Any]
    wait: Callable[..., None]
    execute: Callable[..., tuple[str, ExitCode]]
    upload: Callable[..., None]
    download: Callable[..., None]
    delete: Callable[..., None]

    async def asubmit(self, *args: Any, **kwargs: Any) -> Any:
        """`submit` for `await`."""
        return await _in_thread(self.submit, *args, **kwargs)

    async def await_status(self, *args: Any, **kwargs: Any) -> None:
        """`wait` for `await`."""
        await _in_thread(self.wait, *args, **kwargs)

    async def aexecute(self, *args: Any, **kwargs: Any) -> tuple[str, ExitCode]:
        """`execute` for `await`."""
        return await _in_thread(self.execute, *args, **kwargs)

    async def aupload(self, *args: Any, **kwargs: Any) -> None:
        """`upload` for `await`."""
        await _in_thread(self.upload, *args, **kwargs)

    async def adownload(self, *args: Any, **kwargs: Any) -> None:
        """`download` for `await`."""
        await _in_thread(self.download, *args, **kwargs)

    async def adelete(self) -> None:
        """`delete` for `await`."""
        await _in_thread(self.delete)


async def _in_thread(call: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    import asyncio  # takes as long as all the rest of the package, and few await

    stop = threading.Event()
    kwargs.setdefault("cancel", stop.is_set)
    try:
        return await asyncio.to_thread(functools.partial(call, *args, **kwargs))
    except asyncio.CancelledError:
        stop.set()
        raise
