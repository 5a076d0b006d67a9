"""Many requests through many kills: workers and pods die at moments that a seed draws, and every ledger must agree."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from tests.faults.checker import Evidence, Violations, check, keyed_requests_succeed
from tests.faults.gateway import PATH, GatewayUnderTest, callers_of, running_gateway, static
from tests.faults.ledger_client import LedgerClient, Options
from tests.faults.ledgers import Death, Ledger, Outcome
from tests.faults.oracle.answers import Behaviour
from tests.faults.oracle.pods import LightPod, light_pods
from tests.faults.requests import Mix
from tests.system.mesh import eventually

Say = Callable[[str], None]
_TOLD_EVERY_S = 5.0
_WHOLE_AGAIN_WITHIN_S = 60.0
# Pods that answer at once leave most answers waiting at the client: whoever is killed then has nothing under way.
_UNDER_WAY = Behaviour(delay_s=0.03)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Attributes:
        kills: of workers, and as many of pods.
        http_only: pods speak HTTP/1.1 and not the link.
    """

    requests: int = 3000
    kills: int = 4
    seed: int = 1
    connections: int = 24
    pods: int = 4
    workers: int = 2
    http_only: bool = False
    mix: Mix = field(default_factory=lambda: Mix(streamed=0.02))


@dataclass(frozen=True, slots=True)
class Result:
    """What a run proved."""

    plan: Plan
    evidence: Evidence
    violations: dict[str, Violations]
    took_s: float

    @property
    def lost(self) -> int:
        """Attempts that ended without a cause or a record, and keyed requests without an answer."""
        return len(self.violations.get("I1", ())) + len(self.violations.get("keyed", ()))

    @property
    def doubled(self) -> int:
        """Answers and executions too many."""
        return len(self.violations.get("I2", ())) + len(self.violations.get("I3", ()))

    @property
    def wrong(self) -> int:
        """Answers that are not of their request."""
        return len(self.violations.get("I4", ()))

    def table(self) -> str:
        """Return the figures as lines."""
        ends = self.evidence.ends
        outcomes = Counter(end.outcome for end in ends)
        refused = Counter(end.reason for end in ends if end.outcome is Outcome.WHOLE and end.status >= 400)
        deaths = Counter(death.kind for death in self.evidence.deaths)
        replays = sum(end.is_replay for end in ends)
        lines = [
            f"requests {self.plan.requests}, attempts {len(self.evidence.attempts)}, seed {self.plan.seed}, "
            f"over {'HTTP/1.1' if self.plan.http_only else 'the link'}, {self.took_s:.0f} s",
            "outcomes " + ", ".join(f"{outcome} {outcomes[outcome]}" for outcome in Outcome),
            "refused " + (", ".join(f"{reason} {count}" for reason, count in refused.most_common()) or "0"),
            f"replayed by key {replays}",
            "kills " + ", ".join(f"{kind} {count}" for kind, count in sorted(deaths.items())),
            f"lost {self.lost}, doubled {self.doubled}, wrong {self.wrong}",
        ]
        for invariant, violations in self.violations.items():
            lines.append(f"{invariant} broken {len(violations)} times:")
            lines += [f"  {violation}" for violation in violations[:5]]
        return "\n".join(lines)


def run(plan: Plan, home: Path, say: Say) -> Result:
    """Send all requests, kill meanwhile, stop the gateway, and check every ledger."""
    attempts, executions = home / "attempts.jsonl", home / "executions.jsonl"
    callers = callers_of()
    began_s = time.monotonic()
    with light_pods(plan.pods, executions, http_only=plan.http_only) as pods:
        for pod in pods:
            pod.behave(_UNDER_WAY)
        where = static([pod.address for pod in pods])
        running = running_gateway(home, where, callers=callers, workers=plan.workers)
        with running as gateway, Ledger(attempts) as ledger:
            options = Options(mix=plan.mix)
            client = LedgerClient("kills", gateway.url, PATH, ledger, callers, plan.seed, options)
            deaths = uvloop.run(_send_and_kill(plan, client, gateway, pods, say))
    evidence = gateway.evidence(attempts=attempts, executions=executions, deaths=deaths)
    violations = check(evidence)
    if failed := keyed_requests_succeed(evidence):
        violations["keyed"] = failed
    return Result(plan, evidence, violations, time.monotonic() - began_s)


async def _send_and_kill(
    plan: Plan, client: LedgerClient, gateway: GatewayUnderTest, pods: Sequence[LightPod], say: Say
) -> list[Death]:
    draws = random.Random(plan.seed)
    deaths: list[Death] = []
    sending = asyncio.create_task(client.closed_loop(plan.connections, plan.requests))
    helpers = [
        asyncio.create_task(_at_moments(plan, random.Random(draws.random()), client, _worker_killer(gateway, draws))),
        asyncio.create_task(_at_moments(plan, random.Random(draws.random()), client, _pod_killer(pods, deaths, draws))),
        asyncio.create_task(_tell(client, plan, say)),
    ]
    try:
        await sending
        await asyncio.gather(*helpers[:2])
    finally:
        sending.cancel()
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(sending, *helpers, return_exceptions=True)
    return deaths


async def _at_moments(plan: Plan, draws: random.Random, client: LedgerClient, kill: Callable[[], None]) -> None:
    """Kill once in each of as many equal parts of the run, at a moment in it that is drawn."""
    part = plan.requests / max(1, plan.kills)
    for index in range(plan.kills):
        due = (index + 0.1 + 0.8 * draws.random()) * part
        await client.progress.until_begun(due)
        await asyncio.to_thread(kill)


def _worker_killer(gateway: GatewayUnderTest, draws: random.Random) -> Callable[[], None]:
    by_age: dict[int, None] = {}
    is_oldest = itertools.cycle([True, False])

    def kill() -> None:
        serving = gateway.serving()
        by_age.update(dict.fromkeys(serving))
        # All connections may be with one worker: every other time it is the oldest's turn, so no worker is spared.
        oldest = next(pid for pid in by_age if pid in serving)
        gateway.kill([oldest if next(is_oldest) else draws.choice(serving)])
        eventually(gateway.is_whole, "the worker is replaced", within_s=_WHOLE_AGAIN_WITHIN_S)

    return kill


def _pod_killer(pods: Sequence[LightPod], deaths: list[Death], draws: random.Random) -> Callable[[], None]:
    def kill() -> None:
        pod = draws.choice(pods)
        deaths.append(pod.kill())
        pod.start_again()
        pod.behave(_UNDER_WAY)

    return kill


async def _tell(client: LedgerClient, plan: Plan, say: Say) -> None:
    while True:
        await asyncio.sleep(_TOLD_EVERY_S)
        progress = client.progress
        say(f"{progress.done} of {plan.requests} requests, {progress.attempts} attempts")
