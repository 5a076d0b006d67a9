"""Policy files under a running mesh: mistakes change nothing, good edits take effect at once, halves never do."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from policies.errors import PolicyError
from tests.system.conftest import Figure
from tests.system.digits import Digit, known_digits, predict
from tests.system.mesh import SOON_S, MeshUnderTest, eventually, lay_out_policies, running_mesh
from tests.system.processes import is_gone

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

_PUT_IN_FORCE_WITHIN_S = 15.0
_SAMPLE_EVERY_S = 0.02
# Longer than a set of files has to stay the same before it is read.
_WRITER_PAUSE_S = 0.6
_UNLIMITED = "rate: 60000/s"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator[MeshUnderTest]:
    with running_mesh(tmp_path_factory.mktemp("policy"), model_store) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def digits(running: MeshUnderTest) -> list[Digit]:
    return known_digits(running)


@pytest.fixture
def mesh(running: MeshUnderTest, tmp_path: Path) -> Iterator[MeshUnderTest]:
    """The mesh with the demo's policy in force, before the test and after it."""
    digest = running.admin("policy")["digest"]
    yield running
    lay_out_policies(tmp_path / "as-before", {})
    shutil.copytree(tmp_path / "as-before", running.policies, dirs_exist_ok=True)
    eventually(lambda: running.admin("policy")["digest"] == digest, "the demo's policy is in force again")


def edit(mesh: MeshUnderTest, name: str, before: str, after: str) -> None:
    """Change one place of one file, as an editor does: a new file is renamed over the old one."""
    path = mesh.policies / name
    content = path.read_text()
    assert content.count(before) == 1, f"{name} does not say {before!r} once"
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(content.replace(before, after))
    beside.replace(path)


def in_force(mesh: MeshUnderTest) -> tuple[int, str]:
    """Return the number and the digest of the generation in force."""
    policy = mesh.admin("policy")
    return policy["generation"], policy["digest"]


class Caller:
    """Somebody who keeps calling, and keeps what came back."""

    def __init__(self, mesh: MeshUnderTest, digits: list[Digit]) -> None:
        self.labels_asked: list[int] = []
        self.labels_told: list[int] = []
        self._mesh = mesh
        self._digits = digits
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._call, daemon=True)

    def __enter__(self) -> Caller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _call(self) -> None:
        headers = {"authorization": f"Bearer {self._mesh.key}", "content-type": "application/json"}
        with httpx.Client(base_url=self._mesh.inference, headers=headers, trust_env=False, timeout=SOON_S) as client:
            while not self._stop.wait(_SAMPLE_EVERY_S):
                digit = self._digits[len(self.labels_asked) % len(self._digits)]
                self.labels_asked.append(digit.label)
                answer = client.post("/predictions/digits", content=digit.body)
                self.labels_told.append(answer.json()["label"] if answer.status_code == 200 else -answer.status_code)


@dataclass(frozen=True, slots=True)
class Mistake:
    """What a hurried editor makes of a file, and what must be told of it.

    Attributes:
        below: lines from the good text down to the one that is told of.
        column: of that line, from 1.
    """

    file: str
    good: str
    bad: str
    below: int
    column: int
    told: str

    def place(self, content: str) -> str:
        """Return where a file with this content, still good, is told of once the mistake is made."""
        line = content.partition(self.good)[0].count("\n") + 1
        return f"{line + self.below}:{self.column}"


MISTAKES = [
    Mistake("mesh.yaml", "max_deadline: 60s", "max_deadline: 60", 0, 17, "60 what? Write 60ms, 60s, 60m, 60h or 60d."),
    Mistake("limits.yaml", "    rate: 60000", "    rat: 60000", 0, 5, 'unknown key "rat". Did you mean "rate"?'),
    Mistake("tenants/demo.yaml", "tier: demo", "tier: gold", 0, 7, 'there is no tier "gold". Known here: batch, demo.'),
    Mistake(
        "tenants/demo.yaml",
        "may_call: [digits]",
        "may_call: [digits]\nowner: demo-team",
        1,
        1,
        'the key "owner" is here twice, first in line 6. Keep one of the two.',
    ),
    Mistake(
        "routes/digits.yaml",
        'stable: "1"',
        'stable: "1"\ncanary: {id: first, version: "1", steps: [{share: 100%}]}',
        1,
        30,
        (
            'the canary is of version "1", which is stable: it has every request already. '
            "Name the new version, or remove the canary."
        ),
    ),
]


