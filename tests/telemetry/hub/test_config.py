"""The hub's command line: mistakes end it with a sentence."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from telemetry.hub.config import Address, ConfigError, otlp_token, pages_token, parse_arguments, read_token
from telemetry.hub.trace_files import Limits

NEEDED = ["--store", "/s/traces", "--mesh", "/s/mesh.json", "--publish", "/s/hub.json"]


def test_what_is_not_said_is_as_a_mesh_on_one_machine_wants_it() -> None:
    config = parse_arguments(NEEDED)
    assert config.listen == Address("127.0.0.1", 8090)
    assert (config.otlp, config.otlp_unix, config.token_file, config.lifeline_fd) == (None, None, None, None)
    assert config.sidecars is None
    assert config.limits == Limits(86_400, 2 * 2**30)


def test_everything_can_be_said() -> None:
    said = ["--listen", "[::1]:1", "--otlp", "127.0.0.1:4318", "--otlp-unix", "/s/hub.sock", "--lifeline-fd", "7"]
    config = parse_arguments([*NEEDED, *said, "--retain-s", "3600", "--max-bytes", "10000000"])
    assert (str(config.listen), str(config.otlp), config.otlp_unix) == (
        "[::1]:1",
        "127.0.0.1:4318",
        Path("/s/hub.sock"),
    )
    assert (config.lifeline_fd, config.limits) == (7, Limits(3600, 10_000_000))
    assert parse_arguments([*NEEDED, "--sidecars", "/s/targets.json"]).sidecars == Path("/s/targets.json")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--listen", "8090"],
        ["--listen", "127.0.0.1:99999"],
        ["--otlp", "http://127.0.0.1:4318"],
        ["--retain-s", "1"],
        ["--retain-s", "nan"],
        ["--max-bytes", "1000"],
        ["--listen", "0.0.0.0:8090"],
        ["--otlp", "0.0.0.0:4318"],
        ["--otlp-grpc", "0.0.0.0:4317"],
    ],
    ids=str,
)
def test_mistakes_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        parse_arguments([*NEEDED, *wrong])
    assert leaving.value.code == 2
    assert wrong[1] in capsys.readouterr().err


def test_other_machines_may_see_it_with_a_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("a-token-of-some-length\n")
    said = ["--listen", "0.0.0.0:8090", "--otlp", "0.0.0.0:4318", "--token-file", str(path)]
    config = parse_arguments([*NEEDED, *said])
    assert pages_token(config) == "a-token-of-some-length"
    assert pages_token(parse_arguments(NEEDED)) == ""


def test_a_token_for_the_pages_is_made_where_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "hub-token"
    config = parse_arguments([*NEEDED, "--token-file", str(path)])
    made = pages_token(config)
    assert len(made) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert pages_token(config) == made


def test_who_sends_spans_from_other_machines_needs_a_token_which_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "otlp-token"
    given = [*NEEDED, "--otlp-token-file", str(path)]
    assert otlp_token(parse_arguments(given)) == ""
    assert otlp_token(parse_arguments([*given, "--otlp", "127.0.0.1:4318"])) == ""
    assert not path.exists()
    config = parse_arguments([*given, "--otlp", "127.0.0.1:4318", "--otlp-grpc", "0.0.0.0:4317"])
    made = otlp_token(config)
    assert len(made) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert otlp_token(config) == made


def test_the_pages_token_is_the_senders_too_where_no_other_is_named(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("a-token-of-some-length\n")
    config = parse_arguments([*NEEDED, "--otlp", "0.0.0.0:4318", "--token-file", str(path)])
    assert otlp_token(config) == "a-token-of-some-length"


def test_a_token_file_without_a_token_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(tmp_path / "none")
    (tmp_path / "short").write_text("short")
    with pytest.raises(ConfigError, match="holds no token"):
        read_token(tmp_path / "short")
