"""Every demo archive: the same bytes every time, what TorchServe expects inside, and a sample."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import yaml

from deploy.demo.build import build
from deploy.demo.catalogue import DEMO_ARCHIVES
from deploy.demo.sample import read_sample

INPUTS = {
    "digits": [{"name": "pixels", "datatype": "FP32", "shape": [-1, 64]}],
    "text": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
}


@pytest.mark.parametrize("name", list(DEMO_ARCHIVES))
def test_making_it_again_gives_the_same_bytes(store: Path, tmp_path: Path, name: str) -> None:
    build(DEMO_ARCHIVES[name], tmp_path)
    assert (tmp_path / name).read_bytes() == (store / name).read_bytes()


@pytest.mark.parametrize("name", list(DEMO_ARCHIVES))
def test_the_manifest_names_files_that_are_there(store: Path, name: str) -> None:
    with zipfile.ZipFile(store / name) as files:
        manifest = json.loads(files.read("MAR-INF/MANIFEST.json"))
        present = set(files.namelist())
        signature = yaml.safe_load(files.read("model-config.yaml"))["signature"]
    model = manifest["model"]
    archive = DEMO_ARCHIVES[name]
    assert (model["modelName"], model["modelVersion"]) == (archive.model, archive.version)
    assert {model[key] for key in ("serializedFile", "handler", "modelFile", "configFile")} <= present
    assert signature["inputs"] == INPUTS[archive.model]


def test_each_archive_is_another_version_of_its_model() -> None:
    versions = [(archive.model, archive.version) for archive in DEMO_ARCHIVES.values()]
    assert len(set(versions)) == len(versions)


def test_an_archive_without_a_sample_has_none(store: Path, tmp_path: Path) -> None:
    assert read_sample(store / "digits-1.mar", "other.json") is None
    assert read_sample(tmp_path / "none.mar", "sample_input.json") is None
    (tmp_path / "broken.mar").write_bytes(b"no zip")
    assert read_sample(tmp_path / "broken.mar", "sample_input.json") is None
