"""Release: which version of a model answers a request, and why."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from gateway.decide.tables import Caller
from model_pod.wire.refusals import Refused
from policies.snapshot import Route


class Arm(StrEnum):
    """Why a version was chosen; what ``why`` says in ``penstock-decision``."""

    STABLE = "stable"
    PINNED = "pinned"


class Choice(Struct, frozen=True):
    """A version and the arm it stands for."""

    version: str
    arm: Arm


def choose_version(route: Route, caller: Caller, asked: str) -> Choice:
    """Return the version that answers.

    Args:
        asked: the version that the path or ``penstock-version`` names, "" when neither does. Naming the stable one is
            no pin; naming another needs the scope ``pin``.

    Raises:
        Refused: version_not_found or scope_missing.
    """
    if not asked or asked == route.stable:
        return Choice(route.stable, Arm.STABLE)
    if asked not in route.versions:
        known = ", ".join(sorted(route.versions))
        raise Refused("version_not_found", f"{route.model} has no version {asked}; it has {known}")
    if "pin" not in caller.key.scopes:
        raise Refused("scope_missing", f"choosing version {asked} of {route.model} needs a key with the scope `pin`")
    return Choice(asked, Arm.PINNED)
