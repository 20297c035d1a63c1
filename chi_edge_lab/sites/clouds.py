"""clouds.yaml, read by openstacksdk's own loader (its search path, secure.yaml, profiles, vendor files)."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import yaml

from chi_edge_lab import errors
from chi_edge_lab.sites.settings import Settings, complete, plain_interface

CORRECT = "Correct the file, or name another with OS_CLIENT_CONFIG_FILE."


def _config() -> Any:
    with warnings.catch_warnings():
        # some of its releases deprecate parts of themselves that they still import
        warnings.simplefilter("ignore")
        from openstack.config import loader

    # load_envvars=False keeps half-set OS_* variables out of this; the two file variables it would read
    # are honoured here
    own = os.environ.get("OS_CLIENT_CONFIG_FILE")
    secure = os.environ.get("OS_CLIENT_SECURE_FILE")
    try:
        return loader.OpenStackConfig(
            config_files=([own] if own else []) + list(loader.CONFIG_FILES),
            secure_files=([secure] if secure else []) + list(loader.SECURE_FILES),
            load_envvars=False,
        )
    except Exception as problem:  # noqa: BLE001 - yaml, os and openstack errors alike: the file is no good
        raise errors.LoginError(
            f"clouds.yaml cannot be read ({type(problem).__name__}: {' '.join(str(problem).split())[:200]}).",
            hint=CORRECT,
        ) from None


def _files() -> list[str]:
    """Where openstacksdk looks, in its order."""
    from openstack.config import loader

    own = os.environ.get("OS_CLIENT_CONFIG_FILE")
    return list(dict.fromkeys(([own] if own else []) + list(loader.CONFIG_FILES)))


def broken_files() -> list[str]:
    """A sentence for each file of clouds that is no YAML or cannot be opened; openstacksdk passes over those."""
    sentences = []
    for path in _files():
        try:
            with Path(path).open(encoding="utf-8") as file:
                json.load(file) if path.endswith("json") else yaml.safe_load(file)
            break  # the one that is used
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as problem:
            sentences.append(f"{path} cannot be read: {problem.strerror or problem}.")
        except (ValueError, yaml.YAMLError) as problem:
            sentences.append(f"{path} has a syntax error: {_syntax(problem)}.")
    return sentences


def _syntax(problem: Exception) -> str:
    mark = getattr(problem, "problem_mark", None)
    if mark is None:
        return " ".join(str(problem).split())[:200].rstrip(".")
    return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(problem, 'problem', '')}"


def cloud_names() -> list[str]:
    """The clouds of clouds.yaml, [] where there is no such file.

    Raises:
        errors.LoginError: the file cannot be read.
    """
    config = _config()
    if config.config_filename is None:
        return []
    return sorted(name for name in config.get_cloud_names() if name not in {"defaults", "envvars"})


def cloud_settings(name: str) -> Settings:
    """The credentials of one cloud.

    Raises:
        errors.NoSite: there is no cloud of that name.
        errors.BadCredentials: its entry is incomplete.
        errors.LoginError: the file cannot be read, or one that might have it is broken.
    """
    config = _config()
    known = [] if config.config_filename is None else config.get_cloud_names()
    if name not in known:
        broken = broken_files()
        if broken:
            raise errors.LoginError(" ".join(broken), hint=CORRECT)
        if config.config_filename is None:
            raise errors.NoSite(
                f"There is no clouds.yaml that could tell of the cloud {name!r}.",
                hint=f"It is looked for at {', '.join(path for path in _files() if path.endswith('.yaml'))}: "
                "put one there, name it with OS_CLIENT_CONFIG_FILE, or unset OS_CLOUD.",
            )
        names = ", ".join(cloud_names()) or "none"
        raise errors.NoSite(
            f"clouds.yaml has no cloud {name!r}.",
            hint=f"It has: {names}. Set OS_CLOUD to one of them or unset it.",
        )
    try:
        with warnings.catch_warnings():
            # openstacksdk warns of what it does with InfluxDB whether or not anybody has one
            warnings.simplefilter("ignore")
            region = config.get_one(cloud=name, validate=False)
            verify, cert = region.get_requests_verify_args()
    except Exception as problem:  # noqa: BLE001 - openstacksdk's own complaints about the entry
        raise errors.BadCredentials(
            f"The entry {name!r} of clouds.yaml is no good: {' '.join(str(problem).split())[:200]}",
            hint="Correct it; a working one can be downloaded with an application credential.",
        ) from None
    entry = region.config
    return complete(
        Settings(
            site=name,
            kind="cloud",
            source=f"cloud {name} of {config.config_filename}",
            auth_type=str(entry.get("auth_type") or ""),
            auth={key: value for key, value in (entry.get("auth") or {}).items() if value},
            region_name=entry.get("region_name") or None,
            interface=plain_interface(entry.get("interface")),
            verify=verify,
            cert=cert,
        )
    )
