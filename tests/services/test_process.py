"""The site as a process: one per directory, private, and hard to lose."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from chi_edge_lab.local import process, runtime
from chi_edge_lab.local.config import SiteConfig, SiteProblem
from tests.localsite import clean_environment
from tests.services.conftest import ENGINE, OwnSite


def get(port: int, path: str = "/", host: str | None = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers={**({"Host": host} if host else {}), **headers})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_start_answers_and_twice_is_once(own: OwnSite) -> None:
    first = own.start()
    assert first["started"]
    assert get(int(first["port"]))[0] == 200
    second = own.start()
    assert (second["pid"], second["started"]) == (first["pid"], False)


def test_two_starts_at_once_make_one_site(own: OwnSite) -> None:
    said: list[dict[str, object]] = []
    threads = [threading.Thread(target=lambda: said.append(own.start())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 4
    assert len({s["pid"] for s in said}) == 1
    assert sorted(bool(s["started"]) for s in said) == [False, False, False, True]


def test_nobody_else_can_read_its_files(shared: OwnSite) -> None:
    assert stat.S_IMODE(shared.directory.stat().st_mode) == 0o700
    names = {p.name for p in shared.directory.iterdir()}
    assert {"runtime.json", "secrets.json", "site.json", "site.sqlite", "site.log"} <= names
    for path in shared.directory.iterdir():
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_it_survives_kill_9_and_comes_back_at_the_same_place(own: OwnSite) -> None:
    first = own.start()
    environment = own.json("env")
    os.kill(int(first["pid"]), signal.SIGKILL)
    while runtime.find(own.directory):
        time.sleep(0.01)
    assert own.run("status").returncode == 1
    assert (own.directory / "runtime.json").exists()  # left behind, and not believed
    second = own.start()
    assert second["started"]
    assert second["pid"] != first["pid"]
    assert second["port"] == first["port"]
    assert own.json("env") == environment


def test_a_site_of_an_older_version_is_replaced(own: OwnSite) -> None:
    first = own.start()
    said = json.loads((own.directory / "runtime.json").read_text())
    (own.directory / "runtime.json").write_text(json.dumps({**said, "version": "0.0.1"}))
    second = own.start()
    assert second["started"]
    assert second["pid"] != first["pid"]
    assert second["port"] == first["port"]


def test_a_runtime_file_of_another_process_is_not_believed(own: OwnSite) -> None:
    first = own.start()
    own.run("stop")
    # this test's own process has taken the id of the site that is gone
    stale = {k: v for k, v in first.items() if k != "started"} | {"pid": os.getpid()}
    (own.directory / "runtime.json").write_text(json.dumps(stale))
    assert own.run("status").returncode == 1
    assert own.json("stop") == {"stopped": False, "directory": str(own.directory)}
    assert own.start()["started"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": "x"}'])
def test_a_damaged_runtime_file_is_as_good_as_none(own: OwnSite, text: str) -> None:
    own.directory.mkdir(mode=0o700)
    (own.directory / "runtime.json").write_text(text)
    assert own.run("status").returncode == 1


def test_stop_ends_it_and_says_so(own: OwnSite) -> None:
    started = own.start()
    assert own.json("stop")["stopped"]
    assert not (own.directory / "runtime.json").exists()
    assert runtime.start_time(int(started["pid"])) is None
    assert own.run("stop").stdout == "The local site is not running.\n"
    with pytest.raises(OSError, match="refused"):
        get(int(started["port"]))


def test_a_site_that_is_stuck_can_be_stopped(own: OwnSite, monkeypatch: pytest.MonkeyPatch) -> None:
    started = own.start()
    os.kill(int(started["pid"]), signal.SIGSTOP)
    monkeypatch.setattr(process, "STOP_SECONDS", 0.3)
    monkeypatch.setattr(process, "ANSWER_SECONDS", 0.3)
    with pytest.raises(SiteProblem, match="does not answer"):
        process.start(own.directory, None)
    assert process.stop(own.directory)
    assert runtime.find(own.directory) is None


def test_another_port_when_its_own_is_taken(own: OwnSite) -> None:
    first = own.start()
    own.run("stop")
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", int(first["port"])))
        squatter.listen()
        second = own.start()
        assert second["port"] != first["port"]
        assert own.json("env")["OS_AUTH_URL"] == second["auth_url"]


def test_serve_next_to_a_running_site_is_refused(shared: OwnSite) -> None:
    done = shared.run("serve")
    assert done.returncode == 1
    assert done.stderr == f"A site already runs in {shared.directory}.\n"


def test_serve_in_the_foreground_ends_in_order(own: OwnSite) -> None:
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "chi_edge_lab.local",
            "serve",
            "--dir",
            str(own.directory),
            "--engine",
            ENGINE,
        ],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout
        assert child.stdout.readline().startswith("The local site answers at http://127.0.0.1:")
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 0
    assert runtime.find(own.directory) is None


def test_the_profile_of_a_directory_stays(own: OwnSite) -> None:
    own.start("--profile", "zun")
    own.run("stop")
    done = own.run("start", "--profile", "chi-edge")
    assert done.returncode == 1
    assert "holds a site of the zun profile" in done.stderr
    assert own.start()["profile"] == "zun"
    assert "CHI_EDGE_LAB_RESERVATION_ID" not in own.json("env")


def test_a_running_site_keeps_its_engine(shared: OwnSite) -> None:
    engine = shared.start()["engine"]
    other = "docker" if engine == "namespaces" else "namespaces"
    done = shared.run("start", "--engine", other)
    assert done.returncode == 1
    assert f"already runs with the {engine} engine" in done.stderr


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "169.254.169.254", "127.0.0.1.evil.example"]
)
def test_another_host_name_is_turned_away(shared: OwnSite, host: str) -> None:
    port = int(shared.start()["port"])
    for path in ("/", "/identity/v3", "/container/", "/ws/?token=x", "/nothing"):
        status, body = get(port, path, host)
        assert status == 421, path
        assert b"local" in body
    for good in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost", f"LOCALHOST:{port}"):
        assert get(port, "/identity/v3", good)[0] == 200


def test_it_listens_on_loopback_only_and_offers_no_cors(shared: OwnSite) -> None:
    port = int(shared.start()["port"])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    rows += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and int(row[1].rsplit(":", 1)[1], 16) == port]
    assert listening == [f"0100007F:{port:04X}"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("OPTIONS", "/identity/v3/auth/tokens", headers={"Origin": "http://evil.example"})
    response = connection.getresponse()
    response.read()
    connection.close()
    assert not [name for name in response.headers if name.lower().startswith("access-control")]


def test_unknown_paths_and_verbs_are_refused_in_json(shared: OwnSite) -> None:
    port = int(shared.start()["port"])
    for path in ("/nothing", "/identity/v3/nothing", "/network/v2.0/routers", "/identity/v3/../../x", "/%00"):
        status, body = get(port, path)
        assert status == 404, path
        assert json.loads(body)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("PUT", "/identity/v3/auth/tokens")
    assert connection.getresponse().status == 405
    connection.close()


def test_no_secret_is_in_the_log(own: OwnSite) -> None:
    port = int(own.start()["port"])
    env = own.json("env")
    user = {"name": "edge", "domain": {"id": "default"}, "password": env["OS_PASSWORD"]}
    body = json.dumps({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("POST", "/identity/v3/auth/tokens", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    token = response.headers["X-Subject-Token"]
    assert token
    for path in ("/ws/?token=HUSH", "/nothing?secret=HUSH", "/identity/v3/auth/projects?x=HUSH"):
        get(port, path, None, **{"X-Auth-Token": token})
    connection.close()
    own.run("stop")
    text = (
        "".join(p.read_text() for p in own.directory.glob("*.log"))
        + (own.directory / "start.err").read_text()
    )
    assert text
    for secret in (env["OS_PASSWORD"], token, "HUSH"):
        assert secret not in text


def test_the_log_formatter_takes_queries_out() -> None:
    import logging

    text = "Uncaught GET /ws/?token=abc&uuid=1 (127.0.0.1), http://x/y?command=echo%20hi'\n what? a=b"
    record = logging.LogRecord("x", logging.ERROR, "x", 1, text, None, None)
    said = process.Redacting("%(message)s").format(record)
    assert "abc" not in said
    assert "command" not in said
    assert said.endswith("what? a=b")


def test_credentials_of_the_session_are_not_handed_to_the_process(own: OwnSite) -> None:
    done = own.run(
        "start", "--engine", ENGINE, "--json", JUPYTERHUB_API_TOKEN="HUSH", OS_PASSWORD="HUSH", XDG_X="kept"
    )
    pid = json.loads(done.stdout)["pid"]
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"HUSH" not in environment
    assert b"XDG_X=kept" in environment


def test_env_can_be_evaluated_by_a_shell(shared: OwnSite) -> None:
    printed = shared.run("env").stdout
    environment = {**clean_environment(), "OS_CLOUD": "other", "OS_PROJECT_ID": "stale"}
    done = subprocess.run(
        ["sh", "-c", f"eval {shlex.quote(printed)}; env"], env=environment, capture_output=True, text=True
    )
    found = dict(
        line.split("=", 1) for line in done.stdout.splitlines() if line.startswith(("OS_", "CHI_EDGE_"))
    )
    assert found == shared.json("env")
    assert found["OS_AUTH_TYPE"] == "password"
    assert shared.json("env", "--user", "other")["OS_USERNAME"] == "other"


def test_env_and_images_start_the_site(own: OwnSite) -> None:
    done = own.run("env", "--engine", ENGINE)
    assert done.returncode == 0
    assert "was started" in done.stderr
    images = own.json("images")
    assert images[0]["name"]
    assert {"id", "size", "created", "provenance"} <= set(images[0])


def test_an_image_can_be_added_and_removed(shared: OwnSite, tmp_path: Path) -> None:
    import io
    import tarfile

    archive = tmp_path / "rootfs.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("hello.txt")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"hello"))
    name = f"test-{os.getpid()}:one"
    assert shared.json("images", "--add", name, str(archive))[0]["name"] == name
    assert name in {i["name"] for i in shared.json("images")}
    assert shared.json("images", "--remove", name) == []
    assert name not in {i["name"] for i in shared.json("images")}
    assert shared.run("images", "--remove", name).returncode == 1
    missing = shared.run("images", "--add", name, str(tmp_path / "missing.tar"))
    assert missing.returncode == 1
    assert "missing.tar cannot be read: No such file or directory." in missing.stderr
    archive.write_text("no tar")
    refused = shared.run("images", "--add", name, str(archive))
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1


def test_only_the_administrator_changes_images(shared: OwnSite) -> None:
    from chi_edge_lab.local.client import SiteClient

    running = runtime.find(shared.directory)
    assert running
    secrets = SiteConfig.open(shared.directory).secrets
    with SiteClient(running, secrets.account("edge")) as client:
        assert client.images()
        with pytest.raises(SiteProblem, match="Only the site's administrator"):
            client.add_image("x:y", Path("/etc/passwd"))
        with pytest.raises(SiteProblem, match="Only the site's administrator"):
            client.remove_image("x:y")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("site.json", "{", "cannot be read"),
        ("site.json", "{}", "is damaged"),
        ("secrets.json", "[]", "is damaged"),
        ("secrets.json", '{"signing_key": "zz", "accounts": []}', "is damaged"),
        ("settings.json", '{"speed": 1}', "there is no setting 'speed'"),
        ("settings.json", '{"floating_ips": 1000}', "can be 200 at most"),
        ("settings.json", '{"token_lifetime": "long"}', "must be a number"),
        ("settings.json", '{"limits": {"execs": -1}}', "must be a number"),
        ("settings.json", '{"limits": 5}', "must be a JSON object"),
        ("settings.json", "nonsense", "cannot be read"),
    ],
)
def test_damaged_files_are_told_in_a_sentence(own: OwnSite, name: str, text: str, sentence: str) -> None:
    SiteConfig.open(own.directory)
    whole = (own.directory / name).read_text() if (own.directory / name).exists() else ""
    (own.directory / name).write_text(text)
    done = own.run("start", "--engine", ENGINE)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    (own.directory / name).write_text(whole or "{}")


def test_settings_reach_the_site(own: OwnSite) -> None:
    own.directory.mkdir(mode=0o700)
    (own.directory / "settings.json").write_text('{"token_lifetime": 60, "limits": {"execute_timeout": 1}}')
    config = SiteConfig.open(own.directory)
    assert config.settings.token_lifetime == 60.0
    assert config.settings.limits.execute_timeout == 1.0


def test_a_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("x")
    site = OwnSite(blocker / "site")
    done = site.run("start")
    assert done.returncode == 1
    assert "cannot be used for the site's files" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["start", "--profile", "other"], ["start", "--engine", "x"]]
)
def test_a_wrong_command_line_is_exit_code_2(own: OwnSite, arguments: list[str]) -> None:
    assert subprocess.run(
        [sys.executable, "-m", "chi_edge_lab.local", *arguments], capture_output=True, text=True
    ).returncode == 2  # fmt: skip


@pytest.mark.parametrize("arguments", [["stop", "--bogus"], ["destroy", "extra"]])
def test_a_wrong_option_shows_the_usage_of_its_command(own: OwnSite, arguments: list[str]) -> None:
    done = own.run(*arguments)
    assert done.returncode == 2
    assert f"usage: chi-edge-lab site {arguments[0]} " in done.stderr
    assert f"unrecognized arguments: {arguments[1]}" in done.stderr


def test_without_a_command_it_lists_them() -> None:
    done = subprocess.run([sys.executable, "-m", "chi_edge_lab.local"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "say whether the site runs" in done.stderr


def test_destroy_leaves_nothing(own: OwnSite) -> None:
    started = own.start()
    assert own.json("destroy")["destroyed"]
    assert not own.directory.exists()
    assert runtime.start_time(int(started["pid"])) is None
    again = own.run("destroy")
    assert again.returncode == 1
    assert again.stderr == f"There is no site in {own.directory}.\n"


def test_destroy_leaves_a_directory_alone_that_is_no_site(own: OwnSite) -> None:
    own.directory.mkdir()
    (own.directory / "thesis.txt").write_text("do not delete")
    assert own.run("destroy").returncode == 1
    assert (own.directory / "thesis.txt").exists()


def test_a_stranger_cannot_fill_the_memory(shared: OwnSite) -> None:
    running = runtime.find(shared.directory)
    assert running
    for path in (
        "/identity/v3/auth/tokens",
        "/container/v1/containers",
        "/network/v2.0/floatingips",
        "/nothing",
    ):
        with socket.create_connection(("127.0.0.1", running.port), timeout=5) as wire:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n"
            wire.sendall(head.encode())
            assert wire.recv(100).startswith(b"HTTP/1.1 400"), path


def test_a_database_that_is_none_is_told_in_a_sentence(own: OwnSite) -> None:
    SiteConfig.open(own.directory)
    (own.directory / "site.sqlite").write_text("nonsense " * 1000)
    done = own.run("start", "--engine", ENGINE)
    assert done.returncode == 1
    assert "site.sqlite cannot be used (file is not a database)" in done.stderr
    assert own.run("status").returncode == 1
