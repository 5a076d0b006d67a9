"""What the documents point at exists: files behind links, and modules behind names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)[^)]*\)")
_MODULE = re.compile(r"`((?:gateway|model_pod|telemetry|policies|deploy)(?:\.[a-z_0-9]+)+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = [target for target in _LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert dead == []


def test_every_module_that_the_architecture_names_exists() -> None:
    names = _MODULE.findall((ROOT / "docs" / "architecture.md").read_text())
    assert len(names) > 10
    assert [name for name in names if not _exists(name)] == []


def _exists(name: str) -> bool:
    """A module, a package, or something that a module defines."""
    path = ROOT / name.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    module = path.parent.with_suffix(".py")
    return (
        module.is_file() and re.search(rf"^(?:def|class) {path.name}\b", module.read_text(), re.MULTILINE) is not None
    )
