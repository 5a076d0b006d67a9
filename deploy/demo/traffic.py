"""Sends digits to the running mesh as many users would, at a steady rate, and may tell their true labels afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from deploy.local_key import FILE_NAME as KEY_NAME
from gateway.control.runtime_file import FILE_NAME, read_running, runtime_path

MODEL = "digits"
USERS = 400
TOLD_EVERY_S = 5.0
WITHIN_S = 5.0
# More that wait for an answer are not sent: a mesh that hangs is not asked ever more.
IN_FLIGHT = 256
BEHIND_S = 0.5
# `POST /feedback` takes no more at once.
LABELS_AT_ONCE = 1000


class NoMesh(Exception):
    """There is no mesh to send to; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Where:
    """The mesh: the URL of its inference API, and a key."""

    url: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A digit as a request's body, and what it is."""

    body: bytes
    label: int


@dataclass(slots=True)
class Seen:
    """What became of requests since it was told last.

    Attributes:
        right, wrong: of good answers by version, those with the true label and with another.
        failed: other answers by version, "" where none was chosen, and by why.
        told: labels that the mesh has taken.
        not_sent: requests that would have been too many at once.
    """

    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    told: int = 0
    not_sent: int = 0

    def answered(self, status: int, headers: Mapping[str, str], body: bytes, label: int) -> bool:
        """Count one answer; True for a good one, whatever its label."""
        version = version_of(headers.get("penstock-decision", ""))
        if status != 200:
            self.failed[version, headers.get("penstock-reason", str(status))] += 1
            return False
        is_right = json.loads(body)["label"] == label
        (self.right if is_right else self.wrong)[version] += 1
        return True


def version_of(decision: str) -> str:
    """Return the version in a ``penstock-decision``, "" without one."""
    parts = dict(part.split("=", 1) for part in decision.split(";") if "=" in part)
    return parts.get("version", "")


def line(seen: Seen, span_s: float) -> str:
    """Return what was seen, as one line."""
    versions = sorted({*seen.right, *seen.wrong, *(version for version, _ in seen.failed)})
    count = sum(seen.right.values()) + sum(seen.wrong.values()) + sum(seen.failed.values())
    parts = [f"{count / span_s:.0f}/s", *(_of_version(seen, version) for version in versions)]
    parts += [f"{seen.told} labels told"] if seen.told else []
    parts += [f"{seen.not_sent} not sent: too many wait"] if seen.not_sent else []
    return "; ".join(parts)


def _of_version(seen: Seen, version: str) -> str:
    failed = [f"{count} {why}" for (of, why), count in sorted(seen.failed.items()) if of == version]
    wrong = [f"{seen.wrong[version]} wrong"] if seen.wrong[version] else []
    name = f"version {version}" if version else "no version"
    return f"{name}: {', '.join([f'{seen.right[version]} right', *wrong, *failed])}"


def find(state_dir: Path | None, environ: Mapping[str, str], home: Path) -> Where:
    """Return the mesh that this user runs, or that of a state directory.

    Raises:
        NoMesh: it does not run, or was not started by `penstock up`.
    """
    path = runtime_path(environ, home) if state_dir is None else state_dir / FILE_NAME
    running = read_running(path)
    if running is None or not running.inference:
        raise NoMesh(f"no mesh is running ({path} names none): start one with `penstock up`")
    try:
        key = (Path(running.state_dir) / KEY_NAME).read_text().strip()
    except OSError as error:
        raise NoMesh(f"the mesh has no local key: {error.filename} cannot be read ({error.strerror})") from error
    return Where(running.inference, key)


def held_out() -> list[Labelled]:
    """Return the digits that no model was trained on."""
    from deploy.demo.data import load_split

    _, digits = load_split()
    return [
        Labelled(json.dumps({"data": [int(level) for level in pixels]}).encode(), int(label))
        for pixels, label in zip(digits.pixels, digits.labels, strict=True)
    ]


