"""What sidecars leave that do not come back is sent by another, or given up by age and counted; nobody else's is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from telemetry.sidecar.left_folders import (
    FREE_FOR_S,
    KEPT_FOR_S,
    LOOK_EVERY_S,
    MOST_BYTES,
    MOST_FOLDERS,
    PARCELS,
    LeftFolder,
    LeftFolders,
    given_up,
)
from telemetry.sidecar.spool import LEAST_BYTES, Spool
from telemetry.span import Span
from tests.telemetry.sidecar.test_stored_queue import Life, told


async def gone(root: Path, name: str, first: int, parcels: int, of_each: int = 10) -> None:
    """Leave a folder as a sidecar does that is killed."""
    life = Life(Spool(root / name, LEAST_BYTES))
    for number in range(parcels):
        life.put(first + number * of_each, of_each)
        await life.save()
    life.die()


class Finder(Life):
    """The sidecar that looks for what others left."""

    def __init__(self, root: Path, room_bytes: int = LEAST_BYTES, most: int = MOST_FOLDERS) -> None:
        super().__init__(Spool(root / "gateway", LEAST_BYTES))
        self.folders = LeftFolders(root, self.queue, room_bytes, most)

    async def look(self, later_s: float = 0.0, wall_s: float | None = None) -> None:
        self.now_s += later_s
        await self.folders.tend(self.now_s, time.time() if wall_s is None else wall_s)

    async def look_long(self) -> None:
        await self.save()
        for later_s in (0.0, FREE_FOR_S, 0.0, 0.0):
            await self.look(later_s)


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def ids(spans: list[Span]) -> list[str]:
    return [span.span_id for span in spans]


def test_what_two_pods_left_is_sent_once_and_their_folders_go(tmp_path: Path) -> None:
    async def story() -> None:
        await gone(tmp_path, "m%2F1%2F0", 0, PARCELS + 3)
        await gone(tmp_path, "m%2F1%2F1", 1000, 2)
        finder = Finder(tmp_path)
        finder.put(5000, 5)
        await finder.look_long()
        sent = ids(await finder.sent())
        assert len(sent) == len(set(sent)) == 10 * (PARCELS + 5) + 5
        assert (finder.queue.exported_spans, finder.lost()) == (len(sent), {})
        assert finder.queue.came_spans == len(sent)
        assert names(tmp_path) == ["gateway"]

    told(story)


def test_a_folder_that_is_used_or_was_a_moment_ago_is_left_alone(tmp_path: Path) -> None:
    async def story() -> None:
        await gone(tmp_path, "restarts", 0, 1)
        used = Life(Spool(tmp_path / "used", LEAST_BYTES))
        used.put(100, 10)
        await used.save()
        finder = Finder(tmp_path)
        await finder.save()
        await finder.look()
        await finder.look(FREE_FOR_S - 1.0)
        back = Life(Spool(tmp_path / "restarts", LEAST_BYTES))
        await back.save()
        before = back.queue.waiting_spans
        await finder.look(2.0)
        back.die()
        await finder.look(FREE_FOR_S - 1.0)  # it was free again only now
        assert await finder.sent() == []
        assert (before, used.queue.waiting_spans) == ((0, 10), (0, 10))
        assert names(tmp_path) == ["gateway", "restarts", "used"]

    told(story)


def test_what_is_too_old_is_given_up_and_counted(tmp_path: Path) -> None:
    async def story() -> None:
        await gone(tmp_path, "old", 0, 3)
        finder = Finder(tmp_path)
        await finder.save()
        await finder.look()
        await finder.look(FREE_FOR_S, wall_s=time.time() + KEPT_FOR_S + 60.0)
        assert finder.lost() == {"abandoned": 30}
        assert finder.queue.came_spans == 30
        assert not (tmp_path / "old").exists()

    told(story)


def test_what_others_left_takes_no_room_from_what_is_here(tmp_path: Path) -> None:
    async def story() -> None:
        await gone(tmp_path, "left", 0, 1)
        finder = Finder(tmp_path, room_bytes=100)
        finder.put(100, 10)
        await finder.look_long()
        assert len(await finder.sent()) == 10
        assert names(tmp_path) == ["gateway", "left"]
        finder.die()
        roomy = Finder(tmp_path)
        await roomy.look_long()
        assert (len(await roomy.sent()), roomy.lost()) == (10, {})

    told(story)


def test_a_death_while_a_folder_is_taken_over_loses_nothing_and_sends_a_parcel_twice_at_most(tmp_path: Path) -> None:
    async def story() -> None:
        await gone(tmp_path, "left", 0, 3)
        own, left = Spool(tmp_path / "gateway", LEAST_BYTES), Spool(tmp_path / "left", LEAST_BYTES)
        own.open()
        left.open()
        parcel = left.next()
        assert parcel is not None
        own.append(parcel)
        for spool in (own, left):  # here it is killed
            spool._let_go()
            spool._leave_segment()
        finder = Finder(tmp_path)
        await finder.look_long()
        sent = ids(await finder.sent())
        assert (len(sent), len(set(sent)), finder.lost()) == (40, 30, {})

    told(story)


def test_what_is_damaged_there_is_counted_and_the_rest_is_sent(tmp_path: Path) -> None:
    async def story() -> None:
        await gone(tmp_path, "left", 0, 3)
        (segment,) = (tmp_path / "left").glob("*.spans")
        content = bytearray(segment.read_bytes())
        content[-10] ^= 1
        segment.write_bytes(content)
        finder = Finder(tmp_path)
        await finder.look_long()
        assert (len(await finder.sent()), finder.lost()) == (20, {"damaged": 10})
        assert not (tmp_path / "left").exists()

    told(story)


def test_a_folder_with_a_stranger_s_file_keeps_it(tmp_path: Path) -> None:
    async def story() -> None:
        await gone(tmp_path, "left", 0, 1)
        (tmp_path / "left" / "note").write_text("mine")
        finder = Finder(tmp_path)
        await finder.look_long()
        assert len(await finder.sent()) == 10
        assert (tmp_path / "left" / "note").read_text() == "mine"

    told(story)


def test_of_too_much_the_oldest_is_given_up(tmp_path: Path) -> None:
    folders = [LeftFolder(tmp_path / str(age), MOST_BYTES // 2, 1000.0 - age) for age in range(4)]
    assert [folder.path.name for folder in given_up(folders, 1000.0)] == ["3", "2"]
    assert given_up(folders[:2], 1000.0) == []


def test_where_folders_are_many_each_look_goes_on_where_the_last_one_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        used = [Life(Spool(tmp_path / f"a{number}", LEAST_BYTES)) for number in range(4)]
        for life in used:
            await life.save()
        await gone(tmp_path, "z1", 0, 1)
        await gone(tmp_path, "z2", 100, 1)
        finder = Finder(tmp_path, most=2)
        await finder.save()
        for _ in range(2 * int(FREE_FOR_S / LOOK_EVERY_S)):
            await finder.look(LOOK_EVERY_S)
        assert (len(await finder.sent()), finder.lost()) == (20, {})
        assert names(tmp_path) == ["a0", "a1", "a2", "a3", "gateway"]
        await finder.look(LOOK_EVERY_S)

    told(story)
    (line,) = capsys.readouterr().err.splitlines()
    assert "has 7 folders, of which 2 are looked at every 5 s: what sidecars left there is found within 20 s" in line


def test_a_folder_that_was_used_between_two_looks_at_it_is_left_alone(tmp_path: Path) -> None:
    async def story() -> None:
        await gone(tmp_path, "back", 0, 1)
        await gone(tmp_path, "later", 100, 1)
        finder = Finder(tmp_path, most=2)
        await finder.save()
        await finder.look()  # at "back" and its own
        back = Life(Spool(tmp_path / "back", LEAST_BYTES))
        await back.save()
        await finder.look(FREE_FOR_S, wall_s=time.time() + 2 * KEPT_FOR_S)  # at "later" and "back"
        assert names(tmp_path) == ["back", "gateway", "later"]
        back.die()

    told(story)
