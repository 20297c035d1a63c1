"""The way out: off unless asked for, and never to what only this machine should reach."""

from __future__ import annotations

import http.server
import socket
import threading
from pathlib import Path

import pytest

from chi_edge_lab.local.engines.base import Spec
from chi_edge_lab.local.engines.namespaces import NamespacesEngine
from chi_edge_lab.local.engines.namespaces.sandbox.outbound import parse_head

from .conftest import processes_named, wait_until


def outer_address():
    """An address of this machine that is not its loopback; None without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        address = probe.getsockname()[0]
    return None if address.startswith("127.") else address


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"you asked for {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def page():
    address = outer_address()
    if address is None:
        pytest.skip("this machine has no address but its loopback")
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield address, server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    engine = NamespacesEngine(tmp_path_factory.mktemp("engine"), outbound=True)
    engine.create(Spec(id="out", name="out", image="python", command=("sleep", "1000")))
    engine.start("out")
    yield engine
    engine.remove("out")
    engine.close()


def fetch(engine, identifier, url):
    script = (
        "import sys, urllib.request, urllib.error\n"
        "try: print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())\n"
        "except urllib.error.HTTPError as error: print(error.code, error.read().decode())\n"
        "except OSError as error: print('no', error)"
    )
    return engine.execute(identifier, ["python3", "-c", script, url]).output.decode().strip()


def test_there_is_no_way_out_by_default(engine, run, page):
    identifier = run(image="python")
    assert fetch(engine, identifier, f"http://{page[0]}:{page[1]}/").startswith("no ")
    assert b"proxy" not in engine.execute(identifier, ["env"]).output


def test_with_it_other_addresses_answer(out, page):
    assert fetch(out, "out", f"http://{page[0]}:{page[1]}/a%20b?c=d") == "you asked for /a%20b?c=d"


def test_a_tunnel_is_opened_for_https(out, page):
    script = (
        "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 3128, timeout=5)\n"
        "c.set_tunnel(sys.argv[1], int(sys.argv[2])); c.request('GET', '/t')\n"
        "print(c.getresponse().read().decode())"
    )
    answer = out.execute("out", ["python3", "-c", script, page[0], str(page[1])])
    assert answer.output == b"you asked for /t\n"


@pytest.mark.parametrize(
    "host", ["127.0.0.2", "0.0.0.0", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "2130706433"]
)
def test_the_machines_own_addresses_are_refused(out, page, host):
    assert fetch(out, "out", f"http://{host}:{page[1]}/").startswith("403 ")


def test_an_unreachable_host_is_told(out):
    assert fetch(out, "out", "http://nothing.invalid/").startswith("502 nothing.invalid:80 cannot be reached")


def status_of(pid):
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    return dict(line.split(":\t", 1) for line in text.splitlines())


def test_the_proxy_has_no_rights_and_goes_with_the_container(out, page):
    run = out._containers.home("out").run()
    found = [status_of(pid) for pid in processes_named("sandbox")]
    children = [status for status in found if status.get("PPid") == str(run["shim"])]
    assert len(children) == 1
    status = children[0]
    assert int(status["CapEff"], 16) == 0
    assert status["Uid"].split()[0] != "0"
    out.stop("out", timeout=0)
    wait_until(lambda: not status_of(int(status["Pid"])))
    out.start("out")
    assert fetch(out, "out", f"http://{page[0]}:{page[1]}/again") == "you asked for /again"


@pytest.mark.parametrize(
    ("head", "host", "port", "first"),
    [
        (b"CONNECT a.org:443 HTTP/1.1\r\n\r\n", "a.org", 443, None),
        (b"CONNECT [::1]:443 HTTP/1.1\r\n\r\n", "::1", 443, None),
        (b"GET http://a.org HTTP/1.1\r\nHost: a.org\r\n\r\n", "a.org", 80, b"GET / HTTP/1.1"),
        (b"POST http://a.org:81/x?y HTTP/1.0\r\nProxy-A: x\r\n\r\n", "a.org", 81, b"POST /x?y HTTP/1.0"),
    ],
)
def test_a_request_is_read(head, host, port, first):
    found = parse_head(head)
    assert found[:2] == (host, port)
    assert (found[2] or b"").split(b"\r\n")[0] == (first or b"")
    assert b"Proxy" not in (found[2] or b"")


@pytest.mark.parametrize(
    "head",
    [b"", b"GET / HTTP/1.1", b"CONNECT a HTTP/1.1", b"\xff\xff ", b"CONNECT a:99999999 HTTP/1.1"],
)
def test_nonsense_is_refused(head):
    with pytest.raises(ValueError):  # noqa: PT011 whatever the words
        parse_head(head + b"\r\n\r\n")
