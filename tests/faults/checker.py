"""Joins the ledgers and says which of the thirteen invariants they break; it reads no file and no clock.

I1 nothing is lost · I2 nothing is answered twice · I3 nothing runs twice · I4 the right answer · I5 refusals say why ·
I6 limits hold · I7 what is charged was answered · I8 nobody else is hurt · I9 recovery · I10 no leak · I11 no secret ·
I12 health tells the truth · I13 one whole generation. Each is a function that returns a sentence per violation.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.fakes.records import quantile
from tests.faults.ledgers import Attempt, Audited, Death, End, Execution, Outcome

Violations = list[str]
AttemptName = tuple[str, int, int]

# A peer notices the end of a connection when its loop comes to it.
NOTICED_WITHIN_S = 0.5
# A worker writes its records once a second, and those of a second lie with a thread: what dies with it is that much.
UNWRITTEN_S = 2.5
_REFUSES = 400
_CLIENT_LEFT = 499
_MUST_SAY_WHEN = (429, 503)


@dataclass(frozen=True, slots=True)
class KnownReason:
    """What the registry says of a reason."""

    status: int
    is_retryable: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """All ledgers of one run.

    Attributes:
        audited: None where the gateway's records are not looked at.
        deaths: of processes that faults killed.
        reasons: the closed registry, by name.
        generations: that were published.
        may_cut: a gateway that was told to stop, or a proxy that cuts, may end connections in these spans (since,
            until); empty as a rule.
    """

    attempts: Sequence[Attempt]
    ends: Sequence[End]
    executions: Sequence[Execution]
    audited: Sequence[Audited] | None
    reasons: Mapping[str, KnownReason]
    generations: Collection[int]
    deaths: Sequence[Death] = ()
    may_cut: Sequence[tuple[float, float]] = ()


def check(evidence: Evidence) -> dict[str, Violations]:
    """Return the violations of what can be seen in the ledgers alone, by invariant; those that hold are left out."""
    found = {
        "I1": nothing_is_lost(evidence),
        "I2": nothing_is_answered_twice(evidence),
        "I3": nothing_runs_twice(evidence),
        "I4": answers_are_right(evidence),
        "I5": refusals_say_why(evidence),
        "I7": what_is_charged_was_answered(evidence),
        "I13": generations_are_whole(evidence),
    }
    return {invariant: violations for invariant, violations in found.items() if violations}


# --- I1


def nothing_is_lost(evidence: Evidence) -> Violations:
    """Every attempt ends; without a whole answer only for a known cause; every answer is on record as it was."""
    ended = {_name(end) for end in evidence.ends}
    sent = {_name(attempt): attempt for attempt in evidence.attempts}
    violations = [f"{_words(name)} never ended" for name in sent.keys() - ended]
    violations += [f"{_words(name)} ended and was never sent" for name in ended - sent.keys()]
    for end in evidence.ends:
        if end.is_hang:
            violations.append(f"{_words(_name(end))} hung: {end.why}")
        elif end.outcome is Outcome.NOT_CONNECTED and not _is_in(end.at_s, evidence.may_cut):
            violations.append(f"{_words(_name(end))} was not let connect: {end.why}")
        elif end.outcome in (Outcome.TRUNCATED, Outcome.LOST):
            attempt = sent.get(_name(end))
            if attempt is not None and not _has_cause(attempt, end, evidence):
                violations.append(f"{_words(_name(end))} was lost ({end.outcome}) though nobody died: {end.why}")
    return violations + ([] if evidence.audited is None else _unrecorded(evidence, evidence.audited))


def _has_cause(attempt: Attempt, end: End, evidence: Evidence) -> bool:
    # A pod that dies cuts an answer that has begun; only a worker's death takes one before its first byte.
    kinds = ("worker",) if end.outcome is Outcome.LOST else ("worker", "pod", "inference")
    of_its_life = (attempt.at_s - NOTICED_WITHIN_S, end.at_s)
    if any(death.kind in kinds and _overlap((death.at_s, death.gone_s), of_its_life) for death in evidence.deaths):
        return True
    return any(_overlap(span, of_its_life) for span in evidence.may_cut)


def _unrecorded(evidence: Evidence, audited: Sequence[Audited]) -> Violations:
    records: defaultdict[str, list[Audited]] = defaultdict(list)
    for record in audited:
        records[record.request_id].append(record)
    violations = [f"request {name} has {len(found)} records" for name, found in records.items() if len(found) > 1]
    for end in evidence.ends:
        if end.outcome is not Outcome.WHOLE or _has_no_record(end):
            continue
        if not end.request_id:
            violations.append(f"{_words(_name(end))} was answered {end.status} without a request id")
        elif end.request_id not in records:
            if not _died_unwritten(end.at_s, evidence.deaths):
                violations.append(f"{_words(_name(end))}, request {end.request_id}, has no record")
        else:
            recorded = records[end.request_id][0]
            if (recorded.status, recorded.reason) != (end.status, end.reason):
                was = f"{end.status} {end.reason}".rstrip()
                violations.append(f"request {end.request_id} was answered {was}, and recorded as {recorded.status} "
                                  f"{recorded.reason}".rstrip())  # fmt: skip
    return violations


def _has_no_record(end: End) -> bool:
    """Whether it was refused before anybody knew whose it was: such are counted, and have no record."""
    return end.status in (400, 401, 408, 414, 431, 505) or end.reason in ("connections_full", "overload_memory")


def _died_unwritten(at_s: float, deaths: Iterable[Death]) -> bool:
    return any(death.kind == "worker" and -NOTICED_WITHIN_S <= death.gone_s - at_s <= UNWRITTEN_S for death in deaths)


# --- I2, I3


def nothing_is_answered_twice(evidence: Evidence) -> Violations:
    """An attempt has one end, a request id one answer, and an idempotency key one stored answer while it is known."""
    ends = Counter(_name(end) for end in evidence.ends)
    violations = [f"{_words(name)} has {count} ends" for name, count in ends.items() if count > 1]
    violations += [f"{_words(_name(end))} was followed by bytes unasked" for end in evidence.ends if end.is_followed]
    whole = [end for end in evidence.ends if end.outcome is Outcome.WHOLE and end.request_id]
    answers = Counter(end.request_id for end in whole)
    violations += [f"request {name} is in {count} answers" for name, count in answers.items() if count > 1]
    return violations + _changed_answers(evidence, whole)


def _changed_answers(evidence: Evidence, whole: Iterable[End]) -> Violations:
    keys = {_name(attempt): attempt.idempotency_key for attempt in evidence.attempts}
    told: defaultdict[str, list[End]] = defaultdict(list)
    for end in whole:
        if end.told is not None and (key := keys.get(_name(end), "")):
            told[key].append(end)
    violations = []
    servers = {(run.pid, run.seq): run.server_pid for run in evidence.executions}
    for key, ends in told.items():
        ends.sort(key=lambda end: end.at_s)
        for first, second in pairwise(ends):
            before, after = first.told, second.told
            if before is None or after is None or (before.pid, before.seq) == (after.pid, after.seq):
                continue
            if not _died_between({before.pid, servers.get((before.pid, before.seq), 0)}, second.at_s, evidence.deaths):
                violations.append(f"key {key} got a second answer while the one who gave the first was alive")
    return violations


def nothing_runs_twice(evidence: Evidence) -> Violations:
    """A payload runs once; under a key once more for each death of the process that would have remembered it."""
    keyed = {attempt.payload_sha256: attempt.idempotency_key for attempt in evidence.attempts}
    starts: defaultdict[str, list[Execution]] = defaultdict(list)
    for execution in evidence.executions:
        if execution.phase == "start":
            starts[execution.payload_sha256].append(execution)
    violations = [f"payload {payload[:12]} ran and was never sent" for payload in starts.keys() - keyed.keys()]
    for payload, runs in starts.items():
        if len(runs) > 1 and payload in keyed:
            key = keyed[payload]
            violations += _second_runs(runs, evidence.deaths, key) if key else [_ran(payload, runs)]
    return violations


def _second_runs(runs: list[Execution], deaths: Sequence[Death], key: str) -> Violations:
    runs.sort(key=lambda run: run.at_s)
    return [
        f"key {key} ran again in pod {second.pod} {second.at_s - first.at_s:.2f} s after pod {first.pod}, which lives"
        for first, second in pairwise(runs)
        if not _died_between({first.pid, first.server_pid}, second.at_s, deaths)
    ]


def _ran(payload: str, runs: Sequence[Execution]) -> str:
    return f"payload {payload[:12]} without a key ran {len(runs)} times: {', '.join(run.pod for run in runs)}"


def _died_between(pids: Collection[int], until_s: float, deaths: Iterable[Death]) -> bool:
    return any(death.pid in pids and death.at_s <= until_s for death in deaths)


def keyed_requests_succeed(evidence: Evidence) -> Violations:
    """A client that sends again under its key gets the model's answer in the end, whoever died meanwhile."""
    keyed = {(one.client, one.request): one.idempotency_key for one in evidence.attempts if one.idempotency_key}
    answered = {(end.client, end.request) for end in evidence.ends if end.told is not None}
    last: dict[tuple[str, int], End] = {}
    for end in evidence.ends:
        last[end.client, end.request] = end
    return [
        f"request {number} of {client} under key {key} ended with "
        f"{last[client, number].outcome} {last[client, number].status} {last[client, number].reason}".rstrip()
        for (client, number), key in keyed.items()
        if (client, number) not in answered and (client, number) in last
    ]


