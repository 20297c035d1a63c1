"""From what was asked for to the directory of a container that can be started."""

from __future__ import annotations

import os
import time
from typing import Any

from ..base import Spec
from . import files
from .home import Home, Record
from .images import Template
from .limits import Limits
from .rootfs import PATH, give_to
from .sandbox import PROXY_PORT
from .sandbox.plan import Plan

PROXY_VARIABLES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY")


def make_record(spec: Spec, template: Template, ids: tuple[int, int], *, outbound: bool = False) -> Record:
    """All that a start needs to know, so that it asks neither the catalogue nor the spec again."""
    hostname = spec.hostname or spec.id[:12]
    environment = {"PATH": PATH, "HOME": "/root", "HOSTNAME": hostname}
    if spec.tty:
        environment["TERM"] = "xterm"
    if outbound:
        own = ",".join(filter(None, ("localhost", "127.0.0.1", "::1", hostname, spec.address)))
        proxy = f"http://127.0.0.1:{PROXY_PORT}"
        environment |= {name: own if name.lower() == "no_proxy" else proxy for name in PROXY_VARIABLES}
    files_of_spec = tuple(
        (f"mounts/{number}", mount.destination, mount.read_only) for number, mount in enumerate(spec.mounts)
    )
    return Record(
        id=spec.id,
        image=template.image.name,
        argv=(*spec.entrypoint, *(spec.command or template.image.command)),
        environment={**environment, **template.image.environment, **spec.environment},
        workdir=spec.workdir or "/",
        hostname=hostname,
        interactive=spec.interactive,
        tty=spec.tty,
        ids=ids,
        memory_mib=spec.memory_mib,
        cpu=spec.cpu,
        address=spec.address,
        outbound=outbound,
        binds=template.binds,
        private=template.private,
        files=files_of_spec,
        labels=spec.labels,
        created_at=time.time(),
    )


def fill(home: Home, record: Record, template: Template, spec: Spec, limits: Limits) -> None:
    """Make the private tree and the given files in a new directory. Raises OSError, EngineError."""
    if record.files:
        (home.path / "mounts").mkdir()
    for (name, _, _), mount in zip(record.files, spec.mounts, strict=True):
        path = home.path / name
        path.write_bytes(mount.content)
        path.chmod(0o644)
        if os.geteuid() == 0:
            os.chown(path, record.ids[0], record.ids[0])
    if template.make is not None:
        template.make(home.root)
    give_to(home.root, record.ids)
    if template.tar is not None:
        with template.tar.open("rb") as tar:
            files.unpack_image(limits.of_image(), make_plan(home, record, shell=False), tar)


def make_plan(home: Home, record: Record, *, shell: bool = True) -> dict[str, Any]:
    """What a shim is told about the sandbox. Without `shell` only the private tree is in it."""
    shown = tuple((str(home.path / name), inside, read_only) for name, inside, read_only in record.files)
    plan = Plan(
        root=str(home.root),
        ids=record.ids,
        binds=record.binds,
        private=record.private,
        files=shown if shell else (),
        hostname=record.hostname,
        address=record.address,
        shell=shell,
    )
    return plan.to_message()
