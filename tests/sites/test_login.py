"""Logging in for real: to the local site as one would to a cloud, and to sites that are wrong in some way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from chi_edge_lab import errors, sites
from tests.faultysite import FaultySite, Reply
from tests.localsite import LocalSite, clean_environment, site_command


def clouds_file() -> Path:
    return Path(os.environ["OS_CLIENT_CONFIG_FILE"])


def clouds_yaml(**clouds: dict[str, str]) -> None:
    """A clouds.yaml, each cloud from OS_* variables."""
    entries = {}
    for name, env in clouds.items():
        values = {key[3:].lower(): value for key, value in env.items() if key.startswith("OS_")}
        outside = {key: values.pop(key) for key in ("auth_type", "region_name", "interface") if key in values}
        values.pop("identity_api_version", None)
        entries[name] = {**outside, "auth": values}
    clouds_file().write_text(yaml.safe_dump({"clouds": entries}))


def test_os_variables(env: dict[str, str]) -> None:
    login = sites.login()
    assert (login.project_name, login.user_name, login.region_name) == ("edge", "edge", "local")
    assert login.project_id
    assert login.source == "OS_* variables"
    assert login.endpoint().endswith("/v1")
    assert sites.login() is login
    assert sites.current() is login
    assert login.adapter("container").get("/containers").status_code == 200
    assert env["OS_PASSWORD"] not in repr(login) + repr(vars(login))
    login.relogin()
    login.session.session.close()


def test_a_cloud_of_clouds_yaml(site: LocalSite, monkeypatch: pytest.MonkeyPatch) -> None:
    clouds_yaml(mine=site.env)
    assert sites.login().site == "mine"  # the only one
    clouds_yaml(mine=site.env, other={**site.env, "OS_PASSWORD": ""})
    sites.forget_logins()
    with pytest.raises(errors.NoSite, match=r"2 clouds \(mine, other\) and nothing says which"):
        sites.login()
    monkeypatch.setenv("OS_CLOUD", "mine")
    assert "cloud mine of" in sites.login().source
    monkeypatch.setenv("OS_CLOUD", "other")
    with pytest.raises(errors.BadCredentials, match="half set: password is missing"):
        sites.login()
    monkeypatch.setenv("OS_CLOUD", "nope")
    with pytest.raises(errors.NoSite, match=r"no cloud 'nope'\. It has: mine, other"):
        sites.login()
    monkeypatch.delenv("OS_CLOUD")
    sites.use_site("MINE")
    assert sites.login().site == "mine"
    assert sites.login("mine").site == "mine"


def test_variables_come_before_a_cloud_that_nobody_chose(env: dict[str, str]) -> None:
    clouds_yaml(mine={**env, "OS_PASSWORD": "wrong"})
    assert sites.login().source == "OS_* variables"


@pytest.mark.parametrize("text", ["clouds: [", "clouds: 5", "\x00", "clouds:\n  x:\n    auth: 5\n"])
def test_a_clouds_yaml_that_is_none(text: str) -> None:
    clouds_file().write_text(text)
    with pytest.raises(errors.LoginError):
        sites.login("x")


def test_list_sites(site: LocalSite) -> None:
    clouds_yaml(mine=site.env, half={"OS_AUTH_URL": "http://x/v3"})
    listed = {one.name: one for one in sites.list_sites()}
    assert list(listed) == ["local", "local-zun", "CHI@Edge", "half", "mine"]
    assert listed["mine"].auth_url == site.env["OS_AUTH_URL"]
    assert listed["mine"].kind == "cloud"
    assert "incomplete" in listed["half"].source
    assert repr(listed["CHI@Edge"]) == (
        "<Site 'CHI@Edge': Chameleon's edge testbed, https://chi.edge.chameleoncloud.org:5000/v3>"
    )


@pytest.mark.parametrize("name", ["lcoal", "chi@uc", "", " "])
def test_a_site_that_nobody_knows(name: str) -> None:
    with pytest.raises(errors.NoSite, match=r"The sites known here are local, local-zun, CHI@Edge\."):
        sites.use_site(name)
    assert "Did you mean 'local'?" in str(_refusal(lambda: sites.use_site("lcoal")))


def _refusal(call: object) -> errors.EdgeLabError:
    with pytest.raises(errors.EdgeLabError) as caught:
        call()  # type: ignore[operator]
    return caught.value


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"OS_PASSWORD": "s3cret-but-wrong"}, errors.BadCredentials, "the site refuses these credentials"),
        ({"OS_USERNAME": "nobody"}, errors.BadCredentials, "refuses these credentials"),
        ({"OS_PROJECT_NAME": "nowhere"}, errors.BadCredentials, "refuses"),
        ({"OS_PROJECT_NAME": ""}, errors.BadCredentials, "the login has no project"),
        ({"OS_REGION_NAME": "mars"}, errors.NoContainerService, "has no region 'mars'; it has local"),
        ({"OS_INTERFACE": "secret"}, errors.NoContainerService, "has no 'secret' interface"),
        ({"OS_AUTH_URL": "http://127.0.0.1:1/v3"}, errors.Unreachable, r"127.0.0.1:1 \(connection refused\)"),
        ({"OS_AUTH_URL": "http://no.such.host.invalid/v3"}, errors.Unreachable, "its name"),
        ({"OS_AUTH_TYPE": "v9magic"}, errors.BadCredentials, r"cannot be used \(v9magic\)"),
    ],
)  # fmt: skip
def test_each_fault_has_its_sentence(
    env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    kind: type[errors.EdgeLabError],
    words: str,
) -> None:
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(kind, match=words) as caught:
        sites.login()
    assert caught.value.hint
    assert "s3cret" not in str(caught.value)


def test_a_site_without_containers(faulty: FaultySite, monkeypatch: pytest.MonkeyPatch) -> None:
    document = faulty.token_document()
    document["token"]["catalog"][0]["type"] = "compute"
    faulty.say("POST", "/v3/auth/tokens", Reply(201, document, {"X-Subject-Token": "t"}))
    for name, value in faulty.env().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(errors.NoContainerService, match="has no container service; it offers compute"):
        sites.login()


def test_the_service_in_another_region(faulty: FaultySite, monkeypatch: pytest.MonkeyPatch) -> None:
    document = faulty.token_document()
    catalogue = document["token"]["catalog"]
    there = {"interface": "public", "region": "there", "region_id": "there", "url": "http://x/"}
    catalogue.append({"type": "compute", "name": "nova", "id": "2", "endpoints": [there]})
    faulty.say("POST", "/v3/auth/tokens", Reply(201, document, {"X-Subject-Token": "t"}))
    for name, value in (faulty.env() | {"OS_REGION_NAME": "there"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(errors.NoContainerService, match=r"not in region there but in here\. Set"):
        sites.login()


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(502, b"<html>", {"Content-Type": "text/html"}), errors.ServerError),
        (Reply(201, b"<html>", {"Content-Type": "text/html"}), errors.EdgeLabError),
        (Reply(201, b"{}", {"X-Subject-Token": "t"}), errors.EdgeLabError),
        (Reply(404, b""), errors.Unreachable),
        (Reply(hang_up=True), errors.Unreachable),
    ],
)
def test_a_keystone_that_is_none(
    faulty: FaultySite, monkeypatch: pytest.MonkeyPatch, reply: Reply, kind: type[errors.EdgeLabError]
) -> None:
    faulty.say("POST", "/v3/auth/tokens", reply)
    for name, value in faulty.env().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(kind) as caught:
        sites.login()
    assert "hunter2secret" not in str(caught.value)


@pytest.mark.parametrize("auth_type", ["password", "v3password", "v3applicationcredential", "v3token"])
@pytest.mark.parametrize(
    "body",
    [
        {"name": "not a Keystone", "version": "0.1.0", "auth_url": "x"},
        {"versions": {"values": "x"}},
        {"versions": [5]},
        {"version": {}},
        {"token": 5},
        {"token": {"catalog": 5}},
        [1, "two"],
        5,
        None,
        "text",
        b"<html><body>hello</body></html>",
        b"\xff\xfe",
        b"",
    ],
    ids=lambda body: repr(body)[:25],
)
def test_what_answers_is_no_keystone(
    faulty: FaultySite, monkeypatch: pytest.MonkeyPatch, body: object, auth_type: str
) -> None:
    for path in ("/", "/v3", "/v3/", "/v2.0"):
        faulty.say("GET", path, Reply(200, body))
    for path in ("/v3/auth/tokens", "/auth/tokens", "/v2.0/tokens"):
        faulty.say("POST", path, Reply(201, body, {"X-Subject-Token": "t"}))
    for name, value in faulty.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OS_AUTH_TYPE", auth_type)
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_ID", "i")
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_SECRET", "s")
    monkeypatch.setenv("OS_TOKEN", "t")
    if auth_type == "password":  # asks which versions there are
        monkeypatch.setenv("OS_AUTH_URL", faulty.url + "/")
    with pytest.raises(errors.Unreachable) as caught:
        sites.login()
    assert "does not answer as Keystone does" in str(caught.value)
    assert "usually ends in /v3" in caught.value.hint


@pytest.mark.parametrize(
    "url", ["nonsense", "127.0.0.1:5000/v3", "ftp://x/v3", "http://", "http://[::1/v3", "http://x:port/v3"]
)
def test_an_address_that_is_none(env: dict[str, str], monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("OS_AUTH_URL", url)
    with pytest.raises(errors.BadCredentials, match=r"OS_AUTH_URL of OS_.* is not a URL") as caught:
        sites.login()
    assert repr(url) in caught.value.message
    assert "https://" in caught.value.hint


def test_a_local_site_that_has_stopped(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_AUTH_URL", "http://127.0.0.1:1/identity/v3")
    with pytest.raises(errors.Unreachable) as caught:
        sites.login()
    assert "`chi-edge-lab site start` starts it again" in caught.value.hint


def test_no_clouds_yaml_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clouds_file().unlink()
    monkeypatch.setenv("OS_CLOUD", "mycloud")
    with pytest.raises(errors.NoSite, match=r"There is no clouds\.yaml") as caught:
        sites.login()
    assert str(tmp_path / "clouds.yaml") in caught.value.hint


def test_a_clouds_yaml_with_a_syntax_error(monkeypatch: pytest.MonkeyPatch) -> None:
    clouds_file().write_text("clouds: [\n")
    monkeypatch.setenv("OS_CLOUD", "mycloud")
    with pytest.raises(
        errors.LoginError, match=r"clouds\.yaml has a syntax error: line 2, column 1"
    ) as caught:
        sites.login()
    assert "OS_CLIENT_CONFIG_FILE" in caught.value.hint
    assert "has a syntax error" in _refusal(lambda: sites.use_site("mycloud")).hint


def test_an_application_credential(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    login = sites.login()
    user = login.session.get_user_id()
    made = login.adapter("identity").post(
        f"{env['OS_AUTH_URL']}/users/{user}/application_credentials",
        json={"application_credential": {"name": f"test-{id(login)}"}},
    )
    credential = made.json()["application_credential"]
    monkeypatch.setenv("OS_AUTH_TYPE", "v3applicationcredential")
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_ID", credential["id"])
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_SECRET", credential["secret"])
    found = sites.login()  # beside OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME
    assert found is not login
    assert found.project_name == "edge"
    assert len(found.notes) == 2
    with pytest.raises(errors.BadCredentials, match="belongs to one project"):
        sites.login(project="other")
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_SECRET", "wrong")
    with pytest.raises(errors.BadCredentials, match="refuses these credentials"):
        sites.login()


def test_another_project(env: dict[str, str]) -> None:
    sites.use_project("nowhere")
    with pytest.raises(errors.BadCredentials):
        sites.login()
    sites.use_project("edge")
    assert sites.login().project_name == "edge"
    sites.use_project(None)
    assert sites.login().project_name == "edge"


def test_threads_log_in_once(faulty: FaultySite, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in faulty.env().items():
        monkeypatch.setenv(name, value)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(sites.login())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 8
    assert len(set(map(id, found))) == 1
    assert len(faulty.logins) == 1


def test_the_local_site_is_started_when_nothing_else_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHI_EDGE_LAB_HOME", str(tmp_path / "home"))
    try:
        login = sites.login()
        assert (login.site, login.kind, login.project_name) == ("local", "local", "edge")
        assert login.reservation_id
        assert sites.login("local", "edge").project_id == login.project_id
        other = sites.login("local-zun")
        assert other.endpoint() != login.endpoint()
        assert other.reservation_id is None
    finally:
        environment = clean_environment() | {"CHI_EDGE_LAB_HOME": str(tmp_path / "home")}
        for profile in ("chi-edge", "zun"):
            site_command("destroy", "--profile", profile, environment=environment, check=False)


def test_a_local_site_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "a file"
    home.touch()
    monkeypatch.setenv("CHI_EDGE_LAB_HOME", str(home))
    with pytest.raises(errors.LocalSiteError, match="The local site did not start: ") as caught:
        sites.login("local")
    assert "Traceback" not in str(caught.value)
    assert "Set CHI_EDGE_LAB_HOME to a directory of your own" in caught.value.hint


def test_chi_edge_needs_credentials_for_it(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from chi_edge_lab.sites import catalogue

    settings = catalogue.settings_for("CHI@Edge")  # a password may be good on several sites of one cloud
    assert settings.auth_url == catalogue.CHI_EDGE_URL
    assert settings.region_name == "CHI@Edge"
    for name in env:
        monkeypatch.delenv(name)
    with pytest.raises(errors.BadCredentials, match="no credentials for CHI@Edge here"):
        sites.login("CHI@Edge")
    clouds_yaml(
        edge={"OS_AUTH_URL": catalogue.CHI_EDGE_URL, "OS_AUTH_TYPE": "v3applicationcredential",
              "OS_APPLICATION_CREDENTIAL_ID": "i", "OS_APPLICATION_CREDENTIAL_SECRET": "s"}
    )  # fmt: skip
    assert catalogue.settings_for("CHI@Edge").auth["application_credential_id"] == "i"
    clouds_yaml()
    monkeypatch.setenv("OS_AUTH_URL", "https://chi.uc.chameleoncloud.org:5000/v3")
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_ID", "i")
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_SECRET", "s")
    with pytest.raises(errors.BadCredentials, match="good on one site only"):
        sites.login("chi@edge")


def test_importing_costs_next_to_nothing() -> None:
    script = (
        "import sys, chi_edge_lab.sites, chi_edge_lab.zun, json;"
        "heavy = ('keystoneauth1', 'openstack', 'zunclient', 'requests', 'websocket', 'pydantic');"
        "print(json.dumps([name for name in heavy if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=_root())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def _root() -> Path:
    return Path(__file__).resolve().parents[2]


def test_names_of_the_package() -> None:
    import chi_edge_lab

    assert "TYPE_CHECKING" not in dir(chi_edge_lab)
    assert {*chi_edge_lab.__all__} <= {*dir(chi_edge_lab)}
    assert all(hasattr(chi_edge_lab, name) for name in dir(chi_edge_lab))
    assert not hasattr(chi_edge_lab, "nonsense")
    with pytest.raises(ImportError, match=r"container part of python-chi only, no lease: .*from chi import"):
        from chi_edge_lab import lease  # type: ignore[attr-defined]  # noqa: F401
