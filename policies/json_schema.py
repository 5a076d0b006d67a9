"""The JSON Schema of policy files, generated from their types, so that editors complete, explain and check them."""

from typing import Any, Final

import msgspec

from policies.kinds import KINDS

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema_json() -> dict[str, Any]:
    """One schema for all kinds of file; the value of `kind` selects which.

    It uses if/then and not oneOf, so that an editor shows the mistake and not "matches none of six".
    """
    references, definitions = msgspec.json.schema_components(
        [kind.shape for kind in KINDS], ref_template="#/$defs/{name}"
    )
    return {
        "$schema": DIALECT,
        "title": "A Penstock policy file",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"description": "What this file is.", "enum": [kind.tag for kind in KINDS]}},
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind.tag}}, "required": ["kind"]}, "then": reference}
            for kind, reference in zip(KINDS, references, strict=True)
        ],
        "$defs": {name: _without_null(definitions[name]) for name in sorted(definitions)},
    }


def schema_text() -> str:
    """The schema as a file holds it."""
    return msgspec.json.format(msgspec.json.encode(schema_json()), indent=2).decode() + "\n"


def _without_null(schema: Any) -> Any:
    """The same without null: a key that has no value is a mistake, and leaving the key out is how to say nothing."""
    if isinstance(schema, list):
        return [_without_null(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _without_null(part) for name, part in schema.items() if not (name == "default" and part is None)}
    members = [member for member in kept.get("anyOf", ()) if member != {"type": "null"}]
    if len(members) == 1:
        del kept["anyOf"]
        return {**members[0], **kept}
    return {**kept, "anyOf": members} if members else kept
