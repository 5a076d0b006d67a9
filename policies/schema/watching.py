"""What a route says of its model's inputs and outputs: which are summarised, and what they are compared with."""

from typing import Annotated

from msgspec import Meta

from policies.schema.written import Duration, JsonPointer, Share, Text, VersionName, Written

Bound = Annotated[float, Meta(ge=-1e300, le=1e300)]
Classes = Annotated[list[Text], Meta(min_length=1, max_length=64)]


class WatchedWritten(Written, frozen=True, kw_only=True):
    """One part of an input or an output that is summarised."""

    path: Annotated[
        JsonPointer | None,
        Meta(
            description="Where it is in the body; its first step names a tensor or a form's field; all when left out."
        ),
    ] = None
    at_least: Annotated[Bound | None, Meta(description="Numbers below this are out of range.")] = None
    at_most: Annotated[Bound | None, Meta(description="Numbers above this are out of range.")] = None
    classes: Annotated[
        Classes | None,
        Meta(description="Texts that are counted by name; any other text is counted as other, and kept nowhere."),
    ] = None


Parts = Annotated[list[WatchedWritten], Meta(max_length=16)]


class ReferenceWritten(Written, frozen=True, kw_only=True, rename={"for_": "for"}):
    """What a version's rows are compared with."""

    version: Annotated[
        VersionName | None, Meta(description="The first rows of this version; of each version its own when left out.")
    ] = None
    for_: Annotated[
        Duration | None,
        Meta(description="The rows of so long from the version's first on, and at least 1,000; 24h when left out."),
    ] = None


class DriftWritten(Written, frozen=True, kw_only=True):
    """Sampled rows are summarised in the pod, and each window is compared with a reference; no row is kept."""

    sample: Annotated[
        Share, Meta(description="The share of rows that are summarised, at most 200 a second in each pod.")
    ]
    inputs: Annotated[
        Parts | None, Meta(description="Which parts of the input; all of it as one when left out, [] for none.")
    ] = None
    outputs: Annotated[
        Parts | None, Meta(description="Which parts of the output; all of it as one when left out, [] for none.")
    ] = None
    reference: Annotated[
        ReferenceWritten | None, Meta(description="What they are compared with; the version's own first 24h.")
    ] = None
    window: Annotated[Duration | None, Meta(description="How long a window is; 1h when left out.")] = None
    alert_above: Annotated[
        Annotated[float, Meta(gt=0, le=10)] | None,
        Meta(description="Three windows in a row with a population stability index above this drift; 0.2."),
    ] = None
