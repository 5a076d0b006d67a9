"""Release: which version of a model answers a request, and why.

In this order: what the caller asks for, the first ``choose`` rule that matches, the canary, stable. A canary's share is
of sticky keys: a key is in it for as long as its hash lies below the share, so that raising the share only adds keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b

from msgspec import Struct

from gateway.decide.credentials import Credential, TokenShown
from gateway.decide.stage import Stage
from gateway.decide.tables import Caller
from model_pod.wire.refusals import Refused
from policies.snapshot.release import Canary, ChooseRule, LeftOut, When
from policies.snapshot.route import Route

KEYS = 2**64
"""As many subjects there are: a share of them is the first so many."""


class Arm(StrEnum):
    """Why a version was chosen; what ``why`` says in ``penstock-decision``."""

    STABLE = "stable"
    CANARY = "canary"
    SHADOW = "shadow"
    PINNED = "pinned"


class Trial(Struct, frozen=True):
    """A request's part in the comparison of two arms.

    Attributes:
        subject: its sticky key as a number below ``KEYS``.
    """

    stage: Stage
    subject: int


class Choice(Struct, frozen=True):
    """A version and the arm it stands for.

    Attributes:
        rule: the ``choose`` rule that chose it; "" for none.
        trial: None for a request that is in neither arm.
    """

    version: str
    arm: Arm
    rule: str = ""
    trial: Trial | None = None


Headers = Sequence[tuple[str, str]]
"""What a request carries of the headers that some route decides by: names in lower case, and values."""


def asked_version(route: Route, caller: Caller, asked: str) -> Choice | None:
    """Return the version that the caller asks for, by the path or ``penstock-version``; None when it asks for none.

    Naming the stable one is no pin; naming another needs the scope ``pin``.

    Raises:
        Refused: version_not_found or scope_missing.
    """
    if not asked:
        return None
    if asked == route.stable:
        return Choice(route.stable, Arm.STABLE)
    if asked not in route.versions:
        known = ", ".join(sorted(route.versions))
        raise Refused("version_not_found", f"{route.model} has no version {asked}; it has {known}")
    if "pin" not in caller.key.scopes:
        raise Refused("scope_missing", f"choosing version {asked} of {route.model} needs a key with the scope `pin`")
    return Choice(asked, Arm.PINNED)


def subject_of(salt: str, key: str) -> int:
    """Return the number that decides for a sticky key: below ``share * KEYS`` it is in."""
    return int.from_bytes(blake2b(f"{salt}\0{key}".encode(), digest_size=8).digest(), "big")


def is_in(subject: int, share: float) -> bool:
    """Whether a subject is among this share of them."""
    return subject < share * KEYS


class Fork(Struct, frozen=True):
    """Where it depends on more than who calls for what: rules that look at headers, and the canary.

    Attributes:
        rules: those that look at headers, in order.
        usual: what no rule's requests get, where there is no canary for the caller.
        canary: None where there is none, or its caller is in neither arm.
        tenant: of the caller.
    """

    rules: tuple[ChooseRule, ...]
    usual: Choice
    canary: Canary | None
    tenant: str


def fork_of(route: Route, caller: Caller) -> Fork | Choice:
    """Return the version that all requests of a caller get, or what it depends on."""
    looking: list[ChooseRule] = []
    for rule in route.choose:
        if not _may_match(rule.when, caller):
            continue
        if not rule.when.headers:
            return _fork(tuple(looking), Choice(rule.version, Arm.PINNED, rule.name), None, caller)
        looking.append(rule)
    canary = route.canary
    if canary is not None and is_left_out(canary.never, caller):
        canary = None
    return _fork(tuple(looking), Choice(route.stable, Arm.STABLE), canary, caller)


def _fork(rules: tuple[ChooseRule, ...], usual: Choice, canary: Canary | None, caller: Caller) -> Fork | Choice:
    return Fork(rules, usual, canary, caller.tenant.name) if rules or canary is not None else usual


def _may_match(when: When, caller: Caller) -> bool:
    return (
        caller.tenant.name in (when.tenants or (caller.tenant.name,))
        and caller.tenant.tier in (when.tiers or (caller.tenant.tier,))
        and (not when.scope or when.scope in caller.key.scopes)
    )


def is_left_out(left_out: LeftOut, caller: Caller) -> bool:
    """Whether the caller's requests are among those that are left out."""
    return caller.tenant.name in left_out.tenants or caller.tenant.tier in left_out.tiers


def choose(fork: Fork, stage: Stage | None, keys: StickyKeys, draw: float) -> Choice:
    """Return the version of one request.

    Args:
        stage: where the model's canary stands; None when nobody has told.
        draw: a number in [0, 1) by chance, for a request without a sticky key.
    """
    for rule in fork.rules:
        if all(keys.header(name) == value for name, value in rule.when.headers):
            return Choice(rule.version, Arm.PINNED, rule.name)
    canary = fork.canary
    if canary is None or stage is None or stage.canary != canary.id or stage.version != canary.version:
        return fork.usual
    _, key = keys.first_of(canary.sticky_by)
    subject = int(draw * KEYS) if key is None else subject_of(canary.id, key)
    trial = None if stage.is_over else Trial(stage, subject)
    if is_in(subject, stage.share):
        return Choice(canary.version, Arm.CANARY, trial=trial)
    return Choice(fork.usual.version, Arm.STABLE, trial=trial)


class StickyKeys(Struct, frozen=True):
    """What a request has by which it can be kept on one version.

    Attributes:
        headers: those that some route decides by: names in lower case, and values.
        credential: whose claims may be asked for.
    """

    tenant: str
    headers: Headers
    credential: Credential

    def header(self, name: str) -> str | None:
        """Return the value of a header; None when the request has none of that name."""
        return next((value for known, value in self.headers if known == name), None)

    def first_of(self, sticky_by: Sequence[str]) -> tuple[str, str | None]:
        """Return the first key that the request has, and what it is: "tenant", "header:NAME" or "jwt:CLAIM".

        One that it has none of is ``("", None)``. An empty header is none: many callers send one for nobody.
        """
        for source in sticky_by:
            kind, _, name = source.partition(":")
            if kind == "tenant":
                return source, self.tenant
            value = self.header(name) if kind == "header" else self._claim(name)
            if value:
                return source, value
        return "", None

    def _claim(self, name: str) -> str | None:
        if not isinstance(self.credential, TokenShown):
            return None
        return next((value for known, value in self.credential.claims if known == name), None)
