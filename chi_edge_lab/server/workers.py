"""Threads for what blocks: the core is synchronous and Tornado's loop must never wait for it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from chi_edge_lab.server.failures import Busy

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """A bounded pool of threads, and a bounded number of calls that wait for one."""

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"chi-edge-lab {name}")
        self._room = threads + waiting
        self.running = 0  # calls that were taken and have not ended

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a thread and return what it returns. Cancelling does not stop a call that has begun.

        Raises:
            Busy: more calls wait already than may.
        """
        if self.running >= self._room:
            raise Busy(
                f"The server has {self.running} requests to the site in work and takes no more.",
                hint="The site may be slow; try again in a moment.",
            )
        self.running += 1
        future = asyncio.get_running_loop().run_in_executor(
            self._pool, functools.partial(function, *args, **kwargs)
        )
        future.add_done_callback(self._done)
        return await future

    def _done(self, future: asyncio.Future[T]) -> None:
        self.running -= 1
        if not future.cancelled():
            future.exception()  # looked at, also where nobody waits any more

    def close(self) -> None:
        """Take no more calls; those that run go on to their end, and nobody waits for them."""
        self._pool.shutdown(wait=False, cancel_futures=True)
