"""The digits handler as TorchServe would call it: every form of input, and a sentence for every wrong one."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from ts.context import RequestProcessor
from ts.torch_handler.unit_tests.test_utils.mock_context import MockContext
from ts.utils.util import PredictionException

from deploy.demo.data import load_split
from deploy.demo.digits.handler import DigitsHandler, row_pixels
from deploy.demo.sample import read_sample, write_png
from tests.deploy.demo.conftest import Extract

PIXELS = [float(level % 17) for level in range(64)]


def png(image: Image.Image) -> bytearray:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return bytearray(buffer.getvalue())


def gray(size: int = 8, level: int = 255) -> Image.Image:
    return Image.new("L", (size, size), level)


@pytest.fixture(scope="module", params=["digits-1.mar", "digits-2.mar"])
def handler(request: pytest.FixtureRequest, extract: Extract) -> DigitsHandler:
    context = MockContext(model_pt_file="weights.pt", model_dir=extract(request.param), model_file="model.py")
    handler = DigitsHandler()
    handler.initialize(context)
    return handler


@pytest.mark.parametrize(
    "row",
    [
        {"body": {"data": PIXELS}},
        {"body": PIXELS},
        {"body": [PIXELS[at : at + 8] for at in range(0, 64, 8)]},
        {"data": bytearray(json.dumps(PIXELS).encode())},
        {"body": bytearray(b"\n" + json.dumps({"data": PIXELS}).encode())},
        {"pixels": torch.tensor(PIXELS)},
        {"pixels": torch.tensor(PIXELS, dtype=torch.float64)},
    ],
)
def test_every_form_of_numbers_gives_the_same_pixels(row: dict[str, Any]) -> None:
    assert row_pixels(row).tolist() == PIXELS


@pytest.mark.parametrize("size", [8, 80, 200])
def test_a_picture_of_the_sample_gives_its_pixels_back(tmp_path: Path, size: int) -> None:
    pixels = [int(level) for level in PIXELS]
    write_png(pixels, tmp_path / "digit.png", scale=size // 8)
    assert row_pixels({"body": bytearray((tmp_path / "digit.png").read_bytes())}).tolist() == pytest.approx(
        pixels, abs=0.05
    )


@pytest.mark.parametrize(
    ("image", "lightness"),
    [
        (gray(), 16.0),
        (gray(level=0), 0.0),
        (Image.new("RGB", (30, 20), "white"), 16.0),
        (Image.new("1", (9, 9), 1), 16.0),
        (Image.new("P", (9, 9), 0), 0.0),
        (Image.new("I;16", (16, 16), 65535), 16.0),
        (Image.new("I;16", (16, 16), 32768), 8.0),
        (Image.new("RGBA", (10, 10), (255, 255, 255, 0)), 0.0),
        (Image.new("RGBA", (10, 10), (255, 255, 255, 255)), 16.0),
        (Image.new("LA", (10, 10), (255, 128)), 8.0),
    ],
)
def test_every_kind_of_png_is_understood(image: Image.Image, lightness: float) -> None:
    assert row_pixels({"body": png(image)}).tolist() == pytest.approx([lightness] * 64, abs=0.1)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, "holds no pixels"),
        ({"body": None}, "holds no pixels"),
        ({"body": "text"}, "holds no pixels"),
        ({"body": {}}, "holds no pixels"),
        ({"body": {"data": {"a": 1}}}, "holds no pixels"),
        ({"body": ["a"] * 64}, "holds no pixels"),
        ({"body": [[1], [2, 3]]}, "holds no pixels"),
        ({"body": [1.0] * 63}, "holds 63 pixels"),
        ({"body": []}, "holds 0 pixels"),
        ({"body": [17] + [0] * 63}, "not from 0 to 16"),
        ({"body": [float("nan")] * 64}, "not from 0 to 16"),
        ({"body": bytearray(b"{half")}, "not JSON"),
        ({"body": bytearray(b"[" * 100_000)}, "not JSON"),
        ({"body": bytearray(b"")}, "not a PNG"),
        ({"body": bytearray(b"\xff\xd8\xff jpeg")}, "not a PNG"),
        ({"body": png(gray())[:40]}, "not a PNG"),
        ({"body": png(gray(5000, 0))}, "more than 16000000 pixels"),
    ],
)
def test_a_wrong_row_is_refused_with_a_sentence(row: dict[str, Any], problem: str) -> None:
    with pytest.raises(PredictionException, match=problem) as refused:
        row_pixels(row)
    assert refused.value.error_code == 422


def test_a_batch_of_every_form_is_answered_in_order(handler: DigitsHandler, store: Path, tmp_path: Path) -> None:
    _, held_out = load_split()
    pixels = read_sample(store / "digits-1.mar", "sample_input.json")["data"]
    write_png(pixels, tmp_path / "digit.png")
    other = held_out.pixels[1].tolist()
    picture = bytearray((tmp_path / "digit.png").read_bytes())
    rows: list[dict[str, Any]] = [{"body": {"data": pixels}}, {"body": other}, {"data": picture}]
    context = MockContext()
    context.request_processor = [RequestProcessor({}) for _ in rows]
    answers = handler.handle(rows, context)
    alone = [handler.handle([row], MockContext())[0] for row in rows]
    assert [answer["label"] for answer in answers] == [answer["label"] for answer in alone]
    assert (
        answers[0]["label"] == answers[2]["label"] == read_sample(store / "digits-1.mar", "sample_output.json")["label"]
    )
    for answer in answers:
        assert len(answer["probabilities"]) == 10
        assert sum(answer["probabilities"]) == pytest.approx(1.0, abs=1e-5)
    assert json.loads(json.dumps(answers)) == answers
