"""Label book: what versions answered, kept until callers tell what the answer should have been.

Answers and labels come in any order and from several workers; once a second they are joined. A label whose answer is
not there waits a while for it. Only the tenant that asked can tell the label of its request, and the first one counts.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from gateway.control.events import Say
from gateway.copies.compare.answer import Answer
from gateway.copies.label_store import KeptAnswer, KeptCopy, LabelStore, NewerFormat
from gateway.copies.labels import label_in, told_digest
from gateway.copies.messages import Answered, LabelEvent, LateLabel, LateLabels
from gateway.copies.waiting_labels import Told, WaitingLabels
from policies.snapshot.generation import Snapshot
from policies.snapshot.release import Feedback
from telemetry.logs.line import warning

FILE_NAME = "labels.db"
MAX_ANSWERS = 1_000_000
# Told labels, answers and copies that wait for the next joining; each of these.
MAX_WAITING = 20_000
# The copy of an answer takes another way than its label.
WAIT_S = 5.0
# A label that comes too late is told from one whose request nobody knows.
_LATE_S = 3600.0
_JOINS_PER_TIDYING = 60
RIGHT, WRONG, NO_LABEL = "right", "wrong", "no_label"
UNKNOWN, TOO_LATE, REPEATED = "unknown_request", "too_late", "repeated"
DROPPED, NOT_KEPT = "dropped", "not_kept"


class Pair(Struct, frozen=True):
    """A late label of a request that a shadow has answered too."""

    model: str
    shadow: str
    request_id: str
    stable_right: bool
    shadow_right: bool


class Joined(Struct, frozen=True):
    """Labels that met their answers."""

    events: tuple[LabelEvent, ...] = ()
    pairs: tuple[Pair, ...] = ()


class LabelBook:
    """Every answer whose label may yet be told.

    Attributes:
        counts: told labels by model and what became of them since this was made, by "" where the request is not known;
            "not_kept" are answers whose labels were not kept.
    """

    def __init__(self, state: Path, say: Say) -> None:
        """Take the file of a state directory; it is opened when policy first has labels told."""
        self.counts: dict[str, Counter[str]] = {}
        self._path = state / FILE_NAME
        self._say = say
        self._rules: Mapping[str, Feedback] = {}
        self._store: LabelStore | None = None
        self._is_failing = False
        self._answers: list[KeptAnswer] = []
        self._copies: list[KeptCopy] = []
        self._told = WaitingLabels()
        self._joins = 0

    def use(self, snapshot: Snapshot) -> None:
        """Go by a generation from now on, and drop answers of models whose labels are not told any more.

        Where no model's are, the file goes too.
        """
        routes = snapshot.routes.items()
        self._rules = {model: route.feedback for model, route in routes if route.feedback is not None}
        store = self._opened()
        if store is not None:
            self._drop_others(store)
        if not self._rules:
            self._remove()

    def _drop_others(self, store: LabelStore) -> None:
        try:
            if dropped := store.drop_others(tuple(self._rules)):
                self._say(warning(f"labels of {dropped} answers are dropped: their models have no `feedback` any more"))
        except sqlite3.Error as error:
            self._broke(error)

    def answered(self, answered: Answered, answer: Answer) -> None:
        """Keep the label in an answer that a caller got."""
        rule = self._rules.get(answered.model)
        if rule is None or len(self._answers) >= MAX_WAITING:
            self._count(answered.model, NOT_KEPT)
            return
        label = label_in(answer, rule.label)
        self._answers.append(
            KeptAnswer(
                tenant=answered.tenant,
                request_id=answered.request_id,
                at_s=answered.at_s,
                model=answered.model,
                version=answered.version,
                arm=answered.arm,
                tier=answered.tier,
                label=label,
                trace_id=answered.trace_id,
                stage=answered.stage,
                subject=answered.subject,
            )
        )

    def copied(self, answered: Answered, shadow: str, answer: Answer) -> None:
        """Keep the label in a shadow's answer to the same request."""
        rule = self._rules.get(answered.model)
        if rule is not None and answered.is_labelled and len(self._copies) < MAX_WAITING:
            label = label_in(answer, rule.label)
            self._copies.append(KeptCopy(answered.tenant, answered.request_id, shadow, label))

    def told(self, labels: LateLabels, now_s: float) -> None:
        """Take what a tenant tells; it is joined with the answers by ``join``."""
        for label in labels.labels:
            asked = (labels.tenant, label.request_id)
            if asked in self._told:
                self._count("", REPEATED)
            elif not self._told.put(asked, Told(label, now_s + WAIT_S), MAX_WAITING):
                self._count("", DROPPED)

    def join(self, now_s: float) -> Joined:
        """Keep what came, and return which labels met their answers since the last time; to be called each second."""
        answers, copies = self._answers, self._copies
        self._answers, self._copies = [], []
        self._joins += 1
        store = self._opened()
        if store is None:
            self._not_kept(answers)
            self._give_up(now_s)
            return Joined()
        if not (answers or copies or self._told or self._is_tidying_due):
            return Joined()
        try:
            with store.one_step():
                joining = _Joining(store, self._rules, now_s)
                joining.keep(answers, copies)
                left = joining.tell(self._told)
                self._tidy(store, now_s)
        except sqlite3.Error as error:
            self._not_kept(answers)
            self._broke(error)
            return Joined()
        self._is_failing = False
        self._told = left
        for model, counter in joining.counts.items():
            self.counts.setdefault(model, Counter()).update(counter)
        return Joined(tuple(joining.events), tuple(joining.pairs))

    def close(self) -> None:
        """Close the file; what waits is lost."""
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def _is_tidying_due(self) -> bool:
        return self._joins % _JOINS_PER_TIDYING == 0

    def _not_kept(self, answers: Sequence[KeptAnswer]) -> None:
        for answer in answers:
            self._count(answer.model, NOT_KEPT)

    def _give_up(self, now_s: float) -> None:
        """Without a store a label waits as long as with one, and meets nothing."""
        left = [(asked, one) for asked, one in self._told if _waits(one, now_s)]
        for _ in range(len(self._told) - len(left)):
            self._count("", DROPPED if self._rules else UNKNOWN)
        self._told = WaitingLabels(left)

    def _tidy(self, store: LabelStore, now_s: float) -> None:
        if store.count > MAX_ANSWERS:
            store.drop_oldest(store.count - MAX_ANSWERS)
        if self._is_tidying_due:
            for model, rule in self._rules.items():
                store.drop_before(model, now_s - rule.keep_s - _LATE_S)

    def _opened(self) -> LabelStore | None:
        if self._store is None and (self._rules or self._path.exists()):
            self._store = self._open()
        return self._store

    def _open(self) -> LabelStore | None:
        try:
            return LabelStore.open(self._path)
        except NewerFormat as newer:
            self._fail(f"{self._path} {newer}; it is left alone")
        except (sqlite3.OperationalError, OSError) as error:
            self._fail(error)
        except sqlite3.DatabaseError as error:
            self._broke(error)
        return None

    def _broke(self, error: sqlite3.Error) -> None:
        if isinstance(error, sqlite3.OperationalError):
            self._fail(error)
            return
        self._say(warning(f"{self._path} is damaged and is removed, labels begin anew: {error}"))
        self._remove()

    def _remove(self) -> None:
        self.close()
        try:
            for suffix in ("-wal", "-shm", ""):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            self._say(warning(f"{self._path} cannot be removed: {error}"))

    def _fail(self, what: object) -> None:
        if not self._is_failing:
            self._say(
                warning(f"labels cannot be kept in {self._path}, and late ones do not meet their answers: {what}")
            )
        self._is_failing = True

    def _count(self, model: str, what: str) -> None:
        self.counts.setdefault(model, Counter())[what] += 1


