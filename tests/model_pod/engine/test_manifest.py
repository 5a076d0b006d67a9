from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_pod.engine.manifest import Manifest, name_from_file, parse_manifest, read_manifest, split_handler


def test_legacy_keys_are_ignored_and_kept_for_the_handler() -> None:
    raw = {
        "specificationVersion": "1.0",
        "engine": {"engineName": "x"},
        "model": {"modelName": "m", "handler": "h:f", "modelVersion": 2},
    }
    assert parse_manifest(json.dumps(raw).encode(), "a.mar") == Manifest("m", "2", "h:f", raw=raw)


def test_a_missing_name_and_version_are_filled_in() -> None:
    manifest = parse_manifest(b'{"model": {"handler": "h.py"}}', "my.model.mar")
    assert (manifest.model_name, manifest.model_version) == ("my_model", "1.0")


@pytest.mark.parametrize(
    ("file", "name"),
    [("digits.mar", "digits"), ("a-b.tar.gz", "a_b"), ("_x.mar", "_x"), ("resnet.v2", "resnet_v2")],
)
def test_a_model_is_named_after_its_file_as_torchserve_does(file: str, name: str) -> None:
    assert name_from_file(file) == name


@pytest.mark.parametrize(
    ("handler", "parts"),
    [
        ("image_classifier", ("image_classifier", "")),
        ("h.py", ("h.py", "")),
        ("h:run", ("h", "run")),
        ("sub/h.py:run", ("sub/h.py", "run")),
    ],
)
def test_a_handler_is_a_file_and_perhaps_a_function(handler: str, parts: tuple[str, str]) -> None:
    assert split_handler(handler) == parts


def test_a_directory_without_a_manifest_is_still_a_model(tmp_path: Path) -> None:
    assert read_manifest(tmp_path, "digits.mar").raw == {"model": {"modelName": "digits", "modelVersion": "1.0"}}
