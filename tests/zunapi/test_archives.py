"""get_archive and put_archive, with what each driver makes of paths and failures."""

from __future__ import annotations

import base64
import dataclasses
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.zunapi.running import QUICK, RunningSite


def tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(data)
            info.mtime = 1_000_000_000
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def put(site: RunningSite, ref: str, path: str, data: bytes) -> int:
    body = {"data": base64.b64encode(data).decode()}
    answer = site.http("POST", f"/v1/containers/{ref}/put_archive", params={"path": path}, json=body)
    assert answer.status_code != 200 or answer.json() is None
    return answer.status_code


def get(site: RunningSite, ref: str, path: str) -> tuple[int, list[str], dict[str, Any]]:
    answer = site.http("GET", f"/v1/containers/{ref}/get_archive", params={"path": path})
    if answer.status_code != 200:
        return answer.status_code, [], {}
    data = base64.b64decode(answer.json()["data"])
    names: list[str] = []
    if data:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            names = archive.getnames()
    return 200, names, answer.json()["stat"]


# -- upstream


def test_dockers_archives(zun: RunningSite, zun_container: str) -> None:
    assert put(zun, zun_container, "/tmp", tar(d__a=b"one", d__b=b"two")) == 200
    assert zun.execute(zun_container, "cat /tmp/d/a /tmp/d/b")["output"] == "onetwo"
    status, names, stat = get(zun, zun_container, "/tmp/d")
    assert (status, sorted(names)) == (200, ["d", "d/a", "d/b"])
    assert (stat["name"], stat["mode"] >> 31) == ("d", 1)
    status, names, stat = get(zun, zun_container, "/tmp/d/a")
    assert (status, names, stat["size"]) == (200, ["a"], 3)
    assert stat["mtime"].startswith("2001-09-09T01:46:40")
    assert stat["mode"] & 0o777 == 0o644


def test_a_link_is_a_link(zun: RunningSite, zun_container: str) -> None:
    zun.execute(zun_container, "ln -sf /etc/passwd /tmp/link")
    _, names, stat = get(zun, zun_container, "/tmp/link")
    assert names == ["link"]
    assert stat["linkTarget"] == "/etc/passwd"
    assert stat["mode"] >> 27 & 1


def test_on_a_stopped_container(zun: RunningSite) -> None:
    made = zun.create()
    zun.http("POST", f"/v1/containers/{made}/stop?timeout=0")
    zun.wait(made, "Stopped")
    assert put(zun, made, "/tmp", tar(x=b"1")) == 200
    assert get(zun, made, "/tmp/x")[1] == ["x"]


@pytest.mark.parametrize("path", ["/nosuch", "/tmp/nosuch/deeper", "/etc/passwd/x"])
def test_a_path_with_a_slash_that_is_not_there_is_a_500(
    zun: RunningSite, zun_container: str, path: str
) -> None:
    assert get(zun, zun_container, path)[0] == 500
    assert put(zun, zun_container, path, tar(x=b"")) == 500


def test_a_path_without_a_slash_that_is_not_there_is_a_400(zun: RunningSite, zun_container: str) -> None:
    answer = zun.http("GET", f"/v1/containers/{zun_container}/get_archive?path=nosuch")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "container.invalid-remote")


@pytest.mark.parametrize(
    "path", ["/tmp/a b", "/tmp/q'uo\"te", "/tmp/$(id)", "/tmp/\N{SNOWMAN}", "/tmp/-x", "/tmp/a;b"]
)
def test_paths_are_taken_literally(zun: RunningSite, zun_container: str, path: str) -> None:
    name = path.rpartition("/")[2]
    assert put(zun, zun_container, "/tmp", tar(**{name: b"x"})) == 200
    assert get(zun, zun_container, path)[:2] == (200, [name])


# -- both


def test_what_is_no_archive(any_site: RunningSite, any_container: str) -> None:
    path = f"/v1/containers/{any_container}/put_archive"
    answer = any_site.http("POST", f"{path}?path=/tmp", json={"data": "a"})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (
        400,
        "container.base-64-exception-remote",
    )
    for body in ({"data": None}, {"data": 5}):
        assert any_site.http("POST", f"{path}?path=/tmp", json=body).status_code == 400
    for body in ({}, {"data": "\N{SNOWMAN}"}):
        assert any_site.http("POST", f"{path}?path=/tmp", json=body).status_code == 500
    assert any_site.http("POST", path, json={"data": ""}).status_code == 500
    assert any_site.http("GET", f"/v1/containers/{any_container}/get_archive").status_code == 500


def test_the_path_may_be_in_the_body(zun: RunningSite, zun_container: str) -> None:
    body = {"path": "/tmp", "data": base64.b64encode(tar(inbody=b"x")).decode()}
    assert zun.http("POST", f"/v1/containers/{zun_container}/put_archive", json=body).status_code == 200
    assert get(zun, zun_container, "/tmp/inbody")[0] == 200


