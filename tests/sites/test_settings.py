"""What the variables say, before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from chi_edge_lab import errors
from chi_edge_lab.sites.settings import Settings, from_environment

URL = "https://cloud.example:5000/v3"
PASSWORD = {"OS_AUTH_URL": URL, "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_PROJECT_NAME": "x"}
CREDENTIAL = {
    "OS_AUTH_URL": URL,
    "OS_APPLICATION_CREDENTIAL_ID": "i",
    "OS_APPLICATION_CREDENTIAL_SECRET": "s",
}


def found(environ: dict[str, str]) -> Settings:
    settings = from_environment(environ)
    assert settings is not None
    return settings


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OS_REGION_NAME": "r", "OS_INTERFACE": "public"},
        {"OS_PROJECT_NAME": "x"},
        {"OS_PASSWORD": "", "OS_AUTH_URL": ""},
        {"OS_CLOUD": "c"},
        {"OSTYPE": "linux", "HOME": "/"},
    ],
)
def test_variables_that_are_no_credentials(environ: dict[str, str]) -> None:
    assert from_environment(environ) is None


def test_a_password() -> None:
    settings = found(PASSWORD | {"OS_REGION_NAME": "r", "OS_INTERFACE": "internalURL"})
    assert settings.auth_type == "v3password"
    assert settings.auth == {
        "auth_url": URL, "username": "u", "password": "p", "project_name": "x",
        "user_domain_id": "default", "project_domain_id": "default",
    }  # fmt: skip
    assert (settings.region_name, settings.interface, settings.verify) == ("r", "internal", True)
    assert settings.notes == ()


def test_old_names_and_an_address_without_a_version() -> None:
    environ = {"OS_AUTH_URL": "https://c:5000", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_TENANT_NAME": "x",
               "OS_ENDPOINT_TYPE": "adminURL", "OS_USER_DOMAIN_NAME": "d"}  # fmt: skip
    settings = found(environ)
    assert settings.auth_type == "password"
    assert settings.auth["project_name"] == "x"
    assert settings.interface == "admin"
    assert "user_domain_id" not in settings.auth


@pytest.mark.parametrize("auth_type", [None, "v3applicationcredential", "password"])
def test_an_application_credential_drops_its_project_and_a_stale_user(auth_type: str | None) -> None:
    environ = CREDENTIAL | {"OS_PROJECT_NAME": "x", "OS_PROJECT_DOMAIN_ID": "d", "OS_USERNAME": "u"}
    if auth_type:
        environ["OS_AUTH_TYPE"] = auth_type
    settings = found(environ)
    assert settings.auth_type == "v3applicationcredential"
    assert set(settings.auth) == {"auth_url", "application_credential_id", "application_credential_secret"}
    scope, user = settings.notes
    assert scope == (
        "OS_PROJECT_NAME, OS_PROJECT_DOMAIN_ID left out: an application credential has its project in itself."
    )
    assert user == "OS_USERNAME left out: an application credential needs no user beside it."


def test_an_application_credential_by_name_keeps_its_user() -> None:
    environ = {"OS_AUTH_URL": URL, "OS_APPLICATION_CREDENTIAL_NAME": "n", "OS_USERNAME": "u",
               "OS_APPLICATION_CREDENTIAL_SECRET": "s"}  # fmt: skip
    settings = found(environ)
    assert settings.auth["username"] == "u"
    assert settings.notes == ()
    del environ["OS_USERNAME"]
    with pytest.raises(errors.BadCredentials, match="OS_USERNAME or OS_USER_ID is missing"):
        from_environment(environ)


def test_a_token_drops_a_stale_user() -> None:
    settings = found({"OS_AUTH_URL": URL, "OS_TOKEN": "t", "OS_USERNAME": "u", "OS_PROJECT_NAME": "x"})
    assert settings.auth_type == "v3token"
    assert "username" not in settings.auth
    assert settings.notes == ("OS_USERNAME left out: a token needs no user beside it.",)


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({"OS_AUTH_URL": URL}, "OS_USERNAME or OS_USER_ID, OS_PASSWORD are missing"),
        ({**PASSWORD, "OS_PASSWORD": ""}, "OS_PASSWORD is missing"),
        ({**PASSWORD, "OS_AUTH_URL": ""}, "OS_AUTH_URL is missing"),
        (
            {**CREDENTIAL, "OS_APPLICATION_CREDENTIAL_SECRET": ""},
            "OS_APPLICATION_CREDENTIAL_SECRET is missing",
        ),
        (
            {"OS_AUTH_URL": URL, "OS_AUTH_TYPE": "v3oidcaccesstoken", "OS_ACCESS_TOKEN": "t"},
            "OS_IDENTITY_PROVIDER, OS_PROTOCOL are missing",
        ),
    ],
)
def test_half_set_variables_are_told_by_name(environ: dict[str, str], missing: str) -> None:
    with pytest.raises(errors.BadCredentials, match="OS_\\* variables are half set: " + missing):
        from_environment(environ)


def test_tls(tmp_path: Path) -> None:
    assert found(PASSWORD | {"OS_INSECURE": "True"}).verify is False
    authority = tmp_path / "ca.pem"
    authority.touch()
    assert found(PASSWORD | {"OS_CACERT": str(authority)}).verify == str(authority)
    assert found(PASSWORD | {"OS_CERT": "c", "OS_KEY": "k"}).cert == ("c", "k")
    with pytest.raises(errors.BadCredentials, match="CA file of OS_\\* variables is not there"):
        from_environment(PASSWORD | {"OS_CACERT": str(tmp_path / "none.pem")})


def test_another_project() -> None:
    settings = found(PASSWORD | {"OS_PROJECT_DOMAIN_NAME": "d", "OS_PROJECT_ID": "123"})
    assert settings.for_project("x") is settings
    assert settings.for_project(None) is settings
    other = settings.for_project("y").auth
    assert (other["project_name"], other["project_domain_name"]) == ("y", "d")
    assert "project_id" not in other
    with pytest.raises(errors.BadCredentials, match="belongs to one project; 'y' cannot"):
        found(CREDENTIAL).for_project("y")


def test_credentials_are_never_shown() -> None:
    settings = found({**PASSWORD, "OS_PASSWORD": "s3cret"})
    assert "s3cret" not in repr(settings) + settings.fingerprint()
    assert settings.fingerprint() != found(PASSWORD).fingerprint()
