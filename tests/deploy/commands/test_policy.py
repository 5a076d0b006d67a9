"""``penstock policy test``, ``explain``, ``plan`` and ``traffic`` on true directories and records."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from deploy.cli import main
from deploy.commands.policy_explain import describe_past
from gateway.control import last_good
from gateway.decisions.folder import FOLDER, file_name
from gateway.decisions.records import framed, record_at
from gateway.trial.past import past_report
from gateway.trial.tried_policy import tried
from policies.load import load_directory
from policies.snapshot.limits import Limit
from tests.demo_policies import DEMO
from tests.gateway.policy import policy
from tests.gateway.trial.traffic_made import START_S, Call, recorded, request_id

TEST = """kind: tests/v1
tests:
  - name: demo may call digits
    request: {tenant: demo, model: digits}
    expect: {status: STATUS}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The demo's policy with one test of its own."""
    root = tmp_path / "policies"
    shutil.copytree(DEMO, root)
    shutil.rmtree(root / "tests", ignore_errors=True)
    (root / "tests").mkdir()
    (root / "tests" / "own.yaml").write_text(TEST.replace("STATUS", "200"))
    return root


@pytest.fixture
def state(tmp_path: Path, directory: Path) -> Path:
    """A state directory whose mesh has the directory's policy in force, and recorded ten requests a second lately."""
    root = tmp_path / "state"
    (root / FOLDER).mkdir(parents=True)
    snapshot = load_directory(directory)
    last_good.keep(root, snapshot, 0.0)
    ago_s = time.time() - 120.0 - START_S
    calls = [Call(at_s=ago_s + number / 10, tenant="demo", key_id="local") for number in range(100)]
    (root / FOLDER / file_name(START_S + ago_s, 11)).write_bytes(framed(*recorded(tried(snapshot), calls)))
    return root


def fail_the_test(directory: Path) -> None:
    (directory / "tests" / "own.yaml").write_text(TEST.replace("STATUS", "403"))


