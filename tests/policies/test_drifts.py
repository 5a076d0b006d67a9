"""How a model is watched reaches the snapshot, is told when it changes, and is refused where it means nothing."""

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from policies.diff import changes
from policies.document import parse
from policies.drifts import check
from policies.kinds import PolicyFile, kind_at
from policies.load import load_directory
from policies.snapshot.generation import Snapshot, drift_by_model
from policies.snapshot.mesh import Mesh
from policies.snapshot.route import Launch, Route, Version
from policies.snapshot.watching import Drift, Watched

SOUND = Path(__file__).parent / "sound"
ROUTE = Route("digits", "us", {"1": Version("1", Launch("digits-1.mar"))}, "1")
BEFORE = Snapshot(1, "", Mesh("m"), routes={"digits": ROUTE})
DRIFT = Drift(0.01, inputs=(Watched("/age", 0.0, 150.0),), outputs=(Watched("/label", classes=("cat", "dog")),))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return shutil.copytree(SOUND, tmp_path / "policies")


def drift_of(directory: Path, text: str) -> Drift | None:
    file = directory / "routes" / "digits.yaml"
    file.write_text(file.read_text().replace("batching:", f"{text}\nbatching:"))
    return load_directory(directory).routes["digits"].drift


def with_drift(drift: Drift | None) -> Snapshot:
    return replace(BEFORE, routes={"digits": replace(ROUTE, drift=drift)})


def problems(text: str) -> list[str]:
    kind = kind_at("routes/m.yaml")
    assert kind is not None
    return [error.problem for error in check([PolicyFile("routes/m.yaml", kind, parse(text.encode(), "m").root)])]


def test_nothing_is_watched_unless_policy_says_so(directory: Path) -> None:
    assert drift_by_model(load_directory(directory)) == {}


def test_what_is_left_out_is_as_usual(directory: Path) -> None:
    assert drift_of(directory, "drift: {sample: 1%}") == Drift(0.01)
    assert drift_by_model(load_directory(directory)) == {"digits": Drift(0.01)}


def test_everything_that_is_written_counts(directory: Path) -> None:
    text = (
        "drift: {sample: 5%, inputs: [{path: /age, at_least: 0, at_most: 150}], "
        "outputs: [{path: /label, classes: [dog, cat]}, {path: /scores}], "
        'reference: {version: "1", for: 12h}, window: 30m, alert_above: 0.25}'
    )
    assert drift_of(directory, text) == Drift(
        0.05,
        inputs=(Watched("/age", 0.0, 150.0),),
        outputs=(Watched("/label", classes=("cat", "dog")), Watched("/scores")),
        reference="1",
        reference_s=43_200.0,
        window_s=1800.0,
        alert_above=0.25,
    )


def test_an_empty_list_watches_none(directory: Path) -> None:
    assert drift_of(directory, "drift: {sample: 1%, inputs: []}") == Drift(0.01, inputs=())


def test_what_begins_and_ends_is_told() -> None:
    assert changes(BEFORE, with_drift(DRIFT)) == (
        "route digits: drift added: 1% of rows, /age from 0 to 150 in, /label classes cat, dog out",
    )
    assert changes(with_drift(DRIFT), BEFORE) == ("route digits: drift removed",)


def test_every_change_is_told() -> None:
    after = Drift(0.02, outputs=(), reference="1", reference_s=3600.0, window_s=60.0, alert_above=0.3)
    assert changes(with_drift(DRIFT), with_drift(after)) == (
        "route digits: drift: sample 1% -> 2%",
        "route digits: drift: inputs /age from 0 to 150 -> all",
        "route digits: drift: outputs /label classes cat, dog -> none",
        "route digits: drift: reference 1d of each version -> 1h of 1",
        "route digits: drift: window 1h -> 1m",
        "route digits: drift: alert_above 0.2 -> 0.3",
    )
    assert changes(with_drift(DRIFT), with_drift(DRIFT)) == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("drift: {sample: 0%}", "0% watches no row"),
        ("drift: {sample: 1%, window: 1s}", "1s is less than 5s"),
        ("drift: {sample: 1%, window: 2d}", "2d is more than 1d"),
        ("drift: {sample: 1%, reference: {for: 30m}}", "30m is not from one window to 72 of them"),
        ("drift: {sample: 1%, reference: {for: 73h}}", "73h is not from one window to 72 of them"),
        ("drift: {sample: 1%, window: 1m}", "the reference is 1d, which is more than 72 such windows"),
        ("drift: {sample: 1%, inputs: [{path: /a}, {path: /a}]}", '"/a" is here twice'),
        ("drift: {sample: 1%, outputs: [{}, {}]}", "all of it is here twice"),
        ("drift: {sample: 1%, outputs: [{at_least: 1, at_most: 0.5}]}", "no number is at least 1 and at most 0.5"),
    ],
)
def test_what_means_nothing_is_refused(text: str, problem: str) -> None:
    assert problems(f"{text}\n") == [problem]


def test_what_means_something_is_taken() -> None:
    assert problems("drift: {sample: 1%, window: 1m, reference: {for: 1h}, inputs: [{path: /a}, {}]}\n") == []
    assert problems("drift: {sample: 1%, window: 1d}\n") == []
    assert problems('stable: "1"\n') == []
