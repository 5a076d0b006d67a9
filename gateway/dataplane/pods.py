"""Pods: every pod with this worker's way to it, and which one a request goes to."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from gateway.control.messages import PodView
from gateway.dataplane.defects import OnDefect, unheard
from gateway.dataplane.pod_http import HttpUpstream
from gateway.dataplane.pod_link import LinkUpstream, Soon
from gateway.dataplane.siblings import Family, Member, NoneFree, Siblings
from gateway.dataplane.upstream import Upstream
from model_pod.wire.status import PodState
from policies.snapshot.route import Route

# A model that cannot be loaded is tried again after up to a minute; sooner than this only what somebody mends helps.
FAILED_RETRY_S = 30.0


class Pod(Member):
    """One pod.

    Attributes:
        view: as the supervisor last described it.
        upstream: the way to it.
    """

    def __init__(
        self,
        view: PodView,
        family: Family,
        loop: asyncio.AbstractEventLoop,
        on_defect: OnDefect = unheard,
        soon: Soon | None = None,
    ) -> None:
        super().__init__(view.name, family)
        self.view = view
        self._link_version = view.link
        self._loop = loop
        self._on_defect = on_defect
        self._soon = soon
        self.upstream = self._way_to(view)

    def see(self, view: PodView, now_s: float) -> None:
        """The supervisor describes it anew; one that does not answer has not forgotten what it speaks."""
        if view.state is PodState.READY and view.link != self._link_version:
            self._link_version = view.link
            self.upstream.close()
            self.upstream = self._way_to(view)
        self.view = view
        self.describe(view.state, was_ready=view.was_ready, now_s=now_s)

    def _way_to(self, view: PodView) -> Upstream:
        """Take the link to a pod of ours, HTTP/1.1 to any other server, and to one of which nothing is known yet."""
        return (
            LinkUpstream(view.address, self._loop, self._on_lost, self._on_defect, self._soon)
            if view.link
            else HttpUpstream(view.address, self._loop)
        )

    def _on_lost(self) -> None:
        """Its server has died: what came to its socket now would wait until the next one has loaded the model."""
        self.was_lost(time.monotonic())


class NoPod(Exception):
    """No pod can take the request.

    Attributes:
        reason: the registry's name.
        retry_after_s: when a pod may well be there; 0 for soon.
    """

    def __init__(self, reason: str, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


class PodTable:
    """All pods by the version they run; replaced as the supervisor describes them, outstanding work kept.

    Attributes:
        ejections: by model of the policy, how often a pod was left out because it failed requests.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_defect: OnDefect = unheard, soon: Soon | None = None
    ) -> None:
        self._loop = loop
        self._on_defect = on_defect
        self._soon = soon
        self._routes: Mapping[str, Route] = {}
        self.ejections: Counter[str] = Counter()
        self._by_key: dict[tuple[str, str], Pod] = {}
        self._by_version: dict[tuple[str, str], Siblings[Pod]] = {}

    def use(self, routes: Mapping[str, Route]) -> None:
        """Pick and eject by what these routes say from now on."""
        self._routes = routes
        for model in self.ejections.keys() - routes.keys():
            del self.ejections[model]
        for (model, version), siblings in self._by_version.items():
            self._instruct(siblings, model, version)

    def _instruct(self, siblings: Siblings[Pod], model: str, version: str) -> None:
        route = self._routes.get(model)
        if route is not None and version in route.versions:
            siblings.use(route.versions[version].balance, route.versions[version].eject)

    def replace(self, views: tuple[PodView, ...]) -> None:
        """Take over the supervisor's view; pods that are gone finish what they have."""
        now_s = time.monotonic()
        keep: dict[tuple[str, str], Pod] = {}
        members: dict[tuple[str, str], list[Pod]] = {}
        for view in views:
            key = (view.name, view.address)
            siblings = self._siblings(view.model, view.version)
            pod = (
                self._by_key.pop(key)
                if key in self._by_key
                else Pod(view, siblings, self._loop, self._on_defect, self._soon)
            )
            pod.see(view, now_s)
            keep[key] = pod
            members.setdefault((view.model, view.version), []).append(pod)
        for gone in self._by_key.values():
            gone.upstream.close()
        self._by_key = keep
        self._by_version = {version: self._by_version[version] for version in members}
        for version, pods in members.items():
            self._by_version[version].replace(pods, now_s)

    def _siblings(self, model: str, version: str) -> Siblings[Pod]:
        siblings = self._by_version.get((model, version))
        if siblings is None:
            siblings = self._by_version[model, version] = Siblings(partial(self._count_ejection, model))
            self._instruct(siblings, model, version)
        return siblings

    def _count_ejection(self, model: str) -> None:
        self.ejections[model] += 1

    def of_version(self, model: str, version: str) -> Sequence[Pod]:
        """Return the version's pods."""
        siblings = self._by_version.get((model, version))
        return siblings.members if siblings is not None else ()

    def views(self, model: str, version: str) -> Sequence[PodView]:
        """Return the version's pods as the supervisor last described them."""
        return [pod.view for pod in self.of_version(model, version)]

    @property
    def ejected(self) -> int:
        """How many pods are up, and get nothing or a trial at most, because they failed this worker's requests."""
        return sum(siblings.ejected for siblings in self._by_version.values())

    @property
    def links(self) -> int:
        """How many links are open to the pods that there are."""
        return sum(pod.upstream.is_linked for pod in self._by_key.values())

    def usual_latency_s(self, model: str, version: str) -> float:
        """Return how long the version's pods usually take to answer; 0.0 when that is not known yet."""
        siblings = self._by_version.get((model, version))
        return siblings.usual.latency_s if siblings is not None and siblings.usual.is_known else 0.0

    def pick(
        self,
        model: str,
        version: str,
        in_flight: int,
        draw: float,
        now_s: float,
        tried: Sequence[Pod],
        *,
        may_probe: bool = True,
    ) -> Pod:
        """Return the pod for the next attempt.

        Args:
            in_flight: most requests of this worker that one pod may have.
            draw: uniform in [0, 1).
            may_probe: it may try a pod that failed; better not if the request cannot be sent again.

        Raises:
            NoPod: with the reason and a sentence that says what the pods are doing.
        """
        siblings = self._by_version.get((model, version))
        if siblings is None:
            raise self._no_pod(NoneFree.NO_POD_READY, model, version, in_flight)
        pod = siblings.pick(in_flight, draw, now_s, tried, may_probe)
        if pod is None:
            raise self._no_pod(siblings.why_none(tried), model, version, in_flight)
        return pod

    def pick_usual(self, version: tuple[str, str], in_flight: int, draw: float, now_s: float) -> Pod | None:
        """Return the pod for a request's first attempt, where that takes nothing but a look at two; None otherwise."""
        siblings = self._by_version.get(version)
        return siblings.pick_usual(in_flight, draw, now_s) if siblings is not None else None

    def pick_keyed(self, model: str, version: str, key: bytes, in_flight: int, now_s: float) -> Pod:
        """Return the pod that a request with an idempotency key belongs to, whichever worker has the request.

        Raises:
            NoPod: as ``pick`` does.
        """
        siblings = self._by_version.get((model, version))
        if siblings is None:
            raise self._no_pod(NoneFree.NO_POD_READY, model, version, in_flight)
        pod = siblings.pick_keyed(key, in_flight, now_s)
        if pod is None:
            raise self._no_pod(siblings.why_none(), model, version, in_flight)
        return pod

    def _no_pod(self, why: NoneFree, model: str, version: str, in_flight: int) -> NoPod:
        if why is NoneFree.PODS_BUSY:
            return NoPod(why.value, f"every pod of {model}/{version} has {in_flight} requests; try again shortly")
        views = [pod.view for pod in self.of_version(model, version)]
        doing = ", ".join(sorted({str(view.state) for view in views})) or "none exists"
        message = next((f": {view.message}" for view in views if view.message), "")
        problem = f"no pod of {model}/{version} is ready ({doing}{message})"
        if views and all(view.state is PodState.FAILED for view in views):
            mend = "it is loaded again now and then, and its owner has to mend it"
            return NoPod(why.value, f"{problem}; {mend}", FAILED_RETRY_S)
        return NoPod(why.value, f"{problem}; try again shortly")
