"""The parameters of a request, checked as strictly as the published specification has them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from tests.peers.x.text import Json
from tests.peers.x.words import Vocabulary, known_elsewhere, parameter_names, taken

ID = r"^[0-9]{1,19}$"
NAME = r"^[A-Za-z0-9_]{1,15}$"
TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"
_FIRST_DAY = datetime(2010, 11, 6, tzinfo=UTC)


class Refused(Exception):
    """Parameters that are refused; `args` are the errors of the answer."""


@dataclass(frozen=True)
class Parameter:
    """What a parameter takes: a pattern or a range of numbers, or, `takes`, the values of a list by `x_words.taken`."""

    name: str
    pattern: str = ""
    numbers: tuple[int, int] | None = None
    takes: str = ""
    values: tuple[str, ...] = ()
    most: int = 0
    required: bool = False


def checked(
    parameters: Sequence[Parameter], told: Mapping[str, str], query: str, vocabulary: Vocabulary, silent: bool
) -> dict[str, list[str]]:
    """What was asked for, by the parameters' new names; `told` is what the path told. Raises Refused with all that is
    wrong, as X does.
    """
    names = {called: parameter for parameter in parameters for called in parameter_names(parameter.name, vocabulary)}
    given: dict[str, list[str]] = {}
    errors = []
    ignored = ("post.fields", "tweet.fields") if silent else ()
    for called, value in [*told.items(), *parse_qsl(query, keep_blank_values=True)]:
        if called not in names:
            if called not in ignored:
                said = f"The query parameter [{called}] is not one of [{','.join(names)}]"
                errors.append(error(called, [value], said))
            continue
        parameter = names[called]
        if parameter.name in given:
            errors.append(error(called, [value], f"The `{called}` query parameter can only be given once"))
        values, wrong = _values(parameter, called, value, vocabulary, silent)
        given[parameter.name] = values
        errors += wrong
    for parameter in parameters:
        if parameter.required and parameter.name not in given:
            errors.append(error(parameter.name, [], f"The `{parameter.name}` query parameter can not be empty"))
    errors = errors or _contradictions(given)
    if errors:
        raise Refused(*errors)
    return given


def _values(
    parameter: Parameter, called: str, value: str, vocabulary: Vocabulary, silent: bool
) -> tuple[list[str], list[Json]]:
    """The values of one parameter, and what is wrong with them."""
    is_list = bool(parameter.takes or parameter.values or parameter.most)
    values = value.split(",") if is_list else [value]
    if not value:
        return [], [error(called, [""], f"The `{called}` query parameter can not be empty")]
    if parameter.takes and silent:
        allowed = taken(parameter.takes, vocabulary)
        values = [one for one in values if one in allowed or not known_elsewhere(parameter.takes, one)]
    wrong = [message for one in values if (message := _wrong(parameter, called, one, vocabulary))]
    errors = [error(called, values, message) for message in dict.fromkeys(wrong)]
    if parameter.most and not 1 <= len(values) <= parameter.most:
        message = f"The number of values in the `{called}` query parameter list [{len(values)}] is not between 1 and"
        errors.append(error(called, values, f"{message} {parameter.most}"))
    if (parameter.takes or parameter.values) and len(set(values)) < len(values):
        errors.append(error(called, values, f"The `{called}` query parameter list contains a value twice"))
    return values, errors


def _wrong(parameter: Parameter, called: str, value: str, vocabulary: Vocabulary) -> str:
    """What is wrong with one value, or nothing."""
    said = f"The `{called}` query parameter value [{value}]"
    if parameter.pattern and not re.fullmatch(parameter.pattern.strip("^$"), value, re.ASCII):
        return f"{said} does not match {parameter.pattern}"
    if parameter.numbers:
        least, most = parameter.numbers
        number = int(value) if re.fullmatch(r"-?[0-9]{1,9}", value) else None
        return "" if number is not None and least <= number <= most else f"{said} is not between {least} and {most}"
    allowed = [*parameter.values, *(taken(parameter.takes, vocabulary) if parameter.takes else ())]
    return f"{said} is not one of [{','.join(allowed)}]" if allowed and value not in allowed else ""


def _contradictions(given: Mapping[str, list[str]]) -> list[Json]:
    """What is wrong with parameters that are good one by one."""
    errors = []
    times = {}
    for name in ("start_time", "end_time"):
        for value in given.get(name, []):
            times[name] = time_of(value)
            if times[name] < _FIRST_DAY:
                errors.append(error(name, [value], f"'{name}' must be on or after 2010-11-06T00:00:00Z"))
    if not errors and len(times) == 2 and times["start_time"] >= times["end_time"]:
        errors.append(error("end_time", given["end_time"], "'end_time' must be later than 'start_time'"))
    if "since_id" in given and "until_id" in given and int(given["since_id"][0]) >= int(given["until_id"][0]):
        errors.append(error("until_id", given["until_id"], "'until_id' must be larger than 'since_id'"))
    return errors


def error(parameter: str, values: Iterable[str], message: str) -> Json:
    """One error of a 400, as X writes it."""
    return {"parameters": {parameter: list(values)}, "message": message}


def time_of(value: str) -> datetime:
    """A time in a parameter; the earliest there is where it is none."""
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
