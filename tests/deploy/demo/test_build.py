"""The demo's archives: honest accuracy, the same bytes every time, and what TorchServe expects inside."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from deploy.demo.archive import pack
from deploy.demo.build import archive_files
from deploy.demo.catalogue import DEMO_ARCHIVES
from deploy.demo.data import load_split
from deploy.demo.sample import read_sample
from deploy.demo.train import RECIPES, train


def test_every_archive_has_a_recipe() -> None:
    assert {archive.model_file for archive in DEMO_ARCHIVES.values()} == set(RECIPES)


def test_training_and_held_out_digits_are_apart() -> None:
    training, held_out = load_split()
    seen = {row.tobytes() for row in training.pixels}
    assert not any(row.tobytes() in seen for row in held_out.pixels)
    assert set(held_out.labels.tolist()) == set(range(10))


@pytest.mark.parametrize("name", list(DEMO_ARCHIVES))
def test_a_packed_model_gets_over_nine_in_ten_held_out_digits_right(store: Path, name: str) -> None:
    archive = DEMO_ARCHIVES[name]
    with zipfile.ZipFile(store / name) as files:
        weights = torch.load(io.BytesIO(files.read("weights.pt")), weights_only=True)
    module = RECIPES[archive.model_file].module()
    module.load_state_dict(weights)
    _, held_out = load_split()
    with torch.inference_mode():
        predicted = module(torch.from_numpy(held_out.pixels)).argmax(dim=1)
    assert (predicted == torch.from_numpy(held_out.labels)).float().mean().item() > 0.9


def test_training_again_gives_the_same_bytes(store: Path) -> None:
    training, held_out = load_split()
    archive = DEMO_ARCHIVES["digits-1.mar"]
    again = pack(archive_files(archive, train(archive.model_file, training, held_out), held_out))
    assert again == (store / "digits-1.mar").read_bytes()


@pytest.mark.parametrize("name", list(DEMO_ARCHIVES))
def test_the_manifest_names_files_that_are_there(store: Path, name: str) -> None:
    with zipfile.ZipFile(store / name) as files:
        manifest = json.loads(files.read("MAR-INF/MANIFEST.json"))
        present = set(files.namelist())
        signature = yaml.safe_load(files.read("model-config.yaml"))["signature"]
    model = manifest["model"]
    assert (model["modelName"], model["modelVersion"]) == ("digits", DEMO_ARCHIVES[name].version)
    assert {model[key] for key in ("serializedFile", "handler", "modelFile", "configFile")} <= present
    assert signature["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 64]}]


@pytest.mark.parametrize("name", list(DEMO_ARCHIVES))
def test_the_sample_is_a_held_out_digit(store: Path, name: str) -> None:
    pixels = read_sample(store / name, "sample_input.json")["data"]
    label = read_sample(store / name, "sample_output.json")["label"]
    _, held_out = load_split()
    assert any(
        row.tolist() == pixels and int(truth) == label
        for row, truth in zip(held_out.pixels, held_out.labels, strict=True)
    )


def test_an_archive_without_a_sample_has_none(store: Path, tmp_path: Path) -> None:
    assert read_sample(store / "digits-1.mar", "other.json") is None
    assert read_sample(tmp_path / "none.mar", "sample_input.json") is None
    (tmp_path / "broken.mar").write_bytes(b"no zip")
    assert read_sample(tmp_path / "broken.mar", "sample_input.json") is None
