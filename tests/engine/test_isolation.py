"""What a container cannot see or do, and what it must be able to."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from chi_edge_lab.local.engines.base import Spec


@pytest.fixture(scope="module")
def box(engine):
    engine.create(Spec(id="box", name="box", image="busybox", command=("sleep", "1000"), address="10.9.8.7"))
    engine.start("box")
    return "box"


@pytest.fixture(scope="module")
def python(engine):
    engine.create(Spec(id="python", name="python", image="python", command=("sleep", "1000")))
    engine.start("python")
    return "python"


def test_it_is_root_inside_and_nobody_of_importance_outside(engine, box, sh):
    assert sh(box, "id -u; id -g") == "0\n0"
    outer, inner, count = (int(word) for word in sh(box, "cat /proc/self/uid_map").split())
    assert inner == (1_000_000 if os.geteuid() == 0 else os.geteuid())
    assert outer == 0
    assert count == (65536 if os.geteuid() == 0 else 1)


def test_the_number_of_real_root_is_never_mapped(engine, box):
    run = engine._containers.home(box).run()
    for line in Path(f"/proc/{run['pid']}/uid_map").read_text().splitlines():
        _, outside, _ = (int(word) for word in line.split())
        assert outside > 0


def test_it_sees_its_own_processes_only(engine, box, sh):
    numbers = [int(name) for name in sh(box, "ls /proc").split() if name.isdigit()]
    assert 1 in numbers
    assert max(numbers) < 10_000
    assert sh(box, "cat /proc/1/cmdline | tr '\\0' ' '") == "sleep 1000 "
    assert engine.execute(box, ["kill", "-0", str(os.getpid())]).exit_code != 0


def test_the_files_of_the_host_are_not_there(engine, python, tmp_path, sh):
    marker = tmp_path / "of-the-host"
    marker.write_text("secret")
    assert engine.execute(python, ["ls", str(marker)]).exit_code != 0
    assert sh(python, "ls -A /root /home /tmp /mnt /srv") == "/home:\n\n/mnt:\n\n/root:\n\n/srv:\n\n/tmp:"
    assert not any(line.split()[1].startswith("/old") for line in sh(python, "cat /proc/mounts").splitlines())


def test_nothing_of_the_host_can_be_written(engine, python, sh):
    for path in ("/usr/x", "/usr/bin/x", "/etc/alternatives/x", "/proc/sys/kernel/hostname", "/sys/x"):
        assert engine.execute(python, ["sh", "-c", f"echo x > {path}"]).exit_code != 0, path
    prefix = sh(python, "python3 -c 'import sys; print(sys.prefix)'")
    assert engine.execute(python, ["touch", f"{prefix}/x"]).exit_code != 0


def test_what_should_be_writable_is(engine, python, sh):
    sh(
        python,
        "for d in /root /tmp /var/tmp /etc /opt /home /run /dev/shm /usr/local/bin; do echo x > $d/x; done",
    )
    assert engine.execute(python, ["sh", "-c", "stat -c %a /tmp /root"]).output == b"1777\n700\n"


def test_mounting_and_new_user_namespaces_are_refused(engine, box, python):
    assert engine.execute(box, ["mount", "-t", "tmpfs", "none", "/mnt"]).exit_code != 0
    assert engine.execute(box, ["umount", "/proc/sys"]).exit_code != 0
    script = (
        "import ctypes, os; print(ctypes.CDLL(None, use_errno=True).unshare(0x10000000), ctypes.get_errno())"
    )
    assert engine.execute(python, ["python3", "-c", script]).output.startswith(b"-1 ")
    assert engine.execute(python, ["mknod", "/tmp/disk", "b", "8", "0"]).exit_code != 0


def test_capabilities_are_dockers_and_no_more(engine, box, sh):
    lines = dict(line.split(":\t") for line in sh(box, "cat /proc/self/status").splitlines() if "Cap" in line)
    assert lines["CapEff"] == lines["CapPrm"] == lines["CapBnd"] == "00000000a80425fb"
    assert lines["CapInh"] == lines["CapAmb"] == "0" * 16
    assert "NoNewPrivs:\t1" in sh(box, "cat /proc/self/status")


def test_pid_1_is_bounded_as_an_exec_is(engine, box, sh):
    assert "a80425fb" in sh(box, "grep CapEff /proc/1/status")
    assert sh(box, "ls /proc/1/fd").split() == ["0", "1", "2"]


def test_the_network_is_its_own_loopback(engine, box, sh):
    assert sh(box, "ip -o link | cut -d: -f2 | cut -d@ -f1").split() == ["lo"]
    addresses = sh(box, "ip -o addr show dev lo")
    assert "127.0.0.1/8" in addresses
    assert "10.9.8.7/32" in addresses
    assert engine.execute(box, ["ping", "-c1", "-W1", "192.0.2.1"]).exit_code != 0


def test_the_devices_work(engine, box, sh):
    assert sh(box, "head -c4 /dev/zero | od -An -tx1").strip() == "00 00 00 00"
    assert sh(box, "head -c9 /dev/urandom | wc -c").strip() == "9"
    sh(box, "echo gone > /dev/null && [ -c /dev/null ] && echo out > /dev/stdout")
    assert engine.execute(box, ["sh", "-c", "echo x > /dev/full"]).exit_code != 0


@pytest.mark.parametrize(
    "line",
    [
        "python --version && python3 --version",
        "pip --version && pip3 --version",
        "printf 'print(6*7)' > /tmp/s.py && python3 /tmp/s.py",
        "python3 -c 'import ssl, sqlite3, ctypes, lzma, zlib, json, asyncio, multiprocessing'",
        "echo x > /tmp/f && tar cf - -C /tmp f | tar tf - && sha256sum /tmp/f && base64 /tmp/f && cat /tmp/f",
        "ls -la /tmp",
        "id -un | grep root && getent passwd root && sleep 0.01",
        "python3 -c 'import socket; assert socket.gethostbyname(socket.gethostname())'",
    ],
)
def test_the_python_image_has_what_people_use(engine, python, sh, line):
    sh(python, line)


def test_the_python_inside_is_the_one_outside_without_its_environment(engine, python, sh):
    script = "import sys; print(sys.version_info[:3], sys.prefix == sys.base_prefix)"
    assert sh(python, f"python3 -c '{script}'") == f"{sys.version_info[:3]} True"


def test_two_containers_see_nothing_of_each_other(engine, box, run, sh):
    other = run()
    sh(box, "echo mine > /tmp/mine")
    assert engine.execute(other, ["cat", "/tmp/mine"]).exit_code != 0
    assert sh(other, "hostname") != sh(box, "hostname")


def test_an_exec_joins_every_namespace(engine, box, sh):
    """Only what differs from the host's is joined: the rest is refused (EPERM) in the new user namespace."""
    kinds = ("mnt", "net", "ipc", "uts", "user", "pid")
    for kind in kinds:
        assert sh(box, f"readlink /proc/self/ns/{kind}") == sh(box, f"readlink /proc/1/ns/{kind}")
        assert sh(box, f"readlink /proc/self/ns/{kind}") != str(Path(f"/proc/self/ns/{kind}").readlink())


def test_processes_that_enter_cannot_be_traced_from_inside(engine, python):
    """A helper on its way in still has descriptors of the host: its /proc/<pid>/fd must stay shut."""
    script = """
import glob, os, sys, time
end = time.time() + 0.6
seen = set()
while time.time() < end:
    for path in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            target = os.readlink(path)
        except OSError:
            continue
        if target.startswith(("socket", "/")) and not target.startswith(("/usr/", "/lib", "/etc/ld.so")):
            seen.add(target)
print(sorted(each for each in seen if each not in ("/dev/null", "/proc")))
"""
    import threading

    results = []
    watcher = threading.Thread(
        target=lambda: results.append(engine.execute(python, ["python3", "-c", script]))
    )
    watcher.start()
    while watcher.is_alive():
        engine.execute(python, ["true"])
    watcher.join()
    assert results[0].output == b"[]\n"


def test_the_users_environment_does_not_leak_in(engine, run, monkeypatch):
    monkeypatch.setenv("OS_PASSWORD", "secret-of-the-site")
    identifier = run()
    assert b"secret" not in engine.execute(identifier, ["env"]).output
    assert b"secret" not in engine.execute(identifier, ["cat", "/proc/1/environ"]).output
