"""The catalogue of images: what this machine can offer by itself, and what was added or committed."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ..base import EngineError, Image, ImageNotFound
from ..busybox import find_busybox
from . import scratch
from .home import read_json, write_json
from .rootfs import (
    PATH,
    Interpreter,
    busybox_applets,
    host_binds,
    host_environment,
    host_private,
    is_readable_inside,
    make_busybox_tree,
    make_host_tree,
    running_interpreter,
)

_CHUNK = 2**20
_TAR = "rootfs.tar"
_HOST_TREE_SIZE = 100_000  # bytes, about: links and a few files of /etc


@dataclass(frozen=True)
class Template:
    """An image and how its containers are made."""

    image: Image
    make: Callable[[Path], None] | None  # fills the private tree; None: unpack `tar`
    tar: Path | None = None
    binds: tuple[tuple[str, str], ...] = ()
    private: tuple[str, ...] = ()


class Catalogue:
    """All images. Thread-safe; added images are kept in `directory` and shared with other processes on it."""

    def __init__(self, directory: Path, max_members: int, max_bytes: int) -> None:
        self._directory = directory
        self._max_members = max_members
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._interpreter = running_interpreter()
        self._applets: list[str] | None = None

    def all(self) -> list[Template]:
        """The default first, then the other built-in, then those added, oldest first."""
        added = [template for path in self._folders() if (template := self._load(path)) is not None]
        added.sort(key=lambda template: template.image.created)
        names = {template.image.name for template in added}
        return [template for template in self._built_in() if template.image.name not in names] + added

    def find(self, name: str) -> Template:
        """By name; without tag `latest` or the only one.

        Raises ImageNotFound, with the catalogue in the sentence.
        """
        templates = self.all()
        exact = {template.image.name: template for template in templates}
        for candidate in (name, f"{name}:latest"):
            if candidate in exact:
                return exact[candidate]
        if ":" not in name.rpartition("/")[2]:
            tags = [template for template in templates if template.image.name.rpartition(":")[0] == name]
            if len(tags) == 1:
                return tags[0]
        for template in templates:
            if name and template.image.id == name:
                return template
        known = ", ".join(exact) or "none"
        reason = ""
        if not is_readable_inside(self._interpreter):
            reason = f" There is no python image, because only root may read {self._interpreter.prefix}."
        raise ImageNotFound(f"There is no image {name!r} on this site. It has: {known}.{reason}")

    # -- built-in

    def _built_in(self) -> list[Template]:
        templates = [self._python()] if is_readable_inside(self._interpreter) else []
        busybox = find_busybox()
        if busybox is not None:
            templates.append(self._busybox(busybox))
        return templates

    def _python(self) -> Template:
        interpreter = self._interpreter
        name = f"python:{interpreter.minor}"
        program = interpreter.prefix / f"bin/python{interpreter.minor}"
        image = Image(
            name=name,
            id=_identify(f"{name} {interpreter.version} {interpreter.prefix}"),
            size=_HOST_TREE_SIZE,
            created=_mtime(program),
            provenance=(
                f"Python {interpreter.version} of this machine ({interpreter.prefix}) "
                "with this machine's /usr, both read-only; nothing is downloaded."
            ),
            command=("python3",),
            environment=host_environment(interpreter),
        )
        return Template(
            image,
            lambda root: make_host_tree(root, interpreter),
            binds=host_binds(interpreter),
            private=host_private(interpreter),
        )

    def _busybox(self, busybox: Path) -> Template:
        image = Image(
            name="busybox:latest",
            id=_identify(f"busybox {busybox} {busybox.stat().st_size} {_mtime(busybox)}"),
            size=busybox.stat().st_size,
            created=_mtime(busybox),
            provenance=f"The statically linked {busybox} of this machine, copied; nothing is downloaded.",
            command=("sh",),
            environment={"PATH": PATH},
        )
        return Template(image, lambda root: make_busybox_tree(root, busybox, self._names_in(busybox)))

    def _names_in(self, busybox: Path) -> list[str]:
        with self._lock:
            if self._applets is None:
                self._applets = busybox_applets(busybox)
            return self._applets

    @property
    def interpreter(self) -> Interpreter:
        return self._interpreter

    # -- added

    def _folder(self, name: str) -> Path:
        return self._directory / hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()

    def _folders(self) -> list[Path]:
        try:
            return sorted(path for path in self._directory.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return []

    def _load(self, folder: Path) -> Template | None:
        data = read_json(folder / "image.json")
        if data is None:
            return None  # being removed
        image = Image(
            name=data["name"],
            id=data["id"],
            size=data["size"],
            created=data["created"],
            provenance=data["provenance"],
            command=tuple(data["command"]),
            environment=data["environment"],
        )
        binds = tuple((host, inside) for host, inside in data["binds"])
        return Template(image, None, folder / _TAR, binds, tuple(data["private"]))

    def add(self, name: str, rootfs: BinaryIO) -> Image:
        """Add a root file system. Raises EngineError."""
        name = full_name(name)

        def fill(target: Path) -> None:
            digest = _copy(rootfs, target, self._max_bytes)
            _check_rootfs(target, self._max_members, self._max_bytes)
            target.with_name("digest").write_text(digest, encoding="ascii")

        base = Template(
            Image(name, "", 0, 0.0, "Added on this site from a tar file.", ("sh",), {"PATH": PATH}), None
        )
        return self.keep(name, base, fill)

    def keep(self, name: str, base: Template, fill: Callable[[Path], None]) -> Image:
        """Keep what `fill` writes to the path it gets (a tar) as image `name`, with all else from `base`.

        Raises EngineError.
        """
        folder = self._folder(full_name(name))
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch.clear(self._directory)
        new = scratch.path(self._directory, "new")
        new.mkdir(mode=0o700)
        try:
            tar = new / _TAR
            fill(tar)
            digest = new / "digest"
            identifier = digest.read_text(encoding="ascii") if digest.exists() else _digest(tar)
            image = replace(
                base.image, name=full_name(name), id=identifier, size=tar.stat().st_size, created=time.time()
            )
            write_json(
                new / "image.json",
                {
                    "name": image.name,
                    "id": image.id,
                    "size": image.size,
                    "created": image.created,
                    "provenance": image.provenance,
                    "command": image.command,
                    "environment": image.environment,
                    "binds": base.binds,
                    "private": base.private,
                },
            )
            with self._lock:
                if folder.exists():
                    old = scratch.path(self._directory, "trash")
                    folder.rename(old)
                    shutil.rmtree(old)
                new.rename(folder)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        return image

    def remove(self, name: str) -> None:
        """Remove an added image. Raises ImageNotFound; EngineError for a built-in one."""
        template = self.find(name)
        folder = self._folder(template.image.name)
        if template.tar is None or not folder.exists():
            raise EngineError(f"The image {template.image.name} is this machine's own and cannot be removed.")
        shutil.rmtree(folder)


def full_name(name: str) -> str:
    """With a tag. Raises EngineError when it cannot be a name."""
    if not name or len(name) > 200 or any(character.isspace() or ord(character) < 32 for character in name):
        raise EngineError(f"{name!r} cannot be the name of an image.")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _identify(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return "sha256:" + digest.hexdigest()


def _copy(source: BinaryIO, target: Path, limit: int) -> str:
    digest = hashlib.sha256()
    total = 0
    with target.open("wb") as file:
        while chunk := source.read(_CHUNK):
            total += len(chunk)
            if total > limit:
                raise EngineError("The image has more bytes than this site allows.")
            digest.update(chunk)
            file.write(chunk)
    return "sha256:" + digest.hexdigest()


def _check_rootfs(path: Path, max_members: int, max_bytes: int) -> None:
    """Whether it can be a root file system. Raises EngineError."""
    members = total = 0
    names: set[str] = set()
    try:
        with tarfile.open(path, mode="r:*", errors="surrogateescape") as tar:
            while (member := tar.next()) is not None:
                members += 1
                total += member.size
                if members > max_members or total > max_bytes:
                    raise EngineError("The image has more files or bytes than this site allows.")
                names.add(member.name.removeprefix("./").strip("/").partition("/")[0])
                tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
    except tarfile.ReadError as error:  # its text has a line for each compression that was tried
        raise EngineError("This is not a tar of a root file system, plain or compressed.") from error
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise EngineError(f"This is not a tar of a root file system: {error}.") from error
    if "manifest.json" in names and not names & {"bin", "usr", "etc"}:
        raise EngineError(
            "This is a `docker save` archive: make a root file system with `docker export` instead."
        )
    if not names - {"", "."}:
        raise EngineError("This tar is empty.")


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
