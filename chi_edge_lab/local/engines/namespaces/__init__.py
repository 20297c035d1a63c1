"""The namespaces engine: see `engine`."""

from .engine import Limits, NamespacesEngine

__all__ = ["Limits", "NamespacesEngine"]
