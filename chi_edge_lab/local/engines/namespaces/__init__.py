"""The namespaces engine: see `engine`."""

from .engine import NamespacesEngine
from .limits import Limits

__all__ = ["Limits", "NamespacesEngine"]
