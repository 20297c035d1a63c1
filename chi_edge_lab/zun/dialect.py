"""What the driver behind a site's Zun can do, and how it bends the API.

`k8s` is CHI@Edge (ChameleonCloud's fork of Zun), `docker` is upstream. Every capability question of the
package is asked here, so that what a site lacks is refused in one sentence before any request is sent: the
k8s driver answers an obfuscated 500, or 202 and then nothing at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from chi_edge_lab import errors

DialectName = Literal["k8s", "docker"]

# capability -> why the k8s driver has none (its methods raise NotImplementedError)
_MISSING_ON_K8S = {
    "pause": "CHI@Edge's driver cannot pause a container.",
    "unpause": "CHI@Edge's driver cannot pause a container, so there is nothing to resume.",
    "kill": "CHI@Edge's driver cannot send a signal to a container. Stop it, or run `kill` in it.",
    "commit": "CHI@Edge's driver cannot make an image of a container. Download the files you need instead.",
    "top": "CHI@Edge's driver cannot list processes. Run `ps` in the container instead.",
    "update": "CHI@Edge's driver cannot change the CPU or memory of a container. Create a new one.",
    "rebuild": "CHI@Edge's driver cannot rebuild a container: it would stay in Rebuilding for ever. Create a new one.",
    "resize": "CHI@Edge's driver cannot tell a terminal its size; `stty` typed into its shell can.",
    "exec_terminal": "CHI@Edge has no terminal of one command; its terminal is a shell (attach).",
    "attach_main": "CHI@Edge cannot attach to a container's main process; its attach opens a new shell.",
    "log_streams": "CHI@Edge returns stdout and stderr of a container mixed.",
    "log_since": "CHI@Edge cannot return the log since a time. Ask for the last lines with timestamps.",
    "image_search": "CHI@Edge's driver cannot search images.",
    "image_pull": "CHI@Edge's driver pulls an image when a container needs it, not before.",
    "network_attach": "CHI@Edge's driver cannot attach a container to another network.",
    "network_detach": "CHI@Edge's driver cannot detach a container from its network.",
    "stopped_files": "CHI@Edge can reach the files of a running container only.",
}
# capability -> why upstream has none
_MISSING_ON_DOCKER = {
    "device_profiles": "Only CHI@Edge knows device profiles; this site runs upstream Zun.",
    "attach_shell": "Here attach joins the container's main process; open a terminal with an exec instead.",
}
_ON_BOTH = frozenset(
    {"create", "start", "stop", "restart", "rename", "delete", "exec", "logs", "log_timestamps",
     "stats", "archive", "attach", "runtime", "floating_ip", "actions"}
)  # fmt: skip
CAPABILITIES = _ON_BOTH | frozenset(_MISSING_ON_K8S) | frozenset(_MISSING_ON_DOCKER)


@dataclass(frozen=True)
class NameRule:
    """What a container may be called: `pattern` (whole match) and the same as a sentence."""

    pattern: re.Pattern[str] = field(repr=False)
    sentence: str

    def accepts(self, name: str) -> bool:
        """True if a container may have this name."""
        return self.pattern.fullmatch(name) is not None


@dataclass(frozen=True)
class Dialect:
    """One of the two, with its capabilities and facts.

    `exec_seconds`: how long the site waits for a command. `channel_bytes`: its websocket puts a channel
    number before each frame. `files_lost_on_stop`: a start gives a fresh file system. `needs_reservation`:
    a create without one ends in Error. `archive_runs_tar`: archives are made by the container's own `tar`.
    `archive_limit`: the largest tar (bytes) that gets through the site's message bus.
    """

    name: DialectName
    exec_seconds: float
    channel_bytes: bool
    files_lost_on_stop: bool
    needs_reservation: bool
    archive_runs_tar: bool
    archive_limit: int
    name_rule: NameRule

    def supports(self, capability: str) -> bool:
        """True if the site can do it.

        Raises:
            ValueError: there is no capability of that name (a mistake in the calling code).
        """
        return not self.reason(capability)

    def reason(self, capability: str) -> str:
        """Why the site cannot do it, as a sentence; "" if it can."""
        if capability not in CAPABILITIES:
            raise ValueError(f"no such capability: {capability}")
        missing = _MISSING_ON_K8S if self.name == "k8s" else _MISSING_ON_DOCKER
        return missing.get(capability, "")

    def require(self, capability: str) -> None:
        """Pass if the site can do it.

        Raises:
            errors.NotSupported: it cannot; the message says why. Nothing was sent.
        """
        reason = self.reason(capability)
        if reason:
            raise errors.NotSupported(reason)


# RabbitMQ's 128 MiB message, less base64 and envelope
_ARCHIVE_LIMIT = 95 * 1024 * 1024

K8S = Dialect(
    name="k8s",
    exec_seconds=5.0,
    channel_bytes=True,
    files_lost_on_stop=True,
    needs_reservation=True,
    archive_runs_tar=True,
    archive_limit=_ARCHIVE_LIMIT,
    name_rule=NameRule(
        re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])"),
        "A container's name on CHI@Edge has 2 to 63 lower-case letters, digits and hyphens, "
        "and begins and ends with a letter or digit.",
    ),
)
DOCKER = Dialect(
    name="docker",
    exec_seconds=5.0,
    channel_bytes=False,
    files_lost_on_stop=False,
    needs_reservation=False,
    archive_runs_tar=False,
    archive_limit=_ARCHIVE_LIMIT,
    name_rule=NameRule(
        re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}"),
        "A container's name has 2 to 255 letters, digits, '_', '.' and '-'; the first is a letter or digit.",
    ),
)


def dialect_named(name: str) -> Dialect:
    """The dialect of that name.

    Raises:
        errors.BadInput: it is neither `k8s` nor `docker`.
    """
    for dialect in (K8S, DOCKER):
        if dialect.name == name:
            return dialect
    raise errors.BadInput(
        f"There is no dialect {name!r}.", hint="It is k8s (CHI@Edge) or docker (upstream Zun)."
    )
