"""Asks the pod again and again, and remembers what it said last."""

from __future__ import annotations

import asyncio

import setproctitle

from telemetry.sidecar.account import PodSilent
from telemetry.sidecar.ask import ask
from telemetry.sidecar.config import SidecarConfig
from telemetry.sidecar.events import say
from telemetry.sidecar.exposition import expose
from telemetry.sidecar.samples import PodView, after_answer, after_silence, samples


class Watch:
    """One pod under watch."""

    def __init__(self, config: SidecarConfig) -> None:
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._view = PodView(answered_s=self._loop.time())
        self._silence = ""

    async def watch_for_ever(self) -> None:
        """Ask every ``every_s``; an answer that is long in coming delays the next question, and no two overlap."""
        while True:
            asked_s = self._loop.time()
            await self._ask()
            await asyncio.sleep(asked_s + self._config.every_s - self._loop.time())

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """Return the content type and the body of the pod's metrics as they are now."""
        return expose(samples(self._view, self._loop.time()), accept)

    async def _ask(self) -> None:
        before = self._view
        try:
            account = await ask(self._config.pod)
        except PodSilent as silent:
            self._view = after_silence(before)
            self._say_silence(str(silent))
            return
        self._view = after_answer(account, self._loop.time())
        self._silence = ""
        if self._view.name != before.name:
            setproctitle.setproctitle(f"penstock sidecar {self._view.name}")
        if before.account is None or before.account.state is not account.state:
            say(self._view.name, f"the pod is {account.state}")

    def _say_silence(self, why: str) -> None:
        if why != self._silence:
            say(self._view.name, f"the pod is silent: {why}")
        self._silence = why
