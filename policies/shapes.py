"""Walks the types of policy files: what is below a key, an item or a name."""

from functools import cache

from msgspec import inspect


@cache
def type_of(shape: type) -> inspect.Type:
    """A type as it can be walked."""
    return inspect.type_info(shape)


def bare(shape: inspect.Type | None) -> inspect.Type | None:
    """A type without its descriptions and without "or nothing"; None when it is one of several."""
    if isinstance(shape, inspect.Metadata):
        return bare(shape.type)
    if isinstance(shape, inspect.UnionType):
        members = [member for member in shape.types if not isinstance(member, inspect.NoneType)]
        return bare(members[0]) if len(members) == 1 else None
    return shape


def field_shapes(shape: inspect.Type | None) -> dict[str, inspect.Type]:
    """The type of each key that a type names; empty when it names none."""
    plain = bare(shape)
    return {field.encode_name: field.type for field in plain.fields} if isinstance(plain, inspect.StructType) else {}


def value_shape(shape: inspect.Type | None) -> inspect.Type | None:
    """The type of every value under free keys, or of every item of a list; None when a type has neither."""
    plain = bare(shape)
    if isinstance(plain, inspect.DictType):
        return plain.value_type
    return plain.item_type if isinstance(plain, inspect.ListType) else None