class _Joining:
    """One joining, inside one step of the store.

    Attributes:
        counts: what became of labels in it.
    """

    def __init__(self, store: LabelStore, rules: Mapping[str, Feedback], now_s: float) -> None:
        self.events: list[LabelEvent] = []
        self.pairs: list[Pair] = []
        self.counts: dict[str, Counter[str]] = {}
        self._store = store
        self._rules = rules
        self._now_s = now_s

    def keep(self, answers: Sequence[KeptAnswer], copies: Sequence[KeptCopy]) -> None:
        """Keep answers, and copies of them; a copy whose label was told before makes a pair at once."""
        for answer in answers:
            self._store.put(answer)
        for copy in copies:
            if self._store.put_copy(copy):
                copied = self._store.answer(copy.tenant, copy.request_id)
                if copied is not None and copied.told is not None:
                    self._pair(copied, copy, copied.told)

    def tell(self, told: WaitingLabels) -> WaitingLabels:
        """Join labels with their answers, and return those that wait on."""
        left = []
        for asked, one in told:
            answer = self._store.answer(*asked)
            if answer is not None:
                self._meet(answer, one.label)
            elif _waits(one, self._now_s):
                left.append((asked, one))
            else:
                self._count("", UNKNOWN)
        return WaitingLabels(left)

    def _meet(self, answer: KeptAnswer, label: LateLabel) -> None:
        rule = self._rules.get(answer.model)
        if rule is None or self._now_s > answer.at_s + rule.keep_s:
            self._count(answer.model, TOO_LATE)
        elif answer.told is not None:
            self._count(answer.model, REPEATED)
        else:
            told = told_digest(label.label)
            self._store.tell(answer, told, label.observed_s)
            self._judge(answer, told)

    def _judge(self, answer: KeptAnswer, told: str) -> None:
        if answer.label is None:
            self._count(answer.model, NO_LABEL)
            return
        is_right = answer.label == told
        self._count(answer.model, RIGHT if is_right else WRONG)
        self.events.append(
            LabelEvent(
                model=answer.model,
                version=answer.version,
                arm=answer.arm,
                tier=answer.tier,
                at_s=answer.at_s,
                is_right=is_right,
                trace_id=answer.trace_id,
                stage=answer.stage,
                subject=answer.subject,
            )
        )
        for copy in self._store.copies(answer.tenant, answer.request_id):
            self._pair(answer, copy, told)

    def _pair(self, answer: KeptAnswer, copy: KeptCopy, told: str) -> None:
        if answer.label is not None and copy.label is not None:
            rights = answer.label == told, copy.label == told
            self.pairs.append(Pair(answer.model, copy.shadow, answer.request_id, *rights))

    def _count(self, model: str, what: str) -> None:
        self.counts.setdefault(model, Counter())[what] += 1


def _waits(told: Told, now_s: float) -> bool:
    """Whether the answer may yet come; a clock that was set back makes nothing wait for longer."""
    return now_s < told.until_s <= now_s + 2 * WAIT_S
