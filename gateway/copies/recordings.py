"""Recordings: requests that are kept, with their answers, so that a version can be tried with them before it gets any.

They are files that only the mesh's user can read, one folder for each model. What policy says is to be
left out is left out before anything is written. Whatever policy no longer allows to keep is removed when it says so:
all of a model that is not recorded any more, or of which more is left out than before, and what is of tenants that do
not consent any more.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import msgspec

from gateway.control.events import Say
from gateway.copies.compare.answer import Answer
from gateway.copies.copied import Allowed
from gateway.copies.messages import Answered
from gateway.copies.privacy import NotRedactable, Redaction
from gateway.copies.recorded_model import LeftOutOf, Place, RecordedModel, TooLarge
from gateway.copies.segments import Recorded
from policies.snapshot.generation import Snapshot
from policies.snapshot.release import Recording
from telemetry.logs.line import warning

FOLDER = "recordings"
RECORDED = "recorded"
NOT_WRITTEN = "not_written"
NOT_REDACTABLE = "not_redactable"
NOT_RECORDED = "not_in_policy"
TOO_LARGE = "too_large"
# Without these an answer cannot be read; nothing else of its head is compared, or kept.
_KEPT_OF_ANSWERS = (b"content-type", b"inference-header-content-length", b"content-encoding")
_JSON_BYTES = b"inference-header-content-length"


class Recordings:
    """All that is recorded.

    Attributes:
        counts: requests by model and what became of them, since this was made.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        """Take the folder that all of it is in; nothing is read before ``use``."""
        self.counts: dict[str, Counter[str]] = {}
        self._folder = folder
        self._say = say
        self._models: dict[str, RecordedModel] = {}
        self._redactions: dict[str, Redaction] = {}
        self._is_failing = False

    @property
    def bytes_kept(self) -> dict[str, int]:
        """Bytes by model."""
        return {model: of.size for model, of in self._models.items()}

    def use(self, snapshot: Snapshot) -> None:
        """Go by a generation from now on, and remove what it does not allow to keep."""
        rules = {model: route.record for model, route in snapshot.routes.items() if route.record is not None}
        for model in remove_unrecorded(self._folder, rules):
            self._models.pop(model, None)
            self._say(f"{model} is not recorded any more: what was recorded of it is removed")
        for model, rule in rules.items():
            try:
                self._follow(model, rule, snapshot)
            except OSError as error:
                self._say(warning(f"{model} is not recorded, since {self._folder / model} cannot be used: {error}"))
                self._models.pop(model, None)
            self._redactions[model] = Redaction(rule.drop_headers, rule.drop_fields)

    def _follow(self, model: str, rule: Recording, snapshot: Snapshot) -> None:
        if model not in self._models:
            self._models[model] = RecordedModel(self._folder / model, rule)
        of = self._models[model]
        if of.follow(rule, LeftOutOf(rule.drop_headers, rule.drop_fields)):
            self._say(f"more is left out of recordings of {model} than before: what was recorded of it is removed")
        allowed = Allowed(snapshot.tenants)
        if unwanted := of.drop_others({name for name in snapshot.tenants if allowed.tenant(name, rule.never)}):
            told = ", ".join(f"{count} of {name}" for name, count in sorted(unwanted.items()))
            self._say(f"recorded requests for {model} are removed, whose tenants are not to be recorded: {told}")

    def keep(self, answered: Answered, body: bytes, answer: Answer, now_s: float) -> str:
        """Keep a request and its answer; return what became of it, which is counted too."""
        what = self._keep(answered, body, answer, now_s)
        self.counts.setdefault(answered.model, Counter())[what] += 1
        return what

    def _keep(self, answered: Answered, body: bytes, answer: Answer, now_s: float) -> str:
        of = self._models.get(answered.model)
        if of is None:
            return NOT_RECORDED
        try:
            of.add(_recorded(answered, body, answer, self._redactions[answered.model]), now_s)
        except NotRedactable:
            return NOT_REDACTABLE
        except TooLarge:
            return TOO_LARGE
        except OSError as error:
            if not self._is_failing:
                self._say(warning(f"requests cannot be recorded in {of.folder}: {error}"))
            self._is_failing = True
            return NOT_WRITTEN
        self._is_failing = False
        return RECORDED

    def tidy(self, now_s: float) -> None:
        """Remove what is older than it may be; to be called now and then."""
        for model, of in self._models.items():
            try:
                of.expire(now_s)
            except OSError as error:
                self._say(warning(f"old recordings of {model} in {of.folder} cannot be removed: {error}"))

    def count_of(self, model: str) -> int:
        """Return how many requests are kept."""
        of = self._models.get(model)
        return of.count if of is not None else 0

    def latest(self, model: str, most: int) -> list[Place]:
        """Return the places of the newest requests, in the order in which they were recorded."""
        of = self._models.get(model)
        return of.latest(most) if of is not None else []

    def forget(self, model: str) -> int:
        """Remove all that is recorded of a model, and return how many requests that were.

        Raises:
            OSError: some of it could not be removed.
        """
        of = self._models.get(model)
        return of.clear() if of is not None else 0


def remove_unrecorded(folder: Path, recorded: Collection[str]) -> list[str]:
    """Remove what is kept of all models but these, and return which models that were."""
    if not folder.is_dir():
        return []
    gone = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in recorded)
    for model in gone:
        shutil.rmtree(folder / model, ignore_errors=True)
    return gone


def _recorded(answered: Answered, body: bytes, answer: Answer, redaction: Redaction) -> Recorded:
    copied = redaction.copied(answered, body)
    fields = _kept_fields(answer.fields)
    kept = msgspec.structs.replace(
        answered,
        target=copied.target,
        fields=copied.fields,
        answer_fields=fields,
        shadows=(),
        stage=None,
        subject=0,
    )
    return Recorded(kept, copied.body, answer_without(redaction, fields, answer.body))


def _kept_fields(fields: bytes) -> bytes:
    lines = fields.split(b"\r\n")
    return b"".join(line + b"\r\n" for line in lines if line.partition(b":")[0].strip().lower() in _KEPT_OF_ANSWERS)


def answer_without(redaction: Redaction, fields: bytes, body: bytes) -> bytes:
    """Return an answer's body without the fields that are left out; what is no JSON object or list has none.

    Raises:
        NotRedactable: they are in the head of binary tensors, which says where these are, or the body is compressed, or
            a text with objects in it, as an answer in lines or events is.
    """
    if b"content-encoding:" in fields.lower():
        return redaction.answer(body)
    head_bytes = _head_bytes(fields)
    try:
        value = msgspec.json.decode(body if head_bytes is None else body[:head_bytes])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return redaction.answer(body) if _is_text_with_objects(body) else body
    if not isinstance(value, dict | list):
        return body
    if head_bytes is None:
        return redaction.answer(body)
    if msgspec.json.decode(redaction.answer(body[:head_bytes])) != value:
        raise NotRedactable
    return body


def _is_text_with_objects(body: bytes) -> bool:
    try:
        return "{" in body.decode()
    except UnicodeDecodeError:
        return False


def _head_bytes(fields: bytes) -> int | None:
    for line in fields.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == _JSON_BYTES:
            return int(value) if value.strip().isdigit() else None
    return None