# --- I4, I5


def answers_are_right(evidence: Evidence) -> Violations:
    """An answer is of this very request: its payload, its id, its tenant, an execution that was; none is half a one."""
    sent = {_name(attempt): attempt for attempt in evidence.attempts}
    ran = {(run.pid, run.seq, run.payload_sha256) for run in evidence.executions if run.phase == "start"}
    violations = []
    for end in evidence.ends:
        attempt = sent.get(_name(end))
        if end.outcome is Outcome.LOOKS_WHOLE:
            violations.append(f"{_words(_name(end))} got half an answer that looks whole")
        elif end.told is not None and attempt is not None:
            violations += [f"{_words(_name(end))} {what}" for what in _wrong(attempt, end, ran)]
    return violations + _of_another_tenant(evidence, sent)


def _of_another_tenant(evidence: Evidence, sent: Mapping[AttemptName, Attempt]) -> Violations:
    tenants = {record.request_id: record.tenant for record in evidence.audited or ()}
    return [
        f"{_words(_name(end))} of tenant {attempt.tenant} was recorded as of {tenants[end.request_id]}"
        for end in evidence.ends
        if (attempt := sent.get(_name(end))) and tenants.get(end.request_id, attempt.tenant) != attempt.tenant
    ]


def _wrong(attempt: Attempt, end: End, ran: Collection[tuple[int, int, str]]) -> Violations:
    told = end.told
    assert told is not None
    if told.payload_sha256 != attempt.payload_sha256:
        return [f"got the answer to payload {told.payload_sha256[:12]}"]
    if told.tenant not in ("", attempt.tenant):  # a handler may not be told who calls; the records are
        return [f"of tenant {attempt.tenant} got the answer to tenant {told.tenant}"]
    if told.request_id != end.request_id and not end.is_replay:
        return [f"got the answer to request {told.request_id}"]
    if (told.pid, told.seq, told.payload_sha256) not in ran:
        return ["got an answer that no execution gave"]
    return []


