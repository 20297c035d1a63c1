"""`chi-edge-lab demo --check`: the main job, done for real through the public interface, one line a step.

Each step checks what it did against something found out another way (a checksum computed here, an HTTP answer, a
lookup that must fail); the exit code is 0 only when all of it was true.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import ProxyHandler, build_opener

from chi_edge_lab.errors import EdgeLabError

if TYPE_CHECKING:
    from chi_edge_lab.container import Container
    from chi_edge_lab.core.terminal import Terminal
    from chi_edge_lab.zun import Client

WORK = "/tmp/work"  # noqa: S108 - a directory of the container, which is ours alone
PORT = 8080
SECONDS_FOR_WORK = 60.0

# What the container runs: it waits for the work, does it, then serves the result.
# As pid 1 it must handle TERM itself, or each stop takes its full ten seconds.
COMMAND = f"""
trap 'exit 0' TERM
echo waiting for work
until [ -e {WORK}/job/go ]; do sleep 0.1; done
sh {WORK}/job/count.sh {WORK}/job {WORK}/result.csv
cd {WORK}
if command -v python3 >/dev/null; then python3 -m http.server {PORT} & else busybox httpd -f -p {PORT} & fi
wait
"""

# A job that any image with a shell can do: the size and checksum of each sample.
JOB = """
folder=$1 result=$2
echo name,bytes,sha256 >"$result"
for sample in "$folder"/samples/*; do
    sum=$(sha256sum "$sample")
    echo "${sample##*/},$(wc -c <"$sample" | tr -d ' '),${sum%% *}" >>"$result"
    echo "counted ${sample##*/}"
