"""The first minutes with a mesh: it starts, says truthfully when it is ready, answers, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from deploy.demo.sample import read_sample, write_png
from tests.system.conftest import Figure
from tests.system.mesh import ENDED_WITHIN_S, SOON_S, MeshUnderTest, started_mesh

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

_ASK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Look:
    """What a caller saw at one moment: the statuses of ``/readyz`` and, right after it, of a prediction."""

    readyz: int
    prediction: int


class Watcher:
    """Asks from the moment that there is an address, until it was told yes a few times."""

    def __init__(self, mesh: MeshUnderTest) -> None:
        self.looks: list[Look] = []
        self.first_answer_s = 0.0
        self._mesh = mesh
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until it has seen enough."""
        self._thread.join(SOON_S)
        assert not self._thread.is_alive(), "/readyz never said yes"

    def _watch(self) -> None:
        address = self._mesh.published().inference
        with httpx.Client(base_url=address, trust_env=False, timeout=SOON_S) as client:
            while sum(look.readyz == 200 for look in self.looks) < 5:
                self.looks.append(self._look(client))
                time.sleep(_ASK_EVERY_S)

    def _look(self, client: httpx.Client) -> Look:
        readyz = client.get("/readyz").status_code
        headers = {"authorization": f"Bearer {(self._mesh.state / 'local-key').read_text().strip()}"}
        prediction = client.post("/predictions/digits", json={"data": [0] * 64}, headers=headers).status_code
        if prediction == 200 and not self.first_answer_s:
            self.first_answer_s = time.monotonic() - self._mesh.started_s
        return Look(readyz, prediction)


@dataclass(frozen=True, slots=True)
class FirstStart:
    """A mesh whose archives had to be made first, and what was seen of it from outside."""

    mesh: MeshUnderTest
    watcher: Watcher


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstStart]:
    home = tmp_path_factory.mktemp("up")
    with started_mesh(home, home / "models") as mesh:
        yield FirstStart(mesh, Watcher(mesh))


def test_readyz_says_no_until_a_prediction_works_and_yes_from_then_on(first_start: FirstStart, figure: Figure) -> None:
    first_start.watcher.join()
    looks = first_start.watcher.looks
    first_yes = next(index for index, look in enumerate(looks) if look.readyz == 200)
    assert {look.readyz for look in looks[:first_yes]} == {503}
    assert {look.prediction for look in looks[: first_yes - 1]} == {503}
    assert {(look.readyz, look.prediction) for look in looks[first_yes:]} == {(200, 200)}
    assert first_start.watcher.first_answer_s < SOON_S
    figure("up: first answer, its models trained on the way", f"{first_start.watcher.first_answer_s:.1f} s")


def test_the_printed_curl_line_answers_with_the_promised_digit(first_start: FirstStart) -> None:
    answer = subprocess.run(["/bin/sh", "-c", first_start.mesh.curl], check=True, capture_output=True, timeout=120)
    promised = re.search(r"should say label (\d)", str(first_start.mesh.said))
    assert promised is not None
    assert json.loads(answer.stdout)["label"] == int(promised[1])


def test_an_image_sent_with_curl_is_read_as_the_digit_it_shows(first_start: FirstStart, tmp_path: Path) -> None:
    mesh = first_start.mesh
    archive = mesh.store / "digits-1.mar"
    write_png(read_sample(archive, "sample_input.json")["data"], tmp_path / "digit.png")
    answer = subprocess.run(
        [
            *("curl", "-sS", "-f", "-H", f"Authorization: Bearer {mesh.key}"),
            *("-T", str(tmp_path / "digit.png"), f"{mesh.inference}/predictions/digits"),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    assert json.loads(answer.stdout)["label"] == read_sample(archive, "sample_output.json")["label"]


def test_ctrl_c_drains_it_and_leaves_no_process(first_start: FirstStart, figure: Figure) -> None:
    took_s = first_start.mesh.stop()
    assert took_s < ENDED_WITHIN_S
    figure("up: from Ctrl-C to the end", f"{took_s:.1f} s")


def test_a_second_start_answers_soon(model_store: Path, tmp_path: Path, figure: Figure) -> None:
    with started_mesh(tmp_path, model_store) as mesh:
        mesh.wait_until_ready()
        answer = subprocess.run(["/bin/sh", "-c", mesh.curl], check=True, capture_output=True, timeout=120)
        first_answer_s = time.monotonic() - mesh.started_s
    assert "label" in json.loads(answer.stdout)
    assert first_answer_s < SOON_S
    figure("up: first answer, models there", f"{first_answer_s:.1f} s")
