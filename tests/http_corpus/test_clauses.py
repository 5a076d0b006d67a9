"""The page about HTTP names what is there: every test, every file of the corpus, every table."""

from __future__ import annotations

import re
from pathlib import Path

from tests.http_corpus.cases import REFUSED_FILES, hostile, hostile_answers, legal, legal_answers

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "http.md").read_text()
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 8
    assert [name for name in named if f"def {name}(" not in TESTS] == []


def test_every_class_of_the_corpus_is_named_for_a_clause() -> None:
    clauses = PAGE.partition("## Clauses")[2].partition("## Attacks")[0]
    named = set(re.findall(r"`([a-z_ ]+)`", clauses))
    assert {case.kind for case in hostile()} <= named
    assert set(REFUSED_FILES) <= named


def test_the_corpus_is_as_large_as_the_page_says() -> None:
    written = re.search(
        r"over ([\d,]+) hostile requests, (\d+) legal ones, (\d+) hostile answers and (\d+) legal", PAGE
    )
    assert written is not None
    said = [int(number.replace(",", "")) for number in written.groups()]
    have = [len(list(cases)) for cases in (hostile(), legal(), hostile_answers(), legal_answers())]
    assert all(count <= there for count, there in zip(said, have, strict=True)), (said, have)
