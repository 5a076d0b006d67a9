"""What the documents point at exists: files behind links, and modules behind names."""

from __future__ import annotations

import ast
import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)[^)]*\)")
_PART = re.compile(r"\]\((?!https?://)([^)#]*)#([^)]+)\)")
_BLOCK = re.compile(r"^ *```(python|json|yaml)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_MODULE = re.compile(r"`((?:gateway|model_pod|telemetry|policies|deploy)(?:\.[a-z_0-9]+)+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = [target for target in _LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_part_of_a_page_finds_it(page: Path) -> None:
    links = [(page.parent / path if path else page, part) for path, part in _PART.findall(page.read_text())]
    assert [(to.name, part) for to, part in links if to.suffix == ".md" and part not in _parts(to)] == []


def _parts(page: Path) -> set[str]:
    """The names by which the parts of a page are linked to, as a forge makes them from headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    texts = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_shown_in_a_language_can_be_read_in_it(page: Path) -> None:
    readers: dict[str, Callable[[str], object]] = {"python": ast.parse, "json": json.loads, "yaml": yaml.safe_load}
    for language, block in _BLOCK.findall(page.read_text()):
        readers[language](textwrap.dedent(block))
