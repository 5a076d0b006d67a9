"""Samples of a route: inputs and outputs that are kept for people to look at."""

from msgspec import Struct

from policies.snapshot.release import LeftOut


class Sampling(Struct, frozen=True):
    """Inputs and outputs that are kept for people to look at.

    Attributes:
        fields: JSON Pointers into the bodies of requests and answers; nothing else is kept.
        rate: share of requests that are kept by chance.
        triggers: "error", "slow", "drift" and "shadow_difference", as far as requests are kept on them besides.
        slower_than_s: how long an answer takes that is slow.
        per_minute: at most so many of each reason.
        redact: what is hidden in the texts of these fields; credentials always are.
        subject: JSON Pointer to whom a request is about; None where nothing says it.
        max_bytes: all that is kept of the model; the oldest go first.
    """

    fields: tuple[str, ...]
    rate: float = 0.0
    triggers: tuple[str, ...] = ()
    slower_than_s: float | None = None
    per_minute: int = 60
    redact: tuple[str, ...] = ("card", "email", "iban", "ip", "phone")
    subject: str | None = None
    max_bytes: int = 16 * 2**20
    keep_s: float = 7 * 86_400.0
    never: LeftOut = LeftOut()
