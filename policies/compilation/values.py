"""Values that may be left out, and lists that may be one name."""

from policies import units


def size(text: str | None, usual: int) -> int:
    """Bytes; ``usual`` where nothing is written."""
    return usual if text is None else units.size_bytes(text)


def duration(text: str | None, usual_s: float) -> float:
    """Seconds; ``usual_s`` where nothing is written."""
    return usual_s if text is None else units.duration_s(text)


def optional_duration(text: str | None) -> float | None:
    """Seconds, or None where nothing is written."""
    return None if text is None else units.duration_s(text)


def names(written: str | list[str] | None) -> tuple[str, ...]:
    """One name or several, in their order."""
    return (written,) if isinstance(written, str) else tuple(sorted(written or ()))
