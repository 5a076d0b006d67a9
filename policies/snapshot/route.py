"""A route of a generation: the versions of one model, where their pods come from, and who gets which."""

from collections.abc import Mapping

from msgspec import Struct

from policies.snapshot.limits import Limit
from policies.snapshot.release import Canary, ChooseRule, Feedback, Recording, Shadow
from policies.snapshot.samples import Sampling
from policies.snapshot.watching import Drift

DEFAULT_IN_FLIGHT = 1024


class Launch(Struct, frozen=True):
    """Pods that are started from an archive of the model store."""

    archive: str
    count: int = 1
    device: str = "auto"


class Static(Struct, frozen=True):
    """Pods that somebody else runs, as "unix:/path" or "host:port"; a pod at each address of a host's name."""

    addresses: tuple[str, ...]


class Balance(Struct, frozen=True):
    """How one of the pods is picked: the least loaded of so many drawn at random."""

    choices: int = 2


class Health(Struct, frozen=True):
    """How pods are probed.

    Attributes:
        path: what is asked of a server that is not ours; "" for the usual ones.
        every_s: 0 for the usual pause.
        down_after: failures in a row until a pod is left out; 0 for the usual: two time-outs, or one clear no.
        up_after: successes in a row until one that was left out is back.
    """

    path: str = ""
    every_s: float = 0.0
    down_after: int = 0
    up_after: int = 1


class Eject(Struct, frozen=True):
    """When a pod that fails requests is left out.

    Attributes:
        after_failures: in a row.
        for_s: the first time; twice as long each further time, and never longer than ``at_most_s``.
        max_share: never more than this share of the pods at once, and never the last.
    """

    after_failures: int = 5
    for_s: float = 10.0
    at_most_s: float = 300.0
    max_share: float = 0.5


class Version(Struct, frozen=True):
    """One immutable build of a model and where its pods come from.

    Attributes:
        dns: "name:port"; a pod at each address that the name has at the time; "" where they come from elsewhere.
    """

    name: str
    launch: Launch | None = None
    static: Static | None = None
    in_flight: int = DEFAULT_IN_FLIGHT
    dns: str = ""
    balance: Balance = Balance()
    health: Health = Health()
    eject: Eject = Eject()


class Retry(Struct, frozen=True):
    """When a request is tried on another pod.

    Attributes:
        on: "connect" (the pod could not be reached), "refused" (it said that it did not run it) and
            "reset-before-response" (it was lost while it had it, and may have run it), as far as written; sorted.
        attempts: so many times more.
        budget: never for more than this share of the model's requests.
    """

    on: tuple[str, ...] = ("connect", "refused")
    attempts: int = 2
    budget: float = 0.2


class Batching(Struct, frozen=True):
    """How rows run together; 0 rows and a negative wait leave the choice to the archive."""

    max_rows: int = 0
    max_wait_s: float = -1.0


class Route(Struct, frozen=True):
    """How requests for one model find a version; ``slo`` names its objectives."""

    model: str
    owner: str
    versions: dict[str, Version]
    stable: str
    timeout_s: float | None = None
    body_bytes: int | None = None
    batching: Batching = Batching()
    slo: tuple[str, ...] = ()
    limit: Limit | None = None
    retry: Retry = Retry()
    choose: tuple[ChooseRule, ...] = ()
    canary: Canary | None = None
    shadows: tuple[Shadow, ...] = ()
    record: Recording | None = None
    feedback: Feedback | None = None
    drift: Drift | None = None
    samples: Sampling | None = None


READ_HEADERS = ("penstock-version", "penstock-timeout-ms", "content-length")
"""Headers by which requests for any model are decided."""


def deciding_headers(routes: Mapping[str, Route]) -> frozenset[str]:
    """Return the names, in lower case, of the headers that some route decides by."""
    names: set[str] = set()
    for route in routes.values():
        names |= {name for rule in route.choose for name, _ in rule.when.headers}
        sticky = {key for shadow in route.shadows for key in shadow.sample_by}
        if route.canary is not None:
            sticky |= set(route.canary.sticky_by)
        names |= {key.partition(":")[2] for key in sticky if key.startswith("header:")}
    return frozenset(names)
