"""The command lines that documents show: what a reader would type, found in blocks and in sentences."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from deploy.cli import COMMANDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
_FENCE = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:\.venv/bin/)?penstock [^`]+)`")
_SUBSTITUTED = re.compile(r"\$\([^)]*\)")
# Where a command line goes on to another command, or to a file.
_OPERATORS = re.compile(r"[|&;<>()]+")


@dataclass(frozen=True, slots=True)
class Shown:
    """One command line.

    Attributes:
        is_typed: it stands in a block; else a sentence names it.
        printed: what the block shows below it, where that begins with ``$``.
    """

    page: Path
    line: str
    is_typed: bool
    printed: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The words of the command, as far as its shell gives them to one program."""
        lexer = shlex.shlex(_SUBSTITUTED.sub("WORD", self.line), posix=True, punctuation_chars=True)
        lexer.wordchars += "{}[]%,@:…"
        words: list[str] = []
        for word in lexer:
            if _OPERATORS.fullmatch(word):
                break
            words.append(word)
        return words

    @property
    def name(self) -> str:
        """The page and the line, for people."""
        return f"{self.page.relative_to(ROOT)}: {self.line}"


def shown_in(page: Path) -> list[Shown]:
    """Return what a page shows of our commands and of curl, in its order; those of blocks first."""
    text = page.read_text()
    named = [_typed(command) for command in _INLINE.findall(_FENCE.sub("", text))]
    typed = [
        Shown(page, _typed(line), True, printed) for block in _FENCE.findall(text) for line, printed in _lines(block)
    ]
    shown = [one for one in typed if one.line.startswith(("penstock ", "curl "))]
    return shown + [Shown(page, line, False) for line in named if not _is_a_name(line)]


def synopses_in(page: Path) -> list[str]:
    """Return what a page shows of a program's options, each program with all of its lines."""
    blocks = [" ".join(block.split()) for block in _FENCE.findall(page.read_text())]
    return [block for block in blocks if block.startswith("penstock ") and " [--" in block]


def _lines(block: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the lines of a block that may be typed, each with what is shown below it."""
    if "├" in block:
        return []  # a picture of processes
    lines = block.replace("\\\n", " ").splitlines()
    if "$ " in block:
        parts = re.split(r"^ *\$ ", "\n".join(lines), flags=re.MULTILINE)[1:]
        return [(part.splitlines()[0], tuple(part.splitlines()[1:])) for part in parts]
    return [(line, ()) for line in lines if " [--" not in line and not line.strip().startswith("[--")]


def _typed(line: str) -> str:
    return " ".join(line.split()).removeprefix(".venv/bin/")


def _is_a_name(line: str) -> bool:
    """Whether it names a process, or a command as such, and nobody is to type it like this."""
    command, *more = line.split()[1:]
    if command in ("…", "COMMAND") or not more:
        return True
    return command in COMMANDS and COMMANDS[command].is_program and not any(word.startswith("-") for word in more)
