"""Ways: what is the same for all requests of one caller for one path, found out once and kept for the next.

A way is made of where an earlier request belonged (``gateway.decide.placed``). Callers have one only where nothing but
rates and places in flight bounds them, by a key that has no dates: what else there is depends on more than the request.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from gateway.dataplane.client_heads import decision_value, usual_fields
from gateway.dataplane.decision_log import DecisionLog
from gateway.dataplane.pod_heads import goes_to_pods
from gateway.dataplane.retry import Retries, RetryBudget
from gateway.dataplane.shared_limits import Charged, SharedLimits
from gateway.dataplane.tally import INFERENCE, NO_SERIES, Kind
from gateway.decide.admission import Admitted
from gateway.decide.copying import Copies
from gateway.decide.credentials import KeyShown
from gateway.decide.decision import Decision, decided, with_version
from gateway.decide.facts import RequestFacts
from gateway.decide.placed import Placed
from gateway.decide.release import Trial
from gateway.decide.route import INFERENCES
from gateway.decide.tables import Tables
from gateway.decisions.gathering import Alike
from model_pod.wire.http1.head import Fields
from model_pod.wire.link import WINDOW_BYTES
from model_pod.wire.refusals import Refused

# As many callers and targets as are told apart; beyond it all are found anew.
MAX_WAYS = 16_384
MAX_PATH_BYTES = 256

Chosen = tuple[Trial | None, Copies | None]
"""What one request has beside its way: its part in a canary's trial, and what it is copied for."""
USUAL: Final[Chosen] = (None, None)


class Way:
    """What a request of one caller for one path needs.

    Attributes:
        generation: that it is of.
        credential: as ``gateway.decide`` knows it.
        most_body_bytes: largest body that a pod is sent at once.
        version_key: model and version, as pods are found by.
        pod_in_flight: most requests of this worker that one pod may have.
        charged: where its limits are written.
        fields: the gateway's own header lines of an answer with 200, to be filled in; see ``usual_fields``.
        alike: what its decision records share; None where there are none.
        kind: what its answers with 200 are counted as.
        series: where they were counted last.
        key_id: of the caller.
        api, arm: as ``placed`` says.
        timeout_s: how long its requests may take.
        is_varied: its requests differ in more than their bodies: in the version, or in what they are copied for.
        variants: the ways by version and why, where the version is chosen for each request.
    """

    __slots__ = (
        "alike",
        "api",
        "arm",
        "budget",
        "charged",
        "credential",
        "fields",
        "generation",
        "is_varied",
        "key_id",
        "kind",
        "most_body_bytes",
        "path",
        "placed",
        "pod_in_flight",
        "series",
        "tenant",
        "timeout_s",
        "variants",
        "version_key",
    )

    def __init__(
        self,
        generation: int,
        path: str,
        credential: KeyShown,
        placed: Placed,
        charged: Charged,
        budget: RetryBudget | None,
    ) -> None:
        self.generation = generation
        self.path = path
        self.credential = credential
        self.placed = placed
        self.charged = charged
        self.budget = budget
        self.tenant = placed.caller.tenant.name
        self.version_key = (placed.route.model, placed.version)
        self.pod_in_flight = placed.in_flight
        self.most_body_bytes = min(placed.body_limit_bytes, WINDOW_BYTES)
        self.fields = ""
        self.alike: Alike | None = None
        self.variants: dict[tuple[str, str, str], Way] = {}
        caller, model = placed.caller, placed.route.model
        self.kind: Kind = (model, placed.version, caller.tenant.name, caller.tier.name, 200, "", INFERENCE)
        self.series = NO_SERIES
        self.key_id = caller.key.id
        self.api, self.arm = placed.api, placed.arm
        self.timeout_s = placed.usual_timeout_s
        self.is_varied = placed.fork is not None or placed.copying is not None

    def facts(self, content_length: int, wall_s: float) -> RequestFacts:
        """Return what a request of this way was decided by."""
        return RequestFacts("POST", self.path, self.credential, "", "", content_length, wall_s)

    def decision(self, lefts: tuple[int, ...], chosen: Chosen = USUAL) -> Decision:
        """Return the decision on a request of this way, of whose limits so much was left."""
        admitted = Admitted(self.charged.held, self.charged.rooms(lefts))
        return decided(self.generation, self.placed, self.placed.usual_timeout_s, admitted, *chosen)


