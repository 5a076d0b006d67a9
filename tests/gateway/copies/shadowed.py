"""A model with a shadow, and pods of both versions on Unix sockets, for tests of what becomes of copies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gateway.control.messages import Pods, PodView
from gateway.copies.compare.answer import Answer
from gateway.copies.copied import Copied
from gateway.copies.queue import Memory
from gateway.copies.reports import ShadowReport
from gateway.copies.sending import Sending
from gateway.copies.shadowing import Shadowing
from model_pod.wire.status import PodState
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.release import Feedback, Recording, Shadow
from policies.snapshot.route import Route, Version
from policies.snapshot.tenant import Tenant
from tests.fakes.link_pod import LinkPod, Script, Stream
from tests.gateway.copies.requests import answered

SOON_S = 20.0
BODY, ANSWER = b'{"x":1}', b'{"label":7}'


def policy(shadow: Shadow | None = None, **changed: Any) -> Snapshot:
    """Return a generation: ``ads`` allows copies, ``bank`` does not, and version 2 is the shadow ``dark`` of digits."""
    route = Route(
        "digits",
        "vision",
        {"1": Version("1"), "2": Version("2")},
        "1",
        shadows=(shadow or Shadow("dark", "2", 1.0),),
        record=Recording(1.0),
        feedback=Feedback("/label"),
    )
    tenants = {
        "ads": Tenant("ads", "ads", "gold", (), ("*",), is_copied=True),
        "bank": Tenant("bank", "bank", "gold", (), ("*",)),
    }
    given: dict[str, Any] = {"tenants": tenants, "routes": {"digits": route}} | changed
    return Snapshot(1, "digest", Mesh("test"), **given)


def say(body: bytes, **how: Any) -> Script:
    """Return what a pod does that answers so."""
    return lambda stream: stream.answer(body, **how)


def hang(stream: Stream) -> None:
    """Say nothing."""


def crash(stream: Stream) -> None:
    """Break the connection."""
    stream.link.transport.abort()


def views(*pods: tuple[str, LinkPod], state: PodState = PodState.READY) -> Pods:
    """Return what is told of pods, by version."""
    return Pods(
        tuple(
            PodView(f"digits/{version}/{at}", "digits", version, pod.address, state, True, "", 1)
            for at, (version, pod) in enumerate(pods)
        )
    )


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(SOON_S):
        while not is_so():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.001)


class Shadowed:
    """Shadowing with a pod of each version.

    Attributes:
        defects: what it ran into.
        copied: shadows' answers, as they were told of.
        differed: copies whose answers were not alike, with the caller's, as they were told of.
    """

    def __init__(self, stable: LinkPod, shadow: LinkPod, snapshot: Snapshot, memory: Memory) -> None:
        self.stable = stable
        self.shadow = shadow
        self.memory = memory
        self.defects: list[Exception] = []
        self.copied: list[tuple[str, Answer]] = []
        self.differed: list[tuple[Copied, Answer]] = []
        loop = asyncio.get_running_loop()
        self.sending = Sending(loop, None, lambda _, error: self.defects.append(error))
        self.shadowing = Shadowing(
            loop,
            self.sending,
            memory,
            lambda _, error: self.defects.append(error),
            lambda _, name, answer: self.copied.append((name, answer)),
            on_difference=lambda _, copied, answer: self.differed.append((copied, answer)),
        )
        self.use(snapshot)
        self.sending.show(views(("1", stable), ("2", shadow)))

    def use(self, snapshot: Snapshot) -> None:
        """Go by this generation from now on."""
        self.sending.use(snapshot)
        self.shadowing.use(snapshot, {})

    def take(self, body: bytes = BODY, answer: bytes = ANSWER, **changed: Any) -> None:
        """Take a request that was answered."""
        one = answered(**({"shadows": ("dark",)} | changed))
        self.shadowing.take(one, body, Answer(one.status, one.answer_fields, answer, one.took_s, one.device_us))

    @property
    def report(self) -> ShadowReport:
        """What the shadow has come to."""
        return self.shadowing.reports(0.0)[0]

    def count(self, what: str) -> int:
        """Return how many copies became that."""
        return self.shadowing.counts()["digits"]["dark"].get(what, 0)

    async def counted(self, what: str, count: int = 1) -> None:
        """Wait until so many became that."""
        await until(lambda: self.count(what) >= count)


@asynccontextmanager
async def shadowed(
    shadow: Script, stable: Script = hang, snapshot: Snapshot | None = None, memory: Memory | None = None
) -> AsyncIterator[Shadowed]:
    """Give a shadow whose pod does that."""
    with TemporaryDirectory() as directory:
        one, two = LinkPod(Path(directory) / "1.sock", stable), LinkPod(Path(directory) / "2.sock", shadow)
        async with one, two:
            it = Shadowed(one, two, snapshot or policy(), memory or Memory())
            yield it
            await it.shadowing.drain(0.0)
            it.sending.close()
            assert not it.defects
