"""Placed: where a request belongs, kept for the next one that asks the same with the same credential."""

from __future__ import annotations

from msgspec import Struct

from gateway.decide.copying import Copying
from gateway.decide.credentials import Credential
from gateway.decide.release import Arm, Choice, Fork
from gateway.decide.route import Api
from gateway.decide.tables import Admission, Caller, Tables
from policies.snapshot.route import Route

# A caller has one credential and a few paths; callers who make up paths make the rest be found anew.
MAX_PLACED = 16_384
MAX_ASKED_CHARS = 256

Asked = tuple[Credential, str, str | None, str]
"""Credential, method, path and pinned version: all that a place depends on besides the generation."""


class Placed(Struct, frozen=True):
    """What of a decision depends on nothing but the generation and what is asked.

    Attributes:
        body_limit_bytes: largest body.
        in_flight: most requests that one pod of the version may have at once.
        usual_timeout_s: of a request that names none.
        rule: the ``choose`` rule that chose the version; "" for none.
        fork: what the version depends on besides; ``version`` is then that of no request in particular. None where all
            such requests get the same.
        copying: what its requests may be copied for; None for nothing.
    """

    caller: Caller
    api: Api
    route: Route
    version: str
    arm: Arm
    admission: Admission
    body_limit_bytes: int
    in_flight: int
    usual_timeout_s: float
    rule: str = ""
    fork: Fork | None = None
    copying: Copying | None = None


def at(placed: Placed, choice: Choice) -> Placed:
    """Return the place of one request, of which the version is chosen."""
    route = placed.route
    return Placed(
        placed.caller,
        placed.api,
        route,
        choice.version,
        choice.arm,
        placed.admission,
        placed.body_limit_bytes,
        route.versions[choice.version].in_flight,
        placed.usual_timeout_s,
        choice.rule,
        None,
        placed.copying,
    )


def remember(tables: Tables, asked: Asked, placed: Placed) -> None:
    """Keep a place, unless its path is long; when there are too many, all are found anew."""
    _, _, path, pinned_version = asked
    if len(path or "") + len(pinned_version) > MAX_ASKED_CHARS:
        return
    if len(tables.placed) >= MAX_PLACED:
        tables.placed.clear()
    tables.placed[asked] = placed
