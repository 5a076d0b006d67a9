"""The archives in real pods: texts by two protocols, batches of many lengths, and the version that breaks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.demo.text.sentences import SENTENCES
from tests.benchmarks.processes import await_answer, running
from tests.ports import free_port

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

STARTS_WITHIN_S = 180.0


@contextmanager
def pod(folder: Path, archive: Path, model: str, version: str) -> Iterator[httpx.Client]:
    address = f"127.0.0.1:{free_port()}"
    arguments = [
        *(sys.executable, "-m", "model_pod.server", "--model", model, "--version", version),
        *("--archive", str(archive), "--listen", address, "--extracted-dir", str(folder / "extracted")),
        *("--device", "cpu"),
    ]
    with running(arguments, cores=os.sched_getaffinity(0), log=folder / "log") as program:
        await_answer(f"http://{address}", "/v2/health/ready", program, STARTS_WITHIN_S)
        with httpx.Client(base_url=f"http://{address}", timeout=STARTS_WITHIN_S, trust_env=False) as client:
            yield client


@pytest.fixture(scope="module")
def text_pod(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with pod(tmp_path_factory.mktemp("text"), store / "text-1.mar", "text", "1") as client:
        yield client


def test_both_protocols_give_a_text_the_same_embedding(text_pod: httpx.Client) -> None:
    text = SENTENCES[17]
    plain = text_pod.post("/predictions/text", content=text, headers={"content-type": "text/plain"}).json()
    named = text_pod.post("/predictions/text", json={"text": text}).json()
    tensors = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}]}
    embedding, tokens = text_pod.post("/v2/models/text/infer", json=tensors).json()["outputs"]
    assert plain == named
    assert (embedding["datatype"], embedding["shape"], tokens["data"]) == ("FP32", [1, 384], [named["tokens"]])
    assert embedding["data"] == pytest.approx(named["embedding"], abs=1e-6)


def test_texts_sent_at_once_get_each_their_own_answer(text_pod: httpx.Client) -> None:
    def embed(text: str) -> list[float]:
        answer: list[float] = (
            text_pod.post("/predictions/text", json={"text": text}).raise_for_status().json()["embedding"]
        )
        return answer

    alone = [embed(text) for text in SENTENCES]
    with ThreadPoolExecutor(max_workers=16) as threads:
        together = list(threads.map(embed, SENTENCES))
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_a_text_that_is_refused_leaves_its_batch_mates_alone(text_pod: httpx.Client) -> None:
    tensors = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [3], "data": ["one", "", "three"]}]}
    refused = text_pod.post("/v2/models/text/infer", json=tensors)
    assert refused.status_code == 422
    assert "the row holds no text" in refused.json()["error"]
    with ThreadPoolExecutor(max_workers=8) as threads:
        answers = list(
            threads.map(lambda text: text_pod.post("/predictions/text", json={"text": text}), ["a", " "] * 8)
        )
    assert [answer.status_code for answer in answers] == [200, 422] * 8


def test_the_broken_version_becomes_ready_and_fails_every_request(store: Path, tmp_path: Path) -> None:
    with pod(tmp_path, store / "digits-broken.mar", "digits", "3") as client:
        answers = [client.post("/predictions/digits", json={"data": [0] * 64}) for _ in range(5)]
        assert {answer.status_code for answer in answers} == {500}
        assert {answer.json()["reason"] for answer in answers} == {"handler_failed"}
        assert "this version breaks on purpose, to show how an alert fires" in answers[0].text
        assert client.get("/v2/health/ready").status_code == 200