done
echo all done
"""


class CheckFailed(Exception):
    """A step ran but what it left is not what it should be."""


def require(condition: object, sentence: str) -> None:
    """Raise CheckFailed with this sentence unless the condition holds."""
    if not condition:
        raise CheckFailed(sentence)


class Demo:
    """The steps, in order; each returns the detail to print."""

    def __init__(self, site: str | None, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self.name = f"demo-{uuid.uuid4().hex[:8]}"
        self.container: Container | None = None
        self.expected: dict[str, str] = {}

    @property
    def made(self) -> Container:
        """The container; only for the steps after `create`."""
        assert self.container is not None
        return self.container

    @property
    def id(self) -> str:
        """Its uuid."""
        assert self.made.id is not None
        return self.made.id

    @property
    def client(self) -> Client:
        from chi_edge_lab import sites, zun

        return zun.client_for(sites.current())

    def log_in(self) -> str:
        from chi_edge_lab import sites

        if self.site:
            sites.use_site(self.site)
        login = sites.current()
        return f"{login.site}, project {login.project_name}, Zun {self.client.version} ({self.client.dialect.name})"

    def create(self) -> str:
        from chi_edge_lab import container
        from chi_edge_lab.core.create import catalogue

        image = next(iter(catalogue(self.client)), "busybox")
        self.container = container.Container(
            self.name, image, exposed_ports=[PORT], command=["sh", "-c", COMMAND], environment={"DEMO": "yes"}
        )
        self.container.submit(wait_for_active=False, show=None)
        require(self.container.id, "The container has no id after submit.")
        return f"{self.name} from {image}"

    def wait(self) -> str:
        self.made.wait("Running", timeout=SECONDS_FOR_WORK)
        require(self.made.status == "Running", f"The container is {self.made.status}.")
        return f"Running, created {self.made.created_at:%H:%M:%S}" if self.made.created_at else "Running"

    def execute(self) -> str:
        output, code = self.made.execute("sh -c 'echo \"$DEMO, I am $(id -u) on $(uname -s)\"; exit 3'")
        require("yes, I am 0 on Linux" in output, f"The command printed {output!r}.")
        require(int(code) == 3, f"The command ended with {code} instead of 3.")
        return output.strip()

    def upload(self) -> str:
        job = self.folder / "job"
        (job / "samples").mkdir(parents=True)
        (job / "count.sh").write_text(JOB)
        for number, size in enumerate((0, 1, 5_000, 300_000)):
            content = hashlib.shake_128(bytes([number])).digest(
                size
            )  # the same on every run, and incompressible
            (job / "samples" / f"sample {number}.bin").write_bytes(content)
            self.expected[f"sample {number}.bin"] = f"{size},{hashlib.sha256(content).hexdigest()}"
        self.made.execute(f"mkdir -p {WORK}")
        self.made.upload(str(job), WORK)
        listed, _ = self.made.execute(f"ls {WORK}/job/samples")
        require(listed.split("\n")[:-1] == sorted(self.expected), f"The container lists {listed!r}.")
        return f"{len(self.expected) + 1} files, {sum(int(e.split(',')[0]) for e in self.expected.values())} bytes"

    def run(self) -> str:
        self.made.execute(f"touch {WORK}/job/go")
        return "sh count.sh, in the container"

    def follow_log(self) -> str:
        from chi_edge_lab.core import logs

        lines: list[str] = []
        deadline = time.monotonic() + SECONDS_FOR_WORK
        for line in logs.follow(self.client, self.id, cancel=lambda: time.monotonic() > deadline):
            lines.append(line.text)
            if line.text == "all done":
                break
        wanted = ["waiting for work", *(f"counted {name}" for name in self.expected), "all done"]
        require(lines == wanted, f"The log reads {lines}.")
        return f"{len(lines)} lines, each once"

    def download(self) -> str:
        self.made.download(f"{WORK}/result.csv", str(self.folder))
        rows = dict(row.split(",", 1) for row in (self.folder / "result.csv").read_text().splitlines()[1:])
        require(rows == self.expected, "The checksums of the container and of this machine differ.")
        return f"{len(rows)} checksums agree"

    def terminal(self) -> str:
        from chi_edge_lab.core.terminal import Terminal

        terminal: Terminal
        with Terminal(self.client, self.id) as terminal:
            terminal.write("echo $((6 * 7))=answer\n")
            terminal.read_until(b"42=answer", timeout=15)
        return "echoed 42"

    def floating_ip(self) -> str:
        address = self.made.associate_floating_ip()
        require(address, "No floating IP was given.")
        url = f"http://{address}:{PORT}/result.csv"
        local = (self.folder / "result.csv").read_bytes()
        opener = build_opener(ProxyHandler({}))  # a proxy of the environment does not know this address
        deadline = time.monotonic() + 15
        while True:
            try:
                with opener.open(url, timeout=5) as answer:
                    served = answer.read()
                break
            except OSError as error:
                require(time.monotonic() < deadline, f"{url} does not answer: {error}.")
                time.sleep(0.1)
        require(served == local, f"{url} serves something else.")
        self.made.detach_floating_ip(address)
        return f"{url} answered"

    def snapshot(self) -> str:
        from chi_edge_lab import container

        dialect = self.client.dialect
        if not dialect.supports("commit"):
            return f"not on this site: {dialect.reason('commit')}"
        return f"image {container.snapshot_container(self.id, self.name)}"

    def delete(self) -> str:
        from chi_edge_lab import container

        id = self.id
        self.made.delete()
        deadline = time.monotonic() + SECONDS_FOR_WORK
        while any(listed.id == id for listed in container.list_containers()):
            require(time.monotonic() < deadline, "The container is still listed.")
            time.sleep(0.1)
        self.container = None
        return "gone"

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        return [
            ("log in", self.log_in),
            ("create a container", self.create),
            ("wait until it runs", self.wait),
            ("run a command", self.execute),
            ("upload a folder", self.upload),
            ("run it", self.run),
            ("follow its log", self.follow_log),
            ("download the result", self.download),
            ("open a terminal", self.terminal),
            ("reach it by floating IP", self.floating_ip),
            ("snapshot", self.snapshot),
            ("delete", self.delete),
        ]


def run(site: str | None) -> int:
    """Do all steps on a site (None: the one that is found); returns the exit code."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="chi-edge-lab-demo-") as folder:
        demo = Demo(site, Path(folder))
        try:
            for number, (title, step) in enumerate(demo.steps(), 1):
                started = time.perf_counter()
                mark, detail = "ok  ", ""
                try:
                    detail = step()
                except (EdgeLabError, CheckFailed) as error:
                    mark, detail = "FAIL", str(error)
                print(
                    f"{mark} {number:2} {title:24}{time.perf_counter() - started:7.2f} s  {detail}",
                    flush=True,
                )
                if mark == "FAIL":
                    return 1
        finally:
            if demo.container is not None and demo.container.id:
                try:
                    demo.container.delete()
                except EdgeLabError as error:
                    print(f"The container {demo.name} is left behind: {error}", file=sys.stderr)
    print(f"All of it was true, in {time.perf_counter() - began:.1f} s.")
    return 0


def main(argv: list[str]) -> int:
    """The command line of the demo."""
    parser = argparse.ArgumentParser(
        prog="chi-edge-lab demo", description=__doc__.split("\n")[0] if __doc__ else None
    )
    parser.add_argument(
        "--check", action="store_true", help="do the steps and check each (what it does without, too)"
    )
    parser.add_argument(
        "--site", help="local (default), local-zun, or any site that `chi-edge-lab doctor` lists"
    )
    options = parser.parse_args(argv)
    return run(options.site or "local")
