"""Whose request it is comes from the credential alone, whatever else a request says."""

from __future__ import annotations

import pytest

from tests.fakes.pod import Seen, echo
from tests.gateway.dataplane.mesh import Mesh, in_mesh, post
from tests.gateway.policy import KEY

CLAIMS = [
    "x-tenant: search",
    "X-Tenant: search",
    "x-tenant-id: search",
    "X-Tenant-Name: search",
    "penstock-tenant: search",
    "Penstock-Tenant: search",
    "penstock_tenant: search",
    "x_tenant: search",
    "X_Forwarded_For: 203.0.113.9",
    "x-forwarded-for: 203.0.113.9",
    "X-Forwarded-Host: search",
    "x-forwarded-proto: https",
    "x-forwarded-user: search",
    "x-forwarded-tenant: search",
    "x-forwarded-client-cert: By=spiffe://corp/search;URI=spiffe://corp/search",
    "forwarded: for=203.0.113.9;by=search",
    "x-real-ip: 203.0.113.9",
    "via: 1.1 search",
    "proxy-authorization: Bearer msk_of_nobody",
    "penstock-scopes: admin",
    "penstock-decision: tenant=search",
    "tracestate: tenant=search",
    "baggage: tenant=search",
    "te: trailers",
]


def seen_with(*fields: str, path: str = "/predictions/digits", body: bytes = b"{}") -> Seen:
    """Send a request with a good key and return it as the pod got it."""
    seen: list[Seen] = []

    async def story(mesh: Mesh) -> None:
        assert (await mesh.ask(post(path, body, *fields))).status == 200
        seen.extend(mesh.pods[0].seen)
        assert {kind.tenant for tally in mesh.gateway.settlement.take_tallies() for kind in tally.requests} == {"ads"}

    in_mesh(story, echo)
    (one,) = seen
    return one


def assert_is_of_ads(seen: Seen) -> None:
    assert [field for field in seen.raw_fields if field.lower().startswith("penstock-tenant:")] == [
        "penstock-tenant: ads"
    ]
    told = "\n".join(field for field in seen.raw_fields).lower()
    for word in ("search", "203.0.113.9", KEY, "msk_of_nobody", "x-tenant", "x-forwarded", "x_"):
        assert word not in told


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_field_that_claims_an_identity_neither_counts_nor_goes_on(claim: str) -> None:
    assert_is_of_ads(seen_with(claim))


def test_all_claims_at_once_and_twice_are_of_no_use_either() -> None:
    assert_is_of_ads(seen_with(*CLAIMS[:-1], *CLAIMS[:-1]))


@pytest.mark.parametrize("named", ["x-tenant", "x-tenant, keep-alive"])
def test_naming_a_field_in_connection_does_not_take_ours_away(named: str) -> None:
    assert_is_of_ads(seen_with(f"connection: {named}", "x-tenant: search", "penstock-tenant: search"))


@pytest.mark.parametrize("named", ["penstock-tenant", "close, penstock-tenant, x-forwarded-for"])
def test_naming_a_field_of_ours_in_connection_is_refused(named: str) -> None:
    async def story(mesh: Mesh) -> None:
        answer = await mesh.ask(post("/predictions/digits", b"{}", f"connection: {named}"))
        assert answer.status == 400
        assert not mesh.pods[0].seen

    in_mesh(story, echo)


@pytest.mark.parametrize(
    "query", ["tenant=search", "x-tenant=search", "api_key=msk_of_nobody", "authorization=Bearer%20x"]
)
def test_a_query_that_claims_an_identity_is_the_models_own_business(query: str) -> None:
    seen = seen_with(path=f"/predictions/digits?{query}")
    assert [field for field in seen.raw_fields if "tenant" in field.lower()] == ["penstock-tenant: ads"]


def test_a_body_that_claims_an_identity_is_the_models_own_business() -> None:
    assert_is_of_ads(seen_with(body=b'{"tenant":"search","api_key":"msk_of_nobody"}'))


@pytest.mark.parametrize(
    "trailer", [b"x-tenant: search", b"penstock-tenant: search", b"authorization: Bearer msk_test"]
)
def test_trailers_never_become_fields(trailer: bytes) -> None:
    async def story(mesh: Mesh) -> None:
        head = b"POST /predictions/digits HTTP/1.1\r\nHost: m\r\n%bTransfer-Encoding: chunked\r\n\r\n"
        chunked = head + b"2\r\n{}\r\n0\r\n%b\r\n\r\n"
        with_key = await mesh.ask(chunked % (f"Authorization: Bearer {KEY}\r\n".encode(), trailer))
        assert with_key.status == 200
        assert_is_of_ads(mesh.pods[0].seen[0])
        without = await mesh.ask(chunked % (b"", trailer))
        assert without.status == 401

    in_mesh(story, echo)


def test_a_key_in_another_field_is_no_key() -> None:
    async def story(mesh: Mesh) -> None:
        for field in ("x-api-key", "api-key", "proxy-authorization", "x-authorization", "cookie"):
            head = f"POST /predictions/digits HTTP/1.1\r\nHost: m\r\n{field}: Bearer {KEY}\r\nContent-Length: 0\r\n\r\n"
            assert (await mesh.ask(head.encode())).status == 401
        assert mesh.pods[0].seen == []

    in_mesh(story, echo)
