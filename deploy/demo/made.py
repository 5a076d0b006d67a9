"""What a maker of archives gives, and the one way in which it fails."""

from __future__ import annotations

from dataclasses import dataclass

SAMPLE_INPUT = "sample_input.json"
SAMPLE_OUTPUT = "sample_output.json"


class NotHere(Exception):
    """What an archive is made from is not here; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Made:
    """The content of one archive.

    Attributes:
        files: by name, in the order in which they are packed.
        told: what is worth knowing of it, for people.
    """

    files: dict[str, bytes]
    told: str
