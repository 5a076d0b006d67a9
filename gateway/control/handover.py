"""Decides when a good generation goes in force: at once, or when its new stable versions can take the requests.

A version that has just become stable has no ready pod yet, while the one before it has: switching at once would refuse
what is served now. So both generations' pods run, and requests move when nothing is lost by it; if that does not come,
the generation is refused.
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
# A pod that restarts keeps its requests, and serves again in a moment.
_SERVES = (PodState.READY, PodState.RESTARTING)


class Takeover(Struct, frozen=True):
    """A version that becomes stable; the one before it serves until then."""

    model: str
    version: str
    before: str

    def __str__(self) -> str:
        return f"{self.model}/{self.version}"


class Handover(Struct, frozen=True):
    """A generation on its way to be in force.

    Attributes:
        snapshot: numbered.
        awaited: its stable versions that take over from one that was ready, and had no ready pod themselves.
        limit_s: monotonic seconds; they are waited for until then, or longer as long as one after the other gets ready.
        missing: how many of them were not ready when that was looked at last.
        tries: how often the workers were told to switch and none lived to do so.
    """

    snapshot: Snapshot
    awaited: tuple[Takeover, ...]
    limit_s: float
    missing: int = 0
    tries: int = 0


class Wait(Struct, frozen=True):
    """Look again soon."""


class SwitchNow(Struct, frozen=True):
    """Tell the workers; ``although`` says which stable version is not ready and why, "" when all are."""

    although: str = ""


class GiveUp(Struct, frozen=True):
    """Keep the generation in force: the new one's pods fail or do not come, and what it has would be lost."""

    errors: tuple[PolicyError, ...]


def begin(before: Snapshot, after: Snapshot, table: PodTable, now_s: float) -> Handover:
    """Say what the generation has to wait for, which in most cases is nothing."""
    awaited = tuple(_awaited(before, after, table))
    return Handover(after, awaited, now_s + LIMIT_S, len(awaited))


def gone_on(handover: Handover, table: PodTable, now_s: float) -> Handover:
    """Return what is waited for, and until when: many models are loaded one after the other."""
    missing = len(not_ready(handover, table))
    return replace(handover, limit_s=now_s + LIMIT_S, missing=missing) if missing < handover.missing else handover


def _awaited(before: Snapshot, after: Snapshot, table: PodTable) -> Iterator[Takeover]:
    for model, route in after.routes.items():
        known = before.routes.get(model)
        if known is None or known.stable == route.stable or route.versions[route.stable].launch is None:
            continue
        if _may_serve(model, known.stable, table) and not _is_ready(model, route.stable, table):
            yield Takeover(model, route.stable, known.stable)


def decide(handover: Handover, table: PodTable, workers_accepting: int, now_s: float) -> Wait | SwitchNow | GiveUp:
    """Say what to do now."""
    if handover.tries and not workers_accepting:
        return Wait()
    late = not_ready(handover, table)
    if not late:
        return SwitchNow()
    if now_s < handover.limit_s:
        return Wait()
    if errors := tuple(error for one in late for error in _reasons_against(one, table)):
        return GiveUp(errors)
    return SwitchNow("; ".join(f"{one} is not ready: {_why(one, table)}" for one in late))


def not_ready(handover: Handover, table: PodTable) -> list[Takeover]:
    """Return what is still waited for."""
    return [one for one in handover.awaited if not _is_ready(one.model, one.version, table)]


def failed_try(handover: Handover) -> Handover | None:
    """No worker lived to switch: return what to try when one accepts again, None when it was tried often enough."""
    tries = handover.tries + 1
    return replace(handover, tries=tries) if tries < MOST_TRIES else None


def _is_ready(model: str, version: str, table: PodTable) -> bool:
    return any(record.state is PodState.READY for record in _pods(model, version, table))


def _may_serve(model: str, version: str, table: PodTable) -> bool:
    """Whether it serves, or has served and is not known to be over: a busy machine loses sight of pods for a second."""
    pods = _pods(model, version, table)
    return any(record.state in _SERVES or (record.was_ready and record.state is PodState.STARTING) for record in pods)


def _reasons_against(late: Takeover, table: PodTable) -> Iterator[PolicyError]:
    """Say why a version cannot take over; nothing is lost by one whose predecessor serves no more than it does."""
    refused = f"version {late.version} cannot be made stable: "
    pods = list(_pods(late.model, late.version, table))
    failed = next((record for record in pods if record.state is PodState.FAILED), None)
    if failed is not None:
        problem, fix = f"pod {failed.place.name} failed: {failed.message}", "Mend its archive and save the file again."
    elif any(record.state in _SERVES for record in _pods(late.model, late.before, table)):
        problem = f"no pod of it is ready after {LIMIT_S:g} s ({_why(late, table)}), and version {late.before} serves"
        fix = (
            f"See that its archive is there, and save the file again; if it takes longer to load, keep stable at "
            f"{late.before} until `penstock status` shows a pod of {late.version} ready."
        )
    else:
        return
    yield PolicyError(f"routes/{late.model}.yaml", 1, 1, refused + problem, fix)


def _why(late: Takeover, table: PodTable) -> str:
    pods = _pods(late.model, late.version, table)
    return next((record.message or record.state.value for record in pods), "it has no pod")


def _pods(model: str, version: str, table: PodTable) -> Iterator[PodRecord]:
    return (record for record in table.values() if (record.place.model, record.place.version) == (model, version))
