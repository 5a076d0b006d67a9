"""Log desk: changes the level of logs while the mesh runs, for a while, and keeps the file that every process heeds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway.control.audit.log import AuditLog
from gateway.control.events import Say
from gateway.control.log_reports import LogChangeReport, LogLevelReport
from gateway.control.state_dir import write_private
from gateway.control.view import utc
from model_pod.wire.refusals import Refused
from policies.snapshot.generation import Snapshot
from telemetry.logs.line import warning
from telemetry.logs.log import LOG, MAX_SETTINGS_BYTES
from telemetry.logs.settings import (
    EVERYBODY,
    FILE_NAME,
    MAX_CHANGED,
    PARTS,
    Changed,
    LevelWord,
    LogSettings,
    TooManyChanged,
    still,
    with_change,
    without_change,
)

_ACTION = "log.level"
_WHOLE_MESH = "mesh"
LOOK_EVERY_S = 1.0
MAX_FOR_S = 86400.0
USUAL_FOR_S = 600.0


class LogDesk:
    """What the management API does with log levels.

    Each change says until when it holds, and every process reads that for itself: a level goes back on time though the
    supervisor be dead.

    Args:
        clock: the wall's.
    """

    def __init__(
        self,
        state: Path,
        in_force: Callable[[], Snapshot],
        audit: AuditLog,
        say: Say,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = state / FILE_NAME
        self._in_force = in_force
        self._audit = audit
        self._say = say
        self._clock = clock
        self._settings = _kept(self._path)
        self._changing = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._written: LogSettings | None = None

    @property
    def report(self) -> LogLevelReport:
        """The usual level, and what is changed."""
        changed = still(self._settings.changed, self._clock())
        return LogLevelReport(
            self._settings.level,
            tuple(LogChangeReport(one.of or _WHOLE_MESH, one.level, utc(one.until_s)) for one in changed),
        )

    async def change(self, actor: str, of: str, level: LevelWord, for_s: float, reason: str) -> LogLevelReport:
        """Change the level of a part, a model or, for "", the mesh, for so many seconds.

        Raises:
            Refused: model_not_found, too_many_log_levels, audit_unavailable; nothing changed.
        """
        self._check(of)
        async with self._changing:
            until_s = self._clock() + for_s
            self._with(Changed(of, level, until_s))
            detail = {"level": level, "until": utc(until_s)}
            await asyncio.to_thread(self._audit.record, actor, _ACTION, of or _WHOLE_MESH, detail, reason)
            # Meanwhile levels may have gone back, and policy may say another usual one.
            self._settings = self._with(Changed(of, level, until_s))
        await self._tell()
        self._say(f"logs of {_named(of)} are of level {level} for {for_s:g} s, says {actor}: {reason}")
        return self.report

    def _with(self, change: Changed) -> LogSettings:
        try:
            return with_change(self._settings, change, self._clock())
        except TooManyChanged:
            raise Refused(
                "too_many_log_levels",
                f"{MAX_CHANGED} levels are changed already, which is as many as can be at once; take one back "
                "(`penstock log level usual --only PART`).",
            ) from None

    async def end(self, actor: str, of: str, reason: str) -> LogLevelReport:
        """End a change before its time; of "" every one.

        Raises:
            Refused: model_not_found, audit_unavailable; nothing changed.
        """
        self._check(of)
        await asyncio.to_thread(self._audit.record, actor, _ACTION, of or _WHOLE_MESH, {"level": "usual"}, reason)
        self._settings = without_change(self._settings, of, self._clock())
        await self._tell()
        self._say(f"logs of {_named(of)} are of the usual level, says {actor}: {reason}")
        return self.report

    async def run(self) -> None:
        """Heed policy, take back what is over, and say so, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Do it once."""
        LOG.tick()
        logs, now_s = self._in_force().mesh.logs, self._clock()
        over = [one for one in self._settings.changed if one.until_s <= now_s]
        usual = msgspec.convert(logs, LogSettings, from_attributes=True)
        self._settings = msgspec.structs.replace(usual, changed=still(self._settings.changed, now_s))
        for one in over:
            self._say(f"logs of {_named(one.of)} are of the usual level again: the time is over")
        await self._tell()

    async def _tell(self) -> None:
        """Write the file that every process looks at once a second."""
        async with self._writing:  # one after the other, or an older state could replace a newer one
            settings = self._settings
            if settings == self._written:
                return
            try:
                await asyncio.to_thread(write_private, self._path, msgspec.json.encode(settings) + b"\n")
            except OSError as error:
                if self._written is not None or settings != LogSettings():
                    self._say(
                        warning(f"{self._path} cannot be written, so levels stay: {error.strerror}", "logs.unwritten")
                    )
                return
            self._written = settings

    def _check(self, of: str) -> None:
        if of not in (EVERYBODY, *PARTS) and of not in self._in_force().routes:
            raise Refused("model_not_found", f"{of} is none of {', '.join(PARTS)}, and no model of the mesh")


def _named(of: str) -> str:
    return of or "the whole mesh"


def _kept(path: Path) -> LogSettings:
    """Return what an earlier supervisor wrote; what it changed goes on until its time is over."""
    try:
        data = path.read_bytes()
        return msgspec.json.decode(data, type=LogSettings) if len(data) <= MAX_SETTINGS_BYTES else LogSettings()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return LogSettings()
