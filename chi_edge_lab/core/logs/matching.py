"""The process that `patterns` starts: lines of files that match a regular expression. Knows nothing of the package."""

import json
import re
import resource
import sys
from array import array

_MEMORY = 1 << 30  # bytes of address space: a pattern must not take the machine's memory


def main() -> None:
    """Read the task from standard input, write the numbers of the lines file by file."""
    task = json.loads(sys.stdin.buffer.read())
    seconds = int(task["seconds"]) + 1
    # also when whoever started this is killed and cannot end it
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = sys.stdout.buffer
    try:
        search = re.compile(task["pattern"], 0 if task["case"] else re.IGNORECASE).search
    except (re.error, OverflowError, RecursionError, MemoryError) as problem:
        out.write(b"!" + (str(problem) or type(problem).__name__).encode("utf-8", "replace"))
        return
    out.write(b"=")
    ansi = re.compile(task["ansi"])
    for path, size, sequences in task["files"]:
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - pathlib takes as long to import as all the rest
                text = file.read(size).decode("utf-8", "surrogatepass")
        except FileNotFoundError:
            text = ""  # it has fallen off the ring
        if sequences:
            text = ansi.sub("", text)
        lines = text.split("\n")[:-1]
        found = array("I", [number for number, line in enumerate(lines) if search(line)])
        out.write(len(found).to_bytes(4, sys.byteorder) + found.tobytes())
        out.flush()


if __name__ == "__main__":
    main()
