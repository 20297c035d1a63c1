"""`chi-edge-lab`: the command line. Each command is a module with a `main(argv) -> int` of its own."""

from __future__ import annotations

import importlib
import sys

from chi_edge_lab import __version__

# command -> (module, what it does)
COMMANDS = {
    "demo": ("chi_edge_lab.demo", "do the main job for real, one line a step"),
    "doctor": ("chi_edge_lab.core.doctor", "what was found, what works and what to do next"),
    "site": ("chi_edge_lab.local.cli", "start, stop and look at the local site on this machine"),
}

USAGE = "usage: chi-edge-lab COMMAND [OPTIONS]\n\n" + "".join(
    f"  {name:8} {text}\n" for name, (_, text) in COMMANDS.items()
)


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns its exit code (2 for a command that does not exist)."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if arguments[:1] == ["--version"]:
        print(f"chi-edge-lab {__version__}")
        return 0
    if not arguments or arguments[0] not in COMMANDS:
        if arguments:
            print(f"chi-edge-lab: there is no command {arguments[0]!r}.", file=sys.stderr)
        print(USAGE, end="", file=sys.stderr)
        return 2
    run = importlib.import_module(COMMANDS[arguments[0]][0]).main
    try:
        return int(run(arguments[1:]))
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        return 141


if __name__ == "__main__":
    sys.exit(main())
