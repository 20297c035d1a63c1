"""Control groups, where a directory of them may be written: limits, freezing and exact accounting. Versions 1
and 2.

Where none may be written (an ordinary user, most pods), limits are kept on record only and `Group.is_real` is
false.
"""

from __future__ import annotations

import errno
import os
import time

from .procs import read_text

_OURS = "chi-edge-lab"
_WANTED = ("memory", "cpu", "cpuacct", "freezer", "pids")
_MAX_PIDS = 4096
_CPU_PERIOD = 100_000  # us
_CGROUP2 = "cgroup2"
_GONE = 1.0  # seconds to wait for the last process of a group to go


def _mounts() -> list[tuple[str, str, set[str]]]:
    """(kind, mount point, options of the hierarchy) of all mounted hierarchies."""
    found = []
    for line in read_text("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ")[:3]
        if kind in {"cgroup", _CGROUP2}:
            found.append((kind, left.split(" ")[4], set(options.split(","))))
    return found


def _own_path_v2() -> str:
    for line in read_text("/proc/self/cgroup").splitlines():
        number, _, path = line.split(":", 2)
        if number == "0":
            return path
    return "/"


def _parents() -> dict[str, str]:
    """Where to make groups: controller -> directory. The key "2" is the directory of version 2."""
    places: dict[str, str] = {}
    for kind, point, options in _mounts():
        if kind == "cgroup":
            for controller in _WANTED:
                if controller in options and os.geteuid() == 0:
                    places.setdefault(controller, os.path.join(point, _OURS))
        elif os.geteuid() == 0:
            places["2"] = os.path.join(point, _OURS)
        else:
            # A user's own part of the tree, as systemd delegates it, begins above the group that we are in.
            places["2"] = os.path.join(point, os.path.dirname(_own_path_v2()).lstrip("/"), _OURS)
    if "memory" in places:
        places.pop("2", None)  # a hybrid: version 2 has no controllers there
    return places


class Group:
    """The control group of one container. Making the object makes nothing."""

    def __init__(self, name: str) -> None:
        self._name = name
        try:
            self._places = {key: os.path.join(parent, name) for key, parent in _parents().items()}
        except OSError:
            self._places = {}

    def create(self, memory_mib: int | None, cpu: float | None) -> None:
        """Make it where that is allowed, with limits (None: none)."""
        for key, path in list(self._places.items()):
            try:
                parent = os.path.dirname(path)
                os.makedirs(path, exist_ok=True)
                if key == "2":
                    self._enable(os.path.dirname(parent))
                    self._enable(parent)
            except OSError:
                del self._places[key]
        self.limit(memory_mib, cpu)
        self._set("pids", "pids.max", str(_MAX_PIDS))

    def _enable(self, directory: str) -> None:
        for controller in ("memory", "cpu", "pids"):
            try:
                _write(os.path.join(directory, "cgroup.subtree_control"), "+" + controller)
            except OSError:
                continue  # not delegated to us: that limit is then not enforced

    def limit(self, memory_mib: int | None, cpu: float | None) -> None:
        """Set limits; None leaves what there is."""
        if memory_mib is not None:
            size = str(memory_mib * 2**20)
            self._set("memory", "memory.limit_in_bytes", size, "memory.max")
        if cpu is not None and cpu > 0:
            quota = max(1000, int(cpu * _CPU_PERIOD))
            if "2" in self._places:
                self._set("cpu", "", f"{quota} {_CPU_PERIOD}", "cpu.max")
            else:
                self._set("cpu", "cpu.cfs_period_us", str(_CPU_PERIOD))
                self._set("cpu", "cpu.cfs_quota_us", str(quota))

    def _set(self, controller: str, name: str, value: str, name_v2: str = "") -> None:
        path = self._file(controller, name, name_v2 or name)
        if path is None:
            return
        try:
            _write(path, value)
        except OSError:
            return  # not enforced: the record still has it

    def _file(self, controller: str, name: str, name_v2: str) -> str | None:
        if "2" in self._places:
            return os.path.join(self._places["2"], name_v2)
        if controller in self._places and name:
            return os.path.join(self._places[controller], name)
        return None

    @property
    def is_real(self) -> bool:
        """Whether there is such a group now."""
        return any(os.path.isdir(path) for path in self._places.values())

    def add(self, pid: int) -> None:
        for path in set(self._places.values()):
            try:
                _write(os.path.join(path, "cgroup.procs"), str(pid))
            except OSError:
                continue  # e.g. moving between systemd's scopes is not ours to do: then it is not limited

    def add_self(self) -> None:
        self.add(os.getpid())

    def freeze(self, *, frozen: bool) -> bool:
        """Stop or continue all its processes; False where the group cannot."""
        path = self._file("freezer", "freezer.state", "cgroup.freeze")
        if path is None or not os.path.exists(path):
            return False
        if path.endswith("freezer.state"):
            _write(path, "FROZEN" if frozen else "THAWED")
        else:
            _write(path, "1" if frozen else "0")
        return True

    def memory_bytes(self) -> int | None:
        """Memory in use without the page cache, which can be had back; None where it is not known."""
        try:
            if "2" in self._places:
                path = self._places["2"]
                used = int(read_text(os.path.join(path, "memory.current")))
                return max(0, used - _field(os.path.join(path, "memory.stat"), "inactive_file"))
            if "memory" in self._places:
                path = self._places["memory"]
                used = int(read_text(os.path.join(path, "memory.usage_in_bytes")))
                return max(0, used - _field(os.path.join(path, "memory.stat"), "total_inactive_file"))
        except (OSError, ValueError):
            return None
        return None

    def cpu_seconds(self) -> float | None:
        try:
            if "2" in self._places:
                return _field(os.path.join(self._places["2"], "cpu.stat"), "usage_usec") / 1e6
            if "cpuacct" in self._places:
                return int(read_text(os.path.join(self._places["cpuacct"], "cpuacct.usage"))) / 1e9
        except (OSError, ValueError):
            return None
        return None

    def verdict(self) -> str:
        """A sentence when the memory limit has killed something, else ""."""
        path = self._file("memory", "memory.oom_control", "memory.events")
        try:
            if path is not None and _field(path, "oom_kill"):
                return (
                    "A process of the container was killed because the container's memory limit was reached."
                )
        except (OSError, ValueError):
            return ""
        return ""

    def remove(self) -> None:
        """Remove it; its processes have ended or are about to."""
        limit = time.monotonic() + _GONE
        for path in set(self._places.values()):
            while os.path.isdir(path) and time.monotonic() < limit:
                try:
                    os.rmdir(path)
                except OSError as error:
                    if error.errno != errno.EBUSY:
                        break  # not ours to remove
                    time.sleep(0.005)


def _field(path: str, name: str) -> int:
    for line in read_text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
