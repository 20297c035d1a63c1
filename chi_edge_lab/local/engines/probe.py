"""Which engine works on this machine: found out by really starting a container with it.

Nothing less tells. On Ubuntu a user namespace can be made and its rights are refused later; a daemon may
answer and be unable to start anything.
"""

from __future__ import annotations

import contextlib
import pathlib
import secrets
import threading
from typing import Literal

from chi_edge_lab.local.engines.base import Engine, EngineError, EngineUnavailable, Spec

EngineName = Literal["auto", "namespaces", "docker"]
ORDER: tuple[Literal["namespaces", "docker"], ...] = ("namespaces", "docker")
SECONDS_TO_TRY = 30.0  # a loaded Docker takes seconds for what takes it half of one

NO_DOCKER = "No Docker can be used: "  # how the docker engine's sentence begins

_PROC = pathlib.Path("/proc")


def choose(name: EngineName, directory: pathlib.Path) -> Engine:
    """The engine of this name, tried out; for "auto" the first that works, namespaces before docker.

    `directory` is where the site keeps its engines' files; each has a directory of its own name there.
    Raises EngineUnavailable with one sentence that says what to change.
    """
    if name != "auto":
        try:
            return _tried(name, directory)
        except EngineUnavailable as error:
            if name == "docker":
                raise
            raise EngineUnavailable(
                f"The namespaces engine does not work here: {_change(name, error)}."
            ) from error
    changes = []
    for candidate in ORDER:
        try:
            return _tried(candidate, directory)
        except EngineUnavailable as error:  # noqa: PERF203
            changes.append(_change(candidate, error))
    raise EngineUnavailable(f"No containers can run on this machine yet: {', or '.join(changes)}.")


def try_out(engine: Engine) -> None:
    """Start a container that ends at once, see it end, remove it. Raises EngineUnavailable."""
    ended = threading.Event()
    before, engine.on_exit = engine.on_exit, lambda _: ended.set()
    spec_id = f"probe-{secrets.token_hex(4)}"
    try:
        images = engine.images()
        if not images:
            raise EngineUnavailable("it has no image, and none can be made: install busybox-static")
        engine.create(Spec(id=spec_id, name=spec_id, image=images[0].name, command=("true",)))
        try:
            engine.start(spec_id)
            if not ended.wait(SECONDS_TO_TRY):
                raise EngineUnavailable(f"its first container did not end within {SECONDS_TO_TRY:.0f} s")
            state = engine.inspect(spec_id)
            if state.exit_code != 0:
                raise EngineUnavailable(
                    f"its first container ended with {state.exit_code} {state.error}".strip()
                )
        finally:
            engine.remove(spec_id)
    except EngineUnavailable:
        raise
    except (EngineError, OSError) as error:
        raise EngineUnavailable(f"its first container failed: {error}") from error
    finally:
        engine.on_exit = before


def open_engine(name: Literal["namespaces", "docker"], directory: pathlib.Path) -> Engine:
    """The engine of this name, not tried out. Raises EngineUnavailable where it sees at once that it cannot work."""
    # imported here: the docker SDK takes 200 ms and may be missing
    if name == "namespaces":
        from chi_edge_lab.local.engines.namespaces import NamespacesEngine

        return NamespacesEngine(directory / name)
    from chi_edge_lab.local.engines.docker import DockerEngine

    return DockerEngine(directory / name)


def _tried(name: Literal["namespaces", "docker"], directory: pathlib.Path) -> Engine:
    engine = open_engine(name, directory)
    try:
        try_out(engine)
    except EngineUnavailable:
        engine.close()
        raise
    return engine


def _change(name: str, error: EngineUnavailable) -> str:
    """What to change for this engine to work, as a part of a sentence."""
    reason = str(error).rstrip(".")
    if name == "docker":
        return f"install and start Docker ({reason.removeprefix(NO_DOCKER)})"
    return f"{user_namespace_advice()} ({reason})"


def user_namespace_advice() -> str:
    """What keeps user namespaces from working, told by the settings that are known to do that."""
    if _setting("user/max_user_namespaces") == "0":
        return "allow user namespaces with 'sudo sysctl -w user.max_user_namespaces=15000'"
    if _setting("kernel/unprivileged_userns_clone") == "0":
        return "allow user namespaces with 'sudo sysctl -w kernel.unprivileged_userns_clone=1'"
    if _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "allow user namespaces with 'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0'"
    if _has_seccomp_filter():
        return (
            "allow user namespaces in the container that this runs in "
            "(a seccomp filter is in force; for Docker: --security-opt seccomp=unconfined)"
        )
    return "allow unprivileged user namespaces on this machine"


def _setting(name: str) -> str:
    with contextlib.suppress(OSError):
        return (_PROC / "sys" / name).read_text().strip()
    return ""


def _has_seccomp_filter() -> bool:
    with contextlib.suppress(OSError):
        return "\nSeccomp:\t2" in (_PROC / "self" / "status").read_text()
    return False
