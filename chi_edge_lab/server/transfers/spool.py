"""The private directory in which a server keeps what is under way, and what it tells the next one.

Each server has a directory of its own below `spool`, with a lock that ends with its process however that ends. Who
gets the lock of another server's directory knows that it is dead, and cleans up after it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

log = logging.getLogger(__name__)

_LOCK = "lock"
_NEWBORN = 60.0  # seconds after which a directory without a lock file is a dead server's


@dataclass(frozen=True)
class Leftover:
    """A temporary directory that may lie in a container. Holds no secret."""

    site: str
    project: str | None
    container: str
    dest: str
    token: str


class Spool:
    """This server's directory. Blocks; thread-safe, as each transfer has files of its own."""

    def __init__(self, root: Path) -> None:
        """Make it. Raises OSError."""
        self.root = root
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        root.chmod(0o700)
        self.path = root / f"{os.getpid()}-{secrets.token_hex(6)}"
        self.path.mkdir(mode=0o700)
        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise

    def place(self, id: str) -> Path:
        """A transfer's directory."""
        return self.path / id

    def free(self) -> int:
        """Bytes free where it lies."""
        return shutil.disk_usage(self.path).free

    def remove(self, id: str) -> None:
        """Remove a transfer's directory; nothing where there is none."""
        remove_tree(self.place(id))

    def note(self, leftover: Leftover) -> None:
        """Write down what must be removed from a container should this process be killed. Raises OSError."""
        path = self._journal(leftover)
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump(asdict(leftover), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def forget(self, leftover: Leftover) -> None:
        """It is no longer there."""
        self._journal(leftover).unlink(missing_ok=True)

    def _journal(self, leftover: Leftover) -> Path:
        return self.path / f"{leftover.token.removeprefix('.chi-edge-lab-')}.json"

    def inherit(self) -> list[Leftover]:
        """Remove the directories of dead servers; their leftovers in containers are this server's now."""
        found: list[Leftover] = []
        for other in self.root.iterdir():
            if other == self.path or not other.is_dir() or other.is_symlink():
                continue
            with _dead(other) as dead:
                if not dead:
                    continue
                for journal in other.glob("*.json"):
                    leftover = _read(journal)
                    if leftover is not None:
                        self.note(leftover)
                        found.append(leftover)
                remove_tree(other)
        return found

    def close(self) -> None:
        """Remove everything; where journals remain only they stay, for the next server."""
        if not any(self.path.glob("*.json")):
            remove_tree(self.path)
        os.close(self._lock)


@contextlib.contextmanager
def _dead(other: Path) -> Iterator[bool]:
    """Whether the server of that directory is gone; then it is locked meanwhile."""
    try:
        lock = os.open(other / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield time.time() - other.stat().st_mtime > _NEWBORN
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            log.warning("cannot tell whether the server of %s lives (%s); it is left alone", other, error)
            yield False
            return
        yield True
    finally:
        os.close(lock)


def _read(journal: Path) -> Leftover | None:
    try:
        return Leftover(**json.loads(journal.read_text(encoding="ascii")))
    except (OSError, ValueError, TypeError) as error:
        log.warning("the journal %s of a killed server cannot be read (%s)", journal.name, error)
        return None


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it, also what its owner may not enter. What stays is logged."""

    def again(_function: object, name: str, _error: object) -> None:
        parent = Path(name).parent
        with contextlib.suppress(OSError):
            for one in (parent, Path(name)):
                if not one.is_symlink():
                    one.chmod(one.lstat().st_mode | stat.S_IRWXU)
            if Path(name).is_dir() and not Path(name).is_symlink():
                shutil.rmtree(name, ignore_errors=True)
            else:
                Path(name).unlink(missing_ok=True)

    if not os.path.lexists(path):
        return
    shutil.rmtree(path, onerror=again)
    if os.path.lexists(path):
        shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):
        log.warning("%s could not be removed whole", path)
