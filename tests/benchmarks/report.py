"""What a reader needs to judge a figure: the machine, the interpreter, the commit, and tables that line up."""

from __future__ import annotations

import os
import platform
import subprocess
import sysconfig
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]


def describe_run() -> str:
    """Return four lines: when and what ran, on which machine, with which interpreter."""
    return "\n".join(
        (
            f"date         {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            f"commit       {read_commit(ROOT)}",
            f"machine      {cpu_model(Path('/proc/cpuinfo').read_text())}, "
            f"{len(os.sched_getaffinity(0))} cores, Linux {platform.release()} {platform.machine()}",
            f"interpreter  {platform.python_implementation()} {platform.python_version()}, {python_build()}",
        )
    )


def read_commit(root: Path) -> str:
    """Return the short commit, and whether files differ from it; says so where there is none."""
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return "none (not a git checkout with a commit)"
    return f"{commit} with local changes" if _git(root, "status", "--porcelain") else commit


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False, timeout=10
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def cpu_model(cpuinfo: str) -> str:
    """Return the processor's name from the text of /proc/cpuinfo; aarch64 kernels do not give one."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return "unnamed processor"


def python_build() -> str:
    """Return how the interpreter was optimised, which is worth about a seventh of the gateway's cost."""
    flags = " ".join(str(sysconfig.get_config_var(name) or "") for name in ("CONFIG_ARGS", "PY_CFLAGS", "PY_LDFLAGS"))
    return build_flags(flags)


def build_flags(flags: str) -> str:
    """Read PGO and LTO from an interpreter's configure arguments and compiler flags."""
    has_pgo = "--enable-optimizations" in flags or "-fprofile-use" in flags
    has_lto = "--with-lto" in flags or "-flto" in flags
    return f"{'PGO' if has_pgo else 'no PGO'}, {'LTO' if has_lto else 'no LTO'}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows in columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return "\n".join(_line(row, widths) for row in (header, ["-" * width for width in widths], *rows))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join((first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others))).rstrip()
