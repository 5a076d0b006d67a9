"""``python -m deploy.demo``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from deploy.demo import text_archive
from deploy.demo.__main__ import main
from deploy.demo.data import load_split


def test_png_draws_a_held_out_digit_and_says_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["png", str(tmp_path)]) == 0
    _, held_out = load_split()
    assert f"the digit {held_out.labels[0]}" in capsys.readouterr().out
    with Image.open(tmp_path / "digit.png") as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (80, 80))


def test_text_prints_a_body_for_the_text_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["text", 'the "old" mill — by the weir']) == 0
    assert json.loads(capsys.readouterr().out) == {"text": 'the "old" mill — by the weir'}


def test_build_makes_the_named_archive_and_prints_its_accuracy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", str(tmp_path), "digits-1.mar"]) == 0
    assert "% right on 360 held-out digits" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["digits-1.mar"]


def test_an_archive_that_cannot_be_made_does_not_keep_the_others_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_archive, "PACKAGE", "no_such_package_here")
    assert main(["build", str(tmp_path), "text-1.mar", "digits-1.mar"]) == 1
    assert "text-1.mar cannot be made: the package no-such-package-here is not installed" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["digits-1.mar"]


def test_an_unknown_archive_is_refused_with_those_that_are_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["build", str(tmp_path), "cats.mar"])
    assert "it makes digits-1.mar, text-1.mar, digits-2.mar, digits-broken.mar" in capsys.readouterr().err
