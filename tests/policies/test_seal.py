"""A sealed directory is taken as it was sealed or not at all: every prefix of every file, every file gone or added."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from policies import commands, seal
from policies.errors import PolicyError, PolicyRefused
from policies.load import load_directory

DEMO = Path(__file__).parents[2] / "policies" / "demo"
MADE_AT = "2026-11-21T08:00:00+00:00"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The demo's policies, sealed."""
    copied = shutil.copytree(DEMO, tmp_path / "policies")
    assert run(copied)[0] == commands.OK
    return copied


def run(directory: Path, action: str = "make", json: bool = False) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    assert action in ("make", "check", "remove")
    done = commands.seal(str(directory), MADE_AT, action, json, out, err)  # type: ignore[arg-type]  # asserted above
    return done, out.getvalue(), err.getvalue()


def refusals(directory: Path) -> list[str]:
    with pytest.raises(PolicyRefused) as refused:
        load_directory(directory)
    return [str(error) for error in refused.value.errors]


def sealed_files(directory: Path) -> list[Path]:
    return [directory / path for path in seal.make(directory, MADE_AT).files]


def test_a_sealed_directory_loads_as_it_does_without_its_seal(directory: Path) -> None:
    assert load_directory(directory) == load_directory(DEMO)
    assert seal.is_sealed(directory)


def test_no_prefix_of_any_file_is_what_was_sealed(directory: Path) -> None:
    sealed = seal.make(directory, MADE_AT)
    tried = 0
    for path in sealed.files:
        content = (directory / path).read_bytes()
        for length in range(len(content)):
            digests = {**sealed.files, path: seal.digest_of(content[:length])}
            assert [error.file for error in seal.compare(sealed, digests)] == [path]
            tried += 1
    assert tried > 2000


def test_a_directory_with_a_part_of_a_file_is_refused_whole(directory: Path) -> None:
    for file in sealed_files(directory):
        content = file.read_bytes()
        for length in (0, len(content) // 2, content.rindex(b"\n", 0, -1) + 1, len(content) - 1):
            file.write_bytes(content[:length])
            assert len(refusals(directory)) == 1
            assert "the file is not the one that was sealed" in refusals(directory)[0]
        file.write_bytes(content)
    assert load_directory(directory) == load_directory(DEMO)


def test_no_prefix_of_the_seal_is_a_seal_and_none_lets_the_directory_in(directory: Path) -> None:
    file = directory / seal.SEAL_FILE
    content = file.read_bytes()
    digests = seal.digests_of(directory)
    for length in range(len(content) - 1):
        file.write_bytes(content[:length])
        (error,) = seal.check(directory, digests)
        assert (error.file, error.problem) == (seal.SEAL_FILE, "this is no seal, or it is not written to its end")
    assert refusals(directory)[0].startswith("seal.json:1:1: ")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda at: (at / "slos.yaml").unlink(), 'seal.json:1:1: the seal names "slos.yaml", which is missing'),
        (
            lambda at: shutil.copy(at / "tenants" / "demo.yaml", at / "tenants" / "other.yaml"),
            "tenants/other.yaml:1:1: the seal of this directory does not name this file. Remove the file.",
        ),
        (
            lambda at: (at / "limits.yaml").write_bytes((at / "limits.yaml").read_bytes() + b"# by hand\n"),
            "limits.yaml:1:1: the file is not the one that was sealed. Put the file back as it was sealed.",
        ),
        (
            lambda at: (at / "seal.json").write_bytes((at / "seal.json").read_bytes().replace(b"sha256", b"md5")),
            'seal.json:1:1: the algorithm "md5" is not known here, only sha256 is.',
        ),
        (lambda at: (at / "seal.json").symlink_to("nowhere"), "seal.json:1:1: the file cannot be read"),
        (lambda at: (at / "seal.json").mkdir(), "seal.json:1:1: this is not a regular file"),
    ],
)
def test_whatever_differs_is_named_with_what_to_do(directory: Path, spoil: Callable[[Path], object], told: str) -> None:
    if "cannot be read" in told or "not a regular file" in told:
        (directory / "seal.json").unlink()
    spoil(directory)
    assert told in refusals(directory)[0]
    assert len(refusals(directory)) == 1


def test_an_edit_counts_once_it_is_sealed_again(directory: Path) -> None:
    limits = directory / "limits.yaml"
    limits.write_bytes(limits.read_bytes() + b"# by hand\n")
    assert run(directory, "check")[0] == commands.FAILED
    code, out, _ = run(directory)
    assert (code, out.startswith("sealed: ")) == (commands.OK, True)
    load_directory(directory)
    assert run(directory, "check")[:2] == (commands.OK, f"ok: {len(sealed_files(directory))} files as sealed\n")


