"""Edge containers (OpenStack Zun, Chameleon CHI@Edge) from JupyterLab, notebooks and Python.

`from chi_edge_lab import container` is the drop-in for python-chi's `chi.container`.
Names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# name -> module it lives in
_HOMES = {
    "Container": "chi_edge_lab.container",
    "list_sites": "chi_edge_lab.sites",
    "use_project": "chi_edge_lab.sites",
    "use_site": "chi_edge_lab.sites",
}
_MODULES = ("container", "errors")
# modules of python-chi besides its container
_OF_CHI = frozenset(
    {"clients", "context", "exception", "hardware", "image", "jupyterhub", "keypair", "lease", "magic",
     "network", "server", "share", "ssh", "storage", "util"}
)  # fmt: skip

__all__ = ["Container", "container", "errors", "list_sites", "use_project", "use_site"]

if TYPE_CHECKING:
    from chi_edge_lab import container as container
    from chi_edge_lab import errors as errors
    from chi_edge_lab.container import Container as Container
    from chi_edge_lab.sites import list_sites as list_sites
    from chi_edge_lab.sites import use_project as use_project
    from chi_edge_lab.sites import use_site as use_site


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"chi_edge_lab.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _OF_CHI and not _is_module(name):
        # not AttributeError: `from chi_edge_lab import lease` would show a sentence of Python's instead
        raise ImportError(
            f"chi_edge_lab has the container part of python-chi only, no {name}: python-chi's own works "
            f"beside it (`from chi import {name}`).",
            name=f"{__name__}.{name}",
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Where Jupyter Server finds the extension."""
    from chi_edge_lab.server.app import EdgeLab

    return [{"module": "chi_edge_lab", "app": EdgeLab}]


def _is_module(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(f"{__name__}.{name}") is not None


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
