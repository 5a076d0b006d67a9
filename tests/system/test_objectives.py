"""A slow load, a cold start, a wrong label and a slow first byte are one bad event each, in their slots, for good."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.control.messages import SLOT_S
from tests.system.mesh import MeshUnderTest, eventually, running_mesh
from tests.system.models import EVERY_MODEL, handler_archive, own_store
from tests.system.seen import objective, penstock, sample_sum

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

SAVED_WITHIN_S = 8.0  # of slo.db, which is every 3 s

# Loads while a file lets it wait; answers with what it is asked, in pieces where it is asked to.
HANDLER = """
import json
import time
from pathlib import Path

from ts.handler_utils.utils import send_intermediate_predict_response

WAITS = Path({waits!r})


def handle(data, context):
    if data is None:
        while WAITS.exists():
            time.sleep(0.02)
        return None
    asked = [json.loads(bytes(row["body"])) for row in data]
    if any("pieces" in one for one in asked):
        send_intermediate_predict_response(["first "] * len(asked), context.request_ids, "", 200, context)
        return ["last"] * len(asked)
    return asked
"""


def slos(loads_within: str, first_byte_within: str) -> str:
    rest = "owner: us, window: 1d, objective: 99%"
    return (
        "kind: slos/v1\nslos:\n"
        f"  - {{name: begins, good: {{status_below: 500, first_byte_within: {first_byte_within}}}, {rest}}}\n"
        f"  - {{name: right, good: {{label: right}}, by: [version, tier], {rest}}}\n"
        f"  - {{name: loads, good: {{loads_within: {loads_within}}}, {rest}}}\n"
        f"  - {{name: warm, good: {{pod: ready}}, {rest}}}\n"
    )


# What is slow is what policy says: no machine is too slow for the first, and none is quick enough for the second.
PATIENT, IMPATIENT = slos("1h", "59s"), slos("1ms", "1ms")


def route(model: str, more: str) -> str:
    return (
        f"kind: route/v1\nmodel: {model}\nowner: us\n{more}"
        'versions: {"1": {pods: {launch: {archive: told.mar, device: cpu}}}}\nstable: "1"\n'
        "timeout: 60s\nbatching: {max_rows: 1}\n"
    )


class Story:
    """A mesh with one model that answers (asked), and one that is loaded anew (digits, in name alone)."""

    def __init__(self, mesh: MeshUnderTest, waits: Path) -> None:
        self.mesh = mesh
        self._waits = waits

    def ask(self, model: str, **asked: object) -> httpx.Response:
        return self._post(f"/predictions/{model}", asked)

    def tell(self, request_id: str, label: int) -> None:
        self._post("/feedback", {"request_id": request_id, "label": label})

    def _post(self, path: str, content: dict[str, object]) -> httpx.Response:
        # Where it listens now: another supervisor has other ports.
        url = self.mesh.published().inference + path
        return self.mesh.api.post(url, content=json.dumps(content)).raise_for_status()

    def lose_patience(self) -> None:
        (self.mesh.policies / "slos.yaml").write_text(IMPATIENT)
        eventually(lambda: self.mesh.admin("policy")["generation"] == 2, "the objectives are in force")

    def load_anew(self) -> None:
        """Kill the model's process, and ask while its successor loads."""
        self._waits.touch()
        os.kill(self.mesh.pod("digits/1/0")["inference_pid"], signal.SIGKILL)
        eventually(lambda: self.mesh.pod("digits/1/0")["state"] == "restarting", "the pod loads anew")
        with ThreadPoolExecutor(1) as caller:
            answer = caller.submit(self.ask, "digits", number=2)
            eventually(lambda: self.mesh.pod("digits/1/0")["queued_rows"], "a request waits for it")
            self._waits.unlink()
            answer.result()

    def counts(self, name: str) -> tuple[int, int]:
        told = objective(self.mesh, name)
        return told["good"], told["bad"]

    def bad_slots(self, name: str, model: str) -> list[int]:
        """Return the starts of the slots that have a bad event."""
        history = self.mesh.admin(f"slo/history?slo={name}&model={model}&span_s=600")
        assert history["step_s"] == SLOT_S
        return [point["start_s"] for point in history["points"] for _ in range(point["bad"])]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator[Story]:
    home = tmp_path_factory.mktemp("objectives")
    store, waits = own_store(model_store, home), home / "waits"
    (store / "told.mar").write_bytes(handler_archive(HANDLER.format(waits=str(waits))))
    policies = EVERY_MODEL | {
        "slos.yaml": PATIENT,
        "routes/asked.yaml": route("asked", "slo: [begins, right]\nfeedback: {label: /number, for: 1h}\n"),
        "routes/digits.yaml": route("digits", "slo: [loads, warm]\n"),
    }
    with running_mesh(home, store, policies=policies, workers=1) as mesh:
        yield Story(mesh, waits)


