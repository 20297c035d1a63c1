"""The whole life of containers in one script, for an interpreter and a user of its own: see test_elsewhere.

Prints a JSON object a step. Needs nothing but the standard library and the engine.
"""

import contextlib
import io
import json
import os
import pathlib
import stat
import sys
import tarfile
import time

from chi_edge_lab.local.engines.base import FileMount, ImageNotFound, Spec
from chi_edge_lab.local.engines.namespaces import NamespacesEngine


def step(name, **facts):
    print(json.dumps({"step": name, **facts}), flush=True)


def line(engine, identifier, text):
    result = engine.execute(identifier, ["sh", "-c", text], timeout=20)
    assert result.exit_code == 0, result
    return result.output.decode().strip()


def wait_until(condition):
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def archive(name, data):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size, info.uid, info.gid, info.mode = len(data), 1234, 1234, 0o640
        tar.addfile(info, io.BytesIO(data))
    file.seek(0)
    return file


def begin(engine, image):
    identifier = image.partition(":")[0]
    spec = Spec(
        id=identifier,
        name=identifier,
        image=image,
        command=("sh", "-c", "echo begun; read x; echo got $x; sleep 1000"),
        interactive=True,
        address="10.3.2.1",
        memory_mib=256,
        mounts=(FileMount("/etc/given", b"given", read_only=True),),
    )
    engine.create(spec)
    engine.start(identifier)
    wait_until(lambda: list(engine.logs(identifier)))
    return identifier


def commands(engine, identifier):
    user, numbers = line(engine, identifier, "id -u; cat /proc/1/uid_map").split("\n")
    step("inside", identifier=identifier, id=user, map=numbers)
    assert line(engine, identifier, "cat /etc/given") == "given"
    line(engine, identifier, "echo x > /root/x; echo y > /tmp/y; echo z > /dev/stderr; touch /usr/local/w")
    assert engine.execute(identifier, ["mount", "-t", "tmpfs", "n", "/mnt"]).exit_code != 0


def terminals(engine, identifier):
    attached = engine.attach(identifier)
    attached.write(b"typed\n")
    wait_until(lambda: len(list(engine.logs(identifier))) == 2)
    assert list(engine.logs(identifier))[1].data == b"got typed\n"
    attached.close()
    shell = engine.terminal(identifier, ["sh"])
    shell.resize(20, 70)
    shell.write(b"stty size; exit 4\n")
    wait_until(lambda: shell.exit_code is not None)
    assert shell.exit_code == 4
    assert b"20 70" in shell.read()
    shell.close()


def figures(engine, identifier):
    engine.pause(identifier)
    assert engine.inspect(identifier).status == "paused"
    engine.unpause(identifier)
    assert engine.stats(identifier).memory_bytes > 10_000
    assert any("sleep" in row[7] for row in engine.top(identifier)[1])
    with contextlib.suppress(ConnectionRefusedError):
        engine.connect(identifier, 81)


def archives(engine, identifier):
    engine.put_archive(identifier, "/root", archive("put", b"put"))
    assert line(engine, identifier, "cat /root/put") == "put"
    engine.commit(identifier, f"{identifier}-child:1")
    engine.stop(identifier, timeout=0)
    engine.put_archive(identifier, "/root", archive("stopped", b"stopped"))
    out = io.BytesIO()
    found = engine.get_archive(identifier, "/root", out)
    assert stat.S_ISDIR(found.mode)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        assert {"root/x", "root/put", "root/stopped"} <= set(tar.getnames())


def child(engine, image):
    engine.create(Spec(id="child", name="child", image=image, command=("sleep", "100")))
    engine.start("child")
    assert line(engine, "child", "cat /root/put") == "put"
    engine.remove("child")


def python(engine, image):
    engine.create(Spec(id="py", name="py", image=image, command=("sleep", "100")))
    engine.start("py")
    script = "import sys, ssl, ctypes; print(sys.version.split()[0], sys.prefix)"
    step(
        "python",
        version=line(engine, "py", f"python3 -c '{script}'"),
        pip=line(engine, "py", "pip --version"),
    )
    engine.remove("py")


def main(directory):
    engine = NamespacesEngine(pathlib.Path(directory))
    images = [image.name for image in engine.images()]
    for image in images:
        identifier = begin(engine, image)
        commands(engine, identifier)
        terminals(engine, identifier)
        figures(engine, identifier)
        archives(engine, identifier)
        engine.remove(identifier)
        child(engine, f"{identifier}-child")
    if images[0].startswith("python"):
        python(engine, images[0])
    try:
        engine.create(Spec(id="none", name="none", image="alpine"))
    except ImageNotFound as error:
        step("refused", message=str(error))
    assert engine.list() == []
    engine.close()
    step("done", version=sys.version.split()[0], user=os.geteuid())


main(sys.argv[1])
