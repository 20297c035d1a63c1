"""Microversions and the version documents."""

from __future__ import annotations

from typing import Any

from chi_edge_lab.local.zunapi.errors import BareError, PlainFault

HEADER = "OpenStack-API-Version"
MIN_HEADER = "OpenStack-API-Minimum-Version"
MAX_HEADER = "OpenStack-API-Maximum-Version"
SERVICE = "container"
MINIMUM = (1, 1)

Version = tuple[int, int]

RESOURCES = (
    "services",
    "containers",
    "images",
    "networks",
    "hosts",
    "capsules",
    "availability_zones",
    "quotas",
    "quota_classes",
    "registries",
)


def text(version: Version) -> str:
    """ "1.40" """
    return f"{version[0]}.{version[1]}"


def parse(header: str | None, maximum: Version, *, too_new_is_fault: bool) -> Version:
    """The version a request asks for; 1.1 without a header.

    Raises BareError 406 for what is not a version of this service, or (`too_new_is_fault`) PlainFault for a
    version outside the range, as upstream 18 does.
    """
    words = (header if header is not None else f"{SERVICE} {text(MINIMUM)}").split()
    if len(words) != 2:
        raise BareError(406)
    service, number = words
    if number.lower() == "latest":
        return maximum
    parts = number.split(".")
    if service != SERVICE or len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise BareError(406)
    version = (int(parts[0]), int(parts[1]))
    if not MINIMUM <= version <= maximum:
        if too_new_is_fault:
            raise PlainFault
        raise BareError(406)
    return version


def root_document(base: str, maximum: Version) -> dict[str, Any]:
    """GET /: which versions there are. `base` is where the service is mounted."""
    version = {
        "id": "v1",
        "links": [{"href": f"{base}/v1/", "rel": "self"}],
        "status": "CURRENT",
        "max_version": text(maximum),
        "min_version": text(MINIMUM),
    }
    return {
        "name": "OpenStack Zun API",
        "description": "Zun is an OpenStack project which aims to provide containers service.",
        "versions": [version],
        "default_version": version,
    }


def v1_document(base: str) -> dict[str, Any]:
    """GET /v1: which resources there are."""
    document: dict[str, Any] = {
        "id": "v1",
        "media_types": [{"base": "application/json", "type": "application/vnd.openstack.zun.v1+json"}],
        "links": [
            {"href": f"{base}/v1/", "rel": "self"},
            {
                "href": "https://docs.openstack.org/developer/zun/dev/api-spec-v1.html",
                "rel": "describedby",
                "type": "text/html",
            },
        ],
    }
    for name in RESOURCES:
        document[name] = [
            {"href": f"{base}/v1/{name}/", "rel": "self"},
            {"href": f"{base}/{name}/", "rel": "bookmark"},
        ]
    return document