EXPECTED = {"begins": (6, 1), "right": (3, 1), "loads": (1, 1), "warm": (2, 1)}


def test_each_is_one_bad_event_and_a_restart_of_the_supervisor_keeps_them(story: Story) -> None:
    for _ in range(2):
        assert story.ask("asked", pieces=True).text == "first last"
    asked_s = time.time()
    labelled = [story.ask("asked", number=number).headers["x-request-id"] for number in range(4)]
    answered_s = time.time()
    for _ in range(2):
        story.ask("digits", number=1)
    eventually(lambda: story.counts("loads") == (1, 0) and story.counts("begins") == (6, 0), "the good ones count")
    story.lose_patience()
    assert story.ask("asked", pieces=True).text == "first last"
    story.load_anew()
    eventually(lambda: time.time() > answered_s + SLOT_S, "labels are late")
    for number, request_id in enumerate(labelled):
        story.tell(request_id, number if number else 7)

    eventually(lambda: all(story.counts(name) == EXPECTED[name] for name in EXPECTED), f"the counts are {EXPECTED}")
    (slot_s,) = story.bad_slots("right", "asked")
    assert asked_s - SLOT_S < slot_s <= answered_s < time.time() - SLOT_S
    assert len(story.bad_slots("loads", "digits")) == 1

    time.sleep(SAVED_WITHIN_S)
    before = story.mesh.published().pid
    os.kill(before, signal.SIGKILL)
    eventually(lambda: is_back(story.mesh, before), "another supervisor serves")
    eventually(lambda: story.counts("loads")[0], "it has read what was kept")
    eventually(lambda: story.mesh.pod("digits/1/0")["load_s"], "it has asked the pod")
    time.sleep(2.0)  # and again, now that it knows which loads were counted
    assert {name: story.counts(name) for name in EXPECTED} == EXPECTED
    assert story.bad_slots("right", "asked") == [slot_s]


def test_what_is_told_of_them_needs_no_other_words(story: Story) -> None:
    said: dict[str, Any] = {name: objective(story.mesh, name)["good_when"] for name in EXPECTED}
    assert said["loads"] == "A load of a pod is good when the model was ready within 1ms."
    shown = penstock(story.mesh, "slo").stdout
    assert all(f"{name}: {sentence}" in shown for name, sentence in said.items())
    metrics = story.mesh.published().metrics
    story.tell(story.ask("asked", number=5).headers["x-request-id"], 5)
    labels = {"slo": "right", "model": "asked", "version": "1", "tier": "demo", "outcome": "good"}
    eventually(
        lambda: sample_sum(metrics, "penstock_slo_events_total", **labels) == 1.0, "Prometheus can read the label"
    )


def is_back(mesh: MeshUnderTest, before: int) -> bool:
    """Whether another supervisor answers than the one before."""
    try:
        return mesh.published().pid != before and bool(mesh.admin("slo")["slos"])
    except (httpx.HTTPError, OSError, ValueError):
        return False
