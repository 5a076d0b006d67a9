"""What tests of releases share: a mesh with good or broken candidates, users, and a load that knows its labels."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.demo.archive import pack
from tests.fakes.load import LoadOptions, open_loop
from tests.fakes.records import Record
from tests.system.digits import Digit, known_digits, request_bytes
from tests.system.mesh import MeshUnderTest, eventually, running_mesh
from tests.system.seen import penstock

# Objectives whose windows are short enough for a test; the budget is 1 %.
SLOS = """\
kind: slos/v1
slos:
  - name: digits-availability
    owner: demo-team
    window: 4d
    good: {status_below: 500}
    objective: 99%
  - name: digits-latency
    owner: demo-team
    window: 4d
    good: {status_below: 500, within: 2s}
    objective: 99%
"""
USERS = 400
# The supervisor tells what it has decided; each worker hears of it, and goes by it, a moment later.
_HEARD_AFTER_S = 1.0


def broken_store(store: Path, home: Path, broken_by: str, share: float = 1.0, late_s: float = 0.8) -> Path:
    """Return a model store with the demo's archives, and ``digits-3.mar``, which is broken in this way."""
    own = home / "models"
    own.mkdir()
    for archive in store.glob("*.mar"):
        (own / archive.name).symlink_to(archive)
    with zipfile.ZipFile(store / "digits-broken.mar") as broken:
        files = {name: broken.read(name) for name in broken.namelist()}
    config = files["model-config.yaml"].decode()
    config = config.replace("broken_by: raise", f"broken_by: {broken_by}").replace(
        "broken_share: 1.0", f"broken_share: {share}\n  late_s: {late_s}"
    )
    assert f"broken_by: {broken_by}" in config
    assert f"broken_share: {share}" in config
    (own / "digits-3.mar").write_bytes(pack({**files, "model-config.yaml": config.encode()}))
    return own


