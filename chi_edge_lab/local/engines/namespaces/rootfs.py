"""What the containers of each kind of image see: private trees, and trees of this machine shown read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..base import EngineError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_TOP_LEVEL = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_WHOLE = ("nix", "gnu")  # where some distributions keep all programs
_SHOWN_ETC = ("alternatives", "ssl/certs", "pki", "ca-certificates")
_COPIED_ETC = (
    "ld.so.cache",
    "ld.so.conf",
    "mime.types",
    "services",
    "protocols",
    "inputrc",
    "debian_version",
    "ssl/openssl.cnf",
    "magic",
)
_DIRECTORIES = {
    "dev": 0o755,
    "proc": 0o755,
    "sys": 0o755,
    "run": 0o755,
    "run/lock": 0o755,
    "tmp": 0o1777,
    "root": 0o700,
    "home": 0o755,
    "mnt": 0o755,
    "opt": 0o755,
    "srv": 0o755,
    "etc": 0o755,
    "usr": 0o755,
    "var": 0o755,
    "var/tmp": 0o1777,
    "var/log": 0o755,
    "var/lib": 0o755,
    "var/cache": 0o755,
}
_LOCAL_DIRECTORIES = ("bin", "etc", "games", "include", "lib", "sbin", "share", "src")
_USERS = """\
root:x:0:0:root:/root:{shell}
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
_GROUP = "root:x:0:\ndaemon:x:1:\ntty:x:5:\nwww-data:x:33:\nnogroup:x:65534:\n"
_NSSWITCH = (
    "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n"
)
# Places whose like in the container is the user's own: an interpreter that lives there is shown elsewhere.
_PERSONAL = ("/root", "/home", "/tmp", "/var", "/run", "/etc", "/dev", "/proc", "/sys", "/mnt", "/media")  # noqa: S108 names of places only
_INTERPRETER_PLACE = "/opt/python"


@dataclass(frozen=True)
class Interpreter:
    """A Python of this machine and where containers see it."""

    version: str  # "3.11.7"
    prefix: Path  # sys.base_prefix
    inside: str

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])

    @property
    def program(self) -> str:
        """The program, as seen inside."""
        return f"{self.inside}/bin/python{self.minor}"


def running_interpreter() -> Interpreter:
    """The Python of this process, without its virtual environment."""
    prefix = Path(sys.base_prefix).resolve()
    personal = [Path(place) for place in _PERSONAL] + [Path.home()]
    inside = _INTERPRETER_PLACE if any(prefix.is_relative_to(place) for place in personal) else str(prefix)
    version = ".".join(str(number) for number in sys.version_info[:3])
    return Interpreter(version, prefix, inside)


def is_readable_inside(interpreter: Interpreter) -> bool:
    """Whether the user that stands for the container's root may read it; what is above it does not matter."""
    if os.geteuid() != 0:
        return True
    program = interpreter.prefix / f"bin/python{interpreter.minor}"
    library = interpreter.prefix / f"lib/python{interpreter.minor}"
    wanted = ((interpreter.prefix, 0o5), (program, 0o5), (library, 0o5), (library / "os.py", 0o4))
    try:
        return all(path.stat().st_mode & bits == bits for path, bits in wanted)
    except OSError:
        return False


def host_binds(interpreter: Interpreter) -> tuple[tuple[str, str], ...]:
    """Trees of this machine that a container of the python image sees, read-only."""
    binds = [("/usr", "usr")]
    binds += [(f"/{name}", name) for name in (*_TOP_LEVEL, *_WHOLE) if _is_real_directory(Path("/") / name)]
    binds += [(f"/etc/{name}", f"etc/{name}") for name in _SHOWN_ETC if Path("/etc", name).is_dir()]
    if not interpreter.prefix.is_relative_to("/usr"):
        binds.append((str(interpreter.prefix), interpreter.inside.lstrip("/")))
    return tuple(binds)


def host_private(interpreter: Interpreter) -> tuple[str, ...]:
    """Directories below the shown trees that are the container's own all the same."""
    own = Path("/usr/local")
    if interpreter.prefix.is_relative_to(own) or not _is_real_directory(own):
        return ()
    return ("usr/local",)


def host_environment(interpreter: Interpreter) -> dict[str, str]:
    """The python image's environment: as Docker's has it, and what a moved interpreter needs."""
    environment = {
        "PATH": f"{PATH}:/root/.local/bin",
        "LANG": "C.UTF-8",
        "PYTHON_VERSION": interpreter.version,
    }
    if interpreter.inside != str(interpreter.prefix) and sysconfig.get_config_var("Py_ENABLE_SHARED"):
        environment["LD_LIBRARY_PATH"] = (
            f"{interpreter.inside}/lib"  # its own search path names the old place
        )
    if Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists():
        environment["PIP_BREAK_SYSTEM_PACKAGES"] = (
            "1"  # a rule for this machine's system, not for a container's
        )
    return environment


