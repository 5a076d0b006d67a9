"""What policy and people say of logs: the format, the usual level, and levels that were changed for a while."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from telemetry.logs.line import Facts, Level, level_of

LevelWord = Literal["debug", "info", "warning", "error"]
HandlersWord = Literal["all", "without_messages", "nothing"]

FILE_NAME = "logs.json"
EVERYBODY = ""
# Whom a level can be changed for beside one model's pods.
PARTS = ("gateway", "pods", "sidecars", "hub")
MAX_CHANGED = 32
_PART_OF = {"gateway": "gateway", "pod": "pods", "sidecar": "sidecars", "hub": "hub"}


class TooManyChanged(Exception):
    """As many levels are changed as may be at once."""


class Changed(Struct, frozen=True):
    """A level that was changed for a while.

    Attributes:
        of: one of ``PARTS``, a model, or ``EVERYBODY``.
        until_s: seconds since the epoch; from then on the usual level holds again, whoever is there to say so.
    """

    of: str
    level: LevelWord
    until_s: float


class LogSettings(Struct, frozen=True):
    """What holds for every process of the mesh.

    Attributes:
        format: "auto" is text where a terminal reads, else JSON.
        handlers: what is written of a model's handler; "without_messages" leaves out the texts of its exceptions.
    """

    format: Literal["auto", "text", "json"] = "auto"
    level: LevelWord = "info"
    changed: tuple[Changed, ...] = ()
    handlers: HandlersWord = "without_messages"


def level_for(settings: LogSettings, who: Facts, wall_s: float) -> Level:
    """Return the level of one process: of what was said of it last, the nearest, or the usual one."""
    live = {one.of: one.level for one in still(settings.changed, wall_s)}
    nearest = [of for of in (who.model, _PART_OF.get(who.process, "")) if of] + [EVERYBODY]
    return level_of(next((live[of] for of in nearest if of in live), settings.level))


def with_change(settings: LogSettings, change: Changed, wall_s: float) -> LogSettings:
    """Return the settings with one change more, which replaces an earlier one of the same; past ones are left out.

    Raises:
        TooManyChanged: it would be one too many, and no other gives way to it.
    """
    kept = [one for one in still(settings.changed, wall_s) if one.of != change.of]
    if len(kept) >= MAX_CHANGED:
        raise TooManyChanged
    return replace(settings, changed=(*kept, change))


def without_change(settings: LogSettings, of: str, wall_s: float) -> LogSettings:
    """Return the settings without what was changed for one; for ``EVERYBODY`` without any change."""
    kept = () if of == EVERYBODY else tuple(one for one in still(settings.changed, wall_s) if one.of != of)
    return replace(settings, changed=kept)


def still(changed: Iterable[Changed], wall_s: float) -> tuple[Changed, ...]:
    """Return the changes that hold."""
    return tuple(one for one in changed if one.until_s > wall_s)
