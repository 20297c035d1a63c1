"""clouds.yaml, read by openstacksdk's own loader (its search path, secure.yaml, profiles, vendor files)."""

from __future__ import annotations

import os
import warnings
from typing import Any

from chi_edge_lab import errors
from chi_edge_lab.sites.settings import Settings, complete, plain_interface


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
            hint="Correct the file, or name another with OS_CLIENT_CONFIG_FILE.",
        ) from None


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
        errors.LoginError: the file cannot be read.
    """
    config = _config()
    if config.config_filename is None or name not in config.get_cloud_names():
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