def refusals_say_why(evidence: Evidence) -> Violations:
    """A refusal has a reason of the registry with its status, a request id, says whether to try again, and when."""
    violations = []
    for end in evidence.ends:
        if end.outcome is Outcome.WHOLE and end.status >= _REFUSES:
            violations += [
                f"{_words(_name(end))}, {end.status}: {what}" for what in _unexplained(end, evidence.reasons)
            ]
    return violations


def _unexplained(end: End, reasons: Mapping[str, KnownReason]) -> Violations:
    known = reasons.get(end.reason)
    if known is None:
        return [f"{end.reason!r} is no reason of the registry"]
    found = []
    if known.status != end.status:
        found.append(f"{end.reason} has another status, {known.status}")
    if not end.request_id:
        found.append(f"{end.reason} without a request id")
    if end.is_retryable is not known.is_retryable:
        found.append(f"{end.reason} says retryable is {end.is_retryable}")
    if end.status in _MUST_SAY_WHEN and not end.has_retry_after:
        found.append(f"{end.reason} without Retry-After")
    return found


# --- I6, I7


def limits_hold(
    admitted_s: Iterable[float], *, rate_per_s: float, burst: float, excess: float = 0.0, name: str = "limit"
) -> Violations:
    """No interval holds more than burst, its length times the rate, and the excess that is stated.

    With ``g(k) = k - rate * t(k)`` an interval from the i-th to the j-th holds ``g(j) - g(i) + 1`` more than its rate
    gives, so one pass that keeps the least g so far sees every interval.
    """
    least, worst = float("inf"), float("-inf")
    for index, moment_s in enumerate(sorted(admitted_s)):
        level = index - rate_per_s * moment_s
        least = min(least, level)
        worst = max(worst, level - least + 1)
    over = worst - burst - excess
    return [f"{name} was exceeded by {over:.3f}"] if over > 1e-6 else []


