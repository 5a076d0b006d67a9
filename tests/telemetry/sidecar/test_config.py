"""The sidecar's command line."""

from __future__ import annotations

import pytest

from telemetry.sidecar.config import Address, ExportTo, SidecarConfig, parse_arguments

HOME = Address(host="127.0.0.1", port=9464)


def test_by_default_it_is_the_gateway_s_is_read_on_loopback_and_exports_nothing() -> None:
    config = parse_arguments([])
    assert config == SidecarConfig(
        pod=None,
        listen=HOME,
        otlp=None,
        records=None,
        export=None,
        export_headers_file="",
        export_headers_env="",
        queue="",
        queue_bytes=64 * 2**20,
        left="",
        keep_from=None,
        slos="",
        attributes=(),
        attributes_file="",
        lifeline=None,
        every_s=1.0,
    )


def test_everything_can_be_said() -> None:
    wanted = ["--pod=unix:/p", "--listen-fd=3", "--records-fd=4", "--export=unix:/hub.sock", "--slos=/slos.json"]
    wanted += ["--keep-from=http://127.0.0.1:5", "--attributes=a,b.*", "--lifeline-fd=6", "--every-s=0.5"]
    wanted += ["--attributes-file=/allowed.json", "--machine=/state"]
    wanted += ["--attributes-file=/allowed.json", "--export-headers-file=/headers.json", "--export-timeout-s=9"]
    wanted += ["--queue=/queue", "--queue-bytes=10000000", "--left=/spans", "--otlp=127.0.0.1:4317"]
    assert parse_arguments(wanted) == SidecarConfig(
        pod=Address(path="/p"),
        listen=3,
        otlp=Address(host="127.0.0.1", port=4317),
        records=4,
        export=ExportTo(Address(path="/hub.sock"), within_s=9.0),
        export_headers_file="/headers.json",
        export_headers_env="",
        queue="/queue",
        queue_bytes=10_000_000,
        left="/spans",
        keep_from=Address(host="127.0.0.1", port=5),
        slos="/slos.json",
        attributes=("a", "b.*"),
        attributes_file="/allowed.json",
        lifeline=6,
        every_s=0.5,
        machine="/state",
    )


def test_records_may_come_on_a_path_and_spans_go_nowhere() -> None:
    config = parse_arguments(["--records=unix:/r.sock", "--export=none"])
    assert (config.records, config.export) == (Address(path="/r.sock"), None)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://digits-1:8500", Address(host="digits-1", port=8500)),
        ("http://digits-1:8500/", Address(host="digits-1", port=8500)),
        ("http://[::1]:8500", Address(host="::1", port=8500)),
    ],
)
def test_a_pod_and_a_receiver_may_listen_on_tcp(text: str, address: Address) -> None:
    config = parse_arguments(["--pod", text, "--export", text, "--listen=0.0.0.0:0"])
    assert config.pod == address
    assert config.export == ExportTo(address)
    assert str(config.pod) == text.removeprefix("http://").removesuffix("/")


@pytest.mark.parametrize(
    ("text", "to"),
    [
        ("https://hub:4318", ExportTo(Address(host="hub", port=4318), is_tls=True)),
        ("https://hub:4318/", ExportTo(Address(host="hub", port=4318), is_tls=True)),
        ("http://hub:4318/api/otel/", ExportTo(Address(host="hub", port=4318), base_path="/api/otel")),
    ],
)
def test_spans_may_go_over_tls_and_below_a_path(text: str, to: ExportTo) -> None:
    assert parse_arguments(["--export", text]).export == to


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
        ["--listen=127.0.0.1:1", "--listen-fd=3"],
        ["--listen-fd=x"],
        ["--listen-fd=-1"],
        ["--records=/r.sock"],
        ["--records=http://h:1"],
        ["--records=unix:/r.sock", "--records-fd=3"],
        ["--export=hub"],
        ["--export=ftp://hub:4318"],
        ["--export=https://hub"],
        ["--export=https://me@hub:4318"],
        ["--export=https://hub:4318/a?b"],
        ["--export=https://hub:4318/a b"],
        ["--export-timeout-s=0"],
        ["--export-headers-file=/h", "--export-headers-env=H"],
        ["--queue-bytes=1"],
        ["--otlp=4317"],
        ["--queue-bytes=-1"],
        ["--queue-bytes=1G"],
        ["--keep-from=unix:/k.sock"],
    ],
)
def test_a_mistake_is_2_and_a_sentence(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        parse_arguments(wrong)
    assert leaving.value.code == 2
    assert "penstock sidecar: error: " in capsys.readouterr().err
