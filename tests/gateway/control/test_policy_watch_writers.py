"""However files are written, what is taken is the old set or the new one: true files, a clock of the test's own."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.control.policy_watch import STABLE_S, PolicyWatch
from policies import seal
from policies.errors import PolicyRefused
from policies.load import load_directory
from tests.demo_policies import DEMO

REFUSED = "refused"
LOOK_EVERY_S = 0.1
MADE_AT = "2026-11-21T08:00:00+00:00"
EDIT = (b"60000/s", b"50000/s")


class Desk:
    """Looks at a directory as the supervisor does, and keeps what it took.

    Attributes:
        taken: digest of each policy that was read, or REFUSED.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.taken: list[str] = []
        self._watch = PolicyWatch(directory)
        self._now_s = 100.0
        self._watch.remember(self._watch.look_at_start())

    def looks(self, for_s: float) -> None:
        """Let so much time pass, with a look every 100 ms."""
        for _ in range(max(1, round(for_s / LOOK_EVERY_S))):
            self._now_s += LOOK_EVERY_S
            signature = self._watch.look(self._now_s)
            if signature is None:
                continue
            self._watch.remember(signature)
            try:
                self.taken.append(load_directory(self.directory).digest)
            except PolicyRefused:
                self.taken.append(REFUSED)

    def rests(self) -> None:
        """Nobody writes for a while."""
        self.looks(STABLE_S + 0.3)


def demo(directory: Path, edited: bool = False) -> Path:
    """Lay out the demo's policies, as they are or with a rate of their own."""
    shutil.copytree(DEMO, directory, symlinks=True)
    if edited:
        limits = directory / "limits.yaml"
        limits.write_bytes(limits.read_bytes().replace(*EDIT))
    return directory


def seal_it(directory: Path) -> None:
    (directory / seal.SEAL_FILE).write_bytes(seal.text_of(seal.make(directory, MADE_AT)))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(demo(tmp_path / "policies"))


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the edited policies."""
    return load_directory(demo(tmp_path_factory.mktemp("new") / "policies", edited=True)).digest


def edited(file: Path) -> bytes:
    """Return the content of a file after the edit."""
    before = file.read_bytes()
    after = before.replace(*EDIT)
    assert before != after
    return after


def test_a_writer_in_place_is_waited_for_at_every_byte_of_every_file(desk: Desk) -> None:
    written = 0
    for file in sorted(desk.directory.rglob("*.yaml")):
        content = file.read_bytes() + b"# the end\n"
        with file.open("wb", buffering=0) as writer:
            for byte in content:
                writer.write(bytes([byte]))
                desk.looks(LOOK_EVERY_S)
                written += 1
            desk.looks(2.0)  # it thinks, and has the file open
        desk.rests()
    assert written > 2000
    assert set(desk.taken) == {load_directory(DEMO).digest}


def test_a_writer_that_opens_the_file_for_every_piece_is_waited_for_while_it_goes_on(desk: Desk) -> None:
    for file in sorted(desk.directory.rglob("*.yaml")):
        content = file.read_bytes() + b"# the end\n"
        file.write_bytes(b"")
        for start in range(0, len(content), 40):
            with file.open("ab") as writer:
                writer.write(content[start : start + 40])
            desk.looks(STABLE_S - LOOK_EVERY_S)
        desk.rests()
    assert set(desk.taken) == {load_directory(DEMO).digest}


def cuts(content: bytes) -> Iterator[int]:
    """Give the ends of lines, where a cut file may look whole, and a byte before and after each."""
    ends = [at + 1 for at, byte in enumerate(content) if byte == ord("\n")]
    yield from sorted({at for end in ends for at in (end - 1, end, end + 1) if 0 < at < len(content)})


@pytest.mark.parametrize("is_sealed", [False, True])
@pytest.mark.parametrize("is_renamed", [False, True])
def test_a_part_of_a_file_that_stays_is_refused_and_its_rest_makes_it_good(
    tmp_path: Path, is_sealed: bool, is_renamed: bool
) -> None:
    directory = demo(tmp_path / "policies")
    if is_sealed:
        seal_it(directory)
    desk = Desk(directory)
    for file in sorted(directory.rglob("*.yaml")):
        content = file.read_bytes()
        # A file of tests that lost its last ones is whole again, and decides the same.
        if file.parent.name == "tests" and not is_sealed:
            continue
        for end in itertools.islice(cuts(content), None, None, 7):
            if is_renamed:
                beside = file.with_name(".new")
                beside.write_bytes(content[:end])
                beside.rename(file)
            else:
                file.write_bytes(content[:end])
            desk.rests()
        assert set(desk.taken) == {REFUSED}, file
        file.write_bytes(content)
        desk.rests()
        assert desk.taken[-1] == load_directory(DEMO).digest
        desk.taken.clear()


def test_a_demo_file_that_stays_cut_off_is_refused_or_decides_what_the_whole_one_does(tmp_path: Path) -> None:
    """Such a file cannot be told from an edit but by what is in it; inside of lines, the parser's own tests cut it."""
    directory = demo(tmp_path / "policies")
    desk = Desk(directory)
    for file in sorted(directory.rglob("*.yaml")):
        content = file.read_bytes()
        for end in cuts(content):
            file.write_bytes(content[:end])
            desk.rests()
        file.write_bytes(content)
    assert set(desk.taken) == {REFUSED, load_directory(DEMO).digest}


