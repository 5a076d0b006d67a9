"""Units as people write them in policy files ("250ms", "5%", "300/s", "16MiB"), read and written exactly."""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from msgspec import Struct

from policies.errors import quoted

# At most nine digits on either side of the point: enough for every sensible figure, and none becomes infinite.
_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_WHOLE = r"[0-9]{1,9}"
# Sizes in bytes are longer than what is written with a unit.
_BARE_NUMBER: Final = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"

DURATION_PATTERN: Final = rf"^{_NUMBER}(?:ms|s|m|h|d)$"
RATE_PATTERN: Final = rf"^{_NUMBER}/(?:s|m|h|d)$"
SIZE_PATTERN: Final = rf"^{_WHOLE}(?:B|KiB|MiB|GiB|TiB)$"
PERCENT_PATTERN: Final = rf"^{_NUMBER}%$"
FACTOR_PATTERN: Final = rf"^{_NUMBER}x$"
TIME_SHARE_PATTERN: Final = rf"^{_NUMBER}(?:ms|s|m|h)/(?:h|day)$"
MOMENT_PATTERN: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:Z|[+-][0-9]{2}:[0-9]{2})$"

_SECONDS: Final = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
_BYTES: Final = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
# From here on a number without a unit may well be milliseconds: a quarter of a second is written 250 elsewhere.
_PERHAPS_MS: Final = 100
_LONG_PERIODS_S: Final = {"h": Decimal(3600), "day": Decimal(86400)}


class UnitError(ValueError):
    """A text is not a quantity of the unit that is due; the message says what it is, `fix` what to write."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix


class Unit(Struct, frozen=True):
    """One kind of quantity.

    Attributes:
        noun: what it is, as it reads after "expected".
        pattern: what its text looks like.
        completed: a number without unit -> what was probably meant, where that matches the pattern.
        read: text that matches the pattern -> number.
    """

    noun: str
    pattern: str
    example: str
    completed: Callable[[str], tuple[str, ...]]
    read: Callable[[str], float]


def _split(text: str) -> tuple[Decimal, str]:
    digits = len(text) - len(text.lstrip("0123456789."))
    return Decimal(text[:digits]), text[digits:]


def _seconds(text: str) -> float:
    number, unit = _split(text)
    return float(number * _SECONDS[unit])


def _per_second(text: str) -> float:
    number, unit = _split(text)
    return float(number / _SECONDS[unit.removeprefix("/")])


def _bytes(text: str) -> int:
    number, unit = _split(text)
    return int(number) * _BYTES[unit]


def _fraction(text: str) -> float:
    return float(_split(text)[0] / 100)


def _factor(text: str) -> float:
    return float(_split(text)[0])


def _time_share(text: str) -> float:
    length_s, period_s = time_share(text)
    return length_s / period_s


def _unix_seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        raise UnitError(
            f'"{text}" is not a day and time that exists', 'Write one such as "2027-03-01T00:00:00Z".'
        ) from None


def _with(suffix: str) -> Callable[[str], tuple[str, ...]]:
    return lambda text: (text + suffix,)


def _completed_percent(text: str) -> tuple[str, ...]:
    """What is at most 1 may be a fraction."""
    number = Decimal(text)
    as_fraction = (f"{_plain(number * 100)}%",) if 0 < number <= 1 else ()
    return (*as_fraction, f"{text}%")


def _completed_rate(text: str) -> tuple[str, ...]:
    return (f"{text}/s",) if Decimal(text) else ()


def _completed_length(text: str) -> tuple[str, ...]:
    """A small number may be anything: 2 for TorchServe's milliseconds, 7 for days that recordings are kept."""
    return tuple(f"{text}{unit}" for unit in (("ms", "s") if Decimal(text) >= _PERHAPS_MS else _SECONDS))


def _completed_size(text: str) -> tuple[str, ...]:
    """A large number counts bytes; a small one may be either."""
    size = Decimal(text)
    if size != int(size) or not size:
        return ()
    return (size_text(int(size)),) if size >= _BYTES["KiB"] else (f"{text}MiB", f"{text}B")


