"""What every engine does with archives, images and ports (base.py)."""

from __future__ import annotations

import contextlib
import gzip
import io
import pathlib
import stat
import tarfile
import time

import pytest

from chi_edge_lab.local.engines.base import Engine, EngineError, ImageNotFound, NoSuchContainer, PathNotFound
from chi_edge_lab.local.engines.busybox import find_busybox, write_rootfs

from .conftest import Make, wait_for

NAMES = [
    "with space",
    "it's",
    'quo"te',
    "$(reboot)",
    "new\nline",
    "-rf",
    "ä🦊",
    "a:b",
    "CON",
    "end. ",
    "\u202egpj",
]


def tar_of(*members: tuple[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o640, 1_600_000_000
            tar.addfile(entry, io.BytesIO(content))
    out.seek(0)
    return out


def archive(engine: Engine, id: str, path: str) -> tarfile.TarFile:
    out = io.BytesIO()
    engine.get_archive(id, path, out)
    out.seek(0)
    return tarfile.open(fileobj=out)


def test_a_file_goes_in_and_comes_out(engine: Engine, box: str) -> None:
    content = bytes(range(256)) * 100
    engine.put_archive(box, "/root", tar_of(("file", content)))
    assert engine.execute(box, ["wc", "-c", "/root/file"]).output.split()[0] == b"25600"
    out = io.BytesIO()
    found = engine.get_archive(box, "/root/file", out)
    assert (found.name, found.size, found.mtime, found.link_target) == ("file", 25600, 1_600_000_000, "")
    assert stat.S_ISREG(found.mode)
    assert stat.S_IMODE(found.mode) == 0o640
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        assert tar.getnames() == ["file"]
        extracted = tar.extractfile("file")
        assert extracted is not None
        assert extracted.read() == content


def test_a_directory_has_its_name_on_top(engine: Engine, box: str) -> None:
    engine.execute(
        box, ["sh", "-c", "mkdir -p /root/d/sub /root/d/empty; echo x > /root/d/sub/f; ln -s sub /root/d/l"]
    )
    with archive(engine, box, "/root/d") as tar:
        names = {member.name.rstrip("/") for member in tar}
        assert names == {"d", "d/sub", "d/empty", "d/sub/f", "d/l"}
        assert tar.getmember("d/l").issym()


def test_stat_of_a_directory_and_of_a_link(engine: Engine, box: str) -> None:
    engine.execute(box, ["sh", "-c", "mkdir -p /root/e; chmod 1750 /root/e; ln -sf /etc/passwd /root/link"])
    found = engine.get_archive(box, "/root/e", io.BytesIO())
    assert stat.S_ISDIR(found.mode)
    assert stat.S_IMODE(found.mode) == 0o1750
    link = engine.get_archive(box, "/root/link", io.BytesIO())
    assert stat.S_ISLNK(link.mode)
    assert link.link_target == "/etc/passwd"


@pytest.mark.parametrize("name", NAMES)
def test_names_go_in_and_come_out(engine: Engine, box: str, name: str) -> None:
    engine.put_archive(box, "/root", tar_of((name, b"named")))
    assert engine.execute(box, ["cat", f"/root/{name}"]).output == b"named"
    with archive(engine, box, f"/root/{name}") as tar:
        assert tar.getnames() == [name]


@pytest.mark.parametrize("path", ["/no/such", "/etc/passwd/below"])
def test_a_path_that_is_not_there(engine: Engine, box: str, path: str) -> None:
    with pytest.raises(PathNotFound, match=path):
        engine.get_archive(box, path, io.BytesIO())


@pytest.mark.parametrize("path", ["/no/such", "/etc/passwd"])
def test_put_needs_a_directory(engine: Engine, box: str, path: str) -> None:
    with pytest.raises(PathNotFound, match=path):
        engine.put_archive(box, path, tar_of(("x", b"")))


def test_gzip_is_taken(engine: Engine, box: str) -> None:
    engine.put_archive(box, "/root", io.BytesIO(gzip.compress(tar_of(("zipped", b"z")).read())))
    assert engine.execute(box, ["cat", "/root/zipped"]).output == b"z"


def test_what_is_no_tar_is_refused(engine: Engine, box: str) -> None:
    with pytest.raises(EngineError):
        engine.put_archive(box, "/root", io.BytesIO(b"<html>not a tar</html>" * 100))


def test_a_member_cannot_leave_the_container(engine: Engine, box: str, tmp_path: pathlib.Path) -> None:
    outside = tmp_path / "outside"
    for name in (f"../../../../../../../..{outside}", str(outside)):
        with contextlib.suppress(EngineError):
            engine.put_archive(box, "/root", tar_of((name, b"evil")))
    assert not outside.exists()


def test_a_link_does_not_lead_out_of_the_container(engine: Engine, box: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "secret").write_text("secret")
    engine.execute(box, ["ln", "-sfn", f"/../..{tmp_path}", "/root/out"])
    with pytest.raises(EngineError):
        engine.get_archive(box, "/root/out/secret", io.BytesIO())
    with contextlib.suppress(EngineError):
        engine.put_archive(box, "/root/out", tar_of(("evil", b"evil")))
    assert not (tmp_path / "evil").exists()


def test_archives_of_a_stopped_container(engine: Engine, make: Make) -> None:
    id = make("sh", "-c", "echo made > /root/made")
    wait_for(lambda: engine.inspect(id).status == "exited")
    with archive(engine, id, "/root/made") as tar:
        assert tar.getnames() == ["made"]
    engine.put_archive(id, "/root", tar_of(("later", b"put")))
    with archive(engine, id, "/root/later") as tar:
        assert tar.getmember("later").size == 3


def test_archives_of_no_container(engine: Engine) -> None:
    with pytest.raises(NoSuchContainer):
        engine.get_archive("00000000-0000-4000-8000-ffffffffffff", "/", io.BytesIO())


def test_a_big_archive(engine: Engine, box: str, tmp_path: pathlib.Path) -> None:
    engine.execute(box, ["sh", "-c", "head -c 30000000 /dev/urandom > /root/big"])
    with (tmp_path / "big.tar").open("w+b") as file:
        engine.get_archive(box, "/root/big", file)
        file.seek(0)
        engine.execute(box, ["sh", "-c", "cksum < /root/big > /root/sum; rm /root/big"])
        engine.put_archive(box, "/root", file)
    assert engine.execute(box, ["sh", "-c", "cksum < /root/big | cmp - /root/sum"]).exit_code == 0


def test_the_catalogue(engine: Engine) -> None:
    images = engine.images()
    assert images
    assert [image.name for image in images] == [image.name for image in engine.images()]
    for image in images:
        assert ":" in image.name
        assert image.id
        assert image.size > 0
        assert image.created <= time.time()
        assert image.provenance.endswith(".")
        assert engine.image(image.name) == image


def test_an_image_that_is_not_there(engine: Engine) -> None:
    with pytest.raises(ImageNotFound, match=engine.images()[0].name):
        engine.image("no-such-image")
    with pytest.raises(ImageNotFound):
        engine.image(engine.images()[0].name.partition(":")[0] + ":no-such-tag")
    with pytest.raises(ImageNotFound):
        engine.remove_image("no-such-image")


def test_an_image_from_a_tar(engine: Engine, make: Make) -> None:
    busybox = find_busybox()
    if busybox is None:
        pytest.skip("there is no static busybox here")
    tar = io.BytesIO()
    write_rootfs(busybox, tar)
    data = tar.getvalue()
    for content in (data, gzip.compress(data, 1)):
        image = engine.add_image("chi-edge-lab-test:1.0", io.BytesIO(content))
        try:
            assert image.name == "chi-edge-lab-test:1.0"
            assert engine.image("chi-edge-lab-test").name == image.name
            assert image in engine.images()
            id = make("sh", "-c", "exit 8", image="chi-edge-lab-test")
            wait_for(lambda id=id: engine.inspect(id).status == "exited")  # type: ignore[misc]
            assert engine.inspect(id).exit_code == 8
            engine.remove(id)
        finally:
            engine.remove_image("chi-edge-lab-test:1.0")
    with pytest.raises(ImageNotFound):
        engine.image("chi-edge-lab-test")


def test_what_is_no_image_is_not_added(engine: Engine) -> None:
    with pytest.raises(EngineError):
        engine.add_image("chi-edge-lab-bad:1.0", io.BytesIO(b"<html>no tar</html>" * 100))
    with pytest.raises(ImageNotFound):
        engine.image("chi-edge-lab-bad:1.0")


def test_commit_keeps_the_files(engine: Engine, make: Make) -> None:
    id = make()
    engine.execute(id, ["sh", "-c", "echo kept > /root/kept"])
    image = engine.commit(id, "chi-edge-lab-commit:2")
    try:
        assert image.name == "chi-edge-lab-commit:2"
        copy = make(image="chi-edge-lab-commit:2")
        assert engine.execute(copy, ["cat", "/root/kept"]).output == b"kept\n"
        engine.remove(copy)
    finally:
        engine.remove(id)
        engine.remove_image("chi-edge-lab-commit:2")


SERVE = (
    "if [ -e /bin/busybox ]; then exec busybox httpd -f -p 8080 -h /etc; "
    "else exec python3 -m http.server 8080 -d /etc; fi"
)


def test_a_port_inside_can_be_reached(engine: Engine, make: Make) -> None:
    id = make("sh", "-c", SERVE)
    answer = b""

    def ask() -> bool:
        nonlocal answer
        try:
            with engine.connect(id, 8080) as sock:
                sock.settimeout(5)
                sock.sendall(b"GET /hostname HTTP/1.0\r\n\r\n")
                answer = b"".join(iter(lambda: sock.recv(65536), b""))
        except ConnectionRefusedError:
            return False
        return True

    wait_for(ask)
    assert b" 200 " in answer.partition(b"\r\n")[0]


def test_a_port_where_nobody_listens(engine: Engine, box: str) -> None:
    with pytest.raises(ConnectionRefusedError):
        engine.connect(box, 1)


def test_a_udp_socket(engine: Engine, box: str) -> None:
    with engine.connect(box, 5353, "udp") as sock:
        assert sock.send(b"x") == 1