def test_what_would_be_refused_is_not_sealed(directory: Path) -> None:
    before = (directory / seal.SEAL_FILE).read_bytes()
    (directory / "limits.yaml").write_text("kind: limits/v1\ntiers: {demo: {rate: 5}}\n")
    code, _, err = run(directory)
    assert code == commands.FAILED
    assert "limits.yaml:2:" in err
    assert (directory / seal.SEAL_FILE).read_bytes() == before


def test_what_fails_its_tests_is_not_sealed(directory: Path) -> None:
    (directory / seal.SEAL_FILE).unlink()
    err = io.StringIO()
    failed = PolicyError("tests/demo.yaml", 3, 5, "the test fails", "Mend the policy.")
    code = commands.seal(str(directory), MADE_AT, err=err, tried=lambda snapshot: [failed] * len(snapshot.tests[:1]))
    assert (code, "tests/demo.yaml:3:5: the test fails" in err.getvalue()) == (commands.FAILED, True)
    assert not seal.is_sealed(directory)


def test_an_edit_while_it_is_sealed_is_not_sealed(directory: Path) -> None:
    of_before = seal.make(directory, MADE_AT)
    limits = directory / "limits.yaml"
    limits.write_bytes(limits.read_bytes() + b"# by hand\n")
    with pytest.raises(PolicyRefused, match=r"limits.yaml:1:1: the file is not the one that was sealed"):
        load_directory(directory, of_before)
    load_directory(directory, seal.make(directory, MADE_AT))


def test_a_file_that_cannot_be_read_is_named_and_nothing_is_sealed(directory: Path) -> None:
    (directory / seal.SEAL_FILE).unlink()
    (directory / "limits.yaml").unlink()
    (directory / "limits.yaml").symlink_to("nowhere")
    code, _, err = run(directory)
    assert (code, "limits.yaml:1:1: the file cannot be read" in err) == (commands.FAILED, True)
    assert not seal.is_sealed(directory)


def test_a_seal_can_be_taken_away(directory: Path) -> None:
    limits = directory / "limits.yaml"
    limits.write_bytes(limits.read_bytes() + b"# by hand\n")
    assert run(directory, "remove") == (commands.OK, "the seal is removed: every whole edit counts again\n", "")
    load_directory(directory)
    assert run(directory, "remove")[1] == "the directory has no seal\n"
    assert "the directory has no seal" in run(directory, "check")[2]


def test_a_directory_that_is_none_is_a_mistake_of_the_caller_and_json_says_the_same(
    directory: Path, tmp_path: Path
) -> None:
    assert run(tmp_path / "nowhere")[0] == commands.USAGE
    assert msgspec.json.decode(run(directory, "check", json=True)[1])["ok"] is True
    (directory / "slos.yaml").unlink()
    told = msgspec.json.decode(run(directory, "check", json=True)[1])
    assert (told["ok"], told["errors"][0]["file"].endswith("seal.json")) == (False, True)


def test_a_mounted_volume_may_link_its_seal(directory: Path) -> None:
    hidden = directory / "..2026"
    hidden.mkdir()
    (directory / seal.SEAL_FILE).rename(hidden / seal.SEAL_FILE)
    (directory / seal.SEAL_FILE).symlink_to(f"..2026/{seal.SEAL_FILE}")
    load_directory(directory)


def test_a_new_file_where_no_policy_belongs_is_no_sealed_directory(directory: Path) -> None:
    (directory / "extra.yaml").touch()
    done, _, err = run(directory, "check")
    assert (done, err.splitlines()[0].partition(". ")[0]) == (
        commands.FAILED,
        f"{directory}/extra.yaml:1:1: no policy file belongs here",
    )


def test_fmt_says_that_the_seal_no_longer_holds(directory: Path) -> None:
    mesh = directory / "mesh.yaml"
    mesh.write_text(mesh.read_text() + "\n\n")
    run(directory)
    again = f"these are not the files that were sealed: run penstock policy seal {directory} again"
    out = io.StringIO()
    assert commands.fmt(str(directory), out=out) == commands.OK
    assert out.getvalue().splitlines() == [f"{mesh} written", f"note: {again}"]
    mesh.write_text(mesh.read_text() + "\n\n")
    out = io.StringIO()
    assert commands.fmt(str(directory), json=True, out=out) == commands.OK
    assert msgspec.json.decode(out.getvalue())["notes"] == [again]
