"""The sidecar's command line."""

from __future__ import annotations

import pytest

from telemetry.sidecar.config import Address, SidecarConfig, parse_arguments


def test_by_default_metrics_are_read_on_loopback_and_the_pod_is_asked_every_second() -> None:
    config = parse_arguments(["--pod", "unix:/run/pod.sock"])
    assert config == SidecarConfig(Address(path="/run/pod.sock"), Address(host="127.0.0.1", port=9464), every_s=1.0)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://digits-1:8500", Address(host="digits-1", port=8500)),
        ("http://digits-1:8500/", Address(host="digits-1", port=8500)),
        ("http://[::1]:8500", Address(host="::1", port=8500)),
    ],
)
def test_a_pod_may_listen_on_tcp(text: str, address: Address) -> None:
    pod = parse_arguments(["--pod", text, "--listen=0.0.0.0:0"]).pod
    assert pod == address
    assert str(pod) == text.removeprefix("http://").removesuffix("/")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--pod=pod.sock"],
        ["--pod=unix:"],
        ["--pod=https://digits-1:8500"],
        ["--pod=http://digits-1"],
        ["--pod=http://digits-1:port"],
        ["--pod=http://digits-1:65536"],
        ["--pod=http://:8500"],
        ["--pod=http://me@digits-1:8500"],
        ["--pod=http://digits-1:8500/path"],
        ["--pod=http://digits-1:8500?query"],
        ["--pod=http://digits\n-1:8500"],
        ["--pod=http://zähler:8500"],
        [f"--pod=http://{'d' * 64}:8500"],
        ["--pod=unix:/p", "--listen=9464"],
        ["--pod=unix:/p", "--listen=unix:/q"],
        ["--pod=unix:/p", "--every-s=0.05"],
        ["--pod=unix:/p", "--every-s=61"],
        ["--pod=unix:/p", "--every-s=nan"],
        ["--pod=unix:/p", "--bogus"],
        [],
    ],
)
def test_a_mistake_is_2_and_a_sentence(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        parse_arguments(wrong)
    assert leaving.value.code == 2
    assert "penstock sidecar: error: " in capsys.readouterr().err
