"""Bad input, refused before any request: ports, commands, environment, image, paths.

The rules are those of Zun's create schema (1.20 and later) and of the CHI@Edge driver.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chi_edge_lab.errors import BadInput

_PORT = re.compile(r"([0-9]{1,7})(?:/([A-Za-z0-9]+))?")
PORT_RULE = "a port is 1 to 65535, optionally with '/tcp' or '/udp'"
_ENVIRONMENT_NAME = re.compile(r"[^=\0]+")
_IMAGE_LONGEST = 255


def exposed_ports(ports: object) -> dict[str, dict[str, Any]]:
    """Turn any spelling of ports into Zun's: `{"80/tcp": {}, "53/udp": {}}`.

    Takes None, one port, a list, tuple or set of ports, or Zun's dict; a port is an int, "80" or "80/udp".
    Raises BadInput naming the port and the rule.
    """
    if ports is None:
        return {}
    each: Iterable[object]
    if isinstance(ports, (int, str)):
        each = [ports]
    elif isinstance(ports, Mapping) or (
        isinstance(ports, Iterable) and not isinstance(ports, (bytes, bytearray))
    ):
        each = list(ports)
    else:
        raise BadInput(f"exposed_ports cannot be {ports!r}: give a list such as [80, '53/udp'].")
    return {_port(one): {} for one in each}


def _port(port: object) -> str:
    if isinstance(port, bool) or not isinstance(port, (int, str)):
        raise BadInput(f"{port!r} is not a port: {PORT_RULE}.")
    text = str(port).strip()
    found = _PORT.fullmatch(text)
    if found is None:
        raise BadInput(f"{text!r} is not a port: {PORT_RULE}.")
    number, protocol = int(found[1]), (found[2] or "tcp").lower()
    if not 1 <= number <= 65535:
        raise BadInput(f"There is no port {number} (in {text!r}): {PORT_RULE}.")
    if protocol not in {"tcp", "udp"}:
        raise BadInput(f"{protocol!r} (in {text!r}) is not a protocol one can expose: {PORT_RULE}.")
    return f"{number}/{protocol}"


def argv(command: object) -> list[str]:
    """Split a command as Zun does (shlex, no shell), or take a list of words as it is.

    Raises BadInput for an empty command, unbalanced quotes, words that are not strings and NUL characters.
    """
    if isinstance(command, str):
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise BadInput(
                f"The command cannot be split into words ({str(error).lower()}): {_short(command)}",
                hint="Check its quotes and backslashes.",
            ) from None
    elif isinstance(command, Sequence) and not isinstance(command, (bytes, bytearray)):
        words = []
        for word in command:
            if not isinstance(word, str):
                raise BadInput(f"A command is a string or a list of strings; {word!r} is neither.")
            words.append(word)
    else:
        raise BadInput(f"A command is a string or a list of strings, not {type(command).__name__}.")
    if not words or not words[0]:
        raise BadInput("The command is empty.")
    if any("\0" in word for word in words):
        raise BadInput("A command cannot hold a NUL character.")
    return words


_REDIRECTION = re.compile(r"\|\|?|&&?|;|<|\d?>>?(&\d|/\S*)?|[^;\\\"']+;")
_VARIABLE = re.compile(r'"?\$(\{?[A-Za-z_]|\()')


def shell_syntax(command: object) -> str | None:
    """The first word of a command that a shell would interpret ("|", "&&", "$HOME", ...), None where none
    is. A list of words is meant as it is, and so is what is quoted.
    """
    if not isinstance(command, str):
        return None
    try:
        words = shlex.split(command, posix=False)  # keeps the quotes
    except ValueError:
        return None
    return next((word for word in words if _REDIRECTION.fullmatch(word) or _VARIABLE.match(word)), None)


def create_command(command: object) -> list[str] | None:
    """The `command` of a create request: None stays None, the rest as `argv` has it."""
    return None if command is None or command in ("", [], ()) else argv(command)


def environment(values: object) -> dict[str, str]:
    """Environment variables with string values (numbers and booleans are spelled as Python's str does).

    Raises BadInput for names that are empty or hold '=', and for values that are neither text nor number.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise BadInput(f"environment is a dict of names and values, not {type(values).__name__}.")
    checked: dict[str, str] = {}
    for name, value in values.items():
        if not isinstance(name, str) or not _ENVIRONMENT_NAME.fullmatch(name):
            raise BadInput(f"{name!r} cannot be the name of an environment variable.")
        if not isinstance(value, (str, int, float)):
            # the value is not shown: it may be a secret
            raise BadInput(f"The value of environment variable {name} is a {type(value).__name__}, not text.")
        text = str(value)
        if "\0" in text:
            raise BadInput(f"The value of environment variable {name} holds a NUL character.")
        checked[name] = text
    return checked


def image(reference: object) -> str:
    """An image's reference such as 'python:3.11'. Raises BadInput where it cannot be one."""
    if not isinstance(reference, str) or not reference.strip():
        raise BadInput("No image was given.", hint="For instance image_ref='busybox'.")
    text = reference.strip()
    if any(character.isspace() or not character.isprintable() for character in text):
        raise BadInput(f"{_short(text)} is not an image reference: it holds blanks or control characters.")
    if not 2 <= len(text) <= _IMAGE_LONGEST:
        raise BadInput(
            f"{_short(text)} is not an image reference: it takes 2 to {_IMAGE_LONGEST} characters."
        )
    return text


def seconds(value: object, what: str) -> float | None:
    """A time limit in seconds; None and 0 mean that the caller's default holds. Raises BadInput."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadInput(f"{what} is a number of seconds, not {value!r}.")
    if value != value or value < 0:  # NaN or negative
        raise BadInput(f"{what} cannot be {value!r} seconds.")
    return float(value) or None


def _short(text: str) -> str:
    return repr(text) if len(text) <= 120 else f"{text[:117]!r}..."
