"""The text handler as TorchServe would call it: known similarities, every form of input, and refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from ts.context import RequestProcessor
from ts.torch_handler.unit_tests.test_utils.mock_context import MockContext
from ts.utils.util import PredictionException

from deploy.demo.text.handler import MAX_CHARACTERS, TextHandler, row_text
from deploy.demo.text.sentences import SENTENCES
from tests.deploy.demo.conftest import Extract


@pytest.fixture(scope="module")
def handler(extract: Extract) -> TextHandler:
    handler = TextHandler()
    handler.initialize(
        MockContext(model_pt_file="model.safetensors", model_dir=extract("text-1.mar"), model_file="model.py")
    )
    return handler


def answered(handler: TextHandler, *texts: str) -> list[dict[str, Any]]:
    context = MockContext()
    context.request_processor = [RequestProcessor({}) for _ in texts]
    answers: list[dict[str, Any]] = handler.handle([{"body": {"text": text}} for text in texts], context)
    return answers


def embedded(handler: TextHandler, *texts: str) -> torch.Tensor:
    return torch.tensor([answer["embedding"] for answer in answered(handler, *texts)])


def test_similarities_are_those_that_sentence_transformers_gives(handler: TextHandler) -> None:
    embeddings = embedded(handler, "The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
    # Source: https://sbert.net/docs/quickstart.html, printed with four decimals for all-MiniLM-L6-v2.
    expected = torch.tensor([[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]])
    assert torch.allclose(embeddings @ embeddings.T, expected, atol=1e-4)


def test_what_means_the_same_is_near_and_what_does_not_is_far(handler: TextHandler) -> None:
    embeddings = embedded(
        handler,
        "How do I reset my password?",
        "I forgot my password, how do I get a new one?",
        "The pasta should boil for nine minutes.",
    )
    similarities = embeddings @ embeddings.T
    assert similarities[0, 1] > 0.6
    assert similarities[0, 2] < 0.2
    assert similarities[1, 2] < 0.2


def test_a_batch_of_all_lengths_is_answered_as_each_text_alone(handler: TextHandler) -> None:
    texts = (*SENTENCES[:3], *SENTENCES[-3:], *SENTENCES[20:25], "word " * 400)
    alone = torch.cat([embedded(handler, text) for text in texts])
    assert torch.allclose(embedded(handler, *texts), alone, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "token_ids"),
    [
        ("This is an example sentence", [101, 2023, 2003, 2019, 2742, 6251, 102]),
        ("HÉLLO, wörld!", [101, 7592, 1010, 2088, 999, 102]),  # lower case, no accents
        ("unaffable", [101, 14477, 20961, 3468, 102]),  # una ##ffa ##ble, of the paper's own example
        ("x" * 101, [101, 100, 102]),  # no word has more than 100 characters
    ],
)
def test_text_becomes_the_tokens_that_the_model_knows(handler: TextHandler, text: str, token_ids: list[int]) -> None:
    ids, is_token = handler.preprocess([{"body": text}])
    assert ids.tolist() == [token_ids]
    assert bool(is_token.all())


def test_rows_are_padded_to_the_longest_of_their_batch_only(handler: TextHandler) -> None:
    ids, is_token = handler.preprocess([{"body": "hello"}, {"body": "hello hello world"}])
    assert ids.tolist() == [[101, 7592, 102, 0, 0], [101, 7592, 7592, 2088, 102]]
    assert is_token.sum(dim=1).tolist() == [3, 5]


def test_a_long_text_is_cut_at_256_tokens_and_the_answer_says_so(handler: TextHandler) -> None:
    short, long, longer = answered(handler, "hello", "word " * 254, "word " * 254 + "and what nobody reads")
    assert (short["tokens"], long["tokens"], longer["tokens"]) == (3, 256, 256)
    assert longer["embedding"] == pytest.approx(long["embedding"], abs=1e-5)


def test_an_answer_is_json_of_384_numbers(handler: TextHandler) -> None:
    context = MockContext()
    context.request_processor = [RequestProcessor({})]
    (answer,) = handler.handle([{"body": "hello"}], context)
    assert len(answer["embedding"]) == 384
    assert json.loads(json.dumps(answer)) == answer
    assert context.get_response_content_type(0) == "application/json"


@pytest.mark.parametrize(
    "row",
    [
        {"body": {"text": "grüß dich"}},
        {"body": "grüß dich"},
        {"data": bytearray("grüß dich".encode())},
        {"body": bytearray(b"\n" + json.dumps({"text": "grüß dich"}).encode())},
        {"text": ["grüß dich".encode()]},
        {"text": "grüß dich"},
    ],
)
def test_every_form_of_text_is_understood(row: dict[str, Any]) -> None:
    assert row_text(row) == "grüß dich"


def test_plain_text_that_looks_like_json_stays_text() -> None:
    assert row_text({"body": '{"text": "a"}'}) == '{"text": "a"}'


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, "holds no text"),
        ({"body": None}, "holds no text"),
        ({"body": ""}, "holds no text"),
        ({"body": " \n"}, "holds no text"),
        ({"body": {"text": 3}}, "holds no text"),
        ({"body": {"txt": "hello"}}, "holds no text"),
        ({"body": ["hello"]}, "holds no text"),
        ({"text": [b"one", b"two"]}, "holds no text"),
        ({"body": bytearray(b"{half")}, "not JSON"),
        ({"body": bytearray(b'{"text":' + b"[" * 100_000)}, "not JSON"),
        ({"body": bytearray(b"\xff\xfe")}, "not UTF-8"),
        ({"text": [b"\xff"]}, "not UTF-8"),
        ({"body": "a" * (MAX_CHARACTERS + 1)}, "has 32769 characters; send at most 32768"),
    ],
)
def test_a_wrong_row_is_refused_with_a_sentence(row: dict[str, Any], problem: str) -> None:
    with pytest.raises(PredictionException, match=problem) as refused:
        row_text(row)
    assert refused.value.error_code == 422


def test_each_row_s_tokens_are_told_for_its_account(handler: TextHandler) -> None:
    context = MockContext()
    context.request_processor = [RequestProcessor({}) for _ in range(2)]
    answers = handler.handle([{"body": {"text": text}} for text in ("hello", "a longer sentence of words")], context)
    told = [context.get_response_headers(index)["penstock-tokens"] for index in range(2)]
    assert told == [str(answer["tokens"]) for answer in answers] == ["3", "7"]
