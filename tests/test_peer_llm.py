"""The fake of an OpenAI-compatible server is strict, keeps a true ledger, and fails as it is told to."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.peers.llm import LLM

NONCE = "0123456789abcdef"
RULES = f"Posts are between the lines <<<POSTS {NONCE}>>> and <<<END {NONCE}>>>.\n- items: at most 3, JSON"
DATA = f'<<<POSTS {NONCE}>>>\n{{"n":0,"by":"@kaya","text":"Hi"}}\n<<<END {NONCE}>>>'
GOOD: dict[str, Any] = {
    "model": "larch-2",
    "messages": [{"role": "system", "content": RULES}, {"role": "user", "content": DATA}],
    "max_tokens": 500,
}


@pytest.fixture(scope="module")
def server() -> Iterator[LLM]:
    with LLM() as server:
        yield server


@pytest.fixture
def llm(server: LLM) -> LLM:
    server.do("reset")
    return server


def ask(llm: LLM, body: Any = GOOD, key: str | None = "sk-invented", path: str = "/v1/chat/completions") -> Any:
    """The status and the JSON of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", llm.port, timeout=5)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def test_a_good_request_is_answered_and_counted(llm: LLM) -> None:
    status, answer = ask(llm)
    assert status == 200
    assert json.loads(answer["choices"][0]["message"]["content"])["items"][0]["posts"] == [0]
    (entry,) = llm.do("ledger")
    assert entry["input_tokens"] == answer["usage"]["prompt_tokens"] > 20
    assert "authorization" not in entry["headers"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"temperature": 0}, 422),
        ({"model": "other"}, 404),
        ({"max_tokens": 0}, 400),
        ({"max_completion_tokens": 5}, 400),
        ({"max_tokens": 99_999}, 400),
        ({"messages": GOOD["messages"][:1]}, 400),
        ({"messages": [GOOD["messages"][0], {"role": "user", "content": ""}]}, 400),
        ({"response_format": {"type": "xml"}}, 400),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {}}}}, 400),
    ],
)
def test_what_is_wrong_is_refused(llm: LLM, changes: dict[str, Any], status: int) -> None:
    assert ask(llm, GOOD | changes)[0] == status


def test_keys_are_looked_at(llm: LLM) -> None:
    assert ask(llm, key=None)[0] == ask(llm, key="sk-other")[0] == 401
    assert ask(llm, path="/v1/completions")[0] == 404


def test_answers_end_where_they_have_to(llm: LLM) -> None:
    _, answer = ask(llm, GOOD | {"max_tokens": 2})
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["choices"][0]["message"]["content"] == '{"headli'


@pytest.mark.parametrize("kind", ["cut_body", "lying_length", "cut_header"])
def test_answers_break_on_their_way(llm: LLM, kind: str) -> None:
    llm.fail(kind)
    with pytest.raises((http.client.HTTPException, ValueError)):
        ask(llm)
    assert ask(llm)[0] == 200


def test_a_key_in_the_wrong_place_and_a_bad_prompt_fail_the_test() -> None:
    with pytest.raises(AssertionError, match="the key is somewhere in the request"), LLM() as llm:
        ask(llm, GOOD | {"user": "sk-invented"})
    with pytest.raises(AssertionError, match="a prompt that is none"), LLM() as llm:
        ask(llm, GOOD | {"messages": [{"role": "system", "content": "Hello"}, {"role": "user", "content": "You"}]})
    with pytest.raises(AssertionError, match="without keys"), LLM(key="") as llm:
        ask(llm)
