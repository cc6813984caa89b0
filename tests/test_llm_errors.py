"""What an OpenAI-compatible server's answers mean that are none."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import NOON
from xtrack.errors import BadData, Misconfigured, Refused, Temporary, XTrackError
from xtrack.settings import LLM, Secret
from xtrack.summarizers._llm_errors import Busy, Declined, Lost, Reply, TooLong, Unsupported, delay, problem

SERVER = LLM(model="larch-2", key=Secret("sk-invented"), base_url="https://llm.example/v1")


def found(status: int, body: Any, **headers: str) -> XTrackError | None:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return problem(
        Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, sent), SERVER, NOON
    )


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (429, error("You exceeded your current quota", code="insufficient_quota"), Refused),
        (402, error("Insufficient Balance"), Refused),
        (400, error("Your credit balance is too low to access the API."), Refused),
        (429, error("You exceeded your current quota, please retry later", status="RESOURCE_EXHAUSTED"), Busy),
        (429, error("Rate limit reached for gpt in organization org on tokens per min (TPM)", code="rate_limit"), Busy),
        (400, error("too long", code="context_length_exceeded"), TooLong),
        (400, {"object": "error", "message": "This model's maximum context length is 4096 tokens. However"}, TooLong),
        (400, error("max_tokens must be at least 1, got -90: maximum context length is 4096"), TooLong),
        (400, error("prompt is too long: 208310 tokens > 200000 maximum"), TooLong),
        (400, error("The input token count (9) exceeds the maximum number of tokens allowed (8)."), TooLong),
        (500, error("the request exceeds the available context size", type="exceed_context_size_error"), TooLong),
        (413, b"<html>too large</html>", TooLong),
        (400, error("The response was filtered", code="content_filter"), Declined),
        (400, error("rejected by our safety system"), Declined),
        (400, error("'response_format.type' must be 'json_schema' or 'text'"), Unsupported),
        (422, {"detail": [{"loc": ["body", "response_format"], "msg": "Extra inputs are not permitted"}]}, Unsupported),
        (500, error("Failed to initialize samplers: failed to parse grammar"), Unsupported),
        (404, {"error": "model 'larch-2' not found"}, Misconfigured),
        (404, b"404 page not found", Misconfigured),
        (400, error("larch-2 is not a valid model ID", code="model_not_found"), Misconfigured),
        (301, b"", Misconfigured),
        (401, b"", Refused),
        (403, error("Project does not have access"), Refused),
        (400, error("Something else"), BadData),
        (418, b"", BadData),
        (408, b"", Busy),
        (529, b"overloaded", Busy),
        (500, b"<html>", Busy),
        (200, {"error": {"message": "Provider returned error", "code": 502}}, Busy),
        (200, {"choices": [{"error": {"message": "Provider returned error", "code": 429}}]}, Busy),
        (200, {"error": "something"}, Busy),
        (200, b"<html>", Temporary),
        (200, b'{"choices": [', Lost),
        (200, b"\xff\xfe", Temporary),
    ],
)
def test_errors_are_told_by_their_bodies_first(status: int, body: Any, expected: type[XTrackError]) -> None:
    assert type(found(status, body)) is expected


def test_an_answer_is_no_error() -> None:
    assert found(200, {"choices": [{"message": {"content": "{}"}}]}) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("Unsupported parameter: 'max_tokens' is not supported with this model.", "limit"),
        ("Unrecognized request argument supplied: max_completion_tokens", "limit"),
        ("max_tokens is too large: 8192. This model supports at most 4096 completion tokens.", "room"),
        ("Invalid value for max_completion_tokens: must be less than or equal to 2048", "room"),
    ],
)
def test_limits_of_an_answer_are_told_from_their_names(text: str, part: str) -> None:
    told = found(400, error(text))
    assert isinstance(told, Unsupported)
    assert told.part == part


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("This model's maximum context length is 4097 tokens. However, you requested 6000 tokens", 4097),
        ("prompt is too long: 208310 tokens > 200000 maximum", 200000),
        ("Request too large on tokens per minute (TPM): Limit 6000, Requested 9000", 6000),
        ("context size exceeded", 0),
    ],
)
def test_how_much_a_server_takes_is_read(text: str, limit: int) -> None:
    told = found(400, error(text))
    assert isinstance(told, TooLong)
    assert told.limit == limit


@pytest.mark.parametrize(
    "body", [error("Bad key sk-invented\x1b[31m\nsee"), {"sk-invented": ["sk-invented"]}, ["sk-invented"]]
)
@pytest.mark.parametrize("status", [400, 402, 403, 404, 413, 429, 500])
def test_the_key_is_in_no_error(status: int, body: Any) -> None:
    told = found(status, body)
    assert "sk-invented" not in f"{told!r} {told}"
    assert str(told).isprintable()
    assert len(str(told)) < 330


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Fri, 15 Jan 2027 12:00:40 GMT"}, 40),
        ({"retry-after": "Fri, 15 Jan 2027 11:00:00 GMT"}, 0),
        ({"retry-after": "soon", "x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, 360),
        ({"x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-reset": "45"}, 45),
        ({"x-ratelimit-reset": str(int(NOON.timestamp()) + 9)}, 9),
        ({"x-ratelimit-reset": str((int(NOON.timestamp()) + 9) * 1000)}, 9),
        ({"x-ratelimit-reset": "9" * 40}, None),
        ({"x-ratelimit-reset": "later"}, None),
        ({}, None),
    ],
)
def test_when_to_come_again_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert delay(headers, NOON) == (None if seconds is None else timedelta(seconds=seconds))
