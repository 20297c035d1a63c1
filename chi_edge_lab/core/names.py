"""Container names: what a site's dialect takes, said before anything is sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chi_edge_lab.errors import BadInput

if TYPE_CHECKING:
    from chi_edge_lab.zun.dialect import Dialect


def check_name(dialect: Dialect, name: object) -> str:
    """Return `name` if the dialect takes it as a container's name.

    Raises BadInput with the rule, and with a name that would do where one can be made of it.
    """
    if not isinstance(name, str):
        raise BadInput(f"A container's name is a string, not {type(name).__name__}.")
    if not name:
        raise BadInput("The container's name is empty.", hint="Give it one, for instance 'my-container'.")
    if dialect.name_rule.accepts(name):
        return name
    suggestion = suggest_name(name)
    hint = f"{suggestion!r} would do." if suggestion and dialect.name_rule.accepts(suggestion) else ""
    raise BadInput(
        f"{short(name)} cannot be the name of a container. {dialect.name_rule.sentence}", hint=hint
    )


def short(text: str) -> str:
    """A text in quotes for a message, cut where it is long."""
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def suggest_name(name: str) -> str:
    """Return the nearest name that every dialect takes, or "" where nothing is left of it."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower())[:63].strip("-")
    return plain if len(plain) >= 2 else ""
