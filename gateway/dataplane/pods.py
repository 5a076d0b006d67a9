"""Pods: what this worker knows of every pod, and its way to each of them."""

from __future__ import annotations

import asyncio

from gateway.control.messages import PodView
from gateway.dataplane.balance import PodLoad, pick_pod
from gateway.dataplane.upstream import Upstream

_SUSPECT_S = 1.0


class Pod:
    """One pod.

    Attributes:
        view: as the supervisor last described it.
        outstanding: requests of this worker that it has and has not answered.
    """

    def __init__(self, view: PodView, loop: asyncio.AbstractEventLoop) -> None:
        self.view = view
        self.outstanding = 0
        self.upstream = Upstream(view.address, loop)
        self.suspect_until_s = 0.0

    def suspect(self, now_s: float) -> None:
        """Use it only when no other pod is left, until the supervisor's probe has had time to look."""
        self.suspect_until_s = now_s + _SUSPECT_S

    def load(self, now_s: float) -> PodLoad:
        """Return what the balance needs to know."""
        return PodLoad(self.view.state, self.view.was_ready, self.outstanding, now_s < self.suspect_until_s)


class NoPod(Exception):
    """No pod can take the request.

    Attributes:
        reason: the registry's name.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PodTable:
    """All pods by the version they run; replaced as the supervisor describes them, outstanding work kept."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._by_key: dict[tuple[str, str], Pod] = {}
        self._by_version: dict[tuple[str, str], list[Pod]] = {}

    def replace(self, views: tuple[PodView, ...]) -> None:
        """Take over the supervisor's view; pods that are gone finish what they have."""
        keep: dict[tuple[str, str], Pod] = {}
        by_version: dict[tuple[str, str], list[Pod]] = {}
        for view in views:
            key = (view.name, view.address)
            pod = self._by_key.pop(key, None) or Pod(view, self._loop)
            pod.view = view
            keep[key] = pod
            by_version.setdefault((view.model, view.version), []).append(pod)
        for gone in self._by_key.values():
            gone.upstream.close()
        self._by_key, self._by_version = keep, by_version

    def of_version(self, model: str, version: str) -> list[Pod]:
        """Return the version's pods."""
        return self._by_version.get((model, version), [])

    def pick(self, model: str, version: str, in_flight: int, draw: float, now_s: float, tried: list[Pod]) -> Pod:
        """Return the pod for the next attempt.

        Raises:
            NoPod: with the reason and a sentence that says what the pods are doing.
        """
        pods = [pod for pod in self.of_version(model, version) if pod not in tried]
        pick = pick_pod([pod.load(now_s) for pod in pods], in_flight, draw)
        if pick.index >= 0:
            return pods[pick.index]
        if pick.reason == "pods_busy":
            raise NoPod(pick.reason, f"every pod of {model}/{version} has {in_flight} requests; try again shortly")
        views = [pod.view for pod in self.of_version(model, version)]
        doing = ", ".join(sorted({str(view.state) for view in views})) or "none exists"
        why = next((f": {view.message}" for view in views if view.message), "")
        raise NoPod(pick.reason, f"no pod of {model}/{version} is ready ({doing}{why}); try again shortly")
