"""How long to wait until the next poll."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from chi_edge_lab import errors
from chi_edge_lab.server.limits import EdgeLabLimits

GROWTH = 1.25  # of the pause after a poll that found nothing new
IDLE_FACTOR = 2.5  # a quiet site's pause grows to poll_idle times this
EXCITED = 3.0  # seconds of quick polls after something was asked of the site: it answers before it acts
LONGEST_WISH = 600.0  # seconds: a site that asks for a longer pause (Retry-After) is asked again nevertheless


def backed_off(failures: int, first: float, longest: float) -> float:
    """Seconds to wait after so many failures, between half and all of the doubled pause.

    Spread, so that many servers do not come back to an ill site in the same moment.
    """
    return min(longest, first * 2.0 ** min(failures, 16)) * random.uniform(0.5, 1.0)  # noqa: S311


class Pace:
    """The pauses of one poller; all times are seconds."""

    def __init__(self, limits: EdgeLabLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._pause = limits.poll_idle
        self._failures = 0
        self._excited_until = 0.0
        self.not_before = 0.0  # the clock's time until which the site wants to be left alone

    def excite(self) -> None:
        """Something was asked of the site: what it does is about to show."""
        self._excited_until = self._clock() + EXCITED
        self._pause = self._limits.poll_fastest

    def well(self, *, news: bool, changing: bool, took: float) -> float:
        """The pause after a poll that worked. `news`: something differs; `changing`: more of that is expected.

        What is expected for long (a container that stays in Creating) is looked for less and less often. A poll that
        took long is followed by a pause as long, so that a large project does not keep the server busy.
        """
        limits = self._limits
        self._failures = 0
        longest = limits.poll_idle if changing else limits.poll_idle * IDLE_FACTOR
        if (news and changing) or self._clock() < self._excited_until:
            self._pause = limits.poll_fastest
        elif news:
            self._pause = limits.poll_idle
        else:
            # what has just come to rest is not looked at quickly any more
            least = 0.0 if changing else limits.poll_idle
            self._pause = max(least, min(self._pause * GROWTH, longest))
        return max(self._pause, took)

    def ill(self, error: BaseException) -> float:
        """The pause after a poll that failed."""
        self._failures += 1
        pause = backed_off(self._failures, self._limits.poll_idle, self._limits.poll_longest)
        wish = getattr(error, "retry_after", None) if isinstance(error, errors.SiteError) else None
        if wish:
            wish = min(wish, LONGEST_WISH)
            self.not_before = self._clock() + wish
            pause = max(pause, wish)
        return pause
