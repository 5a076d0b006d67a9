"""The generated schema takes what the loader takes, and the file in the docs is the generated one."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policies.document import parse
from policies.json_schema import schema_json, schema_text
from policies.nodes import plain

ROOT = Path(__file__).parents[2]
DEMO = sorted((ROOT / "policies" / "demo").rglob("*.yaml"))
EXAMPLE = sorted((Path(__file__).parent / "worked_example").rglob("*.yaml"))
SCHEMA = schema_json()
NOTES = {"$schema", "title", "description", "examples", "default", "$defs"}
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


def invalid(value: Any, schema: dict[str, Any]) -> Iterator[str]:
    """Why a value does not follow a schema, for the keywords that ours uses; any other keyword fails the test."""
    if not holds(value, "type", schema.get("type", "anything")):
        yield f"{value!r} is no {schema['type']}"
        return
    for keyword, wanted in schema.items():
        if keyword not in NOTES and keyword not in ("then",):
            yield from invalid_keyword(value, keyword, wanted, schema)


def invalid_keyword(value: Any, keyword: str, wanted: Any, schema: dict[str, Any]) -> Iterator[str]:
    match keyword:
        case "$ref":
            yield from invalid(value, SCHEMA["$defs"][wanted.removeprefix("#/$defs/")])
        case "allOf":
            for part in wanted:
                yield from invalid(value, part)
        case "anyOf":
            if all(list(invalid(value, part)) for part in wanted):
                yield f"{value!r} matches none of {wanted}"
        case "if":
            if not list(invalid(value, wanted)):
                yield from invalid(value, schema["then"])
        case "properties":
            for name in wanted.keys() & value.keys():
                yield from invalid(value[name], wanted[name])
        case "additionalProperties":
            for name in value.keys() - schema.get("properties", {}).keys():
                yield from invalid(value[name], wanted) if isinstance(wanted, dict) else [f"unknown {name}"]
        case "propertyNames":
            for name in value:
                yield from invalid(name, wanted)
        case "items":
            for item in value:
                yield from invalid(item, wanted)
        case _:
            if not holds(value, keyword, wanted):
                yield f"{keyword} {wanted!r} does not hold for {value!r}"


def holds(value: Any, keyword: str, wanted: Any) -> bool:
    """Whether a keyword about the value itself, and not about its parts, is satisfied."""
    match keyword:
        case "type":
            return wanted == "anything" or (
                isinstance(value, TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))
            )
        case "enum":
            return value in wanted
        case "const":
            return bool(value == wanted)
        case "pattern":
            return bool(re.search(wanted, value))
        case "required":
            return bool(set(wanted) <= value.keys())
        case "minLength" | "minItems" | "minProperties":
            return bool(len(value) >= wanted)
        case "maxLength" | "maxItems":
            return bool(len(value) <= wanted)
        case "minimum" | "exclusiveMinimum":
            return bool(value > wanted or (keyword == "minimum" and value == wanted))
        case "maximum" | "exclusiveMaximum":
            return bool(value < wanted or (keyword == "maximum" and value == wanted))
    raise AssertionError(f"the schema uses {keyword}, which this test does not know")


def read(file: Path) -> Any:
    root = parse(file.read_bytes(), file.name).root
    assert root is not None
    return plain(root)


@pytest.mark.parametrize("file", [*DEMO, *EXAMPLE], ids=lambda file: "/".join(file.parts[-2:]))
def test_each_example_follows_the_schema(file: Path) -> None:
    assert list(invalid(read(file), SCHEMA)) == []


@pytest.mark.parametrize(
    "mistake",
    [
        "a_misspelt_key",
        "a_missing_key",
        "a_number_without_its_unit",
        "a_version_that_is_a_number",
        "a_size_in_powers_of_ten",
        "the_wrong_kind",
        "a_key_without_a_value",
        "a_number_too_large",
        "a_port_that_is_none",
        "a_device_that_is_none",
        "a_text_where_a_list_is_due",
    ],
)
def test_an_editor_sees_the_mistakes_that_are_in_one_value(mistake: str) -> None:
    assert list(invalid(read(Path(__file__).parent / "mistakes" / f"{mistake}.yaml"), SCHEMA))


def test_every_key_has_a_text_to_show_and_no_other_key_is_allowed() -> None:
    for name, definition in SCHEMA["$defs"].items():
        assert definition["additionalProperties"] is False, name
        for key, schema in definition["properties"].items():
            assert schema.get("description"), f"{name}.{key}"


def test_the_schemas_in_the_docs_and_in_the_demo_are_the_generated_one() -> None:
    assert (ROOT / "docs" / "reference" / "policy-schema.json").read_text() == schema_text(), (
        "run: penstock policy schema > docs/reference/policy-schema.json"
    )
    assert (ROOT / "policies" / "demo" / "policy-schema.json").read_text() == schema_text(), (
        "run: penstock policy fmt policies/demo"
    )


@pytest.mark.parametrize("file", DEMO, ids=lambda file: "/".join(file.parts[-2:]))
def test_each_file_of_the_demo_points_editors_at_the_schema_that_is_copied_with_it(file: Path) -> None:
    line = file.read_text().partition("\n")[0]
    assert (file.parent / line.partition("$schema=")[2]).resolve() == ROOT / "policies" / "demo" / "policy-schema.json"
