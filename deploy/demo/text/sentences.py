"""Fifty sentences from one word to a long paragraph (4 to 126 tokens), for whoever sends load to the text model."""

from __future__ import annotations

from pathlib import Path

SENTENCES = tuple(Path(__file__).with_name("sentences.txt").read_text(encoding="utf-8").splitlines())