def test_not_a_tar(zun: RunningSite, zun_container: str) -> None:
    assert put(zun, zun_container, "/tmp", b"this is not a tar") == 500


def test_before_1_25_archives_are_text(zun: RunningSite, zun_container: str) -> None:
    path = f"/v1/containers/{zun_container}"
    data = tar(plain=b"text").decode("ascii")
    answer = zun.http("POST", f"{path}/put_archive?path=/tmp", json={"data": data}, version="1.24")
    assert answer.status_code == 200
    answer = zun.http("GET", f"{path}/get_archive?path=/tmp/plain", version="1.24")
    with tarfile.open(fileobj=io.BytesIO(answer.json()["data"].encode())) as archive:
        assert archive.getnames() == ["plain"]
    zun.execute(zun_container, r"sh -c 'printf \\377 > /tmp/binary'")
    assert zun.http("GET", f"{path}/get_archive?path=/tmp/binary", version="1.24").status_code == 500


def test_the_limit_of_a_message(tmp_path: Path) -> None:
    limits = dataclasses.replace(QUICK, message=100_000, body=150_000)
    site = RunningSite(tmp_path / "site", "zun", limits)
    try:
        made = site.create()
        assert put(site, made, "/tmp", tar(small=bytes(50_000))) == 200
        assert put(site, made, "/tmp", tar(large=bytes(85_000))) == 500
        site.execute(made, "dd if=/dev/zero of=/tmp/big bs=1000 count=90")
        assert get(site, made, "/tmp/small")[0] == 200
        assert get(site, made, "/tmp/big")[0] == 500
    finally:
        site.destroy()


# -- the k8s driver


@pytest.fixture(scope="module")
def gnu(edge: RunningSite) -> str:
    """A container with GNU tar, which ends at the archive's end marker: an image with the host's programs."""
    if edge.site.engine.name != "namespaces":
        pytest.skip("only the namespaces engine has an image with the host's programs")
    image = next(image.name for image in edge.site.engine.images() if image.name.startswith("python"))
    return edge.create(image=image)


def test_kubernetes_archives(edge: RunningSite, gnu: str) -> None:
    assert put(edge, gnu, "/tmp", tar(d__a=b"one")) == 200
    assert edge.execute(gnu, "cat /tmp/d/a")["output"] == "one"
    status, names, stat = get(edge, gnu, "/tmp/d")
    assert (status, sorted(names)) == (200, [".", "./a"])  # the directory's own name is not in it
    assert stat["name"] == "/tmp/d.tar"
    assert set(stat) == {"name", "size"}
    assert edge.execute(gnu, "stat -c %Y /tmp/d/a")["output"] != "1000000000\n"  # tar's m


def test_a_single_file_gives_an_empty_archive(edge: RunningSite, gnu: str) -> None:
    assert put(edge, gnu, "/tmp", tar(single=b"one")) == 200
    assert get(edge, gnu, "/tmp/single")[:2] == (200, [])
    assert get(edge, gnu, "/nosuch")[:2] == (200, [])


def test_a_put_that_fails_is_a_200(edge: RunningSite, gnu: str) -> None:
    assert put(edge, gnu, "/nosuch", tar(x=b"1")) == 200
    assert put(edge, gnu, "/proc", tar(x=b"1")) == 200
    # what has no end marker is read on, and stdin never ends
    assert put(edge, gnu, "/tmp", b"this is not a tar, but long enough to be looked at" * 20) == 500


def test_paths_reach_a_shell(edge: RunningSite, gnu: str) -> None:
    edge.execute(gnu, "mkdir -p '/tmp/a b'")
    assert get(edge, gnu, "/tmp/a b")[:2] == (200, [])
    assert get(edge, gnu, r"/tmp/a\ b")[1] == ["."]
    assert get(edge, gnu, "/tmp/'")[0] == 500


def test_a_tar_that_waits_for_the_end_of_stdin(edge: RunningSite) -> None:
    """busybox' tar reads on after the archive's end; the site gives up, the files are there."""
    made = edge.create()
    assert put(edge, made, "/tmp", tar(hung=b"yes")) == 500
    assert edge.execute(made, "cat /tmp/hung")["output"] == "yes"


def test_without_a_pod(edge: RunningSite) -> None:
    made = edge.create()
    edge.http("POST", f"/v1/containers/{made}/stop?timeout=0")
    edge.wait(made, "Stopped")
    answer = edge.http("GET", f"/v1/containers/{made}/get_archive?path=/tmp")
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["title"] == "Container %(container)s could not be found."
    assert put(edge, made, "/tmp", tar(x=b"")) == 404
