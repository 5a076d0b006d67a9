"""What the management API tells of log levels."""

from __future__ import annotations

from dataclasses import dataclass

from telemetry.logs.settings import LevelWord


@dataclass(frozen=True)
class LogChangeReport:
    """A level that holds for a while: of "mesh" for all of it, of a part of it, or of a model; `until` is in UTC."""

    of: str
    level: LevelWord
    until: str


@dataclass(frozen=True)
class LogLevelReport:
    """Which level logs have: `level` where nothing was changed, and what was."""

    level: LevelWord
    changed: tuple[LogChangeReport, ...]