_UNKNOWN: Final = object()


class Ways:
    """The ways that one worker knows in the generation in force."""

    def __init__(
        self, limits: SharedLimits, retries: Retries, decisions: DecisionLog | None, worker_count: int
    ) -> None:
        self._limits = limits
        self._retries = retries
        self._decisions = decisions
        self._worker_count = worker_count
        self._tables: Tables | None = None
        self._ways: dict[tuple[bytes, bytes], Way | None] = {}
        self._texts: dict[str, str] = {}  # tenants of one tier share theirs

    def use(self, tables: Tables) -> None:
        """Know the ways of this generation, or of what was revoked in it, and no others."""
        self._tables = tables
        self._ways.clear()
        self._texts.clear()

    def of(self, path: bytes, credential: bytes) -> Way | None:
        """Return the way of a request, if it has one; of a credential nothing is kept but its SHA-256."""
        asked = (sha256(credential).digest(), path)
        way = self._ways.get(asked, _UNKNOWN)
        return self._find(asked) if way is _UNKNOWN else way  # type: ignore[return-value]  # mypy knows no sentinels

    def at(self, way: Way, fields: Fields, draw: float) -> tuple[Way, Chosen]:
        """Return the way of one request, whose version is chosen now, and what it has besides.

        Args:
            fields: what of its head goes on to a pod; what some route decides by is among them.
        """
        tables = self._tables
        assert tables is not None  # noqa: S101 - there are no ways without
        wanted = tables.deciding_headers
        found = {name.lower().decode("latin-1"): value for name, value in fields} if wanted else {}
        headers = tuple((name, found[name].strip(b" \t").decode("latin-1")) for name in wanted & found.keys())
        facts = RequestFacts("POST", way.path, way.credential, "", "", 0, 0.0, headers, draw)
        placed, trial, copies = with_version(tables, way.placed, facts)
        key = (placed.version, placed.arm, placed.rule)
        variant = way.variants.get(key)
        if variant is None:
            variant = Way(way.generation, way.path, way.credential, placed, way.charged, way.budget)
            way.variants[key] = self._completed(variant)
        return variant, (trial, copies)

    def _find(self, asked: tuple[bytes, bytes]) -> Way | None:
        digest, path = asked
        tables = self._tables
        if tables is None or len(path) > MAX_PATH_BYTES or b"%" in path:
            return None
        credential = KeyShown(digest)
        placed = tables.placed.get((credential, "POST", path.decode("ascii"), ""))
        if placed is None:
            return None  # until the gate's next request has found it
        if len(self._ways) >= MAX_WAYS:
            self._ways.clear()
            self._texts.clear()
        try:
            way = self._ways[asked] = self._made(tables, path.decode("ascii"), credential, placed)
        except Refused:  # the limits are busy just now
            return None
        return way

    def _made(self, tables: Tables, path: str, credential: KeyShown, placed: Placed) -> Way | None:
        key = placed.caller.key
        if (
            placed.api not in INFERENCES
            or key.not_after_s is not None
            or key.not_before_s is not None
            or key.id in tables.revoked
        ):
            return None
        if placed.fork is not None and not all(
            goes_to_pods(name.encode("latin-1")) for name in tables.deciding_headers
        ):
            return None  # what it goes by is not among the fields that are read
        charged = self._limits.charged(placed.admission)
        if charged is None:
            return None
        way = Way(tables.generation, path, credential, placed, charged, self._retries.budget(placed.route.model))
        return way if way.is_varied else self._completed(way)

    def _completed(self, way: Way) -> Way:
        """Find out what all answers of a way tell."""
        way.pod_in_flight = -(-way.placed.in_flight // self._worker_count)
        decision = way.decision(way.charged.nothing_left)
        text = usual_fields(decision_value(decision), decision.policy, decision.rooms)
        way.fields = self._texts.setdefault(text, text)
        if self._decisions is not None:
            way.alike = self._decisions.alike(way.facts(0, 0.0), decision, 200, "")
        return way
