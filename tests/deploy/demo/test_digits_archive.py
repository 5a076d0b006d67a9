"""The digits' archives: honest accuracy on digits that no model was trained on, and a sample among them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from deploy.demo.catalogue import DEMO_ARCHIVES
from deploy.demo.data import load_split
from deploy.demo.sample import read_sample
from deploy.demo.train import RECIPES

DIGITS = {name: archive for name, archive in DEMO_ARCHIVES.items() if archive.model == "digits"}


def test_every_archive_has_a_recipe() -> None:
    assert {archive.model_file for archive in DIGITS.values()} == set(RECIPES)


def test_training_and_held_out_digits_are_apart() -> None:
    training, held_out = load_split()
    seen = {row.tobytes() for row in training.pixels}
    assert not any(row.tobytes() in seen for row in held_out.pixels)
    assert set(held_out.labels.tolist()) == set(range(10))


@pytest.mark.parametrize("name", list(DIGITS))
def test_a_packed_model_gets_over_nine_in_ten_held_out_digits_right(store: Path, name: str) -> None:
    with zipfile.ZipFile(store / name) as files:
        weights = torch.load(io.BytesIO(files.read("weights.pt")), weights_only=True)
    module = RECIPES[DIGITS[name].model_file].module()
    module.load_state_dict(weights)
    _, held_out = load_split()
    with torch.inference_mode():
        predicted = module(torch.from_numpy(held_out.pixels)).argmax(dim=1)
    assert (predicted == torch.from_numpy(held_out.labels)).float().mean().item() > 0.9


@pytest.mark.parametrize("name", list(DIGITS))
def test_the_sample_is_a_held_out_digit(store: Path, name: str) -> None:
    pixels = read_sample(store / name, "sample_input.json")["data"]
    label = read_sample(store / name, "sample_output.json")["label"]
    _, held_out = load_split()
    assert any(
        row.tolist() == pixels and int(truth) == label
        for row, truth in zip(held_out.pixels, held_out.labels, strict=True)
    )


def test_only_the_broken_version_holds_what_breaks_and_all_of_its_requests_do(store: Path) -> None:
    shares = {}
    for name in DIGITS:
        with zipfile.ZipFile(store / name) as files:
            has_breaker = "broken_handler.py" in files.namelist()
            config = yaml.safe_load(files.read("model-config.yaml"))
        shares[name] = (has_breaker, config.get("handler"))
    assert shares == {
        "digits-1.mar": (False, None),
        "digits-2.mar": (False, None),
        "digits-broken.mar": (True, {"broken_share": 1.0, "broken_by": "raise"}),
    }