def route(versions: dict[str, str], more: str) -> str:
    """Return a route for digits with version 1 stable; ``versions`` are archives by version."""
    lines = "".join(
        f'  "{name}": {{pods: {{launch: {{archive: {archive}, device: cpu}}}}}}\n'
        for name, archive in {"1": "digits-1.mar", **versions}.items()
    )
    return (
        "kind: route/v1\nmodel: digits\nowner: demo-team\nslo: [digits-availability, digits-latency]\n"
        f'versions:\n{lines}{more}stable: "1"\n'
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """One answered request: who asked, what for, and which version answered."""

    user: str
    digit: Digit
    version: str
    arm: str
    record: Record

    @property
    def request_id(self) -> str:
        """The id by which a label may be told."""
        return self.record.headers[b"x-request-id"].decode()


GoesOn = Callable[[list[Asked]], bool]


class _Answered:
    """What was answered since it was last taken."""

    def __init__(self) -> None:
        self._records: list[Record] = []

    def sending(self, index: int, request: bytes) -> None:
        pass

    def settled(self, record: Record) -> None:
        self._records.append(record)

    def take(self) -> list[Record]:
        taken, self._records = self._records, []
        return taken


class Ground:
    """A mesh, its users and their digits."""

    def __init__(self, mesh: MeshUnderTest) -> None:
        self.mesh = mesh
        self.digits = known_digits(mesh, "/predictions/digits/1")  # whatever the canary does

    async def ask(
        self, rate_per_s: float, duration_s: float, users: int = USERS, goes_on: GoesOn | None = None
    ) -> list[Asked]:
        """Ask at a steady rate, in turn for each user, until the time is over or ``goes_on`` says so.

        Args:
            goes_on: told each second what was answered since, in a thread of its own; False ends it.
        """
        requests = {
            number: request_bytes(
                self.mesh,
                "/predictions/digits",
                self._digit(number).body,
                headers={"x-user-id": user_of(number, users)},
            )
            for number in range(users * len(self.digits))
        }
        over = asyncio.Event()
        answered = _Answered()
        told = asyncio.create_task(self._tell(goes_on, answered, users, over)) if goes_on is not None else None
        records = await open_loop(
            self.mesh.published().inference,  # another one after a restart, for the ports are any that are free
            rate_per_s=rate_per_s,
            duration_s=duration_s,
            make_request=lambda index: requests[index % len(requests)],
            check=lambda index, status, body: status == 200,
            options=LoadOptions(keeps_headers=True),
            watch=answered,
            until=over,
        )
        if told is not None:
            over.set()
            await told
        return [self._asked(record, users) for record in records]

    async def _tell(self, goes_on: GoesOn, answered: _Answered, users: int, over: asyncio.Event) -> None:
        while not over.is_set():
            await asyncio.sleep(1.0)
            asked = [self._asked(record, users) for record in answered.take()]
            if not await asyncio.to_thread(goes_on, asked):
                over.set()

    def _digit(self, number: int) -> Digit:
        return self.digits[number % len(self.digits)]

    def _asked(self, record: Record, users: int) -> Asked:
        decision = dict(
            part.split("=", 1)
            for part in record.headers.get(b"penstock-decision", b"").decode().split(";")
            if "=" in part
        )
        return Asked(
            user_of(record.index, users),
            self._digit(record.index),
            decision.get("version", ""),
            decision.get("why", ""),
            record,
        )

    def rollout(self) -> dict[str, Any]:
        """Return the rollout of digits as the management API tells it."""
        report: dict[str, Any] = self.mesh.admin("rollouts/digits")
        return report

    def shadow(self, name: str) -> dict[str, Any]:
        """Return a shadow of digits as the management API tells it."""
        reports: list[dict[str, Any]] = self.mesh.admin("shadows?model=digits")["shadows"]
        return next(report for report in reports if report["name"] == name)

    def metrics(self, name: str) -> list[str]:
        """Return the lines of one metric of the mesh."""
        told = self.mesh.api.get(f"{self.mesh.published().metrics}/metrics").raise_for_status()
        return [line for line in told.text.splitlines() if line.startswith(name)]

    def tell_labels(self, asked: Sequence[Asked]) -> int:
        """Tell the true labels of these requests; returns how many were taken."""
        accepted = 0
        for begin in range(0, len(asked), 500):
            labels = [{"request_id": one.request_id, "label": one.digit.label} for one in asked[begin : begin + 500]]
            answer = self.mesh.api.post("/feedback", content=json.dumps(labels))
            answer.raise_for_status()
            accepted += answer.json()["accepted"]
        return accepted

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``penstock`` with these words against this mesh."""
        return penstock(self.mesh, *words)


def user_of(number: int, users: int = USERS) -> str:
    """Return the name of a user."""
    return f"user-{number % users}"


@contextmanager
def ground(home: Path, store: Path, versions: dict[str, str], more: str, **files: str) -> Iterator[Ground]:
    """Run a mesh with these versions of digits, all of them ready."""
    policies = {"slos.yaml": SLOS, "routes/digits.yaml": route(versions, more), **files}
    with running_mesh(home, store, policies=policies) as mesh:
        wanted = {"1", *versions}
        eventually(
            lambda: {pod["version"] for pod in mesh.admin("pods")["pods"] if pod["state"] == "ready"} >= wanted,
            "every version has a pod that is ready",
        )
        yield Ground(mesh)


def until(ground: Ground, state: str, within_s: float = 60.0) -> dict[str, Any]:
    """Return the rollout once it is in this state, and every worker goes by it."""
    eventually(lambda: ground.rollout()["state"] == state, f"the rollout is {state}", within_s=within_s)
    time.sleep(_HEARD_AFTER_S)
    return ground.rollout()


def until_shared(ground: Ground, share: float) -> None:
    """Wait until the candidate has this share of the users at every worker."""
    eventually(lambda: ground.rollout()["share"] == share, f"its share is {share:.0%}")
    time.sleep(_HEARD_AFTER_S)
