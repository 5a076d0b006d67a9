"""Hiding: what in a text tells of a person or opens a door is replaced by the name of the rule that found it.

Each pattern is bounded, so that no text takes longer than in proportion to its length; numbers that look like a card's
or an account's are hidden only if their check digits are right.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from ipaddress import ip_address
from itertools import accumulate
from typing import Any, Final

from telemetry.logs.line import HIDDEN, without_secrets

CREDENTIAL = "credential"
TOO_LONG = "too_long"
# What a text or a list holds beyond is left out, and counted as such.
MOST_CHARACTERS = 4096
MOST_ITEMS = 1024
_DEPTH = 32

# Under such a name anything is hidden, whatever it looks like.
_SECRET_NAME: Final = re.compile(
    r"passw(?:or)?d|passphrase|secret|token|authorization|cookie|api[_-]?key|private[_-]?key|credential|\bssn\b|\bpin\b",
    re.IGNORECASE,
)
# Wider than what is looked for: digits before a card's, and words after an account's, look like parts of them.
_CARD: Final = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,}(?!\.?\d)")
_IBAN: Final = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])")
_EMAIL: Final = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_IP: Final = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?=[0-9A-Fa-f]*:)[0-9A-Fa-f:]{3,39})(?![\w:])")
_PHONE: Final = re.compile(r"(?<![\w+])(?:\+|00)[1-9](?:[ ()/.-]{0,2}\d){6,14}(?!\d)")
_WORD: Final = re.compile(r"[A-Za-z0-9]+")
_CARD_DIGITS: Final = range(13, 20)
_SEPARATORS: Final = frozenset(" -")
_IBAN_CHARACTERS: Final = range(15, 35)

Place = tuple[int, int]
"""Where in a text something begins and ends."""


def _cards(text: str) -> Iterator[Place]:
    """Yield where groups of digits are together a card's number."""
    groups = [(one.start(), one.end()) for one in _WORD.finditer(text)]
    sums = _check_sums("".join(text[start:end] for start, end in groups))
    # Where each group begins among the digits alone.
    firsts = list(accumulate((end - start for start, end in groups), initial=0))
    after = 0
    for at, (start, _) in enumerate(groups):
        if start < after:
            continue
        for until in range(min(len(groups), at + _CARD_DIGITS.stop), at, -1):  # the longest that begins here
            first, last = firsts[at], firsts[until]
            if last - first in _CARD_DIGITS and (sums[last % 2][last] - sums[last % 2][first]) % 10 == 0:
                end = groups[until - 1][1]
                if len(set(text[start:end]) - _SEPARATORS) > 1:
                    after = end
                    yield start, end
                    break


def _check_sums(digits: str) -> tuple[list[int], list[int]]:
    """Return Luhn's sums of every beginning, for numbers that end before an even place, and before an odd one."""
    plain = [int(digit) for digit in digits]
    doubled = [sum(divmod(2 * digit, 10)) for digit in plain]
    ends_even = (one if at % 2 else two for at, (one, two) in enumerate(zip(plain, doubled, strict=True)))
    ends_odd = (two if at % 2 else one for at, (one, two) in enumerate(zip(plain, doubled, strict=True)))
    return list(accumulate(ends_even, initial=0)), list(accumulate(ends_odd, initial=0))


def _ibans(text: str) -> Iterator[Place]:
    """Yield where an account's number is, without the words behind it."""
    ends = [one.end() for one in _WORD.finditer(text) if _is_iban(text[: one.end()])]
    if ends:
        yield 0, ends[-1]


def _is_iban(text: str) -> bool:
    plain = text.replace(" ", "").upper()
    return len(plain) in _IBAN_CHARACTERS and int("".join(str(int(one, 36)) for one in plain[4:] + plain[:4])) % 97 == 1


def _ips(text: str) -> Iterator[Place]:
    try:
        ip_address(text)
    except ValueError:
        return
    yield 0, len(text)


def _all(text: str) -> Iterator[Place]:
    yield 0, len(text)


# In this order: a number that is part of a longer one is not found by itself.
_RULES: Final[Mapping[str, tuple[re.Pattern[str], Callable[[str], Iterator[Place]]]]] = {
    "email": (_EMAIL, _all),
    "iban": (_IBAN, _ibans),
    "card": (_CARD, _cards),
    "phone": (_PHONE, _all),
    "ip": (_IP, _ips),
}
RULES: Final = tuple(sorted(_RULES))


class Hiding:
    """The rules of one model.

    Attributes:
        hidden: how often each rule has found something.
    """

    def __init__(self, rules: Iterable[str]) -> None:
        wanted = frozenset(rules)
        self._rules = [(name, *rule) for name, rule in _RULES.items() if name in wanted]
        self.hidden: Counter[str] = Counter()

    def text(self, text: str) -> str:
        """Return a text with what was found replaced."""
        if len(text) > MOST_CHARACTERS:
            self.hidden[TOO_LONG] += 1
            text = text[:MOST_CHARACTERS]
        shown = without_secrets(text)
        self.hidden[CREDENTIAL] += shown.count(HIDDEN) - text.count(HIDDEN)
        for name, pattern, find in self._rules:
            shown = pattern.sub(partial(self._hide, name, find), shown)
        return shown

    def _hide(self, name: str, find: Callable[[str], Iterator[Place]], match: re.Match[str]) -> str:
        text, shown, done = match.group(), "", 0
        for start, end in find(text):
            self.hidden[name] += 1
            shown += f"{text[done:start]}[{name}]"
            done = end
        return shown + text[done:]

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return a value of JSON with everything in it replaced that was found in its texts, numbers and names."""
        if depth > _DEPTH:
            self.hidden[TOO_LONG] += 1
            return None
        match value:
            case str():
                return self.text(value)
            case bool() | None:
                return value
            case int() | float():
                shown = self.text(text := str(value))
                return value if shown == text else shown
            case list():
                self.hidden[TOO_LONG] += len(value) > MOST_ITEMS
                return [self.value(one, depth + 1) for one in value[:MOST_ITEMS]]
            case dict():
                self.hidden[TOO_LONG] += len(value) > MOST_ITEMS
                pairs = list(value.items())[:MOST_ITEMS]
                return {self.text(str(name)): self.named(str(name), one, depth + 1) for name, one in pairs}
        self.hidden[TOO_LONG] += 1
        return None

    def named(self, name: str, value: Any, depth: int = 0) -> Any:
        """Return a value as ``value`` does; under the name of a secret nothing of it."""
        if _SECRET_NAME.search(name):
            self.hidden[CREDENTIAL] += 1
            return HIDDEN
        return self.value(value, depth)
