"""The supervisor's command line."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from gateway.control.__main__ import main, raise_descriptor_limit, read_config

NEEDED = ["--policies", "policies/demo", "--state", "state"]


def test_only_the_directories_must_be_named() -> None:
    config = read_config(NEEDED)
    assert config.policies == Path("policies/demo").absolute()
    assert config.workers >= 1
    assert (config.lifeline_fd, config.drain_delay_s, config.drain_within_s) == (None, 0.0, 30.0)


@pytest.mark.parametrize(
    "mistake",
    [["--workers", "0"], ["--workers", "x"], ["--local-key-sha256", "ABC"], ["--drain-within-s", "-1"], ["--nope"]],
)
def test_a_mistake_ends_with_status_2_and_a_sentence(mistake: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_config([*NEEDED, *mistake])
    assert ended.value.code == 2
    assert mistake[0] in capsys.readouterr().err


@pytest.mark.parametrize(("had", "has"), [(512, 4096), (5000, 5000)])
def test_descriptors_are_taken_as_far_as_they_are_of_use_and_never_given_back(had: int, has: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (had, hard))
        raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (has, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_start_that_cannot_be_ends_with_status_1_and_the_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o777)
    assert main(["--policies", str(tmp_path), "--state", str(tmp_path)]) == 1
    assert f"chmod 700 {tmp_path}" in capsys.readouterr().err
