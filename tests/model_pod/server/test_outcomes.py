"""Keys run once, within bounds: the decisions alone."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from model_pod.protocols.exchange import HttpAnswer
from model_pod.server.outcomes import Begun, OutcomeBounds, OutcomeKey, Outcomes, is_kept, payload_digest

KEY, OTHER = ("ads", "k1"), ("ads", "k2")
ANSWER = HttpAnswer(200, (("content-type", "text/plain"),), b"hello")


def test_a_key_runs_once_and_is_then_answered_with_what_it_got() -> None:
    outcomes = Outcomes(OutcomeBounds())
    assert outcomes.begin(KEY, b"sha", 0.0) is Begun.NEW
    assert outcomes.begin(KEY, b"sha", 1.0) is Begun.IN_PROGRESS
    outcomes.finish(KEY, ANSWER, 2.0)
    assert outcomes.begin(KEY, b"sha", 3.0) == ANSWER


def test_a_key_belongs_to_one_payload_while_it_runs_and_after() -> None:
    outcomes = Outcomes(OutcomeBounds())
    outcomes.begin(KEY, b"sha", 0.0)
    assert outcomes.begin(KEY, b"another", 1.0) is Begun.DIFFERS
    outcomes.finish(KEY, ANSWER, 2.0)
    assert outcomes.begin(KEY, b"another", 3.0) is Begun.DIFFERS


def test_tenants_do_not_share_keys() -> None:
    outcomes = Outcomes(OutcomeBounds())
    outcomes.begin(("ads", "k"), b"sha", 0.0)
    assert outcomes.begin(("search", "k"), b"sha", 0.0) is Begun.NEW


def test_what_never_ran_may_run_the_next_time() -> None:
    outcomes = Outcomes(OutcomeBounds())
    outcomes.begin(KEY, b"sha", 0.0)
    outcomes.forget(KEY)
    outcomes.forget(KEY)
    assert outcomes.begin(KEY, b"another", 1.0) is Begun.NEW


def test_a_key_is_known_until_its_age_counted_from_its_answer() -> None:
    outcomes = Outcomes(OutcomeBounds(age_s=10.0))
    outcomes.begin(KEY, b"sha", 0.0)
    assert outcomes.begin(KEY, b"sha", 1000.0) is Begun.IN_PROGRESS
    outcomes.finish(KEY, ANSWER, 1000.0)
    assert outcomes.begin(KEY, b"sha", 1009.0) == ANSWER
    assert outcomes.begin(KEY, b"sha", 1010.0) is Begun.NEW
    assert outcomes.dropped_count == 0


def test_an_answer_that_cannot_be_kept_is_not_run_again() -> None:
    outcomes = Outcomes(OutcomeBounds(byte_count=1000))
    outcomes.begin(KEY, b"sha", 0.0)
    outcomes.finish(KEY, HttpAnswer(200, (), bytes(1001)), 1.0)
    assert outcomes.begin(KEY, b"sha", 2.0) is Begun.GONE
    outcomes.begin(OTHER, b"sha", 2.0)
    outcomes.finish(OTHER, None, 3.0)
    assert outcomes.begin(OTHER, b"sha", 4.0) is Begun.GONE
    assert outcomes.dropped_count == 1  # the streamed one was never to be kept


def test_the_oldest_answers_go_first_and_their_keys_stay() -> None:
    outcomes = Outcomes(OutcomeBounds(byte_count=2500))
    for number in range(3):
        outcomes.begin(("ads", str(number)), b"sha", 0.0)
        outcomes.finish(("ads", str(number)), HttpAnswer(200, (), bytes(500)), 1.0)
    kept = [outcomes.begin(("ads", str(number)), b"sha", 2.0) for number in range(3)]
    assert kept[0] is Begun.GONE
    assert all(isinstance(answer, HttpAnswer) for answer in kept[1:])
    assert outcomes.dropped_count == 1


def test_with_every_place_in_progress_a_new_key_is_refused() -> None:
    outcomes = Outcomes(OutcomeBounds(count=1))
    outcomes.begin(KEY, b"sha", 0.0)
    assert outcomes.begin(OTHER, b"sha", 0.0) is Begun.FULL
    outcomes.finish(KEY, ANSWER, 1.0)
    assert outcomes.begin(OTHER, b"sha", 2.0) is Begun.NEW
    assert outcomes.dropped_count == 1


def test_only_what_may_have_run_is_kept() -> None:
    assert is_kept("", has_run=True)
    assert is_kept("row_refused", has_run=True)
    assert is_kept("inference_lost", has_run=False)
    assert is_kept("deadline_exceeded_running", has_run=False)
    assert not is_kept("queue_full", has_run=False)
    assert not is_kept("malformed_body", has_run=False)


def test_path_type_and_body_are_told_apart() -> None:
    digests = set()
    for target, content_type, body in [("/a", b"b", b"c"), ("/ab", b"", b"c"), ("/a", b"", b"bc"), ("/a", b"b", b"d")]:
        payload = payload_digest(target, content_type)
        payload.update(body)
        digests.add(payload.digest())
    assert len(digests) == 4


class Keys(RuleBasedStateMachine):
    """No key runs twice while it is known, and the bounds hold, whatever comes."""

    def __init__(self) -> None:
        super().__init__()
        self.bounds = OutcomeBounds(count=4, byte_count=4000, age_s=10.0)
        self.outcomes = Outcomes(self.bounds)
        self.now_s = 0.0
        self.running: dict[OutcomeKey, bytes] = {}
        self.answered: dict[OutcomeKey, tuple[bytes, bytes]] = {}

    @rule(tenant=st.sampled_from(["ads", "bank"]), name=st.sampled_from("abcdef"), sha=st.sampled_from([b"1", b"2"]))
    def comes(self, tenant: str, name: str, sha: bytes) -> None:
        key = tenant, name
        told = self.outcomes.begin(key, sha, self.now_s)
        if told is Begun.NEW:
            assert key not in self.running
            self.running[key] = sha
        elif told is Begun.IN_PROGRESS:
            assert self.running[key] == sha
        elif isinstance(told, HttpAnswer):
            assert self.answered[key] == (sha, told.body)
        elif told is Begun.FULL:
            assert len(self.running) == self.bounds.count

    @precondition(lambda self: self.running)
    @rule(data=st.data(), size=st.integers(0, 5000))
    def is_answered(self, data: st.DataObject, size: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        body = bytes(size)
        self.answered[key] = self.running.pop(key), body
        self.outcomes.finish(key, HttpAnswer(200, (), body), self.now_s)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def did_not_run(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[key]
        self.outcomes.forget(key)

    @rule(passed_s=st.floats(0.0, 20.0))
    def time_passes(self, passed_s: float) -> None:
        self.now_s += passed_s

    @invariant()
    def bounds_hold(self) -> None:
        assert len(self.outcomes) <= self.bounds.count
        assert 0 <= self.outcomes.byte_count <= self.bounds.byte_count


TestKeys = Keys.TestCase


def _ended(outcomes: Outcomes, tenant: str, count: int, answer: HttpAnswer) -> None:
    for number in range(count):
        key = tenant, str(number)
        assert outcomes.begin(key, b"sha", 0.0) is Begun.NEW
        outcomes.finish(key, answer, 1.0)


def test_a_tenant_with_many_keys_pushes_only_its_own_out() -> None:
    outcomes = Outcomes(OutcomeBounds(count=4))
    _ended(outcomes, "bank", 1, ANSWER)
    _ended(outcomes, "noisy", 20, ANSWER)
    assert outcomes.begin(("bank", "0"), b"sha", 2.0) == ANSWER
    assert outcomes.begin(("noisy", "19"), b"sha", 2.0) == ANSWER
    assert outcomes.dropped_count == 17


def test_a_tenant_with_large_answers_pushes_only_its_own_out() -> None:
    outcomes = Outcomes(OutcomeBounds(byte_count=4000))
    _ended(outcomes, "bank", 1, ANSWER)
    _ended(outcomes, "noisy", 20, HttpAnswer(200, (), bytes(1000)))
    assert outcomes.begin(("bank", "0"), b"sha", 2.0) == ANSWER
    assert outcomes.begin(("noisy", "0"), b"sha", 2.0) is Begun.GONE
