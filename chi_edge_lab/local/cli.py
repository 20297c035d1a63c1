"""`chi-edge-lab site ...`: the local site's command line.

Exit codes: 0 it is so, 1 it is not (one sentence on stderr), 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chi_edge_lab import __version__
from chi_edge_lab.local import process, runtime
from chi_edge_lab.local.client import SiteClient
from chi_edge_lab.local.config import (
    DOMAIN_NAME,
    ENGINES,
    PROFILES,
    REGION,
    SiteConfig,
    SiteProblem,
    default_directory,
    make_private,
)

log = logging.getLogger(__name__)

STALE = (
    "OS_CLOUD", "OS_TOKEN", "OS_PROJECT_ID", "OS_TENANT_NAME", "OS_TENANT_ID", "OS_USER_ID",
    "OS_USER_DOMAIN_ID",
    "OS_PROJECT_DOMAIN_ID", "OS_DOMAIN_NAME", "OS_DOMAIN_ID", "OS_SYSTEM_SCOPE", "OS_TRUST_ID",
    "OS_APPLICATION_CREDENTIAL_ID", "OS_APPLICATION_CREDENTIAL_NAME", "OS_APPLICATION_CREDENTIAL_SECRET",
    "OS_ACCESS_TOKEN", "OS_IDENTITY_PROVIDER", "OS_PROTOCOL", "OS_ENDPOINT_OVERRIDE",
)  # fmt: skip
"""Variables of another login that would contradict ours; `env` unsets them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Prints sentences, never a traceback."""
    parser = _parser()
    try:
        options, unknown = parser.parse_known_args(argv)
        if options.parser is None:
            parser.print_help(sys.stderr)
            return 2
        if unknown:  # told by the command's parser, because the usage of all of them does not help
            options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    except SystemExit as end:  # argparse has printed its message
        return end.code if isinstance(end.code, int) else 2
    if options.directory is None:
        options.directory = default_directory(options.profile or PROFILES[0])
    options.directory = Path(options.directory).expanduser().absolute()
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except SiteProblem as error:
        _complain(options, str(error), error.hint)
    except KeyboardInterrupt:
        _complain(
            options, "Interrupted; the site is as it was, or still starting: see `chi-edge-lab site status`."
        )
    except BrokenPipeError:  # `site env | head`: whoever read has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _complain(options, f"{error.strerror or error}{where}.")
    except Exception as error:
        log.debug("command failed", exc_info=True)
        _complain(options, f"This should not have happened: {type(error).__name__}: {error}.")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chi-edge-lab site",
        description="A Zun site on this machine: real containers, for your own code only.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--profile",
        choices=PROFILES,
        help="what the site does and refuses: as CHI@Edge (default) or as upstream Zun",
    )
    common.add_argument(
        "--dir", dest="directory", metavar="DIR", help="directory of the site (default: one per profile)"
    )
    common.add_argument("--json", action="store_true", help="print JSON")
    engine = argparse.ArgumentParser(add_help=False)
    engine.add_argument("--engine", choices=ENGINES, default="auto", help="what runs the containers")
    commands = parser.add_subparsers(metavar="COMMAND")
    parser.set_defaults(parser=None)

    def add(
        name: str, run: Callable[[argparse.Namespace], int], text: str, *more: argparse.ArgumentParser
    ) -> Any:
        sub = commands.add_parser(name, help=text, description=text, parents=[common, *more])
        sub.set_defaults(command=run, parser=sub)
        return sub

    add("start", _start, "start the site, unless it runs", engine)
    add("stop", _stop, "stop the site; its containers go on and are there again at the next start")
    add("destroy", _destroy, "stop the site, delete its containers and remove all its files")
    add("status", _status, "say whether the site runs (exit code 1: it does not)")
    env = add("env", _env, "print OS_* variables for other programs; starts the site if need be", engine)
    env.add_argument("--user", default="edge", help="edge (default), other (a stranger), admin")
    images = add("images", _images, "list the images of the site; starts the site if need be", engine)
    change = images.add_mutually_exclusive_group()
    change.add_argument(
        "--add", nargs=2, metavar=("NAME", "FILE"), help="add an image from a tar of its files"
    )
    change.add_argument("--remove", metavar="NAME", help="remove an image")
    serve = add("serve", _serve, "run the site in the foreground", engine)
    serve.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    return parser


def _start(options: argparse.Namespace) -> int:
    began = time.monotonic()
    running, new = process.start(options.directory, options.profile, options.engine)
    if options.json:
        _print({**dataclasses.asdict(running), "started": new})
    else:
        how = f"started in {time.monotonic() - began:.1f} s" if new else "already runs"
        print(
            f"The local site {how}: profile {running.profile}, engine {running.engine}, {running.auth_url} "
            f"(process {running.pid}, files in {running.directory})"
        )
        if running.version != __version__:
            print(f"It is of version {running.version}; stop and start it to run {__version__}.")
    return 0


def _stop(options: argparse.Namespace) -> int:
    ended = process.stop(options.directory)
    if options.json:
        _print({"stopped": ended is not None, "directory": str(options.directory)})
    elif ended is None:
        print("The local site is not running.")
    else:
        print("The local site has stopped. Its containers go on; they are there again at the next start.")
    return 0


def _destroy(options: argparse.Namespace) -> int:
    count = process.destroy(options.directory)
    if options.json:
        _print({"destroyed": True, "containers": count, "directory": str(options.directory)})
    else:
        print(f"The local site is gone: {count} container(s) and {options.directory}.")
    return 0


def _status(options: argparse.Namespace) -> int:
    running = runtime.find(options.directory)
    answers = running is not None and process.answers(running)
    there = (options.directory / "site.json").exists()
    count = SiteConfig.open(options.directory).count_containers() if there else 0
    if options.json:
        said = dataclasses.asdict(running) if running else {"directory": str(options.directory)}
        _print({"running": running is not None, "answers": answers, "containers": count, **said})
    elif running is None:
        print(f"The local site is not running ({count} container(s), files in {options.directory}).")
    elif not answers:
        print(f"The local site runs (process {running.pid}) but does not answer.")
    else:
        print(
            f"The local site runs: profile {running.profile}, engine {running.engine}, {running.auth_url} "
            f"({count} container(s), process {running.pid}, files in {running.directory})"
        )
    return 0 if answers else 1


def _env(options: argparse.Namespace) -> int:
    running, new = process.start(options.directory, options.profile, options.engine)
    if new:
        print(f"The local site was started (process {running.pid}).", file=sys.stderr)
    config = SiteConfig.open(options.directory)
    account = config.secrets.account(options.user)
    variables = {
        "OS_AUTH_URL": running.auth_url,
        "OS_AUTH_TYPE": "password",
        "OS_USERNAME": account.name,
        "OS_PASSWORD": account.password,
        "OS_PROJECT_NAME": account.name,
        "OS_USER_DOMAIN_NAME": DOMAIN_NAME,
        "OS_PROJECT_DOMAIN_NAME": DOMAIN_NAME,
        "OS_REGION_NAME": REGION,
        "OS_IDENTITY_API_VERSION": "3",
        "OS_INTERFACE": "public",
    }
    reservation = config.standing_reservation(account.project_id)
    if reservation:
        variables["CHI_EDGE_LAB_RESERVATION_ID"] = reservation
    if options.json:
        _print(variables)
    else:
        print("unset", *STALE)
        for name, value in variables.items():
            print(f"export {name}={shlex.quote(value)}")
    return 0


def _images(options: argparse.Namespace) -> int:
    running, _ = process.start(options.directory, options.profile, options.engine)
    account = SiteConfig.open(options.directory).secrets.account("admin")
    with SiteClient(running, account) as site:
        if options.add:
            name, path = options.add
            images = [site.add_image(name, Path(path).expanduser().absolute())]
        elif options.remove:
            site.remove_image(options.remove)
            images = []
        else:
            images = site.images()
    if options.json:
        _print(images)
    elif options.remove:
        print(f"The image {options.remove} is removed.")
    else:
        for image in images:
            print(f"{image['name']:<24} {image['size'] / 1e6:>8.1f} MB  {image['provenance']}")
    return 0


def _serve(options: argparse.Namespace) -> int:
    if options.ready_fd is not None:
        process.serve_detached(options.directory, options.profile, options.engine, options.ready_fd)
        return 0

    def ready(running: runtime.Runtime) -> None:
        print(
            f"The local site answers at {running.auth_url}; Ctrl-C ends it, its containers go on.", flush=True
        )

    make_private(options.directory)
    process.log_to(options.directory / "site.log")
    process.serve(options.directory, options.profile, options.engine, ready)
    return 0


def _print(data: object) -> None:
    print(json.dumps(data, indent=1))


def _complain(options: argparse.Namespace, sentence: str, hint: str = "") -> None:
    if options.json:
        _print({"error": sentence, **({"hint": hint} if hint else {})})
    print(f"{sentence} {hint}".rstrip(), file=sys.stderr)