def what_is_charged_was_answered(evidence: Evidence) -> Violations:
    """What an answer costs is what was charged, and nothing was charged that was not answered."""
    if evidence.audited is None:
        return []
    by_id = {end.request_id: end for end in evidence.ends if end.outcome is Outcome.WHOLE and end.request_id}
    unseen = _lost_spans(evidence)
    violations = []
    for record in evidence.audited:
        charged_us = max(0, record.device_us)
        end = by_id.get(record.request_id)
        if end is None:
            if charged_us and record.status < _REFUSES and not _is_in(record.at_s, unseen):
                violations.append(f"request {record.request_id} was charged {charged_us} us and nobody has its answer")
        elif end.is_replay and charged_us:
            violations.append(f"request {record.request_id} was charged {charged_us} us for a stored answer")
        elif end.device_us >= 0 and not end.is_replay and charged_us != end.device_us:
            violations.append(f"request {record.request_id} was told {end.device_us} us and charged {charged_us}")
        elif end.status >= _REFUSES and end.status != _CLIENT_LEFT and end.device_us < 0 and charged_us:
            violations.append(f"request {record.request_id} was refused with {end.status} and charged {charged_us} us")
    return violations


def _lost_spans(evidence: Evidence) -> list[tuple[float, float]]:
    """Return when attempts were under way whose clients never saw an answer."""
    sent = {_name(attempt): attempt.at_s for attempt in evidence.attempts}
    lost = (end for end in evidence.ends if end.outcome in (Outcome.TRUNCATED, Outcome.LOST))
    return [(sent.get(_name(end), end.at_s) - NOTICED_WITHIN_S, end.at_s + NOTICED_WITHIN_S) for end in lost]


# --- I8, I9: those beside the fault, and the time after it


def nobody_else_is_hurt(
    control: Iterable[tuple[End, float]], baseline_p99_s: float, *, slack_s: float = 0.05
) -> Violations:
    """Traffic that the faulted part does not touch has no error, and a p99 of twice the usual or so much above it.

    Args:
        control: ends of such traffic, and how long each took.
    """
    taken = list(control)
    violations = [
        f"{_words(_name(end))} beside the fault got {end.outcome} {end.status} {end.reason}".rstrip()
        for end, _ in taken
        if end.outcome is not Outcome.WHOLE or end.status >= _REFUSES
    ]
    p99_s = quantile(sorted(took_s for _, took_s in taken), 0.99)
    allowed_s = max(2 * baseline_p99_s, baseline_p99_s + slack_s)
    if p99_s > allowed_s:
        violations.append(f"p99 beside the fault is {p99_s * 1e3:.0f} ms, and {allowed_s * 1e3:.0f} ms are allowed")
    return violations


