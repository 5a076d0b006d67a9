"""Asks pods how they are, while the start or the replacement of other pods depends on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gateway.control.desired import PodPlace
from gateway.control.desired_pods import DesiredPod
from gateway.control.pod_table import TIME_OUTS_UNTIL_LOST, Finding, PodRecord, observe
from model_pod.wire.status import PodState

if TYPE_CHECKING:
    from gateway.control.probe import PodProbes


class Readiness:
    """What the pods that are watched said last."""

    def __init__(self) -> None:
        self._probes: PodProbes | None = None
        self._records: dict[str, PodRecord] = {}

    def watch(self, pods: Iterable[DesiredPod]) -> None:
        """Ask these pods from now on, and forget the others; in most moments there is none to ask."""
        places = [PodPlace(pod.name, pod.model, pod.version, pod.address, launch=pod) for pod in pods]
        self._records = {place.name: self._records.get(place.name, PodRecord(place)) for place in places}
        if places and self._probes is None:
            # The import takes 0.2 s, which a mesh whose pods wait for no other does not have to spend.
            from gateway.control.probe import PodProbes

            self._probes = PodProbes(self._note)
        if self._probes is not None:
            self._probes.watch(places)

    def of(self, pod: str, pid: int) -> PodState | None:
        """Return the state of this process of a watched pod; None while that is not known."""
        record = self._records[pod]
        is_of_another = record.status is not None and record.status.pid != pid
        if is_of_another or record.probed_s is None or 0 < record.time_outs < TIME_OUTS_UNTIL_LOST:
            return None
        return record.state

    def _note(self, place: PodPlace, finding: Finding, now_s: float) -> None:
        if place.name in self._records:
            self._records[place.name] = observe(self._records[place.name], finding, now_s)
