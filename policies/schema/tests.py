"""tests/*.yaml as written: requests, and what must be decided for them."""

from typing import Annotated, Literal

from msgspec import Meta

from policies.schema.written import HeaderName, Name, Percent, Share, Text, VersionName, Written

Reason = Annotated[
    str,
    Meta(
        pattern=r"^[a-z]{1,32}(?:_[a-z]{1,32}){0,7}$",
        extra={"expected": "the name of a refusal", "example": "rate_limited"},
    ),
]


class TestRequestWritten(Written, frozen=True, kw_only=True):
    """The request that is tried."""

    tenant: Annotated[Name | None, Meta(description="Who calls; nobody known when left out.")] = None
    model: Annotated[Name, Meta(description="What is called.")]
    version: Annotated[VersionName | None, Meta(description="The version that the caller asks for.")] = None
    api: Annotated[Literal["predict", "explain", "infer"], Meta(description="What is asked of it.")] = "predict"
    scopes: Annotated[
        Annotated[list[Literal["infer", "explain", "pin"]], Meta(min_length=1)] | None,
        Meta(description="The scopes of the key; every scope that a key of the tenant has when left out."),
    ] = None
    headers: Annotated[dict[HeaderName, Text] | None, Meta(description="Headers it carries.")] = None


class ExpectWritten(Written, frozen=True, kw_only=True):
    """What must be decided; what is left out may be anything."""

    status: Annotated[
        Annotated[int, Meta(ge=100, le=599)] | None, Meta(description="200, or the status of the refusal.")
    ] = None
    version: Annotated[VersionName | None, Meta(description="The version it goes to.")] = None
    shadow: Annotated[
        list[Name] | None, Meta(description="The shadows it is copied to, if each took every request.")
    ] = None
    reason: Annotated[Reason | None, Meta(description="Why it is refused.")] = None


class TestWritten(Written, frozen=True, kw_only=True):
    """One request and what must be decided for it."""

    name: Annotated[Text, Meta(description="What must hold, in a sentence.")]
    request: Annotated[TestRequestWritten, Meta(description="The request that is tried.")]
    canary_share: Annotated[
        Share | None, Meta(description="As if the canary had reached this share; 0% when left out.")
    ] = None
    used: Annotated[dict[Name, Percent] | None, Meta(description="As if so much of these quotas were used.")] = None
    expect: Annotated[ExpectWritten, Meta(description="What must be decided.")]


class TestsFile(Written, frozen=True, kw_only=True):
    """tests/*.yaml: requests, and what must be decided for them; a failing one refuses the directory."""

    kind: Annotated[Literal["tests/v1"], Meta(description="What this file is: tests/v1.")]
    tests: Annotated[Annotated[list[TestWritten], Meta(max_length=1000)], Meta(description="The tests.")]