def test_files_that_arrive_one_by_one_count_together_in_a_sealed_directory_in_whatever_order(tmp_path: Path) -> None:
    after = demo(tmp_path / "after", edited=True)
    (after / "tenants" / "demo.yaml").write_bytes((after / "tenants" / "demo.yaml").read_bytes() + b"# reviewed\n")
    seal_it(after)
    arriving = ("limits.yaml", "tenants/demo.yaml", seal.SEAL_FILE)
    for number, order in enumerate(itertools.permutations(arriving)):
        before = demo(tmp_path / f"before-{number}")
        seal_it(before)
        desk = Desk(before)
        for name in order:
            shutil.copyfile(after / name, before / name)
            desk.rests()
        assert desk.taken == [REFUSED, REFUSED, load_directory(after).digest], order


def vim(file: Path) -> None:
    """Write as vim does: try the folder, move the old file aside, write a new one, remove the old."""
    content = edited(file)
    swap, trial, backup = file.with_name(f".{file.name}.swp"), file.with_name("4913"), file.with_name(f"{file.name}~")
    swap.write_bytes(b"b0VIM")
    trial.touch()
    trial.unlink()
    file.rename(backup)
    file.write_bytes(content)
    backup.unlink()
    swap.unlink()


def emacs(file: Path) -> None:
    """Write as emacs does: a lock that links to nowhere, its own copy, a backup that stays, the same file in place."""
    content = edited(file)
    lock, own = file.with_name(f".#{file.name}"), file.with_name(f"#{file.name}#")
    lock.symlink_to("somebody@somewhere.123:1700000000")
    own.write_bytes(content[:100])
    file.with_name(f"{file.name}~").write_bytes(file.read_bytes())
    file.write_bytes(content)
    own.unlink()
    lock.unlink()


def sed(file: Path) -> None:
    """Write as ``sed -i`` does."""
    old, new = (part.decode() for part in EDIT)
    subprocess.run(["sed", "-i", f"s#{old}#{new}#", str(file)], check=True)


def copy(file: Path) -> None:
    """Write as ``cp`` over the file does."""
    beside = file.with_name(".beside")
    beside.write_bytes(edited(file))
    subprocess.run(["cp", str(beside), str(file)], check=True)
    beside.unlink()


@pytest.mark.parametrize("write", [vim, emacs, sed, copy])
def test_editors_leave_one_new_policy_and_nothing_on_the_way(
    desk: Desk, new: str, write: Callable[[Path], None]
) -> None:
    write(desk.directory / "limits.yaml")
    desk.rests()
    assert desk.taken == [new]


def test_a_moment_without_the_file_between_two_looks_is_no_policy(desk: Desk, new: str) -> None:
    limits = desk.directory / "limits.yaml"
    content = edited(limits)
    limits.rename(limits.with_name("limits.yaml~"))
    desk.looks(STABLE_S - LOOK_EVERY_S)
    limits.write_bytes(content)
    desk.rests()
    assert desk.taken == [new]


def test_backups_locks_and_notes_that_stay_are_not_policy(desk: Desk) -> None:
    for name in ("limits.yaml~", "#limits.yaml#", "limits.yaml.orig", "README.md", "limits.yaml.rej"):
        (desk.directory / name).write_text("kind: nonsense\n")
    (desk.directory / ".#limits.yaml").symlink_to("somebody@somewhere")
    desk.rests()
    assert set(desk.taken) == {load_directory(DEMO).digest}


def mounted(volume: Path, state: str, is_edited: bool) -> None:
    """Write a state of a mounted volume, as a ConfigMap's projected files are."""
    demo(volume / f"..{state}", edited=is_edited)


def point_at(volume: Path, state: str) -> None:
    """Let ``..data`` lead to another state in one step."""
    beside = volume / "..data_tmp"
    beside.symlink_to(f"..{state}")
    beside.rename(volume / "..data")


def test_a_configmap_whose_data_link_is_swapped_is_one_change(tmp_path: Path, new: str) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    mounted(volume, "2026_1", is_edited=False)
    point_at(volume, "2026_1")
    for name in os.listdir(DEMO):
        (volume / name).symlink_to(f"..data/{name}")
    desk = Desk(volume)
    desk.rests()
    assert desk.taken == []
    mounted(volume, "2026_2", is_edited=True)
    desk.rests()
    assert desk.taken == []
    point_at(volume, "2026_2")
    shutil.rmtree(volume / "..2026_1")
    desk.rests()
    assert desk.taken == [new]


def test_a_directory_that_another_takes_the_place_of_is_one_change(desk: Desk, new: str, tmp_path: Path) -> None:
    ready = demo(tmp_path / "ready", edited=True)
    desk.directory.rename(tmp_path / "old")
    desk.looks(STABLE_S - LOOK_EVERY_S)
    ready.rename(desk.directory)
    desk.rests()
    assert desk.taken == [new]


def test_a_directory_that_is_gone_for_longer_is_refused_and_taken_when_it_is_back(
    desk: Desk, new: str, tmp_path: Path
) -> None:
    desk.directory.rename(tmp_path / "old")
    desk.rests()
    demo(desk.directory, edited=True)
    desk.rests()
    assert desk.taken == [REFUSED, new]


def test_a_change_while_the_set_is_read_makes_what_was_read_worthless(desk: Desk) -> None:
    watch = PolicyWatch(desk.directory)
    signature = watch.look_at_start()
    vim(desk.directory / "limits.yaml")
    assert watch.has_changed_since(signature)
