"""What the inside of a sandbox looks like, as the engine tells it to a shim."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEFAULT_RESOLVER = "# This container has no network but its own.\n"


class Plan:
    """Paths of the host are absolute, those inside without a leading slash.

    Not a dataclass: importing that module would be a sixth of a container's start.
    """

    def __init__(
        self,
        root: str,
        ids: tuple[int, int],
        *,
        binds: tuple[tuple[str, str], ...] = (),
        private: tuple[str, ...] = (),
        files: tuple[tuple[str, str, bool], ...] = (),
        hostname: str = "localhost",
        address: str | None = None,
        resolver: str = _DEFAULT_RESOLVER,
        shell: bool = True,
    ) -> None:
        self.root = root  # the private, writable tree
        self.ids = ids  # first outer user (and group) number, how many: mapped to 0...
        self.binds = binds  # trees of the host shown read-only: (host, inside)
        self.private = private  # directories of the private tree shown above the binds
        self.files = files  # (host, inside, read-only)
        self.hostname = hostname
        self.address = address
        self.resolver = resolver  # the text of /etc/resolv.conf
        self.shell = (
            shell  # False, for commit and unpacking: only the tree, no /dev, /proc, /sys or file of ours
        )

    def to_message(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Plan:
        """Raises KeyError, TypeError."""
        fields = dict(message)
        for key in ("binds", "files"):
            fields[key] = tuple(tuple(item) for item in fields[key])
        for key in ("ids", "private"):
            fields[key] = tuple(fields[key])
        return cls(**fields)