UNITS: Final[Mapping[str, Unit]] = {
    "duration": Unit("a length of time", DURATION_PATTERN, "250ms", _completed_length, _seconds),
    "rate": Unit("a rate", RATE_PATTERN, "300/s", _completed_rate, _per_second),
    "size": Unit("a size", SIZE_PATTERN, "16MiB", _completed_size, _bytes),
    "percent": Unit("a percentage", PERCENT_PATTERN, "5%", _completed_percent, _fraction),
    "factor": Unit("a factor", FACTOR_PATTERN, "1.2x", _with("x"), _factor),
    "time share": Unit("device time per period", TIME_SHARE_PATTERN, "20h/day", _with("h/day"), _time_share),
    "moment": Unit("a day and time with its zone", MOMENT_PATTERN, "2027-03-01T00:00:00Z", lambda _: (), _unix_seconds),
}


def read(text: str, unit_name: str) -> float:
    """The number that a written quantity stands for, in seconds, bytes, per second or as a fraction.

    Raises:
        UnitError: the text is not such a quantity.
    """
    unit = UNITS[unit_name]
    if re.fullmatch(unit.pattern, text):
        return unit.read(text)
    if re.fullmatch(_BARE_NUMBER, text):
        written = [one for one in unit.completed(text) if re.fullmatch(unit.pattern, one)]
        several = (", ".join(written[:-1]), *written[-1:])
        fix = " or ".join(one for one in several if one) or f"one such as {unit.example}"
        raise UnitError(f"{text} what?", f"Write {fix}.")
    raise UnitError(f"expected {unit.noun}, found {quoted(text)}", _respelled(text, unit))


def quantity(text: str, unit_name: str) -> float | None:
    """The same as ``read``, or None for a text that is not such a quantity and has been told elsewhere."""
    try:
        return read(text, unit_name)
    except UnitError:
        return None


def duration_s(text: str) -> float:
    """Seconds of "250ms", "2s", "15m", "200h" or "28d"."""
    return read(text, "duration")


def rate_per_s(text: str) -> float:
    """Events per second of "300/s", "90/m", "20/h" or "5000/d"."""
    return read(text, "rate")


def size_bytes(text: str) -> int:
    """Bytes of "512B", "32KiB", "16MiB" or "1GiB"."""
    return int(read(text, "size"))


def fraction(text: str) -> float:
    """The fraction of "5%": 0.05."""
    return read(text, "percent")


def factor(text: str) -> float:
    """The number of "1.2x": 1.2."""
    return read(text, "factor")


def time_share(text: str) -> tuple[float, float]:
    """The length of "20h/day" and that of its period: 72000.0 and 86400.0."""
    length, period = text.split("/")
    return _seconds(length), float(_LONG_PERIODS_S[period])


def moment_unix_s(text: str) -> float:
    """Seconds since 1970 of "2027-03-01T00:00:00Z"."""
    return read(text, "moment")


def duration_text(length_s: float) -> str:
    """How a length of time is written: in the largest unit that needs no fraction."""
    exact = Decimal(repr(length_s))
    for unit in ("d", "h", "m", "s", "ms"):
        if exact and exact % _SECONDS[unit] == 0:
            return f"{_plain(exact / _SECONDS[unit])}{unit}"
    return f"{_plain(exact)}s"


def percent_text(share: float) -> str:
    """How a fraction is written: 0.999 as "99.9%"."""
    return f"{_plain(Decimal(repr(share)) * 100)}%"


def factor_text(factor: float) -> str:
    """How a factor is written: 1.2 as "1.2x"."""
    return f"{_plain(Decimal(repr(factor)))}x"


def rate_text(events_per_s: float) -> str:
    """How a rate is written: per second, or in the shortest longer period that makes it whole."""
    for period in ("s", "m", "h", "d"):
        per_period = events_per_s * float(_SECONDS[period])
        if math.isclose(per_period, round(per_period), rel_tol=1e-12) and round(per_period) > 0:
            return f"{round(per_period)}/{period}"
    return f"{_plain(Decimal(repr(events_per_s)))}/s"


def size_text(size: int) -> str:
    """How a size is written: in the largest unit that divides it."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _respelled(text: str, unit: Unit) -> str:
    """The same quantity as the file format spells it, when it is clear what was meant."""
    tight = text.replace(" ", "").replace("_", "").replace(",", "")
    swaps = {
        "KB": "KiB",
        "MB": "MiB",
        "GB": "GiB",
        "TB": "TiB",
        "K": "KiB",
        "M": "MiB",
        "G": "GiB",
        "sec": "s",
        "min": "m",
        "hr": "h",
    }
    candidates = [
        tight,
        *(tight.removesuffix(wrong) + right for wrong, right in swaps.items() if tight.endswith(wrong)),
    ]
    for candidate in candidates:
        if re.fullmatch(unit.pattern, candidate):
            return f"Write {candidate}."
    return f"Write one such as {unit.example}."
