"""Strict YAML: one meaning for every reader, and a place for every mistake."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.document import MAX_DEPTH, MAX_FILE_BYTES, as_list_item, parse
from policies.nodes import find, plain


def value_of(text: str) -> object:
    document = parse(f"key: {text}\n".encode(), "file.yaml")
    assert not document.errors, document.errors
    assert document.root is not None
    return plain(document.root.entries["key"].value)


def first_error(content: bytes) -> str:
    return str(parse(content, "file.yaml").errors[0])


@pytest.mark.parametrize("word", ["off", "no", "yes", "on", "y", "1:30", "2026-11-21", "1_000", "0b11", "=", "1.10.2"])
def test_what_only_old_yaml_takes_for_something_else_is_text(word: str) -> None:
    assert value_of(word) == word


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("12", 12),
        ("-3", -3),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("~", None),
        ("", None),
        ('"12"', "12"),
        ("'true'", "true"),
    ],
)
def test_core_types_are_those_of_yaml_1_2(word: str, value: object) -> None:
    found = value_of(word)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "file.yaml:1:1: the file is empty. Write a policy in it, or remove it."),
        (b"# only this\n", "file.yaml:1:1: the file holds only comments. Write a policy in it, or remove it."),
        (b"a: 1", "file.yaml:1:5: the file ends inside a line and looks cut off. End its last line."),
        (b"a:\t1\n", "file.yaml:1:3: a tab character. Use spaces."),
        (b"\xef\xbb\xbfa: 1\n", "file.yaml:1:1: a byte order mark. Save the file as UTF-8 without it."),
        (b"a: 1\nb: \x00\n", "file.yaml:2:4: an invisible character, U+0000. Remove it."),
        ("a: \u2028\n".encode(), "file.yaml:1:4: an invisible character, U+2028. Remove it."),
        (b"a: 1\nb: \xff\n", "file.yaml:2:4: the file is not UTF-8. Save it as UTF-8."),
        (b"a: 1\rb: 2\n", "file.yaml:1:5: an invisible character, U+000D. Remove it."),
        (b"a: 1\na: 2\n", 'file.yaml:2:1: the key "a" is here twice, first in line 1. Keep one of the two.'),
        (b"{a: 1}: 2\n", "file.yaml:1:1: a list or mapping as a key. Use a word as the key."),
        (
            b"0.8: warn\n",
            'file.yaml:1:1: the key "0.8" is the number 0.8 and a key is text. '
            'Write "0.8" in quotes, or 80% if it is a share.',
        ),
        (b"1: 2\n", 'file.yaml:1:1: the key "1" is the number 1 and a key is text. Write "1" in quotes.'),
        (b"a: " + b"9" * 5000 + b"\n", "file.yaml:1:4: a number of too many digits. Write a shorter one, "),
        (b"a: .NaN\n", "file.yaml:1:4: .NaN is not a finite number. Write a finite one."),
        (b"a: b: c\n", "file.yaml:1:5: this is not YAML: "),
        (b"a: [b c: d: e]\n", "file.yaml:1:11: this is not YAML: "),
        (b"a: 1\nb: [\n  x,\n  y\nc: 2\n", "file.yaml:2:4: the bracket that is opened here is not closed before "),
        (b"a: {b: [x\n", "file.yaml:1:8: the bracket that is opened here is not closed before line 2."),
        (b"a: [b: {\nc: 1\n", "file.yaml:1:8: the bracket that is opened here is not closed before line 3."),
        (b"a: 'x\nb: 1\n", "file.yaml:1:4: the quote that is opened here is never closed. Close it."),
        (b'a: "x\nb: "y"\n', "file.yaml:1:4: the quote that is opened here ends in line 2, and more follows it there."),
        (b"just words\n", "file.yaml:1:1: expected keys and values at the top of the file. "),
    ],
)
def test_what_has_two_meanings_or_none_is_refused_in_its_place(content: bytes, error: str) -> None:
    assert first_error(content).startswith(error)


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("digits", "digits"),
        ("10.0.0.7:8500", "10.0.0.7:8500"),
        ("*", '"*"'),
        ("1", '"1"'),
        ("true", '"true"'),
        ("a: b", '"a: b"'),
        ("x]", '"x]"'),
        ("#", '"#"'),
        ("", '""'),
        ("two\nlines", r'"two\nlines"'),
    ],
)
def test_a_text_is_quoted_in_a_list_only_where_it_must_be(text: str, item: str) -> None:
    assert as_list_item(text) == item


@settings(deadline=None)
# Beyond U+FFFF the escapes of JSON, two for one character, are none of YAML; only what is not printable needs them.
@given(st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=50))
def test_what_is_advised_as_an_item_reads_as_one_text_in_one_line(text: str) -> None:
    item = as_list_item(text)
    assert item.isprintable() or not item
    read = value_of(f"[{item}]")
    assert isinstance(read, list)
    assert [type(one) for one in read] == [str]


def test_a_file_of_more_than_a_mebibyte_is_refused() -> None:
    assert "larger than 1 MiB" in first_error(b"a: 1\n" + b"#" * MAX_FILE_BYTES + b"\n")


def test_nesting_has_a_bound() -> None:
    def nested(levels: int) -> bytes:
        return b"a: " + b"[" * levels + b"]" * levels + b"\n"

    assert not parse(nested(MAX_DEPTH - 1), "file.yaml").errors
    assert "nested deeper" in first_error(nested(MAX_DEPTH))
    assert "nested deeper" in first_error(nested(300_000))


def test_windows_line_ends_are_line_ends() -> None:
    document = parse(b"a: 1\r\nb: 2\r\n", "file.yaml")
    assert document.root is not None
    assert plain(document.root) == {"a": 1, "b": 2}
    assert document.root.entries["b"].key.line == 2


def test_a_path_finds_every_place_it_leads_to() -> None:
    root = parse(b"tiers:\n  gold: {rate: 1/s}\n  lead: {burst: 2}\nlist: [{a: 1}, {a: 2}]\n", "file.yaml").root
    assert root is not None
    assert [(found.name, found.line, found.column) for found in find(root, "tiers.*.rate")] == [
        ("tiers.gold.rate", 2, 10)
    ]
    assert [found.line for found in find(root, "list[].a")] == [4, 4]
    assert not list(find(root, "tiers[].rate"))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_mapping_or_an_error(content: bytes) -> None:
    document = parse(content, "file.yaml")
    assert document.root is not None or document.errors


@settings(deadline=None)
@given(
    st.text(st.sampled_from(list("ab:{}[]- \n#&*!'\"|>%@`,?~01.\\")), max_size=80).map(
        lambda text: text.encode() + b"\n"
    )
)
def test_any_yaml_is_a_mapping_or_an_error(content: bytes) -> None:
    document = parse(content, "file.yaml")
    assert document.root is not None or document.errors
