"""Decides when a good generation goes in force: at once, or when its new stable versions can take the requests.

A version that has just become stable has no ready pod yet, while the one before it has: switching at once would refuse
what is served now. So both generations' pods run, and requests move when nothing is lost by it.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from gateway.control.pod_table import PodRecord, PodTable
from model_pod.wire.status import PodState
from policies.errors import PolicyError
from policies.snapshot.generation import Snapshot

LIMIT_S = 60.0
# Workers may have died of something else; a generation on which they die twice is what they die of.
MOST_TRIES = 2


class StableVersion(Struct, frozen=True):
    """The version that requests for a model go to."""

    model: str
    version: str

    def __str__(self) -> str:
        return f"{self.model}/{self.version}"


class Handover(Struct, frozen=True):
    """A generation on its way to be in force.

    Attributes:
        snapshot: numbered.
        awaited: its stable versions that take over from one that is ready, and had no ready pod themselves.
        limit_s: monotonic seconds; they are waited for until then.
        tries: how often the workers were told to switch and none lived to do so.
    """

    snapshot: Snapshot
    awaited: tuple[StableVersion, ...]
    limit_s: float
    tries: int = 0


class Wait(Struct, frozen=True):
    """Look again soon."""


class SwitchNow(Struct, frozen=True):
    """Tell the workers; ``although`` says which stable version is not ready and why, "" when all are."""

    although: str = ""


class GiveUp(Struct, frozen=True):
    """Keep the generation in force: the new one's pods fail."""

    errors: tuple[PolicyError, ...]


def begin(before: Snapshot, after: Snapshot, table: PodTable, now_s: float) -> Handover:
    """Say what the generation has to wait for, which in most cases is nothing."""
    return Handover(after, tuple(_awaited(before, after, table)), now_s + LIMIT_S)


def _awaited(before: Snapshot, after: Snapshot, table: PodTable) -> Iterator[StableVersion]:
    for model, route in after.routes.items():
        known = before.routes.get(model)
        if known is None or known.stable == route.stable or route.versions[route.stable].launch is None:
            continue
        stable = StableVersion(model, route.stable)
        if _is_ready(StableVersion(model, known.stable), table) and not _is_ready(stable, table):
            yield stable


def decide(handover: Handover, table: PodTable, workers_accepting: int, now_s: float) -> Wait | SwitchNow | GiveUp:
    """Say what to do now."""
    if handover.tries and not workers_accepting:
        return Wait()
    late = not_ready(handover, table)
    if not late:
        return SwitchNow()
    if now_s < handover.limit_s:
        return Wait()
    if errors := tuple(error for stable in late for error in _failures(stable, table)):
        return GiveUp(errors)
    return SwitchNow("; ".join(f"{stable} is not ready: {_why(stable, table)}" for stable in late))


def not_ready(handover: Handover, table: PodTable) -> list[StableVersion]:
    """Return what is still waited for."""
    return [stable for stable in handover.awaited if not _is_ready(stable, table)]


def failed_try(handover: Handover) -> Handover | None:
    """No worker lived to switch: return what to try when one accepts again, None when it was tried often enough."""
    tries = handover.tries + 1
    return replace(handover, tries=tries) if tries < MOST_TRIES else None


def _is_ready(stable: StableVersion, table: PodTable) -> bool:
    return any(record.state is PodState.READY for record in _pods(stable, table))


def _failures(stable: StableVersion, table: PodTable) -> Iterator[PolicyError]:
    failed = next((record for record in _pods(stable, table) if record.state is PodState.FAILED), None)
    if failed is not None:
        problem = f"version {stable.version} cannot be made stable: pod {failed.place.name} failed: {failed.message}"
        yield PolicyError(f"routes/{stable.model}.yaml", 1, 1, problem, "Mend its archive and save the file again.")


def _why(stable: StableVersion, table: PodTable) -> str:
    return next((record.message or record.state.value for record in _pods(stable, table)), "it has no pod")


def _pods(stable: StableVersion, table: PodTable) -> Iterator[PodRecord]:
    return (
        record
        for record in table.values()
        if (record.place.model, record.place.version) == (stable.model, stable.version)
    )
