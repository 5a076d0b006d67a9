"""slos.yaml as written: objectives, their windows, and what is a bad event."""

from typing import Annotated, Literal

from msgspec import Meta

from policies.schema.written import Count, Duration, Name, Share, Text, Written

Status = Annotated[int, Meta(ge=100, le=599)]


class GoodWritten(Written, frozen=True, kw_only=True):
    """What makes an event good; anything else is bad."""

    status_below: Annotated[Status, Meta(description="The answer's status is below this.")]
    within: Annotated[Duration | None, Meta(description="It was given within this time; any time when left out.")] = (
        None
    )


class IgnoreWritten(Written, frozen=True, kw_only=True):
    """Events that say nothing about the objective."""

    status: Annotated[Annotated[list[Status], Meta(min_length=1)], Meta(description="Answers with these statuses.")]


class BurnWindowsWritten(Written, frozen=True, kw_only=True):
    """An alert: the error budget burns this fast in both windows."""

    burn: Annotated[float, Meta(gt=0, le=1000, description="How many times faster than allowed.")]
    long: Annotated[Duration, Meta(description="The long window: that it matters.")]
    short: Annotated[Duration, Meta(description="The short window: that it still goes on.")]


class SloWritten(Written, frozen=True, kw_only=True):
    """One objective."""

    name: Annotated[Name, Meta(description="What routes, alerts and dashboards call it.")]
    route: Annotated[Name | None, Meta(description="The model it is for; every route that names it when left out.")] = (
        None
    )
    owner: Annotated[Text, Meta(description="Who answers for it.")]
    window: Annotated[Duration, Meta(description="The time over which the error budget is spent.")]
    objective: Annotated[Share, Meta(description="The target share of good events.")]
    good: Annotated[GoodWritten, Meta(description="What a good event is.")]
    ignore: Annotated[IgnoreWritten | None, Meta(description="Events that do not count.")] = None
    by: Annotated[
        list[Literal["version", "tier", "tenant"]] | None, Meta(description="What it is counted apart by.")
    ] = None
    page: Annotated[list[BurnWindowsWritten] | None, Meta(description="Burn rates that wake somebody.")] = None
    ticket: Annotated[
        list[BurnWindowsWritten] | None, Meta(description="Burn rates that can wait for the morning.")
    ] = None
    min_events: Annotated[Count | None, Meta(description='Below so many events a window says "not enough data".')] = (
        None
    )


class SlosFile(Written, frozen=True, kw_only=True):
    """slos.yaml: objectives, their windows, and what is a bad event."""

    kind: Annotated[Literal["slos/v1"], Meta(description="What this file is: slos/v1.")]
    slos: Annotated[list[SloWritten], Meta(description="The objectives.")]
