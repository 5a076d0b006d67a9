"""Makes the environment that ``tritonclient`` lives in, apart from the project's own; kept between runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
CACHE = Path(__file__).parents[3] / ".cache"
_INSTALLS_WITHIN_S = 300.0


class NotInstalled(Exception):
    """pip could not install the client; the text is the last thing that it said."""


def python_with_tritonclient() -> Path:
    """Return the interpreter of an environment that has exactly the pinned requirements.

    Raises:
        NotInstalled: there is none yet, and pip cannot make one (without a network, say).
    """
    environment = CACHE / "tritonclient-venv"
    python, installed = environment / "bin" / "python", environment / "installed.txt"
    if not (installed.exists() and installed.read_bytes() == REQUIREMENTS.read_bytes()):
        _make(environment, python)
        shutil.copyfile(REQUIREMENTS, installed)
    return python


def _make(environment: Path, python: Path) -> None:
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True, capture_output=True)
    command: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--retries", "1", "-r", REQUIREMENTS]
    pip = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALLS_WITHIN_S)
    if pip.returncode != 0:
        raise NotInstalled((pip.stderr.strip().splitlines() or ["pip said nothing"])[-1])
