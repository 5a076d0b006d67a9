"""NVIDIA's own clients, of HTTP and of gRPC, unchanged, infer on the demo's model through the whole mesh."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conformance.tritonclient.environment import NotInstalled, python_with_tritonclient
from tests.system.digits import Digit, known_digits
from tests.system.mesh import MeshUnderTest, demo_store, running_mesh

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

CLIENT = Path(__file__).with_name("client.py")
GRPC_CLIENT = Path(__file__).with_name("grpc_client.py")


@dataclass(frozen=True, slots=True)
class Told:
    """What the clients printed, and the digits that they sent."""

    answers: dict[str, Any]
    by_grpc: dict[str, Any]
    digits: list[Digit]


@pytest.fixture(scope="module")
def python() -> Path:
    try:
        return python_with_tritonclient()
    except NotInstalled as error:
        pytest.skip(f"tritonclient cannot be installed here: {error}")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, python: Path) -> Iterator[Told]:
    store = demo_store(tmp_path_factory)
    with running_mesh(tmp_path_factory.mktemp("tritonclient"), store) as mesh:
        digits = known_digits(mesh)
        by_http = _run_client(python, CLIENT, urlsplit(mesh.inference).netloc, mesh, digits)
        by_grpc = _run_client(python, GRPC_CLIENT, mesh.published().inference_grpc, mesh, digits)
        yield Told(by_http, by_grpc, digits)


def _run_client(python: Path, client: Path, address: str, mesh: MeshUnderTest, digits: list[Digit]) -> dict[str, Any]:
    given = {
        "address": address,
        "key": mesh.key,
        "rows": [digit.pixels for digit in digits],
    }
    # Isolated (-I): what is importable here must not help it.
    ran = subprocess.run([python, "-I", client], input=json.dumps(given), capture_output=True, text=True, timeout=180)
    assert ran.returncode == 0, ran.stderr
    answers: dict[str, Any] = json.loads(ran.stdout)
    return answers


def test_it_finds_server_and_model_live_and_ready(told: Told) -> None:
    assert told.answers["health"] == {
        "server_live": True,
        "server_ready": True,
        "model_ready": True,
        "version_ready": True,
        "other_model_ready": False,
    }


def test_it_reads_what_the_model_takes_and_gives(told: Told) -> None:
    metadata = told.answers["metadata"]
    assert metadata["server"]["name"] == "penstock"
    assert (metadata["model"]["name"], metadata["model"]["versions"]) == ("digits", ["1"])
    assert metadata["model"]["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 64]}]
    assert metadata["model"]["outputs"] == [
        {"name": "label", "datatype": "INT64", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
    ]


@pytest.mark.parametrize("asked", ["outputs_named", "outputs_by_default"])
def test_it_infers_on_float_tensors_written_as_json(told: Told, asked: str) -> None:
    answer = told.answers[asked]
    assert (answer["model"], answer["version"], answer["id"]) == ("digits", "1", "from-triton")
    label, probabilities = answer["outputs"]["label"], answer["outputs"]["probabilities"]
    assert (label["dtype"], label["shape"]) == ("int64", [len(told.digits)])
    assert label["values"] == [digit.label for digit in told.digits]
    assert (probabilities["dtype"], probabilities["shape"]) == ("float32", [len(told.digits), 10])
    assert [row.index(max(row)) for row in probabilities["values"]] == label["values"]
    assert [sum(row) for row in probabilities["values"]] == pytest.approx([1.0] * len(told.digits), abs=1e-5)


def test_it_gets_only_the_outputs_that_it_asks_for(told: Told) -> None:
    assert list(told.answers["label_alone"]["outputs"]) == ["label"]


@pytest.mark.parametrize(
    ("mistake", "status", "message"),
    [
        ("shape", "400", "64"),
        ("datatype", "400", "FP32"),
        ("input", "400", "pixel"),
        ("model", "404", "nobody"),
        ("key", "401", "key"),
    ],
)
def test_it_raises_our_refusals_as_its_own_errors(told: Told, mistake: str, status: str, message: str) -> None:
    raised_status, raised_message = told.answers["errors"][mistake]
    assert raised_status == status
    assert message in raised_message


def test_over_grpc_it_finds_server_and_model_and_what_the_model_takes(told: Told) -> None:
    assert set(told.by_grpc["health"].values()) == {True}
    assert told.by_grpc["server"]["name"] == "penstock"
    model = told.by_grpc["model"]
    assert (model["name"], model["versions"]) == ("digits", ["1"])
    assert model["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": ["-1", "64"]}]


@pytest.mark.parametrize("asked", ["inferred", "compressed"])
def test_over_grpc_it_infers_on_raw_tensors(told: Told, asked: str) -> None:
    assert told.by_grpc[asked] == [digit.label for digit in told.digits]


def test_over_grpc_a_stream_goes_on_after_an_error(told: Told) -> None:
    first, error, last = told.by_grpc["streamed"]
    assert (first, last) == ([told.digits[0].label], [told.digits[1].label])
    assert "nobody" in error


@pytest.mark.parametrize(
    ("mistake", "status", "message"),
    [
        ("shape", "StatusCode.INVALID_ARGUMENT", "64"),
        ("datatype", "StatusCode.INVALID_ARGUMENT", "FP32"),
        ("model", "StatusCode.NOT_FOUND", "nobody"),
        ("key", "StatusCode.UNAUTHENTICATED", "key"),
    ],
)
def test_over_grpc_it_raises_our_refusals_as_its_own_errors(
    told: Told, mistake: str, status: str, message: str
) -> None:
    raised_status, raised_message = told.by_grpc["errors"][mistake]
    assert raised_status == status
    assert message in raised_message
