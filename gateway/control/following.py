"""Following: makes workers decide by a new generation, and every other part go by the one that is in force."""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec

from gateway.control.desired import desired_pods, pod_places, pod_places_meanwhile
from gateway.control.desired_pods import FILE_NAME
from gateway.control.events import Say
from gateway.control.generation_switch import Vetoed
from gateway.control.handover import Handover
from gateway.control.limit_rows import lack_of_rows
from gateway.control.parts import Parts
from gateway.control.policy_keeper import Surroundings
from gateway.control.state_dir import write_private
from gateway.control.workers import GenerationBlob
from policies.snapshot.generation import Snapshot


class Following:
    """What a supervisor's parts do when policy changes."""

    def __init__(self, parts: Parts, say: Say) -> None:
        self._parts = parts
        self._say = say

    def begin(self) -> None:
        """Go by the generation that policy begins with, before anything runs."""
        self._follow(self._parts.in_force(), None)

    async def run(self) -> None:
        """Go by every generation that comes, for ever."""
        await self._parts.policy.follow(
            Surroundings(
                pods=lambda: self._parts.pods.table,
                workers_accepting=lambda: len(self._parts.workers.accepting),
                switch=self._switch_to,
                follow=self._follow,
            )
        )

    async def _switch_to(self, target: GenerationBlob) -> None:
        parts = self._parts
        waiting = parts.policy.waiting
        if waiting is None:
            await parts.switch.to(target)
            return
        if lack := await asyncio.to_thread(lack_of_rows, waiting.snapshot, parts.limits):
            raise Vetoed(lack)
        # Each worker commits at its time; what it then tells must find the objectives that it counts by.
        parts.slos.expect(waiting.snapshot)
        await parts.quotas.expect(waiting.snapshot)
        followed = parts.in_force()
        try:
            await parts.switch.to(target)
            followed = waiting.snapshot
        finally:
            await parts.quotas.follow(followed)

    def _follow(self, in_force: Snapshot, handover: Handover | None) -> None:
        """Let pods and addresses follow the generation in force, and pods the one that waits as well."""
        parts = self._parts
        waiting = handover.snapshot if handover is not None else None
        if handover is None:
            places = pod_places(in_force, parts.state)
        else:
            awaited = {(one.model, one.version) for one in handover.awaited}
            places = pod_places_meanwhile(in_force, handover.snapshot, awaited, parts.state)
        pods = desired_pods(waiting or in_force, places)
        write_private(parts.state / FILE_NAME, msgspec.json.format(msgspec.json.encode(pods)) + b"\n")
        parts.pods.want(places)
        parts.discovery.follow(places)
        # Keys of an issuer that comes with the next generation are there when it does.
        parts.jwks.follow([*(waiting.mesh.jwt if waiting is not None else ()), *in_force.mesh.jwt])
        if waiting is None:
            parts.slos.follow(in_force)
            parts.alerts.follow(in_force.mesh.alerts)
            parts.copies.follow(partial(parts.policy.blob, in_force), in_force)
            parts.rollouts.follow(in_force)
        if waiting is None and parts.listeners.differ_from(in_force.mesh):
            self._say("mesh.yaml: listen: other addresses take effect at the next start")
