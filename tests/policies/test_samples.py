"""What is kept for people to look at reaches the snapshot, and is told when it changes."""

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from policies.diff import changes
from policies.load import load_directory
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.release import LeftOut
from policies.snapshot.route import Route, Version
from policies.snapshot.samples import Sampling

SOUND = Path(__file__).parent / "sound"
ROUTE = Route("digits", "us", {"1": Version("1")}, "1")
BEFORE = Snapshot(1, "", Mesh("m"), routes={"digits": ROUTE})
USUAL = Sampling(("/label",), rate=0.01)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return shutil.copytree(SOUND, tmp_path / "policies")


def samples_of(directory: Path, text: str) -> Sampling | None:
    file = directory / "routes" / "digits.yaml"
    file.write_text(file.read_text().replace("batching:", f"{text}\nbatching:"))
    return load_directory(directory).routes["digits"].samples


def told(before: Sampling | None, after: Sampling | None) -> list[str]:
    def of(samples: Sampling | None) -> Snapshot:
        return replace(BEFORE, routes={"digits": replace(ROUTE, samples=samples)})

    return list(changes(of(before), of(after)))


def test_nothing_is_kept_unless_policy_says_so(directory: Path) -> None:
    assert all(route.samples is None for route in load_directory(directory).routes.values())


def test_what_is_left_out_is_as_usual(directory: Path) -> None:
    assert samples_of(directory, "samples: {fields: [/label], rate: 1%}") == USUAL
    assert USUAL.redact == ("card", "email", "iban", "ip", "phone")


def test_everything_that_is_written_counts(directory: Path) -> None:
    text = (
        "samples: {fields: [/b, /a], rate: 5%, on: [slow, error], slower_than: 250ms, per_minute: 7, "
        "redact: [email], subject: /user/id, at_most: 4MiB, for: 1d, never: {tenant: [demo]}}"
    )
    assert samples_of(directory, text) == Sampling(
        ("/a", "/b"), 0.05, ("error", "slow"), 0.25, 7, ("email",), "/user/id", 4 * 2**20, 86_400.0, LeftOut(("demo",))
    )


def test_a_change_is_told_in_words() -> None:
    assert told(None, USUAL) == ["route digits: samples added: /label of 1% of requests, for 7d"]
    assert told(USUAL, None) == ["route digits: samples removed"]
    changed = told(USUAL, replace(USUAL, triggers=("error",), redact=(), subject="/who", never=LeftOut(("demo",))))
    assert changed == [
        "route digits: samples: on none -> error",
        "route digits: samples: redact card, email, iban, ip, phone -> none",
        "route digits: samples: subject none -> /who",
        "route digits: samples: never none -> tenant demo",
    ]
