"""Single values as they are written: each says what it looks like, in a pattern and in words.

The order of a type's fields is the order in which `fmt` puts keys. The last key of each file is one that must be there,
so that a file in this order which is cut off at the end of some line lacks it, and is refused.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from policies import units


class Written(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a policy file; a key that it does not name is a mistake. None stands for a key that is not there."""


NAME_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9._-]{0,62}$"
VERSION_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])"
_PORT = r"(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4})"
_NAMED_KEYS = r"(?:tenant|header:[A-Za-z0-9-]{1,64}|jwt:[A-Za-z0-9_.-]{1,64})"

Duration = Annotated[
    str,
    Meta(
        pattern=units.DURATION_PATTERN,
        description="A length of time with its unit: ms, s, m, h or d.",
        examples=["250ms", "2s", "15m"],
        extra={"unit": "duration"},
    ),
]
Rate = Annotated[
    str,
    Meta(
        pattern=units.RATE_PATTERN,
        description="So many per second (/s), minute (/m), hour (/h) or day (/d).",
        examples=["300/s"],
        extra={"unit": "rate"},
    ),
]
Size = Annotated[
    str,
    Meta(
        pattern=units.SIZE_PATTERN,
        description="A size with its unit: B, KiB, MiB, GiB or TiB.",
        examples=["16MiB"],
        extra={"unit": "size"},
    ),
]
Percent = Annotated[
    str,
    Meta(
        pattern=units.PERCENT_PATTERN,
        description="A percentage.",
        examples=["5%"],
        extra={"unit": "percent"},
    ),
]
Share = Annotated[
    str,
    Meta(
        pattern=units.PERCENT_PATTERN,
        description="A share of the whole, from 0% to 100%.",
        examples=["5%"],
        extra={"unit": "percent", "at_most": 1.0, "limit": "100%"},
    ),
]
Factor = Annotated[
    str,
    Meta(
        pattern=units.FACTOR_PATTERN,
        description="How many times as much.",
        examples=["1.2x"],
        extra={"unit": "factor"},
    ),
]
TimeShare = Annotated[
    str,
    Meta(
        pattern=units.TIME_SHARE_PATTERN,
        description="Device time per hour (/h) or day (/day).",
        examples=["20h/day"],
        extra={"unit": "time share"},
    ),
]
Moment = Annotated[
    str,
    Meta(
        pattern=units.MOMENT_PATTERN,
        description="A day and time with its zone, as RFC 3339 writes it.",
        examples=["2027-03-01T00:00:00Z"],
        extra={"unit": "moment"},
    ),
]
Text = Annotated[str, Meta(min_length=1, max_length=200, extra={"expected": "text of 1 to 200 characters"})]
Name = Annotated[
    str,
    Meta(
        pattern=NAME_PATTERN,
        extra={
            "expected": 'a name: a letter, then letters, digits, ".", "_" or "-", at most 63 in all',
            "example": "ranker",
        },
    ),
]
# A name where a list of names may stand instead. It has no pattern: msgspec 0.22 frees one too often that is in a union
# with a list, and the process ends in a crash. What is no name is told as one that leads nowhere.
OneName = Annotated[str, Meta(min_length=1, max_length=63, extra={"expected": "a name", "example": "ranker"})]
VersionName = Annotated[
    str,
    Meta(
        pattern=VERSION_PATTERN,
        extra={
            "expected": 'a version: a letter or digit, then letters, digits, ".", "_" or "-", at most 63 in all',
            "example": '"1"',
        },
    ),
]
ModelOrEvery = Annotated[
    str,
    Meta(
        pattern=r"^(?:\*|[A-Za-z][A-Za-z0-9._-]{0,62})$",
        extra={"expected": 'the name of a model, or "*" for every model', "example": "ranker"},
    ),
]
HostPort = Annotated[
    str,
    Meta(
        pattern=rf"^{_HOST}:{_PORT}$",
        examples=["127.0.0.1:8080"],
        extra={"expected": "an address, HOST:PORT", "example": "127.0.0.1:8080"},
    ),
]
PodAddress = Annotated[
    str,
    Meta(
        # 107 bytes is what Linux allows a socket's path to be (unix(7)).
        pattern=rf"^(?:unix:/[^\x00-\x20]{{1,106}}|{_HOST}:{_PORT})$",
        examples=["unix:/run/ranker.sock", "10.0.0.7:8500"],
        extra={"expected": "an address, unix:/PATH or HOST:PORT", "example": "unix:/run/ranker.sock"},
    ),
]
Url = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^\x00-\x20]{1,500}$",
        extra={"expected": "a URL", "example": "https://sso.example/jwks.json"},
    ),
]
SecretPlace = Annotated[
    str,
    Meta(
        pattern=r"^(?:env:[A-Z_][A-Z0-9_]{0,62}|file:/[^\x00-\x20]{1,500})$",
        extra={"expected": "where it is kept, env:NAME or file:/PATH", "example": "file:/etc/mesh/tls.key"},
    ),
]
FilePlace = Annotated[
    str,
    Meta(
        pattern=r"^file:/[^\x00-\x20]{1,500}$",
        extra={"expected": "where it is kept, file:/PATH", "example": "file:/etc/ssl/ours.pem"},
    ),
]
UrlOrPlace = Annotated[
    str,
    Meta(
        pattern=r"^(?:https?://[^\x00-\x20]{1,500}|env:[A-Z_][A-Z0-9_]{0,62}|file:/[^\x00-\x20]{1,500})$",
        extra={
            "expected": "a URL, or where it is kept, env:NAME or file:/PATH",
            "example": "https://hooks.example/penstock",
        },
    ),
]
HeaderName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$",
        extra={"expected": "the name of a header in small letters", "example": "x-user-id"},
    ),
]
StickyKey = Annotated[
    str,
    Meta(
        pattern=rf"^{_NAMED_KEYS}$",
        extra={"expected": "tenant, header:NAME or jwt:CLAIM", "example": "header:x-user-id"},
    ),
]
JsonPointer = Annotated[
    str,
    Meta(
        pattern=r"^(?:/(?:[^/~\x00-\x1f]|~[01]){1,200}){1,20}$",
        extra={"expected": "a JSON Pointer into the body", "example": "/outputs/0/data"},
    ),
]
PathOnPod = Annotated[
    str,
    Meta(
        pattern=r"^/[!-~]{0,200}$",
        extra={"expected": "a path that begins with /", "example": "/v2/health/ready"},
    ),
]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
