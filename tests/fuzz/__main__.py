"""``python -m tests.fuzz TARGET [--seconds N]``: look for inputs that break a target, with atheris where there is one.

libFuzzer writes what it finds into the folder it was started in; keep it in ``tests/fuzz/corpus/TARGET``, where the
replay test reads it for ever after.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parent
_MAX_INPUT_BYTES = 8 * 1024 + 1


def targets() -> list[str]:
    """Return the names of all targets."""
    return sorted(path.name.removesuffix("_target.py") for path in FOLDER.glob("*_target.py"))


def target(name: str) -> ModuleType:
    """Return the module with ``fuzz`` and ``seeds`` of one target."""
    return importlib.import_module(f"tests.fuzz.{name}_target")


def kept(name: str) -> list[Path]:
    """Return the inputs that were found once."""
    return sorted((FOLDER / "corpus" / name).glob("*"))


def main() -> int:
    """Fuzz one target; returns only when it cannot begin."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=targets())
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        print("atheris is not installed (pip install atheris); `pytest tests/fuzz` replays what is kept without it")
        return 1
    with atheris.instrument_imports(include=["model_pod.wire", "tests.fuzz"]):
        module = target(options.target)
    with tempfile.TemporaryDirectory(prefix="penstock-fuzz-") as folder:
        for seed in (*module.seeds(), *(path.read_bytes() for path in kept(options.target))):
            (Path(folder) / hashlib.sha256(seed).hexdigest()).write_bytes(seed)
        bounds = [f"-max_total_time={options.seconds}", f"-max_len={_MAX_INPUT_BYTES}", "-timeout=10"]
        atheris.Setup([sys.argv[0], folder, *bounds], module.fuzz)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
