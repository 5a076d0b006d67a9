"""Samples: inputs and outputs that people may look at, as far as policy names their fields; off unless it does.

They are files like those of recordings, one folder for each model, and go by the same rules: whatever policy no longer
allows to keep is removed when it says so, the oldest go first, and what is too old goes by whole files.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from gateway.control.events import Say
from gateway.control.state_dir import write_private
from gateway.copies.compare.answer import Answer
from gateway.copies.copied import Allowed
from gateway.copies.messages import Answered, AskSamples, PurgeSamples
from gateway.copies.recorded_model import LeftOutOf, RecordedModel, TooLarge
from gateway.copies.recordings import remove_unrecorded
from gateway.copies.reports import Sample
from gateway.copies.sampled import Sampler, subject_digest
from gateway.copies.segments import Recorded
from policies.snapshot.generation import Snapshot
from policies.snapshot.samples import Sampling
from telemetry.logs.line import warning

FOLDER = "samples"
KEPT, TOO_MANY, TOO_LARGE, NOT_WRITTEN = "kept", "too_many", "too_large", "not_written"
NO_CONSENT, NOT_IN_POLICY = "no_consent", "not_in_policy"
_KEY_FILE = "digest.key"
_KEY_BYTES = 32
_MINUTE_S = 60.0


class Samples:
    """All samples.

    Attributes:
        counts: requests by model and what became of them, since this was made.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        """Take the folder that all of it is in; nothing is read before ``use``."""
        self.counts: dict[str, Counter[str]] = {}
        self._folder = folder
        self._say = say
        self._models: dict[str, RecordedModel] = {}
        self._rules: dict[str, Sampling] = {}
        self._samplers: dict[str, Sampler] = {}
        self._hidden: dict[str, Counter[str]] = {}
        self._allowed = Allowed({})
        # By model and why: the minute, and how many were kept in it.
        self._minutes: dict[tuple[str, str], tuple[int, int]] = {}
        self._key = b""
        self._is_failing = False

    @property
    def bytes_kept(self) -> dict[str, int]:
        """Bytes by model."""
        return {model: of.size for model, of in self._models.items()}

    @property
    def hidden(self) -> dict[str, dict[str, int]]:
        """How often each rule has hidden something, by model."""
        return {model: dict(counts) for model, counts in self._hidden.items()}

    # --- what policy says

    def use(self, snapshot: Snapshot) -> None:
        """Go by a generation from now on, and remove what it does not allow to keep."""
        self._allowed = Allowed(snapshot.tenants)
        self._rules = {model: route.samples for model, route in snapshot.routes.items() if route.samples is not None}
        for model in remove_unrecorded(self._folder, self._rules):
            self._models.pop(model, None)
            self._say(f"no samples of {model} are kept any more: those that were are removed")
        if not self._rules:
            (self._folder / _KEY_FILE).unlink(missing_ok=True)
            self._key = b""
        for model, rule in self._rules.items():
            try:
                self._follow(model, rule, snapshot)
            except OSError as error:
                self._say(
                    warning(f"no samples of {model} are kept, since {self._folder / model} cannot be used: {error}")
                )
                self._models.pop(model, None)

    def _follow(self, model: str, rule: Sampling, snapshot: Snapshot) -> None:
        if model not in self._models:
            self._models[model] = RecordedModel(self._folder / model, rule)
        of = self._models[model]
        left_out = LeftOutOf(only_fields=rule.fields, redact=rule.redact, subject=rule.subject)
        if of.follow(rule, left_out):
            self._say(
                f"less is kept in samples of {model} than before, or by another subject: those that were are removed"
            )
        unwanted = of.drop_others({name for name in snapshot.tenants if self._allowed.tenant(name, rule.never)})
        if unwanted:
            told = ", ".join(f"{count} of {name}" for name, count in sorted(unwanted.items()))
            self._say(f"samples of {model} are removed, whose tenants are not to be sampled: {told}")
        sampler = Sampler(rule, self._digest_key())
        sampler.hiding.hidden = self._hidden.setdefault(model, Counter())
        self._samplers[model] = sampler

    def _digest_key(self) -> bytes:
        """Return the key of digests, which lasts as long as there are samples.

        Raises:
            OSError: it can be neither read nor written.
        """
        path = self._folder / _KEY_FILE
        if not self._key:
            self._key = path.read_bytes() if path.exists() else b""
        if len(self._key) != _KEY_BYTES:
            self._key = os.urandom(_KEY_BYTES)
            write_private(path, self._key)
        return self._key

    # --- what comes

    def keep(self, answered: Answered, body: bytes, answer: Answer, why: str, now_s: float) -> str:
        """Keep of a request what may be looked at; return what became of it, which is counted too."""
        what = self._keep(answered, body, answer, why, now_s)
        self.counts.setdefault(answered.model, Counter())[what] += 1
        return what

    def wants(self, model: str, trigger: str) -> bool:
        """Whether policy wants requests for a model that something has happened to."""
        rule = self._rules.get(model)
        return rule is not None and trigger in rule.triggers

    def _keep(self, answered: Answered, body: bytes, answer: Answer, why: str, now_s: float) -> str:
        rule, of = self._rules.get(answered.model), self._models.get(answered.model)
        if rule is None or of is None:
            return NOT_IN_POLICY
        if not self._allowed(answered, rule.never):
            return NO_CONSENT
        if not self._has_room((answered.model, why), rule.per_minute, now_s):
            return TOO_MANY
        try:
            of.add(self._samplers[answered.model].sampled(answered, body, answer, why), now_s)
        except TooLarge:
            return TOO_LARGE
        except OSError as error:
            if not self._is_failing:
                self._say(warning(f"samples cannot be kept in {of.folder}: {error}"))
            self._is_failing = True
            return NOT_WRITTEN
        self._is_failing = False
        return KEPT

    def _has_room(self, of: tuple[str, str], most: int, now_s: float) -> bool:
        minute = int(now_s // _MINUTE_S)
        known, count = self._minutes.get(of, (minute, 0))
        if known != minute:
            count = 0
        if count >= most:
            return False
        self._minutes[of] = (minute, count + 1)
        return True

    def tidy(self, now_s: float) -> None:
        """Remove what is older than it may be; to be called now and then."""
        for model, of in self._models.items():
            try:
                of.expire(now_s)
            except OSError as error:
                self._say(warning(f"old samples of {model} in {of.folder} cannot be removed: {error}"))

    # --- what people ask

    def read(self, asked: AskSamples) -> tuple[Sample, ...]:
        """Return samples, newest first of each model; what is in them only where one is asked for."""
        found = (one for model in self._asked(asked.model) for one in self._newest(model) if _is_asked(one, asked))
        is_whole = bool(asked.request_id)
        return tuple(_sample(one, is_whole=is_whole) for one in islice(found, asked.most))

    def _newest(self, model: str) -> Iterator[Recorded]:
        of = self._models.get(model)
        return of.newest() if of is not None else iter(())

    def purge(self, asked: PurgeSamples) -> int:
        """Remove samples, and return how many there were.

        Raises:
            OSError: some of it could not be done.
        """
        digest = subject_digest(self._digest_key(), asked.subject) if asked.subject and self._rules else ""

        def is_unwanted(one: Recorded) -> bool:
            if asked.tenant and one.answered.tenant != asked.tenant:
                return False
            if asked.subject and one.subject != digest:
                return False
            return not asked.before_s or one.answered.at_s < asked.before_s

        return sum(
            self._models[model].purge(is_unwanted) for model in self._asked(asked.model) if model in self._models
        )

    def _asked(self, model: str) -> list[str]:
        return [model] if model else sorted(self._models)


def _is_asked(one: Recorded, asked: AskSamples) -> bool:
    answered = one.answered
    if asked.request_id and answered.request_id != asked.request_id:
        return False
    return asked.tenant in ("", answered.tenant) and asked.why in ("", answered.why_sample)


def _sample(one: Recorded, *, is_whole: bool) -> Sample:
    answered = one.answered
    return Sample(
        answered.request_id,
        answered.trace_id,
        answered.at_s,
        answered.model,
        answered.version,
        answered.arm,
        answered.tenant,
        answered.why_sample,
        answered.status,
        answered.took_s,
        bool(one.subject),
        msgspec.json.decode(one.body) if is_whole else None,
        msgspec.json.decode(one.answer_body) if is_whole else None,
    )
