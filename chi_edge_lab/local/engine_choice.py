"""Which engine a site runs its containers with: the one asked for, the one it has, or one that works."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

from chi_edge_lab.local.config import SiteConfig, SiteProblem
from chi_edge_lab.local.engines import probe
from chi_edge_lab.local.engines.base import Engine, EngineError, EngineUnavailable


def choose(config: SiteConfig, asked: str) -> Engine:
    """The engine for this start of a site. Raises SiteProblem.

    Containers live in their engine, so a site that has any keeps it.
    """
    recorded = config.engine
    if asked == "auto":
        asked = recorded
    elif recorded not in ("auto", asked):
        count = config.count_containers()
        if count:
            raise SiteProblem(
                f"The site in {config.directory} has {count} container(s) in the {recorded} engine: "
                f"delete them before you start it with {asked}, or use another --dir."
            )
    directory = config.directory / "engine"
    directory.mkdir(mode=0o700, exist_ok=True)
    try:
        return probe.choose(cast("probe.EngineName", asked), directory)
    except EngineUnavailable as error:
        raise SiteProblem(str(error)) from error


def remove_containers(config: SiteConfig) -> int:
    """Remove all containers of a site that does not run; how many there were. Raises SiteProblem.

    Looks at every engine that has files there: one may have been tried out, and killed meanwhile.
    """
    count = 0
    for name in probe.ORDER:
        if (config.directory / "engine" / name).exists():
            count += _remove_all(name, config.directory)
    return count


def _remove_all(name: Literal["namespaces", "docker"], directory: Path) -> int:
    try:
        engine = probe.open_engine(name, directory / "engine")
    except EngineUnavailable as error:
        raise SiteProblem(f"The containers of {directory} cannot be removed: {error}") from error
    try:
        ids = engine.list()
        for id in ids:
            engine.remove(id)
    except EngineError as error:
        raise SiteProblem(f"A container of {directory} cannot be removed: {error}") from error
    finally:
        engine.close()
    return len(ids)
