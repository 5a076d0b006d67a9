"""What the guides show is what the grammar takes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies import availability, grammar
from policies.document import parse
from policies.kinds import PolicyFile, kind_at
from policies.reference import policy_files_markdown

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
_BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^# ((?:[a-z]+/)?[a-z]+\.yaml)$", re.MULTILINE)


def shown() -> Iterator[tuple[str, str]]:
    """Each part of a file that a guide shows under a comment with the file's name."""
    for guide in GUIDES:
        for block in _BLOCK.findall(guide.read_text()):
            _, *parts = _FILE.split(block)
            yield from zip(parts[::2], parts[1::2], strict=True)


SHOWN = list(shown())


def test_the_guides_show_each_kind_of_file() -> None:
    assert {kind_at(path) for path, _ in SHOWN} >= {
        kind_at("mesh.yaml"),
        kind_at("limits.yaml"),
        kind_at("tests/a.yaml"),
    }


def test_the_guide_to_policy_files_speaks_of_every_key_at_the_top_of_a_file() -> None:
    guide = (DOCS / "how-to" / "policy-files.md").read_text()
    keys = re.findall(r"^\| \**`([a-z_]+)`", policy_files_markdown(), re.MULTILINE)
    assert len(keys) > 30
    assert [key for key in keys if not re.search(rf"`{key}|^ *{key}:", guide, re.MULTILINE)] == []


@pytest.mark.parametrize(("path", "text"), SHOWN, ids=[f"{number}-{path}" for number, (path, _) in enumerate(SHOWN)])
def test_each_part_that_a_guide_shows_is_right_as_far_as_it_goes(path: str, text: str) -> None:
    kind, document = kind_at(path), parse(text.encode(), path)
    assert kind is not None
    assert document.root is not None, document.errors
    mistakes = [error for error in grammar.check(document.root, kind.shape, path) if "is missing" not in error.problem]
    assert [*document.errors, *mistakes, *availability.check(PolicyFile(path, kind, document.root))] == []
