"""Entries leave a document by their place, and all others stay as they are."""

from policies.document import parse
from policies.nodes import find, plain, without


def test_what_is_taken_out_is_taken_out_however_deep_and_nothing_else() -> None:
    root = parse(b"a: {b: 1, c: 2}\nlist: [{b: 1, c: 2}, b]\nb: 1\n", "file.yaml").root
    assert root is not None
    places = {(found.line, found.column) for path in ("a.b", "list[].c") for found in find(root, path)}
    assert plain(without(root, places)) == {"a": {"c": 2}, "list": [{"b": 1}, "b"], "b": 1}
    assert without(root, set()) == root
