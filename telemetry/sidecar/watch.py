"""Asks the pod again and again, and remembers what it said last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import setproctitle

from telemetry.sidecar.account import PodAccount, PodSilent
from telemetry.sidecar.ask import ask
from telemetry.sidecar.config import Address
from telemetry.sidecar.events import say
from telemetry.sidecar.samples import PodView, Sample, after_answer, after_silence, samples


class Watch:
    """One pod under watch.

    Args:
        heard: told of each answer and when, and of None for each question without one.
    """

    def __init__(self, pod: Address, every_s: float, heard: Callable[[PodAccount | None, float], None]) -> None:
        self._pod = pod
        self._heard = heard
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._view = PodView(answered_s=self._loop.time())
        self._silence = ""

    async def watch_for_ever(self) -> None:
        """Ask every ``every_s``; an answer that is long in coming delays the next question, and no two overlap."""
        while True:
            asked_s = self._loop.time()
            await self._ask()
            await asyncio.sleep(asked_s + self._every_s - self._loop.time())

    def samples(self) -> tuple[Sample, ...]:
        """Return the pod's metrics as they are now."""
        return samples(self._view, self._loop.time())

    async def _ask(self) -> None:
        before = self._view
        try:
            account = await ask(self._pod)
        except PodSilent as silent:
            self._view = after_silence(before)
            self._heard(None, self._loop.time())
            self._say_silence(str(silent))
            return
        self._view = after_answer(account, self._loop.time())
        self._heard(account, self._view.answered_s)
        self._silence = ""
        if self._view.name != before.name:
            setproctitle.setproctitle(f"penstock sidecar {self._view.name}")
        if before.account is None or before.account.state is not account.state:
            say(self._view.name, f"the pod is {account.state}")

    def _say_silence(self, why: str) -> None:
        if why != self._silence:
            say(self._view.name, f"the pod is silent: {why}")
        self._silence = why
