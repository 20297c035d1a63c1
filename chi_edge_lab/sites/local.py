"""The local site, started as a process of its own; its command line is all that is known of it here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from chi_edge_lab import errors
from chi_edge_lab.sites.settings import Settings, complete

PROFILES = {"local": "chi-edge", "local-zun": "zun"}
_START_SECONDS = 60.0
_lock = threading.Lock()


def local_settings(name: str) -> Settings:
    """Start the site (a running one is left as it is) and return its credentials.

    Raises:
        errors.LocalSiteError: it does not start, with its own sentence why.
    """
    profile = PROFILES[name]
    with _lock:
        _run("start", profile)
        values = _run("env", profile)
    auth: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(key, str) and key.startswith("OS_") and isinstance(value, (str, int)):
            auth[key[3:].lower()] = str(value)
    region = auth.pop("region_name", None)
    interface = auth.pop("interface", "public")
    auth_type = auth.pop("auth_type", "password")
    auth.pop("identity_api_version", None)
    reservation = values.get("CHI_EDGE_LAB_RESERVATION_ID")
    return complete(
        Settings(
            site=name,
            kind="local",
            source=f"the local site ({profile} profile)",
            auth_type=auth_type,
            auth=auth,
            region_name=region,
            interface=interface,
            reservation_id=str(reservation) if reservation else None,
        )
    )


def _run(command: str, profile: str) -> dict[str, Any]:
    environ = dict(os.environ)
    # the package may be run from a folder that only this process has on its path
    root = str(Path(__file__).resolve().parents[2])
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environ.get("PYTHONPATH")]))
    arguments = [sys.executable, "-m", "chi_edge_lab.local", command, "--json", "--profile", profile]
    try:
        done = subprocess.run(
            arguments,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=_START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise errors.LocalSiteError(
            f"The local site did not {command} within {_START_SECONDS:.0f} s.",
            hint="`chi-edge-lab site status` and its log say more.",
        ) from None
    except OSError as problem:
        raise errors.LocalSiteError(f"The local site cannot be run: {problem}.") from None
    answer = _last_object(done.stdout)
    if done.returncode != 0 or answer is None:
        raise _failure(command, profile, done, answer)
    return answer


def _failure(
    command: str, profile: str, done: subprocess.CompletedProcess[str], answer: dict[str, Any] | None
) -> errors.LocalSiteError:
    if answer and isinstance(answer.get("message") or answer.get("error"), str):
        said, hint = str(answer.get("message") or answer["error"]), str(answer.get("hint") or "")
    else:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said, hint = (
            (lines[-1][:300] if lines else f"it ended with code {done.returncode} and said nothing"),
            "",
        )
    return errors.LocalSiteError(
        f"The local site did not {command}: {said.rstrip('.')}.",
        hint=hint or f"`chi-edge-lab site status --profile {profile}` says where its files and its log are.",
    )


def _last_object(text: str) -> dict[str, Any] | None:
    """The JSON object that is the output, or the last line of it."""
    for candidate in (text, *reversed(text.splitlines())):
        try:
            value = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return None
