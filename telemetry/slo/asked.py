"""Asked: reads what a simulation is asked, as people write it, and says what to write where that cannot be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Final

from msgspec.structs import replace

from policies.burn_alerts import unreachable
from policies.snapshot.slos import Objective
from policies.units import UnitError, duration_s, factor, fraction, rate_per_s
from telemetry.slo.simulate import Fault
from telemetry.slo.windows import LEVELS

SLOT_S: Final = LEVELS[0].slot_s
LONGEST_S: Final = 30 * 86_400
# As far back as slots are kept that are finer than the windows of alerts.
LONGEST_PAST_S: Final = LEVELS[1].reach_s
THRESHOLDS: Final = ("within", "first_byte_within", "loads_within")
"""What an objective may say of time, as policy files name it, and no simulation can change."""
NO_THRESHOLD: Final = (
    "Another latency threshold cannot be tried: requests are counted as good or bad by that of slos.yaml, and "
    "counts do not keep how long each took. Change it there, and judge from then on; what can be tried is another "
    "target, and other factors of alerts."
)
# A rate is written per second, minute, hour or day: this is finer than any that is not 0.
_FINEST_RATE: Final = 10**9


class CannotBe(ValueError):
    """What was written cannot be; the text says what to write.

    Attributes:
        field: of which it was written: bad_share, for, rate, target, factor, last.
    """

    def __init__(self, field: str, given: str, mend: str) -> None:
        super().__init__(f"{field} {given[:64]}: {mend}")
        self.field = field
        self.given = given[:64]
        self.mend = mend


def fault_of(bad_share: str, length: str, rate: str, longest_s: int = LONGEST_S) -> Fault:
    """Read a fault: so large a share of so many requests is bad for so long.

    Raises:
        CannotBe: one of them.
    """
    share = Fraction(repr(_read("bad_share", bad_share, fraction)))
    if not 0 < share <= 1:
        raise CannotBe("bad_share", bad_share, "write more than 0%, and 100% at most")
    length_s = _read("for", length, duration_s)
    if not SLOT_S <= length_s <= longest_s:
        raise CannotBe("for", length, f"write {SLOT_S}s to {longest_s // 86_400}d")
    per_s = Fraction(_read("rate", rate, rate_per_s)).limit_denominator(_FINEST_RATE)
    if per_s <= 0:
        raise CannotBe("rate", rate, "write more than 0/s")
    return Fault(share, int(length_s // SLOT_S * SLOT_S), per_s)


def past_of(last: str) -> int:
    """Read how much of the past is to be judged anew, in whole slots.

    Raises:
        CannotBe: it is too short or too long.
    """
    length_s = _read("last", last, duration_s)
    if not 60 <= length_s <= LONGEST_PAST_S:
        raise CannotBe("last", last, f"write 1m to {LONGEST_PAST_S // 86_400}d")
    return int(length_s // 60 * 60)


def changed(objective: Objective, target: str = "", factors: Mapping[str, str] | None = None) -> Objective:
    """Return the objective with another target, and with other factors of alerts by their names.

    Raises:
        CannotBe: a target or a factor cannot be, or the objective has no such alert of a burn rate.
    """
    if target:
        share = _read("target", target, fraction)
        if not 0 < share < 1:
            raise CannotBe("target", target, "write more than 0%, and less than 100%")
        objective = replace(objective, target=share)
    for name, text in (factors or {}).items():
        known = {alert.name: alert for alert in objective.alerts}
        if name not in known:
            names = ", ".join(known) or "none: it has no alerts of burn rates"
            raise CannotBe("factor", f"of {name}", f"its alerts with a factor are {names}")
        above = _read("factor", text if text.endswith("x") else f"{text}x", factor)
        if above <= 0:
            raise CannotBe("factor", text, "write more than 0x")
        alerts = tuple(replace(one, factor=above) if one.name == name else one for one in objective.alerts)
        objective = replace(objective, alerts=alerts)
    return objective


def never(objective: Objective) -> dict[str, str]:
    """Return why alerts can never fire, by their names."""
    found = {alert.name: unreachable(alert, objective.target) for alert in objective.alerts}
    return {name: why for name, why in found.items() if why}


def _read(field: str, text: str, unit: Callable[[str], float]) -> float:
    try:
        return unit(text.strip())
    except UnitError as wrong:
        problem = wrong.problem if wrong.problem.endswith("?") else f"{wrong.problem}."
        raise CannotBe(field, text, f"{problem} {wrong.fix}") from None
