"""The sentences that are sent to the text model."""

from __future__ import annotations

from tokenizers import Tokenizer

from deploy.demo.text.sentences import SENTENCES
from deploy.demo.text_archive import TOKENIZER, package_dir


def test_they_are_fifty_and_of_many_lengths() -> None:
    tokenizer = Tokenizer.from_file(str(package_dir() / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    token_counts = [len(tokenizer.encode(sentence)) for sentence in SENTENCES]
    assert len(set(SENTENCES)) == 50
    assert (min(token_counts), max(token_counts)) == (4, 126)
    assert len(set(token_counts)) > 25
