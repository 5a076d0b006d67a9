"""The demo's policies with one of its models, for tests that count pods."""

import re
import shutil
from pathlib import Path

DEMO = Path(__file__).parents[1] / "policies" / "demo"


def lay_out_digits(directory: Path) -> None:
    """Copy the demo's policies less the model text, with ports that nobody else has."""
    shutil.copytree(DEMO, directory)
    (directory / "routes" / "text.yaml").unlink()
    _edit(directory / "tenants" / "demo.yaml", r"\[digits, text\]", "[digits]")
    _edit(directory / "slos.yaml", r"  - name: text-(?s:.*)", "")
    _edit(directory / "mesh.yaml", r"127\.0\.0\.1:\d+", "127.0.0.1:0")


def _edit(file: Path, pattern: str, new: str) -> None:
    text, count = re.subn(pattern, new, file.read_text())
    assert count, pattern
    file.write_text(text)