def test_a_directory_whose_tests_fail_is_not_sealed(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fail_the_test(directory)
    assert main(["policy", "seal", str(directory)]) == 1
    assert "tests/own.yaml:" in capsys.readouterr().err
    assert not (directory / "seal.json").exists()


def slow_down(directory: Path, rate: str) -> None:
    """Give the demo's tier another rate."""
    path = directory / "limits.yaml"
    lines = path.read_text().splitlines()
    (place,) = [number for number, line in enumerate(lines) if line.strip().startswith("rate: 60000/s")]
    lines[place] = lines[place].replace("60000/s", rate)
    path.write_text("\n".join(lines) + "\n")


def test_tests_that_hold_are_told_one_by_one(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "test", str(directory)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok      tests/own.yaml:3:5: demo may call digits",
        "1 test, 0 failed",
    ]


def test_a_test_that_fails_shows_every_step(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fail_the_test(directory)
    assert main(["policy", "test", str(directory)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "FAILED  tests/own.yaml:3:5: demo may call digits"
    assert lines[1].strip() == "it expects status 403, but decided is 200 (version 1 answers)"
    assert any(line.split()[:2] == ["ok", "version"] for line in lines)
    assert lines[-1] == "1 test, 1 failed"


def test_as_json_they_have_their_steps(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fail_the_test(directory)
    assert main(["policy", "test", str(directory), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert report["tests"][0]["steps"][0]["about"] == "credential"


def test_a_check_runs_the_tests_too(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", str(directory)]) == 0
    fail_the_test(directory)
    assert main(["policy", "check", str(directory)]) == 1
    assert "own.yaml:3:5: the test" in capsys.readouterr().err


def test_a_directory_without_tests_says_so(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(directory / "tests")
    assert main(["policy", "test", str(directory)]) == 0
    assert capsys.readouterr().out == "there are no tests: write some in tests/*.yaml\n"


def test_what_is_no_directory_is_a_mistake_of_the_arguments(tmp_path: Path) -> None:
    for action in (["test"], ["plan", "--against", str(DEMO)], ["explain", "--model", "digits", "--policies"]):
        assert main(["policy", *action, str(tmp_path / "none")]) == 2


def explain(*arguments: str) -> int:
    return main(["policy", "explain", *arguments])


def test_a_described_request_is_explained(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    described = ("--policies", str(directory), "--tenant", "demo", "--model", "digits")
    assert explain(*described, "--body-bytes", "640", "--header", "penstock-timeout-ms=250") == 0
    out = capsys.readouterr().out
    assert "640 bytes, at most" in out
    assert "250ms: as asked" in out
    assert "these files: version 1 answers" in out
    assert explain(*described, "--body-bytes", "-5") == 2
    assert "-5 is not a whole number of 0 or more" in capsys.readouterr().err
    assert explain(*described, "--version", "9") == 0
    assert "refused with 404 version_not_found" in capsys.readouterr().out


def test_the_running_policy_is_explained_by_default(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("--state", str(state), "--tenant", "demo", "--key", "local", "--model", "digits", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["status"], report["version"]) == (200, "1")


def test_mistakes_in_the_arguments_of_explain_are_told(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    described = ("--policies", str(directory), "--model", "digits")
    assert explain() == 2
    assert explain("abc", "--model", "digits") == 2
    assert "not both" in capsys.readouterr().err
    assert explain(*described, "--header", "x-tenant=demo") == 2
    assert explain(*described, "--at", "yesterday") == 2
    assert "decisions read penstock-version" in capsys.readouterr().err
    assert explain(*described, "--server", "http://127.0.0.1:8081") == 2
    assert "--server needs a REQUEST_ID" in capsys.readouterr().err


def test_a_past_request_is_told_as_it_was_and_as_it_would_be() -> None:
    then = policy(limit=Limit("tier/gold", 1.0, 1))
    block, _ = recorded(then, [Call(), Call()])
    lines = describe_past(past_report(request_id(1), record_at(block, 1), then, policy(generation=2)))
    assert "tenant ads, credential" in lines[0]
    assert lines[1].startswith("answered 429 rate_limited after 10.0 ms by version -")
    assert any(line.startswith("refused   limit tier/gold") for line in lines)
    assert lines[-1] == "generation 2: version 1 answers"
    same = describe_past(past_report(request_id(0), record_at(block, 0), then, then))
    assert same[-1] == "generation 1, in force now, decides the same"
    gone = describe_past(past_report(request_id(0), record_at(block, 0), None, then))
    assert "generation 1 is not kept any more: its steps cannot be shown" in gone


def test_a_past_request_that_a_full_queue_refused_is_not_told_as_answered() -> None:
    snapshot = policy()
    block, _ = recorded(snapshot, [Call(reason="pods_busy")])
    lines = describe_past(past_report(request_id(0), record_at(block, 0), snapshot, snapshot))
    assert any(line.startswith("refused   queue") and "pods_busy" in line for line in lines)
    assert not any("version 1 answers" in line for line in lines)
    assert any(
        line.startswith("generation 1: admitted to version 1, then refused with 503 pods_busy") for line in lines
    )
    assert lines[-1] == "generation 1, in force now, decides the same"


def plan(*arguments: str) -> int:
    return main(["policy", "plan", *arguments])


def test_a_plan_says_who_would_be_refused(directory: Path, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow_down(directory, "5/s")
    assert plan(str(directory), "--state", str(state)) == 0
    out = capsys.readouterr().out
    assert "replayed 100 requests of" in out
    assert "100.0% of them are decided by the policy before as they were then" in out
    assert "tenant demo, 100 requests: 46 newly refused by tier/demo (rate_limited)" in out
    assert "tier/demo: refuses 46, before 0" in out
    assert "model text" in out


def test_a_budget_for_new_refusals_is_an_exit_code(
    directory: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow_down(directory, "5/s")
    mesh = ("--state", str(state), "--traffic", "last-1h", "--max-new-refusals")
    assert plan(str(directory), *mesh, "50%") == 0
    assert plan(str(directory), *mesh, "45%") == 1
    assert "46 requests, 46.0% of all, would be newly refused, more than 45%" in capsys.readouterr().err
    assert plan(str(directory), *mesh, "many") == 2
    assert plan(str(directory), "--against", str(DEMO), "--traffic", "none", "--max-new-refusals", "1%") == 2


@pytest.mark.parametrize("content", [b"", bytes(range(7, 256)) * 20])
def test_a_budget_is_not_met_without_evidence(
    directory: Path, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "traffic.rec"
    file.write_bytes(content)
    files = (str(directory), "--against", str(DEMO), "--traffic", str(file))
    assert plan(*files) == 0
    assert plan(*files, "--max-new-refusals", "100%") == 1
    assert "no request was replayed, so nothing shows" in capsys.readouterr().err
    assert plan(*files, "--max-new-refusals", "100%", "--json") == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    (tmp_path / "none").mkdir()
    nowhere = ("--state", str(tmp_path / "none"), "--traffic", "last-24h")
    assert plan(str(directory), "--against", str(DEMO), *nowhere, "--max-new-refusals", "100%") == 1


def test_a_budget_is_not_met_by_traffic_that_is_mostly_unreadable(
    directory: Path, state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (recording,) = (state / FOLDER).iterdir()
    content = recording.read_bytes()
    file = tmp_path / "traffic.rec"
    files = (str(directory), "--against", str(DEMO), "--traffic", str(file), "--max-new-refusals", "100%")
    file.write_bytes(content + bytes(len(content) // 2))
    assert plan(*files) == 0
    file.write_bytes(content + bytes(len(content) + 1))
    assert plan(*files) == 1
    assert "most of the recorded traffic cannot be read" in capsys.readouterr().err
    assert plan(*files[:-2]) == 0
    assert "50.0% of what was read" in capsys.readouterr().out


def test_a_plan_as_json_has_everything(directory: Path, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow_down(directory, "5/s")
    assert plan(str(directory), "--state", str(state), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["new_refusal_share"], report["plan"]["new_refusals"]) == (True, 0.46, 46)


def test_a_directory_that_would_be_refused_is_not_planned_with(directory: Path, state: Path) -> None:
    fail_the_test(directory)
    assert plan(str(directory), "--state", str(state)) == 1


def test_without_traffic_the_files_are_compared(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow_down(directory, "5/s")
    assert plan(str(directory), "--against", str(DEMO), "--traffic", "none") == 0
    out = capsys.readouterr().out
    assert "60000/s -> 5/s" in out
    assert out.endswith("no traffic was replayed\n")


def test_recorded_traffic_goes_into_a_file_to_plan_with(
    directory: Path, state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "traffic.rec"
    assert main(["policy", "traffic", "--state", str(state), "-o", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"requests": 100, "skipped": 0}
    slow_down(directory, "5/s")
    assert plan(str(directory), "--against", str(DEMO), "--traffic", str(file)) == 0
    assert "46 newly refused" in capsys.readouterr().out
    assert plan(str(directory), "--against", str(DEMO), "--traffic", "yesterday") == 2
    assert main(["policy", "traffic", "--state", str(state), "-o", str(file), "--last", "long"]) == 2


def test_time_without_traffic_is_said_to_be_so(
    directory: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(str(directory), "--state", str(state), "--traffic", "last-1s") == 0
    assert "no request was recorded in that time" in capsys.readouterr().out


RELEASED = """\
  "2": {pods: {launch: {archive: digits-2.mar}}}
canary: {id: first, version: "2", sticky_by: [header:x-user-id, tenant], steps: [{share: 5%, hold: 1m}, {share: 100%}]}
shadow: [{name: dark, version: "2", sample: 10%}]
"""


@pytest.fixture
def released(directory: Path) -> Path:
    """The demo's policy with a canary and a shadow of digits."""
    route = directory / "routes" / "digits.yaml"
    route.write_text(route.read_text().replace("batching:", f"{RELEASED}batching:", 1))
    return directory


def test_a_described_request_is_explained_at_a_share_of_the_canary(
    released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    described = ("--policies", str(released), "--tenant", "nightly", "--model", "digits")
    assert explain(*described) == 0
    out = capsys.readouterr().out
    assert "1: the stable one; the canary first has not begun" in out
    assert "left out  shadow dark" in out
    assert "tenant nightly does not allow it" in out
    assert explain(*described, "--canary-share", "100%", "--header", "X-User-Id=u-1") == 0
    out = capsys.readouterr().out
    assert "2: in the canary first, whose share is 100%: sticky key header:x-user-id, which lies at " in out
    assert "these files: version 2 answers" in out


def test_a_share_of_no_canary_is_a_mistake_of_the_arguments(released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies = ("--policies", str(released))
    assert explain(*policies, "--model", "text", "--canary-share", "5%") == 2
    assert "--canary-share 5%: text has no canary" in capsys.readouterr().err
    assert explain(*policies, "--model", "digits", "--canary-share", "120%") == 2
    assert "a share is 0% to 100%" in capsys.readouterr().err
    assert explain(*policies, "--model", "digits", "--canary-share", "5") == 2
    assert capsys.readouterr().err == "penstock policy explain: 5 what? Write 5%.\n"


def test_a_plan_says_what_a_new_canary_takes(
    released: Path, state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = tmp_path / "now"
    shutil.copytree(released, now)
    route = now / "routes" / "digits.yaml"
    route.write_text(route.read_text().replace("canary:", "# canary:"))
    assert plan(str(released), "--against", str(now), "--state", str(state)) == 0
    out = capsys.readouterr().out
    begins = "route digits: canary first begins: version 2 for 5%, 100% of requests by header:x-user-id, else tenant"
    assert begins in out
    assert "first of digits, version 2: begins at its first step, 5%" in out
