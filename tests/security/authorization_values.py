"""Five thousand hostile values of Authorization, the same in each run."""

from __future__ import annotations

import random
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from itertools import islice

KEY = b"msk_test"
COUNT = 5_000
# What HTTP itself refuses in a field, before anybody looks at it.
NOT_HTTP = frozenset({0, 10, 13, 127}) | frozenset(range(1, 9)) | {11, 12} | frozenset(range(14, 32))

_SEEDS = (
    b"",
    b" ",
    b"Bearer",
    b"Bearer ",
    b"bearer\t",
    b"Bearer null",
    b"Bearer undefined",
    b"Bearer [object Object]",
    b"Bearer ' OR '1'='1' --",
    b'Bearer "; DROP TABLE keys; --',
    b"Bearer 1 UNION SELECT sha256 FROM keys",
    b"Bearer *)(uid=*))(|(uid=*",
    b"Bearer %s%s%s%n%x",
    b"Bearer {0.__class__.__mro__}",
    b"Bearer ${jndi:ldap://127.0.0.1/a}",
    b"Bearer {{7*7}}",
    b"Bearer ../../../../etc/passwd",
    b"Bearer http://169.254.169.254/",
    b"Bearer $(id)",
    b"Bearer `id`",
    b"Bearer\x00msk_test",
    b"Bearer msk_test\x00",
    b"Bearer msk_test\r\nx-tenant: ads",
    b"Bearer msk_test\n",
    b"Bearer  msk_test",
    b"Bearer msk_tesT",
    b"Bearer msk_tes",
    b"Bearer msk_test.",
    b"Bearer msk_test,",
    b"Bearer Bearer msk_test",
    b"Bearer msk_test, Bearer msk_test",
    b"Bearer msk_test;Bearer msk_test",
    b'Bearer "msk_test"',
    b"Bearer=msk_test",
    b"Bearer:msk_test",
    b"Basic " + b64encode(b"ads:msk_test"),
    b"Basic msk_test",
    b"Digest username=ads",
    b"Negotiate AAAA",
    b"AWS4-HMAC-SHA256 Credential=msk_test",
    b"Token msk_test",
    b"msk_test",
    b"ApiKey msk_test",
    b"Bearer " + "msk_test".encode("utf-16-le"),
    b"Bearer " + "msk_test".encode("utf-16"),
    b"Bearer " + "ｍｓｋ＿ｔｅｓｔ".encode(),
    b"Bearer \xff\xfe\xfd",
    b"Bearer " + b"\xc3\x28" * 20,
    b"Bearer msk%5Ftest",
    b"Bearer " + bytes(range(1, 256)),
    b"Bearer " + b"A" * 64 * 1024,
    b"Bearer " + b"," * 1000,
    b"B" * 16_000,
    b"Bearer eyJ.eyJ.x",
    b"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZHMifQ.",
    b"Bearer eyJ" + b"A" * 12_000 + b".e30.AA",
    b"Bearer " + urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=") + b".." + b"A" * 86,
    b"Bearer eyJ" + b"." * 5_000,
    b"Bearer msk_aaaaaaaaaaaa_" + b"0" * 43 + b"_000000",
    b"Bearer sha256:" + b"0" * 64,
)


def hostile_values() -> Iterator[bytes]:
    """Yield every seed, then random changes of them; none is ``Bearer msk_test`` itself."""
    yield from islice(_all(random.Random(11)), COUNT)


def is_http(value: bytes) -> bool:
    """Whether a field may have this value at all, in a head of 16 KiB."""
    return NOT_HTTP.isdisjoint(value) and len(value) < 15_000


def _all(draws: random.Random) -> Iterator[bytes]:
    yield from _SEEDS
    while True:
        value = bytearray(draws.choice(_SEEDS)[: draws.choice((20, 80, 600, 9_000))])
        for _ in range(draws.randint(1, 6)):
            _change(value, draws)
        if bytes(value).strip(b" \t").lower() != b"bearer " + KEY:
            yield bytes(value)


def _change(value: bytearray, draws: random.Random) -> None:
    at = draws.randint(0, len(value))
    match draws.randint(0, 4):
        case 0:
            value[at:at] = bytes((draws.randrange(256),))
        case 1:
            value[at:at] = draws.choice(_SEEDS)[:200]
        case 2:
            del value[at : at + draws.randint(1, 8)]
        case 3:
            value[at:at] = draws.choice((b"Bearer ", b"eyJ", b".", b",", b" ", b"\t", b"%00", b"\xc0\x80"))
        case 4:
            value.reverse()
