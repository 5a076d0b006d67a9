"""Copies desk: what the copies process told last, and what people have it do."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from msgspec.structs import replace

from gateway.copies.messages import (
    AskReplay,
    AskSamples,
    CopyCounts,
    Forget,
    FromCopies,
    LabelEvent,
    Labelled,
    PurgeSamples,
    Replayed,
    SamplesTold,
    Shadows,
    ToCopies,
)
from gateway.copies.reports import ReplayReport, ShadowReport, ShadowSays
from policies.snapshot.generation import Snapshot
from policies.snapshot.release import Shadow

# Replays that are remembered; the oldest that are over go first.
MOST_REPLAYS = 100
RUNNING, FAILED = "running", "failed"

OnLabelled = Callable[[tuple[LabelEvent, ...]], None]
OnSamples = Callable[[SamplesTold], None]
Send = Callable[[ToCopies], None]


class CopiesAway(Exception):
    """The copies process does not run; the message says why, as a sentence."""


class CopiesDesk:
    """What is known of shadows, recordings and late labels.

    Args:
        wall_s: the time, seconds since the epoch; differences are forgotten by it.

    Attributes:
        reports: of every shadow of the generation in force, as they were told last.
        counts: of copies, labels and recordings since the process started.
        on_labelled: who hears of late labels that met their answers.
    """

    def __init__(self, wall_s: Callable[[], float] = lambda: 0.0) -> None:
        self._wall_s = wall_s
        self._consenting: frozenset[str] | None = None  # before there is any policy
        self.counts = CopyCounts({}, {}, {})
        self.on_labelled: list[OnLabelled] = []
        self._reports: dict[tuple[str, str], ShadowReport] = {}
        # Shadows as policy has them, and the generation that first had them so.
        self._shadows: dict[tuple[str, str], tuple[Shadow, int]] = {}
        self._replays: dict[int, ReplayReport] = {}
        self._numbers = itertools.count(1)
        self._send: Send | None = None
        self._asked: dict[int, OnSamples] = {}

    @property
    def reports(self) -> tuple[ShadowReport, ...]:
        """What every shadow has come to."""
        return tuple(map(self._as_kept, self._reports.values()))

    @property
    def is_up(self) -> bool:
        """The process runs."""
        return self._send is not None

    def verdict(self, model: str, shadow: str) -> ShadowSays | None:
        """Return what a shadow was called last; None when there is none of that name, or it is not known yet.

        What was told before policy changed the shadow may be of another version, and does not count.
        """
        report = self._reports.get((model, shadow))
        _, since = self._shadows.get((model, shadow), (None, 0))
        return report.says if report is not None and report.generation >= since else None

    # --- what people have it do

    def ask_replay(self, model: str, version: str, shadow: str = "", most: int = 1000) -> ReplayReport:
        """Have recorded requests sent to a version; how that goes is told by ``replay``.

        Raises:
            CopiesAway: nobody is there to do it.
        """
        number = next(self._numbers)
        self._tell(AskReplay(number, model, version, shadow, most))
        report = self._replays[number] = ReplayReport(number, model, version, RUNNING, "", 0, 0, 0, None)
        self._forget_old_replays()
        return report

    def cancel_replay(self, model: str, number: int) -> ReplayReport | None:
        """End a replay; return how it stood, None when there is none of that number.

        Raises:
            CopiesAway: nobody is there to do it.
        """
        report = self.replay(model, number)
        if report is not None and report.state == RUNNING:
            self._tell(AskReplay(number, model, report.version, is_cancel=True))
        return report

    def replay(self, model: str, number: int) -> ReplayReport | None:
        """Return how a replay stands; None when there is none of that number."""
        self._keep_replays()
        report = self._replays.get(number)
        return report if report is not None and report.model == model else None

    def forget(self, model: str, shadow: str) -> None:
        """Begin anew with what was compared for a shadow; with "" remove what was recorded of the model.

        Raises:
            CopiesAway: nobody is there to do it.
        """
        self._tell(Forget(model, shadow))

    def ask_samples(self, make: Callable[[int], AskSamples | PurgeSamples], tell: OnSamples) -> int:
        """Have something done with samples; ``tell`` hears what it came to, once, and ``make`` gives it its number.

        Raises:
            CopiesAway: nobody is there to do it.
        """
        number = next(self._numbers)
        self._tell(make(number))
        self._asked[number] = tell
        return number

    def give_up(self, number: int) -> None:
        """Nobody waits any more for what was asked."""
        self._asked.pop(number, None)

    def _tell(self, message: ToCopies) -> None:
        if self._send is None:
            raise CopiesAway("no copies process runs: policy wants none, or it is being started; try again shortly")
        self._send(message)

    def _forget_old_replays(self) -> None:
        over = [number for number, report in self._replays.items() if report.state != RUNNING]
        for number in over[: max(0, len(self._replays) - MOST_REPLAYS)]:
            del self._replays[number]

    # --- what it is told

    def follow(self, snapshot: Snapshot) -> None:
        """Forget shadows that are not of this generation, and differences of tenants that allow no copies in it."""
        self._consenting = frozenset(name for name, tenant in snapshot.tenants.items() if tenant.is_copied)
        before, self._shadows = self._shadows, {}
        for model, route in snapshot.routes.items():
            for shadow in route.shadows:
                known, since = before.get((model, shadow.name), (None, 0))
                self._shadows[model, shadow.name] = (shadow, since if known == shadow else snapshot.generation)
        self._reports = {key: report for key, report in self._reports.items() if key in self._shadows}
        self._keep_replays()

    def attach(self, send: Send) -> None:
        """The process runs, and is told things by this."""
        self._send = send

    def detach(self) -> None:
        """It has ended; what it told of shadows holds until a successor tells more."""
        self._send = None
        waiting, self._asked = self._asked, {}
        for number, tell in waiting.items():
            tell(SamplesTold(number, problem="the copies process ended; ask again"))
        for number, report in self._replays.items():
            if report.state == RUNNING:
                self._replays[number] = ReplayReport(
                    number,
                    report.model,
                    report.version,
                    FAILED,
                    "the copies process ended; ask again",
                    report.recorded,
                    report.chosen,
                    report.sent,
                    report.report,
                )

    def heard(self, message: FromCopies) -> None:
        """Take in what it tells."""
        match message:
            case Shadows(reports=reports):
                self._reports = {(report.model, report.name): report for report in reports}
            case CopyCounts():
                self.counts = message
            case SamplesTold(number=number):
                if (tell := self._asked.pop(number, None)) is not None:
                    tell(message)
            case Labelled(events=events):
                for listener in self.on_labelled:
                    listener(events)
            case Replayed(report=report):
                if report.number in self._replays:
                    self._replays[report.number] = report
                    self._keep_replays()

    def _keep_replays(self) -> None:
        for number, replay in self._replays.items():
            if replay.report is not None and (kept := self._as_kept(replay.report)) is not replay.report:
                self._replays[number] = replace(replay, report=kept)

    def _as_kept(self, report: ShadowReport) -> ShadowReport:
        """Return a report without differences that may not be kept: too old, or of tenants that allow no copies."""
        since_s = self._wall_s() - report.keep_s
        worst = tuple(one for one in report.worst if one.at_s >= since_s and self._is_allowed(one.tenant))
        return report if len(worst) == len(report.worst) else replace(report, worst=worst)

    def _is_allowed(self, tenant: str) -> bool:
        return self._consenting is None or tenant in self._consenting
