"""Tables for people."""

from __future__ import annotations

from deploy.commands.table import table


def test_columns_are_aligned_and_numbers_stand_to_the_right() -> None:
    assert table(("POD", "ROWS", "MESSAGE"), [("digits/1/0", 7, ""), ("d/2/0", None, "loading")]) == (
        "POD         ROWS  MESSAGE\n"
        "digits/1/0     7\n"
        "d/2/0          -  loading"
    )  # fmt: skip


def test_without_rows_the_head_stands_alone() -> None:
    assert table(("POD", "ROWS"), []) == "POD  ROWS"


def test_no_terminal_obeys_what_somebody_wrote_into_a_cell() -> None:
    assert table(("GRANT", "REASON"), [("g1", "launch\x1b[2J\nweek")]) == "GRANT  REASON\ng1     launch?[2J?week"
