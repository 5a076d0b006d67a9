"""slos.yaml as written: objectives, their windows, and what is a bad event."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from policies.schema.written import Count, Duration, Name, Share, Text, Written

LARGEST_BURN: Final = 1000
Status = Annotated[int, Meta(ge=100, le=599)]


class GoodWritten(Written, frozen=True, kw_only=True):
    """What makes an event good; anything else is bad. Events are requests, loads of pods, or answers with a label."""

    status_below: Annotated[
        Annotated[int, Meta(ge=201, le=599)] | None,
        Meta(description="Of requests: the answer's status is below this.", extra={"usual": "500"}),
    ] = None
    within: Annotated[
        Duration | None,
        Meta(description="With `status_below`: and it was given within this time; any time when left out."),
    ] = None
    first_byte_within: Annotated[
        Duration | None,
        Meta(
            description="With `status_below`, instead of `within`: and the first byte of its body came within this "
            "time, for answers that come as they are made."
        ),
    ] = None
    pod: Annotated[
        Literal["ready"] | None,
        Meta(description="Of requests: the pod was ready when it came. One that met a cold start is bad."),
    ] = None
    loads_within: Annotated[
        Duration | None,
        Meta(description="Of loads of the model's pods: the model was ready within this time. A failed load is bad."),
    ] = None
    label: Annotated[
        Literal["right"] | None,
        Meta(description="Of answers whose label was told later, as `feedback` of the route says: it was right."),
    ] = None


class IgnoreWritten(Written, frozen=True, kw_only=True):
    """Requests that say nothing about the objective."""

    status: Annotated[
        Annotated[list[Status], Meta(min_length=1, max_length=100)],
        Meta(
            description="Answers with these statuses, and no others. A caller who left before the answer (499) does "
            "not count either, unless `within` had passed and 499 is not named here: then it is bad.",
            extra={"usual": "[404]"},
        ),
    ]


class BurnWindowsWritten(Written, frozen=True, kw_only=True):
    """An alert: the error budget burns faster than this in both windows."""

    burn: Annotated[
        float, Meta(gt=0, le=LARGEST_BURN, description="How many times faster than allowed.", extra={"usual": "14.4"})
    ]
    long: Annotated[Duration, Meta(description="The long window: that it matters.", extra={"usual": "1h"})]
    short: Annotated[Duration, Meta(description="The short window: that it still goes on.", extra={"usual": "5m"})]


Alerts = Annotated[list[BurnWindowsWritten], Meta(max_length=8)]


class SloWritten(Written, frozen=True, kw_only=True):
    """One objective."""

    name: Annotated[Name, Meta(description="What routes, alerts and dashboards call it.")]
    route: Annotated[
        Name | None, Meta(description="The one model whose route may name it; any route may when left out.")
    ] = None
    owner: Annotated[Text, Meta(description="Who answers for it.")]
    window: Annotated[
        Duration,
        Meta(description="The time over which the error budget is spent, from 1h to 90d.", extra={"usual": "30d"}),
    ]
    good: Annotated[GoodWritten, Meta(description="What a good event is.", extra={"usual": "{status_below: 500}"})]
    ignore: Annotated[
        IgnoreWritten | None,
        Meta(
            description="Requests that do not count; answers of 400 to 499 when left out, but for a caller who left "
            "after `within`."
        ),
    ] = None
    by: Annotated[
        list[Literal["version", "tier"]] | None,
        Meta(description="What it is also counted apart by; version when left out. Loads have no tier."),
    ] = None
    page: Annotated[
        Alerts | None,
        Meta(description="Burn rates that wake somebody; the usual ones when left out, and [] is none."),
    ] = None
    ticket: Annotated[
        Alerts | None,
        Meta(description="Burn rates that can wait for the morning; the usual ones when left out, and [] is none."),
    ] = None
    likely_within: Annotated[
        Duration | None,
        Meta(
            description="A ticket when the budget ends within this time if bad events go on as they do now, in the "
            "last quarter of it and still in a twelfth of that; a thirtieth of `window` when left out (24h of 30d), "
            "and 0s is off. `ticket: []` leaves it out, unless it is written.",
            extra={"usual": "24h"},
        ),
    ] = None
    min_events: Annotated[
        Count | None,
        Meta(description='A long window with fewer says "not enough data" and does not fire; off when left out.'),
    ] = None
    min_bad_events: Annotated[
        Count | None, Meta(description="A long window with fewer that are bad does not fire; off when left out.")
    ] = None
    chance_below: Annotated[
        Share | None,
        Meta(
            description="An alert fires only if a service that burns just at its threshold would do as badly with "
            "less than this chance; 1% when left out, and 0% is off."
        ),
    ] = None
    # Last and never left out, so that a file which is cut off inside an objective is refused.
    objective: Annotated[Share, Meta(description="The target share of good events.", extra={"usual": "99.9%"})]


class SlosFile(Written, frozen=True, kw_only=True):
    """slos.yaml: objectives, their windows, and what is a bad event."""

    kind: Annotated[Literal["slos/v1"], Meta(description="What this file is: slos/v1.")]
    slos: Annotated[Annotated[list[SloWritten], Meta(max_length=500)], Meta(description="The objectives.")]
