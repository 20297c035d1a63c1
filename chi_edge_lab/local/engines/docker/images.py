"""The catalogue: the images that the daemon has. Nothing is ever pulled."""

from __future__ import annotations

import json
import tempfile
import threading
from typing import Any, BinaryIO

from chi_edge_lab.local.engines.base import EngineError, Image, ImageNotFound
from chi_edge_lab.local.engines.busybox import find_busybox, write_rootfs
from chi_edge_lab.local.engines.docker.daemon import Daemon
from chi_edge_lab.local.engines.docker.parse import as_text, split_name

DEFAULT = "busybox:latest"
PROVENANCE = "chi-edge-lab.provenance"  # label of the images that we made
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Catalogue:
    """Images by name. `busybox:latest` is made of the machine's static busybox where the daemon lacks it."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._details: dict[
            str, dict[str, Any]
        ] = {}  # by image id, which names the content and so never changes
        self._lock = threading.RLock()  # making the default looks it up again
        self._made_default = False

    def images(self) -> list[Image]:
        """All tagged images: the default, then by name."""
        found = self._tagged()
        if DEFAULT not in found and self._make_default():
            found = self._tagged()
        # without busybox:latest the first by name comes first: arbitrary, but the same every time
        return [
            self._image(name, found[name]) for name in sorted(found, key=lambda name: (name != DEFAULT, name))
        ]

    def find(self, name: str) -> Image:
        """Without a tag: `latest` where there is one, else the only tag. Raises ImageNotFound."""
        catalogue = self.images()
        repository, tag = split_name(name)
        same = [image for image in catalogue if split_name(image.name)[0] == repository]
        if tag:
            same = [image for image in same if split_name(image.name)[1] == tag]
        latest = [image for image in same if image.name.endswith(":latest")]
        if len(same) == 1 or latest:
            return (latest or same)[0]
        names = ", ".join(image.name for image in catalogue) or "nothing"
        if same:
            raise ImageNotFound(f"Image {name} needs a tag. The catalogue has {names}.")
        raise ImageNotFound(f"Image {name} is not in the catalogue, which has {names}.")

    def add(self, name: str, rootfs: BinaryIO, provenance: str, command: str = '["/bin/sh"]') -> Image:
        """Import a tar (compressed or not) as image `name`. Raises EngineError when it cannot be read."""
        repository, tag = split_name(as_text(name, "image name"))
        tag = tag or "latest"
        changes = [f"ENV {_PATH}", f"CMD {command}", f"LABEL {PROVENANCE}={quoted(provenance)}"]
        answer = self._daemon.send(
            "POST", "/images/create", rootfs, fromSrc="-", repo=repository, tag=tag, changes=changes
        )
        # the import answers 200 before it has read the tar, and tells of errors in its last line
        last = json.loads(answer.strip().rpartition(b"\n")[2] or b"{}")
        if "error" in last:
            raise EngineError(f"Image {name} was not added: {last['error']}.")
        return self.find(f"{repository}:{tag}")

    def remove(self, name: str) -> None:
        """Take the name away, and the files with the last name. EngineError: a container uses it."""
        image = self.find(name)
        with self._daemon.errors():
            self._daemon.client.remove_image(image.name)

    def _tagged(self) -> dict[str, dict[str, Any]]:
        with self._daemon.errors():
            listed = self._daemon.client.images()
        found = {}
        for entry in listed:
            for tag in entry.get("RepoTags") or []:
                name = tag.removeprefix("docker.io/library/").removeprefix(
                    "localhost/"
                )  # Podman says it in full
                if "<none>" not in name:
                    found[name] = entry
        return found

    def _image(self, name: str, entry: dict[str, Any]) -> Image:
        id = entry["Id"] if entry["Id"].startswith("sha256:") else f"sha256:{entry['Id']}"
        details = self._details.get(id)
        if details is None:
            with self._daemon.errors():
                details = self._daemon.client.inspect_image(id)
            self._details[id] = details
        config = details.get("Config") or {}
        labels = config.get("Labels") or {}
        environment = dict(item.partition("=")[::2] for item in config.get("Env") or [])
        return Image(
            name=name,
            id=id,
            size=int(entry["Size"]),
            created=float(entry["Created"]),
            provenance=labels.get(PROVENANCE)
            or f"An image that {self._daemon.description} on this machine has.",
            command=tuple(config.get("Cmd") or ()),
            environment=environment,
        )

    def _make_default(self) -> bool:
        with self._lock:
            if self._made_default:
                return False
            busybox = find_busybox()
            if busybox is None:
                return False
            self._made_default = True
            with tempfile.TemporaryFile() as tar:
                version = write_rootfs(busybox, tar)
                tar.seek(0)
                self.add(DEFAULT, tar, f"Made from {busybox} of this machine ({version}).", '["sh"]')
            return True


def quoted(text: str) -> str:
    """A value for a Dockerfile instruction."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("\n", " ") + '"'
