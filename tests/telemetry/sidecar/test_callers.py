"""A browser that some page led here is told nothing; programs are, by every name that is not a page's to give."""

from __future__ import annotations

import pytest

from telemetry.sidecar.callers import is_welcome

LOOPBACK, NAMED, ANY = frozenset({"127.0.0.1"}), frozenset({"127.0.1.1", "box"}), frozenset({"0.0.0.0"})


@pytest.mark.parametrize(
    ("host", "bound_hosts", "wanted"),
    [
        ("127.0.0.1:9464", LOOPBACK, True),
        ("localhost:9464", LOOPBACK, True),
        ("LOCALHOST", LOOPBACK, True),
        ("[::1]:9464", LOOPBACK, True),
        ("127.0.0.2", LOOPBACK, True),
        ("box:9464", NAMED, True),
        ("box:9464", LOOPBACK, False),
        ("rebound.example", LOOPBACK, False),
        ("rebound.example", NAMED, False),
        ("10.0.0.1", LOOPBACK, False),
        ("digits-1-sidecar:9464", ANY, True),
        ("10.0.0.1:9464", frozenset({"10.0.0.1"}), True),
        ("", ANY, False),
        ("a@b", ANY, False),
        ("a/b", ANY, False),
        ("127.0.0.1, rebound.example", LOOPBACK, False),
        ("127.0.0.1, rebound.example", ANY, False),
        ("box:port", ANY, False),
        ("[", ANY, False),
    ],
)
def test_a_host_is_one_that_no_foreign_name_server_gives_to_us(
    host: str, bound_hosts: frozenset[str], wanted: bool
) -> None:
    assert is_welcome({"host": host}, bound_hosts) is wanted


def test_who_names_no_host_is_no_browser_and_who_names_an_origin_is_one() -> None:
    assert is_welcome({}, LOOPBACK)
    for bound_hosts in (LOOPBACK, ANY):
        assert not is_welcome({"host": "127.0.0.1", "origin": "http://127.0.0.1"}, bound_hosts)
