"""Walks through a guide as its reader would: saves the files that it shows, types its commands, waits where it says.

In the guide's text:

- a block that begins with ``# PATH.yaml`` is saved as that file of DIR, which ``cp -r policies/demo DIR`` or
  ``mkdir -p DIR/routes DIR/tenants`` has made;
- a block of ``sh`` is typed, and must succeed; with ``<!-- beside -->`` before it, it is typed into a terminal of its
  own, where it goes on until the end;
- ``<!-- until SECONDS: COMMAND -->`` waits until the command succeeds: the reader looks again and again;
- with ``<!-- shows -->`` before it, a block shows what the last command prints, about: each of its lines is in one of
  those that were printed, in this order, whatever the numbers, ids and spaces are, and whatever stands for ``…``;
- any other block shows something.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_PART = re.compile(
    r"^<!-- until (?P<within_s>\d+): (?P<until>[^\n]+) -->$"
    r"|^<!-- (?P<beside>beside) -->$"
    r"|^<!-- (?P<shows>shows) -->$"
    r"|^```(?P<language>\w*)\n(?P<block>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_POLICIES = re.compile(r"^(?:cp -r policies/demo|mkdir -p \S+/routes) ([^\s/]+)(?:/tenants)?$", re.MULTILINE)
_FILE = re.compile(r"^# ((?:[a-z]+/)?[a-z]+\.yaml)\n")
# An id, then a number with whatever belongs to it.
_ID = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b")
_NUMBER = re.compile(r"-?\d[\d.,:]*")
_BAR = re.compile(r"[\u2580-\u259f]+")
_LOOK_EVERY_S = 1.0
_TYPED_WITHIN_S = 300.0
_ENDED_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Save:
    """Save a file."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Type:
    """Type commands; ``is_beside`` ones go on."""

    script: str
    is_beside: bool = False


@dataclass(frozen=True, slots=True)
class Until:
    """Look again and again."""

    command: str
    within_s: float


@dataclass(frozen=True, slots=True)
class Shown:
    """Compare what was printed last with these lines."""

    lines: tuple[str, ...]


Step = Save | Type | Until | Shown


def steps_of(guide: str) -> list[Step]:
    """Return what a reader does, in order."""
    copied = _POLICIES.search(guide)
    policies = Path(copied[1]) if copied else Path()
    steps: list[Step] = []
    is_beside = shows = False
    for part in _PART.finditer(guide):
        if part["beside"]:
            is_beside = True
        elif part["shows"]:
            shows = True
        elif part["until"]:
            steps.append(Until(part["until"], float(part["within_s"])))
        elif part["language"] == "sh":
            steps.append(Type(part["block"], is_beside))
            is_beside = False
        elif shows:
            steps.append(Shown(tuple(part["block"].splitlines())))
            shows = False
        elif named := _FILE.match(part["block"]):
            steps.append(Save(policies / named[1], part["block"]))
    return steps


def walk(guide: str, home: Path, environ: Mapping[str, str] | None = None) -> None:
    """Do what the guide says in this directory; what goes on beside is ended at the end.

    Raises:
        AssertionError: a command failed, nothing came of waiting, or what was printed is not what the guide shows; with
            what the terminals beside showed.
    """
    environ = os.environ if environ is None else environ
    printed = ""
    with ExitStack() as beside:
        for number, step in enumerate(steps_of(guide)):
            match step:
                case Save(path, text):
                    (home / path).write_text(text)
                case Type(script, True):
                    beside.enter_context(_terminal(script, home, environ, home / f"terminal-{number}.txt"))
                case Type(script):
                    printed = _typed(script, home, environ)
                case Until(command, within_s):
                    _look(command, within_s, home, environ)
                case Shown(lines):
                    missing = not_printed(lines, printed)
                    assert not missing, f"it does not print\n{missing}\nbut\n{printed}{_screens(home)}"


def not_printed(shown: Sequence[str], printed: str) -> str:
    """Return the first line that a guide shows and that was not printed after those before it; "" when all were."""
    lines = iter([_shape(line) for line in printed.splitlines()])
    for wanted in shown:
        pattern = ".*".join(re.escape(_shape(part)) for part in wanted.split("…"))
        if not any(re.search(pattern, line) for line in lines):
            return wanted
    return ""


def _shape(line: str) -> str:
    """Return a line without what differs from one time to the next."""
    return " ".join(_NUMBER.sub("0", _ID.sub("0", _BAR.sub("", line))).split())


@contextmanager
def _terminal(script: str, home: Path, environ: Mapping[str, str], shown: Path) -> Iterator[None]:
    with shown.open("w") as screen:
        shell = subprocess.Popen(
            ["bash", "-euc", script], cwd=home, env=environ, stdout=screen, stderr=screen, start_new_session=True
        )
        try:
            yield
        finally:
            _end(shell)


def _end(shell: subprocess.Popen[bytes]) -> None:
    """Press Ctrl-C, and close the window on what does not end."""
    for ending in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(shell.pid, ending)
            shell.wait(_ENDED_WITHIN_S)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            shell.wait()
        return


def _typed(script: str, home: Path, environ: Mapping[str, str]) -> str:
    done = _run(script, home, environ)
    assert done.returncode == 0, f"{script}\n{done.stdout}{_screens(home)}"
    return done.stdout


def _look(command: str, within_s: float, home: Path, environ: Mapping[str, str]) -> None:
    give_up_s = time.monotonic() + within_s
    while (done := _run(command, home, environ)).returncode != 0:
        assert time.monotonic() < give_up_s, f"not within {within_s:g} s: {command}\n{done.stdout}{_screens(home)}"
        time.sleep(_LOOK_EVERY_S)


def _run(script: str, home: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euc", script],
        cwd=home,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TYPED_WITHIN_S,
        check=False,
    )


def _screens(home: Path) -> str:
    return "".join(f"\n--- {shown.name}\n{shown.read_text()}" for shown in sorted(home.glob("terminal-*.txt")))
