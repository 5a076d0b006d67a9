"""Which module of an archive handles, and what is said where none does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ts.context import Context

from model_pod.engine.handler import HandlerUnusable, load_handler


@pytest.mark.parametrize("named", ["image_classifier", "image_classifier.py", "src/image_classifier.py:handle"])
def test_a_handler_that_is_nowhere_is_told_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    context = Context("lengths", str(tmp_path), {}, 1, None, "1")
    with pytest.raises(HandlerUnusable, match=r"no image_classifier\.py in the archive"):
        load_handler(tmp_path, named, context)


@pytest.mark.parametrize(
    ("named", "part"),
    [
        ("text_classifier", "TorchServe's handler of that name is not built in here"),
        ("mine.py", "no handler of that name"),
    ],
)
def test_a_handler_that_torchserve_would_have_built_in_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, part: str
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(HandlerUnusable, match=part):
        load_handler(tmp_path, named, Context("lengths", str(tmp_path), {}, 1, None, "1"))
