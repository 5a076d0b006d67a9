"""Which samples are kept, for how long, who reads them, and when they go."""

from __future__ import annotations

import os
import stat
from errno import ENOSPC
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.copies.messages import AskSamples, PurgeSamples
from gateway.copies.samples import Samples
from policies.snapshot.generation import Snapshot
from policies.snapshot.release import LeftOut
from policies.snapshot.samples import Sampling
from tests.gateway.copies.answered import AT_S, answer, answered, snapshot

RULE = Sampling(("/text", "/label"), rate=1.0, subject="/who")


def with_samples(rule: Sampling | None, consenting: tuple[str, ...] = ("ads", "shop")) -> Snapshot:
    made = snapshot(consenting=consenting)
    return replace(made, routes={"digits": replace(made.routes["digits"], samples=rule)})


class Kept:
    """Samples in a folder, and what they said."""

    def __init__(self, folder: Path, rule: Sampling | None = RULE) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.samples = Samples(folder, self.said.append)
        self.samples.use(with_samples(rule))

    def keep(
        self, number: int = 1, who: str = "ada", tenant: str = "ads", at_s: float = AT_S, why: str = "rate"
    ) -> str:
        told = answered(number, tenant=tenant, at_s=at_s)
        body = b'{"text":"t%d","who":"%s","secret":"s3cret"}' % (number, who.encode())
        return self.samples.keep(told, body, answer(b'{"label":7}'), why, at_s)

    def ids(self, model: str = "", tenant: str = "", why: str = "") -> list[str]:
        return [one.request_id for one in self.samples.read(AskSamples(1, model, tenant, why))]

    def on_disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.folder.rglob("*") if path.is_file())


def test_samples_are_listed_newest_first_and_shown_one_by_one(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    assert [kept.keep(number) for number in range(3)] == ["kept"] * 3
    listed = kept.samples.read(AskSamples(1, "digits"))
    assert [one.request_id for one in listed] == ["r2", "r1", "r0"]
    assert all(one.input is None and one.output is None and one.is_about_somebody for one in listed)
    (one,) = kept.samples.read(AskSamples(1, "digits", request_id="r1"))
    assert (one.input, one.output, one.why) == ({"/text": "t1"}, {"/label": 7}, "rate")
    assert kept.ids(tenant="shop") == [] == kept.ids(why="error") == kept.ids(model="letters")
    assert kept.samples.counts == {"digits": {"kept": 3}}


def test_what_is_on_the_disk_is_ours_alone_and_holds_what_policy_names(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.keep()
    assert b"s3cret" not in kept.on_disk()
    assert b"a@b.example" not in kept.on_disk()
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()} == {0o600}
    assert kept.samples.bytes_kept["digits"] > 0


def test_a_restart_loses_nothing_and_still_finds_whom_they_are_about(tmp_path: Path) -> None:
    Kept(tmp_path).keep(1)
    after = Kept(tmp_path)
    after.keep(2, who="bob")
    assert after.ids() == ["r2", "r1"]
    assert after.samples.purge(PurgeSamples(1, subject="ada")) == 1
    assert after.ids() == ["r2"]


def test_more_than_policy_says_of_one_reason_in_a_minute_are_left_out(tmp_path: Path) -> None:
    kept = Kept(tmp_path, replace(RULE, per_minute=2))
    start_s = AT_S // 60 * 60
    assert [kept.keep(number, at_s=start_s) for number in range(3)] == ["kept", "kept", "too_many"]
    assert kept.keep(3, at_s=start_s, why="error") == "kept"
    assert kept.keep(4, at_s=start_s + 60) == "kept"
    assert kept.samples.counts["digits"] == {"kept": 4, "too_many": 1}


@pytest.mark.parametrize(
    ("rule", "consenting"), [(RULE, ("shop",)), (replace(RULE, never=LeftOut(tenants=("ads",))), ("ads", "shop"))]
)
def test_a_tenant_that_allows_it_no_longer_is_kept_no_longer_and_what_was_is_removed(
    tmp_path: Path, rule: Sampling, consenting: tuple[str, ...]
) -> None:
    kept = Kept(tmp_path)
    kept.keep(1)
    kept.keep(2, tenant="shop")
    kept.samples.use(with_samples(rule, consenting))
    assert kept.ids() == ["r2"]
    assert kept.keep(3) == "no_consent"
    assert any("not to be sampled: 1 of ads" in line for line in kept.said)


@pytest.mark.parametrize(
    "rule",
    [
        replace(RULE, fields=("/label",)),
        replace(RULE, subject="/user"),
        replace(RULE, subject=None),
        None,
    ],
    ids=["fewer fields", "another subject", "no subject", "no samples"],
)
def test_a_policy_that_keeps_less_removes_what_there_is(tmp_path: Path, rule: Sampling | None) -> None:
    kept = Kept(tmp_path)
    kept.keep(1)
    kept.samples.use(with_samples(rule))
    assert kept.ids() == []
    assert list(tmp_path.rglob("*.requests")) == []
    if rule is None:
        assert kept.keep(2) == "not_in_policy"
        assert list(tmp_path.iterdir()) == []


def test_a_policy_that_keeps_more_removes_nothing_and_one_that_hides_more_all(tmp_path: Path) -> None:
    kept = Kept(tmp_path, replace(RULE, redact=("card",)))
    kept.keep(1)
    kept.samples.use(with_samples(replace(RULE, fields=("/label", "/more", "/text"), redact=("card",), keep_s=60.0)))
    assert kept.ids() == ["r1"]
    kept.samples.use(with_samples(replace(RULE, fields=("/label", "/more", "/text"), redact=("card", "email"))))
    assert kept.ids() == []


def test_what_is_too_old_goes_by_whole_files(tmp_path: Path) -> None:
    kept = Kept(tmp_path, replace(RULE, keep_s=80.0))
    kept.keep(1, at_s=AT_S)
    kept.keep(2, at_s=AT_S + 50)
    kept.samples.tidy(AT_S + 90)
    assert kept.ids() == ["r2"]


def test_a_purge_removes_what_all_of_it_is_true_of(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.keep(1, at_s=AT_S)
    kept.keep(2, tenant="shop", at_s=AT_S)
    kept.keep(3, who="bob", at_s=AT_S + 10)
    assert kept.samples.purge(PurgeSamples(1, "digits", tenant="ads", subject="bob", before_s=AT_S)) == 0
    assert kept.samples.purge(PurgeSamples(1, before_s=AT_S + 5, tenant="shop")) == 1
    assert kept.ids() == ["r3", "r1"]
    assert kept.samples.purge(PurgeSamples(1, "letters")) == 0
    assert kept.samples.purge(PurgeSamples(1)) == 2
    assert list(tmp_path.rglob("*.requests")) == []
    assert kept.keep(4) == "kept"
    assert kept.ids() == ["r4"]


def test_a_full_disk_costs_the_sample_and_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(tmp_path)

    def full(*_: object) -> int:
        raise OSError(ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        assert [kept.keep(1), kept.keep(2)] == ["not_written", "not_written"]
    assert sum("cannot be kept" in line for line in kept.said) == 1
    assert kept.keep(3) == "kept"
    assert kept.ids() == ["r3"]


def test_what_is_hidden_is_counted_over_generations(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    for number in range(2):
        told = answered(number)
        kept.samples.keep(told, b'{"text":"a@b.example"}', answer(b"{}"), "rate", AT_S)
        kept.samples.use(with_samples(RULE))
    assert kept.samples.hidden == {"digits": {"credential": 0, "email": 2}}
