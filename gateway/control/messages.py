"""What the supervisor and its workers say to each other, over one inherited socketpair per worker.

Frames are those of ``model_pod.wire.frames``. A new generation is switched in two phases: every worker prepares it,
then every worker commits it, so no request sees half of one. A worker that starts gets the generation in force first.
"""

from __future__ import annotations

from msgspec import Struct

from model_pod.wire.status import PodState

# The memory that all workers share for rate limits; whoever makes it and whoever maps it must agree on its size.
LIMITS_TABLE_BYTES = 2**20


class Prepare(Struct, frozen=True, tag="prepare"):
    """Build this generation and hold it; answered by ``Prepared``. The frame's only blob is the snapshot."""

    generation: int


class Commit(Struct, frozen=True, tag="commit"):
    """Decide by this prepared generation from now on; answered by ``Committed``."""

    generation: int


class PodView(Struct, frozen=True, array_like=True):
    """One pod as the supervisor's probe last saw it.

    Attributes:
        name: ``model/version/index``, for people.
        address: ``unix:/path`` or ``host:port``.
        state: STARTING when it did not answer.
        was_ready: it has been ready at least once.
        message: why it is not ready, in its own words, fit to be shown to callers; "" when it is or says nothing.
    """

    name: str
    model: str
    version: str
    address: str
    state: PodState
    was_ready: bool
    message: str = ""


class Pods(Struct, frozen=True, tag="pods"):
    """All pods, whole, whenever one of them changes."""

    pods: tuple[PodView, ...]


class Drain(Struct, frozen=True, tag="drain"):
    """Finish: say not ready at once, take new requests for ``delay_s`` more, then finish what runs and exit.

    Attributes:
        delay_s: seconds to go on accepting after readiness turned false.
        within_s: seconds after which what still runs is cut off.
    """

    delay_s: float
    within_s: float


ToWorker = Prepare | Commit | Pods | Drain


class Prepared(Struct, frozen=True, tag="prepared"):
    """The generation is built; ``error`` says why not, and vetoes it."""

    generation: int
    error: str = ""


class Committed(Struct, frozen=True, tag="committed"):
    """Requests are decided by this generation from now on."""

    generation: int


class Accepting(Struct, frozen=True, tag="accepting"):
    """The worker has a generation and accepts connections."""


class Counts(Struct, frozen=True, tag="counts"):
    """Cumulative since the worker started: sent about once a second from its start, by the spare too, and at its end.

    Attributes:
        requests: requests settled, refusals included.
        by_reason: refusals by reason.
        in_flight: requests being answered now.
        connections: open client connections.
    """

    requests: int
    by_reason: dict[str, int]
    in_flight: int
    connections: int


FromWorker = Prepared | Committed | Accepting | Counts
