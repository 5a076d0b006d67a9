"""Form: the names of a head's fields, as a pattern that reads the next head of the same client.

What a client sends differs from request to request in its values, and hardly ever in the names of its fields. So the
names of a request that passed the gate make a pattern, and a head of the same form is read by one match. Only the
plainest spelling matches: names as they were, one space before each value, visible ASCII, a body of a told length that
is here as a whole. Any other head does not match, which says nothing against it: the gate reads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import itemgetter

from model_pod.wire.http1.head import MAX_LENGTH_DIGITS, Fields, is_host

# Compiling a pattern takes as long as reading a hundred heads. Who makes up names gets no more than this.
MAX_FORMS = 512
MAX_NAMED = 32
MAX_NAMES_BYTES = 1024
MAX_LEARNT_PER_S = 20
_MAX_HOSTS, _MAX_HOST_BYTES = 1024, 255
# Lists of names that are no usual ones, so that they are judged once.
_MAX_OTHERS = 1024
MAX_TARGET_BYTES = 2048

# Visible ASCII, and one space before it.
_VALUE = rb"(?! )([ -~]*)"
_REQUEST_LINE = rb"POST (/[!\"$-~]{0,%d}) HTTP/1\.1\r\n" % (MAX_TARGET_BYTES - 1)  # a fragment is none of a target
_BEARER = rb"[Bb]earer ([ -~]+)"
_LENGTH = rb"([0-9]{1,%d})" % MAX_LENGTH_DIGITS
_NEEDED = (b"host", b"authorization", b"content-length")
_TRACE = (b"traceparent", b"tracestate")
# Their values steer what is done with the request; any other value of Connection is the gate's to read.
_STEERING = {b"authorization": _BEARER, b"content-length": _LENGTH, b"connection": rb"[Kk]eep-[Aa]live()"}
_NOT_PASSED = frozenset({*_NEEDED, *_TRACE, b"connection"})
# Fields that ask for something which the usual request does not.
_UNUSUAL = frozenset({b"baggage", b"expect", b"idempotency-key", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
_OURS = b"penstock-"

Usual = tuple[bytes, bytes, bytes, bytes, int, Fields]
"""Target, credential of the bearer, ``traceparent`` and ``tracestate`` (b"" without), where the body begins, and the
fields that go on."""


class Form:
    """One list of names; two of them or more go on to the next hop."""

    __slots__ = ("_hosts", "_match", "_passing", "_passing_names", "_steering")

    def __init__(self, names: tuple[bytes, ...], passes: Callable[[bytes], bool], hosts: Hosts) -> None:
        lower = [name.lower() for name in names]
        # Each field has one group; the target is the first, and what a form has not is the last, an empty one.
        patterns = [_STEERING.get(name, _VALUE) for name in lower]
        lines = [re.escape(name) + rb": " + pattern for name, pattern in zip(names, patterns, strict=True)]
        self._match = re.compile(_REQUEST_LINE + rb"\r\n".join([*lines, b"", b"()"])).match
        groups = {name: at for at, name in enumerate(lower, start=2)}
        steering = (1, *(groups.get(name, len(names) + 2) for name in (*_NEEDED, *_TRACE)))
        self._steering = itemgetter(*(group - 1 for group in steering))
        passing = [at for at, name in enumerate(lower) if name not in _NOT_PASSED and passes(names[at])]
        self._passing_names = tuple(names[at] for at in passing)
        self._passing = itemgetter(*(at + 1 for at in passing))
        self._hosts = hosts

    def read(self, data: bytes) -> Usual | None:
        """Return what is asked, when the data are one whole request of this form and nothing more."""
        match = self._match(data)
        if match is None:
            return None
        body_at = match.end()
        values = match.groups()
        target, host, credential, length, traceparent, tracestate = self._steering(values)
        if len(data) - body_at != int(length) or not (host in self._hosts or self._hosts.learn(host)):
            return None
        fields = [*zip(self._passing_names, self._passing(values))]  # noqa: B905 - asking for ``strict`` costs as much
        return target, credential, traceparent, tracestate, body_at, fields


class Hosts(set[bytes]):
    """Values of Host that are well-formed: there are a few for each process, so each is judged once."""

    def learn(self, host: bytes) -> bool:
        """Remember a value if it is well-formed, and say whether it is."""
        if len(host) > _MAX_HOST_BYTES or not is_host(host):
            return False
        if len(self) >= _MAX_HOSTS:
            self.clear()
        self.add(host)
        return True


class Forms:
    """The forms that one process has met.

    Args:
        passes: whether a field of that name, as written, goes on to the next hop.

    Attributes:
        latest: the one that was asked for last: the likeliest of a client that has said nothing yet.
    """

    def __init__(self, passes: Callable[[bytes], bool]) -> None:
        self.latest: Form | None = None
        self._passes = passes
        self._hosts = Hosts()
        self._known: dict[tuple[bytes, ...], Form] = {}
        self._others: set[tuple[bytes, ...]] = set()
        self._learnt = 0
        self._second = 0

    def of(self, names: tuple[bytes, ...], now_s: float) -> Form | None:
        """Return the form of a head that passed the gate; None when it is not a usual one, or is still to be learnt."""
        form = self._known.get(names)
        if form is None:
            if names in self._others or not self._may_learn(names, int(now_s)):
                return None
            if len(self._known) >= MAX_FORMS:
                self._known.clear()
            form = self._known[names] = Form(names, self._passes, self._hosts)
        self.latest = form
        return form

    def _may_learn(self, names: tuple[bytes, ...], second: int) -> bool:
        if not self._is_usual(names):
            if sum(map(len, names)) <= MAX_NAMES_BYTES:
                if len(self._others) >= _MAX_OTHERS:
                    self._others.clear()
                self._others.add(names)
            return False
        if second != self._second:
            self._second, self._learnt = second, 0
        self._learnt += 1
        return self._learnt <= MAX_LEARNT_PER_S

    def _is_usual(self, names: tuple[bytes, ...]) -> bool:
        if len(names) > MAX_NAMED or sum(map(len, names)) > MAX_NAMES_BYTES:
            return False
        lower = {name.lower() for name in names}
        return (
            len(lower) == len(names)
            and lower.issuperset(_NEEDED)
            and lower.isdisjoint(_UNUSUAL)
            and not any(name.startswith(_OURS) for name in lower)
            and sum(self._passes(name) for name in names if name.lower() not in _NOT_PASSED) > 1
        )
