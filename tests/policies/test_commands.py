"""What the commands print and exit with."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from policies import commands
from policies.json_schema import schema_text
from policies.load import load_directory

SOUND = Path(__file__).parent / "sound"
NOBODY = "no file names a key, token or certificate of tenant demo"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = shutil.copytree(SOUND, tmp_path / "policies")
    assert commands.fmt(str(directory), out=io.StringIO()) == 0
    return directory


def run_check(directory: Path, json: bool = False) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return commands.check(str(directory), json, out, err), out.getvalue(), err.getvalue()


def run_fmt(directory: Path, check_only: bool = False, json: bool = False) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return commands.fmt(str(directory), check_only, json, out, err), out.getvalue(), err.getvalue()


def test_a_good_directory_is_one_line_and_exit_code_0(directory: Path) -> None:
    digest = load_directory(directory).digest[:12]
    assert run_check(directory) == (
        0,
        f"ok: 1 tier, 1 tenant, 2 routes, 4 slos, 0 tests (digest {digest})\nnote: {NOBODY}\n",
        "",
    )


def test_a_bad_directory_is_one_line_for_each_error_and_their_count(directory: Path) -> None:
    (directory / "limits.yaml").write_text("kind: limits/v1\ntiers: {demo: {rate: 5}}\n")
    (directory / "mesh.yml").touch()
    code, out, err = run_check(directory)
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        f"{directory}/limits.yaml:2:22: 5 what? Write 5/s.",
        f"{directory}/mesh.yml:1:1: no policy file belongs here. Rename it to mesh.yaml.",
        f"2 errors in {directory}: nothing of it is used",
    ]


def test_an_objective_that_no_route_names_is_noted(directory: Path) -> None:
    route = directory / "routes" / "digits.yaml"
    route.write_text(route.read_text().replace("[digits-availability, digits-latency]", "digits-latency"))
    code, out, err = run_check(directory)
    note = "nothing is counted for the objective digits-availability: no route names it"
    assert (code, out.splitlines()[1:], err) == (0, [f"note: {note}", f"note: {NOBODY}"], "")
    assert msgspec.json.decode(run_check(directory, json=True)[1])["notes"] == [note, NOBODY]


def test_json_says_the_same_for_programs(directory: Path) -> None:
    code, out, err = run_check(directory, json=True)
    report = msgspec.json.decode(out)
    assert (code, err, report["ok"], report["errors"], report["tenants"]) == (0, "", True, [], 1)
    assert (report["slos"], report["notes"]) == (4, [NOBODY])
    assert report["digest"] == load_directory(directory).digest
    (directory / "mesh.yaml").unlink()
    code, out, err = run_check(directory, json=True)
    report = msgspec.json.decode(out)
    assert (code, err, report["ok"]) == (1, "", False)
    assert report["errors"][0]["file"] == f"{directory}/mesh.yaml"
    assert report["errors"][0]["fix"]


@pytest.mark.parametrize("run", [run_check, run_fmt])
def test_what_is_no_directory_is_a_matter_of_usage(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    said = f"{absent} is not a directory. Name the directory that holds mesh.yaml.\n"
    assert run(absent) == (2, "", said)
    code, out, err = run(absent, json=True)
    report = msgspec.json.decode(out)
    assert (code, err, report["ok"], report["errors"][0]["file"]) == (2, "", False, str(absent))


def test_fmt_writes_only_what_changes_and_check_only_writes_nothing(directory: Path) -> None:
    mesh = directory / "mesh.yaml"
    mesh.write_text("name: demo\nkind: mesh/v1\n")
    mesh.chmod(0o640)
    others = {file: file.stat().st_mtime_ns for file in directory.rglob("*.*") if file != mesh}
    assert run_fmt(directory, check_only=True) == (1, f"{mesh} is not in its usual form\n", "")
    assert mesh.read_text() == "name: demo\nkind: mesh/v1\n"
    assert run_fmt(directory) == (0, f"{mesh} written\n", "")
    assert mesh.read_text().endswith("kind: mesh/v1\nname: demo\n")
    assert mesh.stat().st_mode & 0o777 == 0o640
    assert {file: file.stat().st_mtime_ns for file in others} == others
    assert run_fmt(directory, check_only=True) == (0, "", "")
    assert not [file for file in directory.rglob("*") if ".fmt-" in file.name]


def test_fmt_keeps_the_schema_beside_the_files_and_points_them_at_it(directory: Path) -> None:
    schema, tenant = directory / "policy-schema.json", directory / "tenants" / "demo.yaml"
    own_line, _, text = tenant.read_text().partition("\n")
    tenant.write_text(f"# yaml-language-server: $schema=../../docs/reference/policy-schema.json\n{text}")
    schema.unlink()
    told = f"{tenant} is not in its usual form\n{schema} is missing or old\n"
    assert run_fmt(directory, check_only=True) == (1, told, "")
    assert not schema.exists()
    assert run_fmt(directory)[0] == 0
    assert schema.read_text() == schema_text()
    assert tenant.read_text() == f"{own_line}\n{text}"
    schema.write_text("{}\n")
    assert run_fmt(directory) == (0, f"{schema} written\n", "")
    assert schema.read_text() == schema_text()


def test_fmt_leaves_no_schema_in_a_folder_that_is_no_policy_directory(directory: Path) -> None:
    (directory / "policy-schema.json").unlink()
    (directory / "mesh.yaml").unlink()
    assert run_fmt(directory) == (0, "", "")
    assert not (directory / "policy-schema.json").exists()


def test_fmt_leaves_a_broken_file_and_formats_the_rest(directory: Path) -> None:
    (directory / "limits.yaml").write_text("kind: [\n")
    (directory / "mesh.yaml").write_text("name: demo\nkind: mesh/v1\n")
    code, out, err = run_fmt(directory)
    assert (directory / "limits.yaml").read_text() == "kind: [\n"
    assert (code, out) == (1, f"{directory}/mesh.yaml written\n")
    assert err.startswith(f"{directory}/limits.yaml:1:7: the bracket that is opened here is not closed")
    assert err.endswith("The file is left as it is.\n")


def test_fmt_says_in_json_what_it_changed_and_what_it_left(directory: Path) -> None:
    (directory / "limits.yaml").write_text("kind: [\n")
    (directory / "mesh.yaml").write_text("name: demo\nkind: mesh/v1\n")
    code, out, err = run_fmt(directory, json=True)
    report = msgspec.json.decode(out)
    assert (code, err, report["ok"], report["changed"]) == (1, "", False, [f"{directory}/mesh.yaml"])
    (error,) = report["errors"]
    assert (error["file"], error["line"], error["column"]) == (f"{directory}/limits.yaml", 1, 7)


def test_schema_prints_the_schema() -> None:
    out = io.StringIO()
    assert commands.schema(out) == 0
    assert msgspec.json.decode(out.getvalue())["title"] == "A Penstock policy file"