def test_five_mistakes_are_told_with_place_and_fix_and_change_nothing(
    mesh: MeshUnderTest, digits: list[Digit], tmp_path: Path
) -> None:
    shutil.copytree(mesh.policies, tmp_path / "copy")
    for mistake in MISTAKES:
        file = tmp_path / "copy" / mistake.file
        assert file.read_text().count(mistake.good) == 1
        file.write_text(file.read_text().replace(mistake.good, mistake.bad))
    expected = {
        f"{mistake.file}:{mistake.place((mesh.policies / mistake.file).read_text())}: {mistake.told}"
        for mistake in MISTAKES
    }
    before = in_force(mesh)
    with Caller(mesh, digits) as caller:
        written_s = time.monotonic()
        shutil.copytree(tmp_path / "copy", mesh.policies, dirs_exist_ok=True)
        mesh.said.line(f"generation {before[0]} stays in force", after_s=written_s)
        told = mesh.said.since(written_s, "policy refused: ")
        errors = mesh.admin("policy")["errors"]
        assert in_force(mesh) == before

    assert {line.partition("policy refused: ")[2] for line in told} == expected
    assert len(told) == len(MISTAKES)
    assert {str(PolicyError(**error)) for error in errors} == expected
    assert caller.labels_told == caller.labels_asked
    assert caller.labels_asked


def test_a_good_edit_is_in_force_at_once_and_its_limit_is_kept(mesh: MeshUnderTest, figure: Figure) -> None:
    following = in_force(mesh)[0] + 1
    edited_s = time.monotonic()
    edit(mesh, "limits.yaml", _UNLIMITED, "rate: 5/s")
    took_s = mesh.said.line(f"generation {following} in force").at_s - edited_s
    assert took_s < _PUT_IN_FORCE_WITHIN_S
    figure("policy: from an edit to its generation in force", f"{took_s * 1e3:.0f} ms")

    began_s = time.monotonic()
    with ThreadPoolExecutor(8) as callers:  # at once, so that some meet the limit however slow the machine is
        asking = [callers.submit(mesh.api.post, "/predictions/digits", json={"data": [0] * 64}) for _ in range(40)]
        answers = [each.result() for each in asking]
    lasted_s = time.monotonic() - began_s
    admitted = sum(answer.status_code == 200 for answer in answers)
    assert 5 <= admitted <= 5 + 5 * lasted_s + 1
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {(answer.status_code, answer.json()["reason"]) for answer in refused} == {(429, "rate_limited")}
    assert all(answer.json()["retryable"] for answer in refused)

    time.sleep(int(refused[-1].headers["retry-after"]))
    assert mesh.api.post("/predictions/digits", json={"data": [0] * 64}).status_code == 200


def test_a_version_added_to_a_route_starts_its_pod_and_one_removed_is_drained(
    mesh: MeshUnderTest, digits: list[Digit], figure: Figure
) -> None:
    edited_s = time.monotonic()
    edit(mesh, "routes/digits.yaml", '  # "2": {pods:', '  "2": {pods:')
    ready_s = mesh.said.line("pod digits/2/0 is ready", after_s=edited_s).at_s
    figure("policy: from a version's line to its pod ready", f"{ready_s - edited_s:.1f} s")
    assert len([predict(mesh, digit, "/predictions/digits/2") for digit in digits]) == len(digits)
    answer = mesh.api.post("/predictions/digits/2", content=digits[0].body)
    assert ";version=2;why=pinned;" in answer.headers["penstock-decision"]
    server, *others = mesh.pids("penstock pod digits/2 server")
    inference, *more = mesh.pids("penstock pod digits/2 inference")
    assert others == more == []

    removed_s = time.monotonic()
    edit(mesh, "routes/digits.yaml", '  "2": {pods:', '  # "2": {pods:')
    mesh.said.line("pod digits/2/0: stopped", after_s=removed_s)
    eventually(lambda: is_gone(server) and is_gone(inference), "the removed version's processes end")
    gone = mesh.api.post("/predictions/digits/2", content=digits[0].body)
    assert (gone.status_code, gone.json()["reason"]) == (404, "version_not_found")
    assert predict(mesh, digits[0]) == digits[0].label


