"""Of an exception a log has types and places, whatever its text says and whatever led to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.logs.raised import MOST_EXCEPTIONS, raised

SECRET = "planted-" + "canary"


class Odd(Exception):
    """Its text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError(SECRET)


def test_what_led_to_it_comes_first_by_type_and_place() -> None:
    try:
        try:
            int(SECRET)
        except ValueError:
            nothing: dict[str, int] = {}
            nothing[SECRET]
    except KeyError as error:
        text = raised(error)
    first, second = text.split("\n\nand then\n\n")
    assert first.splitlines()[0] == "Traceback (most recent call last):"
    assert first.splitlines()[-1] == "ValueError"
    assert second.splitlines()[-1] == "KeyError"
    assert f'File "{__file__}", line ' in second
    assert SECRET not in text


def test_one_that_has_no_place_and_no_text_is_its_type() -> None:
    assert raised(Odd()) == "Odd"


def test_what_is_suppressed_or_goes_round_is_told_once() -> None:
    error, other = ValueError(), KeyError()
    error.__context__ = other
    error.__suppress_context__ = True
    assert raised(error) == "ValueError"
    error.__cause__, other.__cause__ = other, error
    assert raised(error) == "KeyError\n\nand then\n\nValueError"


@given(st.integers(0, 40))
def test_a_long_history_is_bounded(length: int) -> None:
    error: BaseException = ValueError(SECRET)
    for _ in range(length):
        later = KeyError(SECRET)
        later.__cause__ = error
        error = later
    told = raised(error).split("\n\nand then\n\n")
    assert len(told) == min(length + 1, MOST_EXCEPTIONS)
    assert told[-1] == ("KeyError" if length else "ValueError")


def test_of_a_group_its_parts_are_named() -> None:
    group = ExceptionGroup(SECRET, [ValueError(SECRET), KeyError(SECRET)])
    group.add_note(SECRET)
    assert raised(group) == "ExceptionGroup of 2: ValueError, KeyError"
