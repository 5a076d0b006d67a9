"""What a route says of samples: inputs and outputs that are kept for people to look at."""

from typing import Annotated, Literal

from msgspec import Meta

from policies.schema.release import NeverWritten
from policies.schema.written import Duration, JsonPointer, Share, Size, Written

# At most so many of each are looked at in a body.
Fields = Annotated[list[JsonPointer], Meta(min_length=1, max_length=64)]
PerMinute = Annotated[int, Meta(ge=1, le=6000)]
Trigger = Literal["error", "slow", "drift", "shadow_difference"]
Rule = Literal["card", "email", "iban", "ip", "phone"]


class SamplesWritten(Written, frozen=True, kw_only=True, rename={"for_": "for"}):
    """Inputs and outputs that are kept for people to look at: of these, the named fields and nothing else."""

    fields: Annotated[
        Fields,
        Meta(
            description="The parts of bodies, of requests and of answers, that are kept; `*` stands for every item of "
            "a list. Nothing else of a request is, no header and no query."
        ),
    ]
    rate: Annotated[
        Share | None, Meta(description="The share of requests that are kept by chance; 0% when left out.")
    ] = None
    on: Annotated[
        Annotated[list[Trigger], Meta(max_length=4)] | None,
        Meta(
            description="Requests that are kept besides: of which the answer is an error (status 500 or above), took "
            "longer than `slower_than`, came while the model's version drifts, or differs from a shadow's."
        ),
    ] = None
    slower_than: Annotated[Duration | None, Meta(description="How long an answer takes that is called slow.")] = None
    per_minute: Annotated[
        PerMinute | None, Meta(description="At most so many of each reason in a minute; 60 when left out.")
    ] = None
    redact: Annotated[
        Annotated[list[Rule], Meta(max_length=5)] | None,
        Meta(
            description="What is hidden in the texts of these fields; all of it when left out. Credentials always are."
        ),
    ] = None
    subject: Annotated[
        JsonPointer | None,
        Meta(
            description="Where a request says whom it is about: kept as a keyed digest alone, by which that person's "
            "samples can be purged."
        ),
    ] = None
    at_most: Annotated[
        Size | None, Meta(description="All that is kept of the model; the oldest go first; 16MiB when left out.")
    ] = None
    for_: Annotated[Duration | None, Meta(description="For so long; 7d when left out.")] = None
    never: Annotated[NeverWritten | None, Meta(description="Requests that are not kept.")] = None