class Sampler:
    """Asks again and again which generation decides: the management API, and an answered request."""

    def __init__(self, mesh: MeshUnderTest) -> None:
        self.policies: set[tuple[int, str]] = set()
        self.deciding: set[int] = set()
        self._mesh = mesh

    def watch_while(self, write: Callable[[], None]) -> None:
        """Sample from before the writing begins until its outcome is in force."""
        before = in_force(self._mesh)
        writing = threading.Thread(target=write, daemon=True)
        give_up_s = time.monotonic() + SOON_S
        writing.start()
        while writing.is_alive() or in_force(self._mesh) == before:
            assert time.monotonic() < give_up_s, "what was written never came into force"
            self._sample()
        self._sample()

    def _sample(self) -> None:
        self.policies.add(in_force(self._mesh))
        answer = self._mesh.api.post("/predictions/digits", json={"data": [0] * 64})
        decision = re.match(r"gen=(\d+);", answer.headers["penstock-decision"])
        assert decision is not None
        self.deciding.add(int(decision[1]))
        time.sleep(_SAMPLE_EVERY_S)


# Cut before its last tier this is a whole, valid policy, and not the one that is meant.
_TWO_TIERS = """\
kind: limits/v1
tiers:
  batch:
    rate: 5000/s
  demo:
    rate: 50000/s
  gold:
    rate: 59000/s
"""
_CUTS = (_TWO_TIERS.index("  gold"), _TWO_TIERS.index("59000"))


@contextmanager
def _open_to_write(path: Path) -> Iterator[Callable[[str], None]]:
    with path.open("w") as file:

        def write(piece: str) -> None:
            file.write(piece)
            file.flush()
            time.sleep(_WRITER_PAUSE_S)

        yield write


def _in_pieces(path: Path) -> None:
    first, second = _CUTS
    with _open_to_write(path) as write:
        for piece in (_TWO_TIERS[:first], _TWO_TIERS[first:second], _TWO_TIERS[second:]):
            write(piece)


def _in_place(mesh: MeshUnderTest) -> None:
    _in_pieces(mesh.policies / "limits.yaml")


def _by_rename(mesh: MeshUnderTest) -> None:
    beside = mesh.policies / ".limits.yaml.new"
    _in_pieces(beside)
    beside.replace(mesh.policies / "limits.yaml")


@pytest.mark.parametrize("write", [_in_place, _by_rename], ids=["in-place", "by-rename"])
def test_a_file_written_in_pieces_is_never_in_force_half(
    write: Callable[[MeshUnderTest], None], mesh: MeshUnderTest
) -> None:
    if write is _in_place and not _has_leases(mesh.policies / "limits.yaml"):
        pytest.skip("this file system does not say whether a file is open for writing")
    before = in_force(mesh)
    sampler = Sampler(mesh)
    sampler.watch_while(lambda: write(mesh))
    after = in_force(mesh)
    assert after[0] == before[0] + 1
    assert sampler.policies == {before, after}
    assert sampler.deciding == {before[0], after[0]}


def _has_leases(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def test_a_new_stable_version_takes_over_when_it_is_ready_and_no_request_is_lost(
    mesh: MeshUnderTest, digits: list[Digit]
) -> None:
    following = in_force(mesh)[0] + 1
    route = mesh.policies / "routes" / "digits.yaml"
    text = route.read_text().replace('  "1": {pods:', '  # "1": {pods:').replace('  # "2": {pods:', '  "2": {pods:')
    edited_s = time.monotonic()
    with Caller(mesh, digits) as caller:
        beside = route.with_name(".digits.yaml.new")
        beside.write_text(text.replace('stable: "1"', 'stable: "2"'))
        beside.replace(route)
        mesh.said.line(f"generation {following} waits for digits/2 to be ready", after_s=edited_s)
        assert mesh.admin("policy")["waiting"]["not_ready"] == ["digits/2"]
        mesh.said.line(f"generation {following} in force", after_s=edited_s)
        mesh.said.line("pod digits/1/0: stopped", after_s=edited_s)
    assert caller.labels_told == caller.labels_asked
    answer = mesh.api.post("/predictions/digits", content=digits[0].body)
    assert f"gen={following};" in answer.headers["penstock-decision"]
    assert ";version=2;" in answer.headers["penstock-decision"]
