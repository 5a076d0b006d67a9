"""The tests of a generation: requests, and what must be decided for them."""

from msgspec import Struct


class PolicyTest(Struct, frozen=True):
    """A request, and what must be decided for it.

    Attributes:
        place: "tests/NAME.yaml:LINE:COLUMN", for whoever has to mend it.
        tenant: "" for a caller whom nobody knows.
        scopes: of the credential; () for every scope that a key of the tenant has.
        api: "predict", "explain" or "infer".
        used: share of each quota that is used, by the quota's name.
        canary_share: as if the canary had reached this share; None for before its first step.
        expect_status, expect_version, expect_reason: what must be decided; None and "" for anything.
        expect_shadows: where it must be copied to, each sampled for sure; None for anything.
    """

    name: str
    place: str
    model: str
    tenant: str = ""
    version: str = ""
    scopes: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    api: str = "predict"
    used: dict[str, float] = {}
    expect_status: int | None = None
    expect_version: str = ""
    expect_reason: str = ""
    canary_share: float | None = None
    expect_shadows: tuple[str, ...] | None = None
