"""The pods of the generation in force: probed, remembered, and shown to the workers whenever one of them changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gateway.control import pod_table
from gateway.control.desired import PodPlace
from gateway.control.events import Say
from gateway.control.messages import Pods
from gateway.control.pod_table import Finding, PodTable
from model_pod.wire.status import PodStatus

if TYPE_CHECKING:
    from gateway.control.probe import PodProbes

# Workers accept once they are shown the pods: until then callers wait in the listening socket's queue, and are not
# refused for pods that nobody has asked yet.
FIRST_LOOK_S = 1.0

Show = Callable[[Pods], None]
OnAccount = Callable[[PodPlace, PodStatus], None]


class MeshPods:
    """What is known of every pod.

    Attributes:
        table: pods by (name, address), in the order of the files.
        ready_once: models and their versions of which a pod has been ready: pods behind a name come and go.
        on_account: who hears what a pod says of itself, each time that it is asked.
    """

    def __init__(self, say: Say, show: Show) -> None:
        self.table: PodTable = {}
        self.ready_once: set[tuple[str, str]] = set()
        self.on_account: list[OnAccount] = []
        self._say = say
        self._show = show
        self._probes: PodProbes | None = None
        self._has_looked = False
        self._first_look_ends: asyncio.TimerHandle | None = None
        self._show_is_due = False
        self._untold: list[str] = []

    def want(self, places: Iterable[PodPlace]) -> None:
        """These are wanted, as addresses and as names that stand for some; of other versions nothing is remembered."""
        self.ready_once &= {(place.model, place.version) for place in places}

    def follow(self, places: Iterable[PodPlace]) -> None:
        """These are the pods from now on."""
        self.table = pod_table.merge_places(self.table, places)
        if self._has_looked:
            self._show(pod_table.pods_message(self.table, self.ready_once))
        self._watch_all()

    def start_probing(self, probes: PodProbes) -> None:
        """Probe by this from now on; the pods are shown when each was asked once, or when that takes too long."""
        self._probes = probes
        self._watch_all()
        wait_s = FIRST_LOOK_S if self.table else 0.0
        self._first_look_ends = asyncio.get_running_loop().call_later(wait_s, self._end_first_look)

    def _watch_all(self) -> None:
        if self._probes is not None:
            self._probes.watch([record.place for record in self.table.values()])

    async def stop(self) -> None:
        """End all probing."""
        if self._first_look_ends is not None:
            self._first_look_ends.cancel()
        if self._probes is not None:
            await self._probes.stop()

    def probed(self, place: PodPlace, finding: Finding, now_s: float) -> None:
        """Take in what a probe found."""
        key = (place.name, place.address)
        before = self.table.get(key)
        if before is None:
            return
        if isinstance(finding, PodStatus):
            for listener in self.on_account:
                listener(place, finding)
        after = self.table[key] = pod_table.observe(before, finding, now_s)
        if after.was_ready:
            self.ready_once.add((place.model, place.version))
        sentence = pod_table.event(before, after)
        if before.view == after.view and self._has_looked:
            self._tell(sentence)
            return
        # Told once the workers know: whoever reads that a pod is ready may send to it.
        self._untold.append(sentence)
        if self._has_looked or all(record.probed_s is not None for record in self.table.values()):
            self._show_soon()

    def _end_first_look(self) -> None:
        if not self._has_looked:
            self._show_soon()

    def _show_soon(self) -> None:
        if not self._show_is_due:
            # One message for all the changes that this turn of the loop brings.
            self._show_is_due = True
            asyncio.get_running_loop().call_soon(self._show_now)

    def _show_now(self) -> None:
        self._show_is_due = False
        self._has_looked = True
        self._show(pod_table.pods_message(self.table, self.ready_once))
        untold, self._untold = self._untold, []
        for sentence in untold:
            self._tell(sentence)

    def _tell(self, sentence: str) -> None:
        if sentence:
            self._say(sentence)
