"""Secrets in words: what holds one does not tell it when it is printed, logged or part of a traceback."""

from __future__ import annotations

import pytest

from deploy.commands.running_mesh import Target
from gateway.control.messages import ShowCertificate
from gateway.control.runtime_file import RunningMesh
from gateway.tls import TlsMaterial

SECRET = "s3cret"


@pytest.mark.parametrize(
    "holder",
    [
        TlsMaterial(b"cert", SECRET.encode(), b"ca", True),
        ShowCertificate(3, b"cert", SECRET.encode(), b"ca", True, "san-uri"),
        RunningMesh(12, "http://a", "http://b", SECRET, "/state", "2026-01-01T00:00:00+00:00"),
        Target("http://b", SECRET),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_what_holds_a_secret_does_not_tell_it(holder: object) -> None:
    for text in (repr(holder), str(holder), f"{holder}", repr([holder])):
        assert type(holder).__name__ in text
        assert SECRET not in text
