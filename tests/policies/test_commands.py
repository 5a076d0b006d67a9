"""What the commands print and exit with."""

import io
import shutil
from pathlib import Path

import msgspec
import pytest

from policies import commands
from policies.load import load_directory

DEMO = Path(__file__).parents[2] / "policies" / "demo"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return shutil.copytree(DEMO, tmp_path / "policies")


def run_check(directory: Path, json: bool = False) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return commands.check(str(directory), json, out, err), out.getvalue(), err.getvalue()


def test_a_good_directory_is_one_line_and_exit_code_0(directory: Path) -> None:
    digest = load_directory(directory).digest
    assert run_check(directory) == (0, f"ok: digest {digest}, 1 tenant, 1 route, 1 tier\n", "")


def test_a_bad_directory_is_one_line_for_each_error_and_their_count(directory: Path) -> None:
    (directory / "limits.yaml").write_text("kind: limits/v1\ntiers: {demo: {rate: 5}}\n")
    (directory / "slos.yml").touch()
    code, out, err = run_check(directory)
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        f"{directory}/limits.yaml:2:22: 5 what? Write 5/s.",
        f"{directory}/slos.yml:1:1: no policy file belongs here. Rename it to slos.yaml.",
        f"2 errors in {directory}: nothing of it is used",
    ]


def test_json_says_the_same_for_programs(directory: Path) -> None:
    code, out, err = run_check(directory, json=True)
    report = msgspec.json.decode(out)
    assert (code, err, report["ok"], report["errors"], report["tenants"]) == (0, "", True, [], 1)
    (directory / "mesh.yaml").unlink()
    code, out, err = run_check(directory, json=True)
    report = msgspec.json.decode(out)
    assert (code, err, report["ok"]) == (1, "", False)
    assert report["errors"][0]["file"] == f"{directory}/mesh.yaml"
    assert report["errors"][0]["fix"]


def test_what_is_no_directory_is_a_matter_of_usage(tmp_path: Path) -> None:
    assert run_check(tmp_path / "absent")[0] == 2
    assert commands.fmt(str(tmp_path / "absent"), err=io.StringIO()) == 2


def test_fmt_writes_only_what_changes_and_check_only_writes_nothing(directory: Path) -> None:
    mesh = directory / "mesh.yaml"
    mesh.write_text("name: demo\nkind: mesh/v1\n")
    mesh.chmod(0o640)
    others = {file: file.stat().st_mtime_ns for file in directory.rglob("*.yaml") if file != mesh}
    out = io.StringIO()
    assert commands.fmt(str(directory), check_only=True, out=out) == 1
    assert out.getvalue() == f"{mesh} is not in its usual form\n"
    assert mesh.read_text() == "name: demo\nkind: mesh/v1\n"
    assert commands.fmt(str(directory), out=io.StringIO()) == 0
    assert mesh.read_text().endswith("kind: mesh/v1\nname: demo\n")
    assert mesh.stat().st_mode & 0o777 == 0o640
    assert {file: file.stat().st_mtime_ns for file in others} == others
    assert commands.fmt(str(directory), check_only=True, out=io.StringIO()) == 0
    assert not [file for file in directory.rglob("*") if ".fmt-" in file.name]


def test_fmt_leaves_a_broken_file_and_formats_the_rest(directory: Path) -> None:
    (directory / "limits.yaml").write_text("kind: [\n")
    (directory / "mesh.yaml").write_text("name: demo\nkind: mesh/v1\n")
    out, err = io.StringIO(), io.StringIO()
    assert commands.fmt(str(directory), out=out, err=err) == 1
    assert (directory / "limits.yaml").read_text() == "kind: [\n"
    assert out.getvalue() == f"{directory}/mesh.yaml formatted\n"
    assert err.getvalue().startswith(f"{directory}/limits.yaml is left as it is: ")


def test_schema_prints_the_schema() -> None:
    out = io.StringIO()
    assert commands.schema(out) == 0
    assert msgspec.json.decode(out.getvalue())["title"] == "A Penstock policy file"