class Callers:
    """Many users who send digits."""

    def __init__(self, client: httpx.AsyncClient, digits: Sequence[Labelled], tells_labels: bool) -> None:
        self.seen = Seen()
        self._client = client
        self._digits = digits
        self._tells_labels = tells_labels
        self._labels: list[dict[str, str | int]] = []
        self._running: set[asyncio.Task[None]] = set()
        # Anybody may foresee who asks for what: nothing here is a secret.
        self._chance = random.Random(0)

    def send(self) -> None:
        """Send one request, unless too many wait for an answer."""
        if len(self._running) >= IN_FLIGHT:
            self.seen.not_sent += 1
            return
        user, digit = self._chance.randrange(USERS), self._chance.choice(self._digits)
        self._keep(self._ask(f"user-{user}", digit))

    async def _ask(self, user: str, digit: Labelled) -> None:
        headers = {"content-type": "application/json", "x-user-id": user}
        try:
            answer = await self._client.post(f"/predictions/{MODEL}", content=digit.body, headers=headers)
        except httpx.HTTPError as error:
            self.seen.failed["", type(error).__name__] += 1
            return
        if self.seen.answered(answer.status_code, answer.headers, answer.content, digit.label):
            self._labels.append({"request_id": answer.headers["x-request-id"], "label": digit.label})

    def begin_to_tell(self) -> None:
        """Tell the true labels of what was answered since, beside everything else."""
        self._keep(self._tell_labels())

    def _keep(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _tell_labels(self) -> None:
        labels, self._labels = self._labels, []
        if not self._tells_labels:
            return
        for begin in range(0, len(labels), LABELS_AT_ONCE):
            try:
                answer = await self._client.post("/feedback", json=labels[begin : begin + LABELS_AT_ONCE])
            except httpx.HTTPError as error:
                self.seen.failed["", f"feedback {type(error).__name__}"] += 1
                continue
            if answer.status_code == 202:
                self.seen.told += answer.json()["accepted"]
            else:
                self.seen.failed["", f"feedback {answer.headers.get('penstock-reason', answer.status_code)}"] += 1

    async def finish(self) -> None:
        """Wait for what is on its way, and tell its labels."""
        await asyncio.gather(*self._running)
        await self._tell_labels()


async def send(
    where: Where,
    digits: Sequence[Labelled],
    rate_per_s: float,
    for_s: float,
    tells_labels: bool,
    say: Callable[[str], None],
) -> None:
    """Send at a steady rate for so long, and say every ``TOLD_EVERY_S`` what was seen."""
    headers = {"authorization": f"Bearer {where.key}"}
    limits = httpx.Limits(max_connections=IN_FLIGHT)
    async with httpx.AsyncClient(
        base_url=where.url, headers=headers, timeout=WITHIN_S, trust_env=False, limits=limits
    ) as client:
        callers = Callers(client, digits, tells_labels)
        due_s = told_s = began_s = time.monotonic()
        while due_s - began_s < for_s:
            await asyncio.sleep(due_s - time.monotonic())
            callers.send()
            # What was missed is missed: nobody is sent a burst because this process was slow.
            due_s = max(due_s, time.monotonic() - BEHIND_S) + 1 / rate_per_s
            if (now_s := time.monotonic()) - told_s >= TOLD_EVERY_S:
                callers.begin_to_tell()
                say(line(callers.seen, now_s - told_s))
                callers.seen, told_s = Seen(), now_s
        await callers.finish()
        say(line(callers.seen, max(1e-3, time.monotonic() - told_s)))


def run(state_dir: Path | None, rate_per_s: float, for_s: float, tells_labels: bool) -> int:
    """Send until Ctrl-C or the end; 1 when there is no mesh."""
    try:
        where = find(state_dir, os.environ, Path.home())
    except NoMesh as nowhere:
        print(nowhere, flush=True)
        return 1
    try:
        asyncio.run(send(where, held_out(), rate_per_s, for_s, tells_labels, lambda told: print(told, flush=True)))
    except KeyboardInterrupt:
        return 130
    return 0
