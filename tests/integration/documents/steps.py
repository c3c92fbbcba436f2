"""The steps of a document's section: commands as they are pasted, what they print, and files to be written between."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

__all__ = ["Command", "File", "printed", "script", "steps_of"]

_BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"`([\w.-]+\.(?:py|mjs|yaml|html))`")
_MARK = "--- the end of step"


@dataclass(frozen=True)
class Command:
    """A command, and the lines that it prints; "…" stands for what varies."""

    text: str
    prints: str


@dataclass(frozen=True)
class File:
    """A file to be written where the shell is. Its name is the last one that stands before it."""

    name: str
    text: str


def steps_of(document: str, heading: str) -> Iterator[Command | File]:
    """Read the steps of a section of the second level, in their order."""
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", document, re.DOTALL | re.MULTILINE)
    name = ""
    ended = 0
    for block in _BLOCK.finditer(section):
        name = next(reversed(_FILE.findall(section[ended : block.start()])), name)
        ended = block.end()
        if block["kind"] == "console":
            yield from _commands(block["text"])
        elif block["kind"]:
            yield File(name, block["text"])


def script(steps: list[Command | File]) -> str:
    """Write a script for sh that takes the steps in one shell, and marks where each command has ended."""
    lines = ["set -e"]
    for step in steps:
        match step:
            case File():
                lines.append(f"printf %s {shlex.quote(step.text)} > {step.name}")
            case Command():
                lines += [step.text, f"echo {shlex.quote(_MARK)}"]
    return "\n".join(lines)


def printed(output: str) -> list[str]:
    """Give what each command of a script has printed."""
    return output.split(f"{_MARK}\n")[:-1]


def _commands(text: str) -> Iterator[Command]:
    """A command begins with "$ ", and goes on as long as a line ends with a backslash or a bar."""
    lines: list[tuple[int, bool, str]] = []
    number, goes_on = 0, False
    for line in text.splitlines():
        is_command = goes_on or line.startswith("$ ")
        number += is_command and not goes_on
        lines.append((number, is_command, line.removeprefix("$ ") if is_command and not goes_on else line))
        goes_on = is_command and line.endswith(("\\", "|"))
    for _, group in groupby(lines, key=lambda line: line[0]):
        of_one = list(group)
        yield Command(
            "\n".join(line for _, is_command, line in of_one if is_command),
            "".join(f"{line}\n" for _, is_command, line in of_one if not is_command),
        )
