"""Bounds of the Zun part, each with its reason. Configurable per site; tests make them small."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Sizes are in bytes, times in seconds."""

    message: int = 128 * 2**20
    """Largest JSON message an archive may become: RabbitMQ's default, which stops real Zun at about 95 MiB of tar."""

    body: int = 160 * 2**20
    """Largest request body accepted at all. Above `message`: a tar that is too big gets Zun's 500."""

    execute_timeout: float = 5.0
    """How long `execute` waits for a command: the default of Zun's docker and k8s drivers alike."""

    execute_output: int = 16 * 2**20
    """How much output of one `execute` is kept; more would only be refused as a message."""

    archive_timeout: float = 120.0
    """How long the k8s driver waits for `tar` in the container (its `archive_timeout`)."""

    log_bytes: int = 96 * 2**20
    """Largest log answered in one piece; the message limit applies to logs too."""

    execs: int = 100
    """Interactive execs of one container that run at the same time; each is a process and a socket here."""

    sockets: int = 256
    """Websockets of the proxy open at the same time (a class of 60 with a few terminals each)."""

    calls: int = 64
    """Threads for calls that wait for the engine (exec, logs, archives, stats)."""

    tasks: int = 32
    """Threads for asynchronous operations (create, start, stop, ...); one container has at most one at a time."""

    list_page: int = 1000
    """Zun's `[api] max_limit`."""

    stop_grace: float = 10.0
    """chi-edge: seconds between TERM and KILL of a pod (Kubernetes gives 30; ten keeps a lesson moving)."""

    restart_delays: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
    """chi-edge: seconds before each restart of a container that ended; the last one repeats.

    Kubernetes waits 0, 10, 20, ... 300."""
