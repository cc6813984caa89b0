"""How the models think: from the messages that they are sent to the text that they answer."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_RULES = re.compile(r"between the lines <<<(POSTS|LINES) ([0-9a-f]{16})>>> and <<<END \2>>>")


class BadPrompt(Exception):
    """The prompt is not what it says it is."""


@dataclass(frozen=True)
class Asked:
    """What a prompt asks: about posts or lines, how many it wants at most, its topics, and the data in it."""

    what: str
    most: int
    topics: tuple[str, ...]
    data: tuple[Json, ...]


def asked(messages: list[Json], is_whole: bool = True) -> Asked:
    """What messages ask. Of a prompt that was cut the data that are left. Raises BadPrompt."""
    rules, data = messages[0]["content"], messages[1]["content"]
    told = _RULES.search(" ".join(rules.split()))
    most = re.search(r"^- (?:items|lines): at most (\d+)", rules, re.MULTILINE)
    if not told or not most:
        raise BadPrompt(f"no rules: {rules[:200]}")
    first, *lines, last = data.split("\n")
    if is_whole and (first, last) != (f"<<<{told[1]} {told[2]}>>>", f"<<<END {told[2]}>>>"):
        raise BadPrompt(f"no delimiters: {first[:80]} … {last[:80]}")
    if is_whole and sum(told[2] in message["content"] for message in messages) != 2:
        raise BadPrompt("the nonce is somewhere else")
    found = tuple(json.loads(line) for line in lines)
    if is_whole and [one["n"] for one in found if "n" in one] != list(range(sum("n" in one for one in found))):
        raise BadPrompt("the numbers are not 0, 1, 2 and so on")
    topics = re.search(r"one of these topics: (.*?)\. The theme", rules)
    return Asked(told[1], int(most[1]), tuple(json.loads(f"[{topics[1]}]")) if topics else (), found)


def _words(post: Json) -> str:
    return str(post.get("text") or post.get("original", {}).get("text") or "")


def sensible(question: Asked) -> Json:
    """A line for each post on the topics, by its author; of lines each one."""
    if question.what == "LINES":
        numbers = [one["n"] for one in question.data if "n" in one]
        return {"headline": 0, "lines": [[number] for number in numbers[: question.most]]}
    on = [
        post
        for post in question.data
        if not question.topics or any(topic.lower() in _words(post).lower() for topic in question.topics)
    ]
    items = [
        {"theme": post["by"], "text": f"{post['by']} says: {_words(post)[:80]}", "posts": [post["n"]]} for post in on
    ]
    return {"headline": f"News of {len(on)} posts" if on else "", "items": items[: question.most]}


def obedient(question: Asked) -> Json | str:
    """What the posts want: all that they say, cited with numbers of their own choice, or the answer that one orders."""
    if question.what == "LINES":
        return {"headline": 99, "lines": [[99, one["n"], -1] for one in question.data if "n" in one]}
    items: list[Json] = []
    for post in question.data:
        text = _words(post)
        if ordered := re.search(r"answer with: (.*)", text, re.DOTALL):
            return ordered[1]
        cited = [int(number) for number in re.findall(r"cite (-?\d+)", text)] or [post["n"]]
        items.append({"theme": text, "text": text, "posts": cited})
    return {"headline": items[0]["text"], "items": items}


def chatty(question: Asked) -> str:
    """As sensible, with thoughts before and words around the JSON, as models do that nobody holds to a format."""
    answer = json.dumps(sensible(question), indent=1, ensure_ascii=False)
    return f"<think>The user wants {{JSON}}.</think>\nHere is the digest:\n```json\n{answer}\n```\nAnything else?"


MINDS: dict[str, Callable[[Asked], Json | str]] = {"sensible": sensible, "obedient": obedient, "chatty": chatty}
