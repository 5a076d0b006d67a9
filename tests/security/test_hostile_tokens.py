"""Hostile tokens on a real socket: one generic answer for all of them, and the precise cause in the log."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.tenant import TenantJwt
from tests.fakes.issuer import Issuer, SigningKey, claims, part, trusted_issuer
from tests.fakes.pod import echo
from tests.gateway.dataplane.mesh import Mesh as RunningMesh
from tests.gateway.dataplane.mesh import in_mesh, post
from tests.gateway.policy import policy

KEY = SigningKey("k1", "ES256")
FAR_S = 4_000_000_000


def with_tokens() -> Snapshot:
    usual = policy()
    ads = replace(usual.tenants["ads"], jwt=TenantJwt("corp", "ads-prod"))
    return replace(usual, mesh=Mesh("test", jwt=(trusted_issuer(),)), tenants={"ads": ads})


def good(**changes: Any) -> str:
    return KEY.token(claims(**({"exp": FAR_S, "nbf": 0, "iat": 0} | changes)))


def hostile() -> list[str]:
    unsigned = f"{part({'alg': 'none', 'kid': 'k1'})}.{part(claims(exp=FAR_S, nbf=0, iat=0))}."
    whole = good()
    return [
        unsigned,
        unsigned + part(b"x" * 64),
        whole[:-4] + ("AAAA" if not whole.endswith("AAAA") else "BBBB"),
        f"{whole.rpartition('.')[0]}.{part(bytes(64))}",
        SigningKey("k1", "ES256").token(claims(exp=FAR_S, nbf=0, iat=0)),
        SigningKey("../k1", "ES256", KEY.private).token(claims(exp=FAR_S, nbf=0, iat=0)),
        KEY.token(claims(exp=FAR_S, nbf=0, iat=0), header={"crit": ["x"], "x": 1}),
        KEY.token(claims(exp=FAR_S, nbf=0, iat=0), header={"alg": "HS256"}),
        KEY.token(b'{"iss":"https://sso.example","iss":"https://sso.example"}'),
        KEY.token(b"[" * 3000),
        good(exp=1),
        good(exp=None),
        good(nbf=FAR_S - 1),
        good(iat=FAR_S - 1),
        good(aud="other"),
        good(aud=None),
        good(iss="https://sso.example.evil"),
        good(tenant_id="search-prod"),
        good(tenant_id=None),
        good(tenant_id=7),
        "eyJ" + "A" * 12_000 + ".e30.AA",
        "eyJhbGciOiJkaXIifQ..aXY.dGV4dA.dGFn",
    ]


def test_every_hostile_token_gets_the_same_answer_and_none_reaches_a_pod(capsys: pytest.CaptureFixture[str]) -> None:
    answers = set()

    async def story(mesh: RunningMesh) -> None:
        mesh.gateway.credentials.put_keys("corp", Issuer([KEY]).jwks())
        assert (await mesh.ask(post(key=good()))).status == 200
        for token in hostile():
            answer = await mesh.ask(post(key=token))
            told = msgspec.json.decode(answer.body, type=dict[str, Any])
            del told["request_id"]
            answers.add((answer.status, answer.fields["penstock-reason"], msgspec.json.encode(told)))
        assert len(mesh.pods[0].seen) == 1

    in_mesh(story, echo, snapshot=with_tokens())
    ((status, reason, body),) = answers
    assert (status, reason) == (401, "token_refused")
    assert b"the token is not accepted here" in body
    logged = capsys.readouterr().err
    for cause in ("expired", "for somebody else", "its signature is not", "names a key", "longer than 8 KiB"):
        assert cause in logged


def test_a_revoked_subject_is_refused_and_others_are_not() -> None:
    async def story(mesh: RunningMesh) -> None:
        mesh.gateway.credentials.put_keys("corp", Issuer([KEY]).jwks())
        mesh.gateway.revoke(frozenset({"jwt:corp:robot@ads"}))
        assert (await mesh.ask(post(key=good()))).status == 401
        assert (await mesh.ask(post(key=good(sub="other@ads")))).status == 200

    in_mesh(story, echo, snapshot=with_tokens())