def recovers_in_time(ends: Iterable[End], *, healed_s: float, within_s: float) -> Violations:
    """From that long after the fault was healed on, every attempt succeeds; and there are some."""
    since_s = healed_s + within_s
    after = [end for end in ends if end.at_s > since_s]
    failed = [end for end in after if end.outcome is not Outcome.WHOLE or end.status >= _REFUSES]
    if failed:
        last_s = max(end.at_s for end in failed) - healed_s
        return [f"{len(failed)} attempts failed after the {within_s:g} s for recovery, the last after {last_s:.1f} s"]
    return [] if after else [f"no attempt ended later than {within_s:g} s after the fault"]


# --- I10 to I12: processes, what they print, what they say of themselves


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process has at one moment."""

    descriptors: int
    threads: int
    rss_bytes: int


def nothing_leaks(
    before: Mapping[str, Footprint], after: Mapping[str, Footprint], *, rss_slack_bytes: int = 5 * 2**20
) -> Violations:
    """Descriptors and threads are as many as before, and memory hardly more; by the title of the process."""
    violations = [f"{title} is not there any more" for title in before.keys() - after.keys()]
    for title in before.keys() & after.keys():
        was, is_now = before[title], after[title]
        if is_now.descriptors > was.descriptors:
            violations.append(f"{title} has {is_now.descriptors} descriptors, and had {was.descriptors}")
        if is_now.threads > was.threads:
            violations.append(f"{title} has {is_now.threads} threads, and had {was.threads}")
        if is_now.rss_bytes > was.rss_bytes + rss_slack_bytes:
            violations.append(f"{title} has {(is_now.rss_bytes - was.rss_bytes) / 2**20:.1f} MiB more")
    return violations


def no_secret_is_shown(outputs: Mapping[str, bytes], secrets: Iterable[str]) -> Violations:
    """No output of the mesh holds a secret; a violation names the output and the secret's first letters."""
    return [
        f"{name} shows the secret {secret[:8]}..."
        for secret in secrets
        for name, output in outputs.items()
        if secret.encode() in output
    ]


@dataclass(frozen=True, slots=True)
class Health:
    """What ``/readyz`` and ``/livez`` said at some moment between the question, at ``at_s``, and the answer."""

    at_s: float
    is_ready: bool
    is_live: bool
    took_s: float = 0.0

    @property
    def answered_s(self) -> float:
        """When the answer was there."""
        return self.at_s + self.took_s


def health_tells_the_truth(
    samples: Iterable[Health], cannot_serve: Iterable[tuple[float, float]], *, notices_within_s: float
) -> Violations:
    """Not ready while it cannot serve, but for the time to notice it; ready all other time; live at all times."""
    taken, spans = list(samples), list(cannot_serve)
    violations = [f"not live at {sample.at_s:.2f}" for sample in taken if not sample.is_live]
    violations += [
        f"not ready at {sample.at_s:.2f}, when it could serve"
        for sample in taken
        if not sample.is_ready
        and not any(
            since_s <= sample.answered_s and sample.at_s <= until_s + notices_within_s for since_s, until_s in spans
        )
    ]
    for since_s, until_s in spans:
        told = [one for one in taken if since_s + notices_within_s < one.at_s and one.answered_s < until_s]
        lies = [one for one in told if one.is_ready]
        violations += [f"ready at {lie.at_s:.2f}, {lie.at_s - since_s:.2f} s after it could not serve" for lie in lies]
    return violations if taken else [*violations, "nobody asked"]


# --- I13


def generations_are_whole(evidence: Evidence) -> Violations:
    """Every answer and record names a generation that was published; a refusal of the connection alone names none."""
    named = {end.generation for end in evidence.ends if end.generation >= 0}
    named |= {record.generation for record in evidence.audited or ()}
    silent = [end for end in evidence.ends if end.told is not None and end.generation < 0]
    violations = [f"generation {number} was never published" for number in sorted(named - set(evidence.generations))]
    return violations + [f"{_words(_name(end))} names no generation" for end in silent]


# --- what all of them use


def _name(line: Attempt | End) -> AttemptName:
    return line.client, line.request, line.attempt


def _words(name: AttemptName) -> str:
    client, request, attempt = name
    return f"request {request} of {client}, attempt {attempt}"


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _is_in(moment_s: float, spans: Iterable[tuple[float, float]]) -> bool:
    return any(since_s <= moment_s <= until_s for since_s, until_s in spans)