def _is_real_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def make_host_tree(root: Path, interpreter: Interpreter) -> None:
    """Make the private tree of a container of the python image. Raises OSError."""
    _make_directories(root)
    for name in _TOP_LEVEL:
        host = Path("/") / name
        if host.is_symlink():
            (root / name).symlink_to(host.readlink())
        elif host.is_dir():
            (root / name).mkdir()
    for name in _WHOLE:
        if _is_real_directory(Path("/") / name):
            (root / name).mkdir()
    local = root / "usr/local"
    for name in _LOCAL_DIRECTORIES:
        (local / name).mkdir(parents=True)
    _make_etc(root, "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh")
    for name in _COPIED_ETC:
        source = Path("/etc", name)
        if source.is_file() and os.access(source, os.R_OK):
            target = root / "etc" / name
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)
    for name in _SHOWN_ETC:
        if Path("/etc", name).is_dir():
            (root / "etc" / name).mkdir(parents=True, exist_ok=True)
    if Path("/usr/lib/os-release").exists():
        (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    _make_commands(local / "bin", interpreter)
    if not interpreter.prefix.is_relative_to("/usr"):
        (root / interpreter.inside.lstrip("/")).mkdir(parents=True, exist_ok=True)


def _make_directories(root: Path) -> None:
    for name, mode in _DIRECTORIES.items():
        (root / name).mkdir()
        (root / name).chmod(mode)
    (root / "var/run").symlink_to("/run")
    (root / "var/lock").symlink_to("/run/lock")


def _make_etc(root: Path, shell: str) -> None:
    (root / "etc/passwd").write_text(_USERS.format(shell=shell), encoding="utf-8")
    (root / "etc/group").write_text(_GROUP, encoding="utf-8")
    (root / "etc/nsswitch.conf").write_text(_NSSWITCH, encoding="utf-8")
    for name in ("hostname", "hosts", "resolv.conf"):
        (root / "etc" / name).touch()  # written at each start


def _make_commands(directory: Path, interpreter: Interpreter) -> None:
    """`python` and `pip` by all their names.

    pip's own scripts name the interpreter by its place on the host.
    """
    for name in ("python", "python3", f"python{interpreter.minor}"):
        (directory / name).symlink_to(interpreter.program)
    pip = _find_pip(interpreter)
    if pip is not None:
        for name in ("pip", "pip3", f"pip{interpreter.minor}"):
            (directory / name).write_text(
                f'#!/bin/sh\nexec {interpreter.program} {pip} "$@"\n', encoding="utf-8"
            )
            (directory / name).chmod(0o755)


def _find_pip(interpreter: Interpreter) -> str | None:
    """How to run pip: the interpreter's own, or the wheel that `ensurepip` has; None without either."""
    library = interpreter.prefix / f"lib/python{interpreter.minor}"
    for packages in (
        library / "site-packages",
        library / "dist-packages",
        Path("/usr/lib/python3/dist-packages"),
    ):
        if (packages / "pip/__main__.py").exists() and (packages.is_relative_to(interpreter.prefix)):
            return "-m pip"
    for wheels in (library / "ensurepip/_bundled", Path("/usr/share/python-wheels")):
        for wheel in sorted(wheels.glob("pip-*.whl")):
            if wheel.is_relative_to(interpreter.prefix):
                wheel = Path(interpreter.inside, wheel.relative_to(interpreter.prefix))  # noqa: PLW2901
            return f"{wheel}/pip"
    return None


# -- busybox


def busybox_applets(busybox: Path) -> list[str]:
    """Names of the commands in it. Raises EngineError."""
    try:
        output = subprocess.run([busybox, "--list"], capture_output=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineError(f"{busybox} does not run: {error}.") from error
    return [name for name in output.decode("ascii", "replace").split() if "/" not in name]


def make_busybox_tree(root: Path, busybox: Path, applets: Iterable[str]) -> None:
    """Make the private tree of a container of the busybox image. Raises OSError."""
    _make_directories(root)
    for name in ("bin", "sbin", "lib", "usr/bin", "usr/sbin", "usr/local"):
        (root / name).mkdir()
    program = root / "bin/busybox"
    shutil.copyfile(busybox, program)
    program.chmod(0o755)
    source, directory = os.fspath(program), os.fspath(program.parent)
    for name in applets:
        if name != "busybox":
            # as Docker's image has it; some 400 Path objects would take longer than all the rest
            os.link(source, f"{directory}/{name}")
    (root / "usr/bin/env").symlink_to("../../bin/busybox")
    _make_etc(root, "/bin/sh")


def give_to(root: Path, ids: tuple[int, int]) -> None:
    """Make the container's root the owner of a tree just made. Raises OSError."""
    if os.geteuid() != 0:
        return
    owner = ids[0]
    os.chown(root, owner, owner)
    given: set[int] = set()  # a file with 400 names is given once
    directories = [os.fspath(root)]
    while directories:
        with os.scandir(directories.pop()) as entries:
            for entry in entries:
                if entry.inode() not in given:
                    given.add(entry.inode())
                    os.chown(entry.path, owner, owner, follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.path)
