"""Sentences and words of posts, in any script."""

import re
import unicodedata
from collections.abc import Iterator

MAX_LINE = 240
_SHORT_POST = 160
_CONSIDERED = 5_000
_FRAGMENT = 4
_SENTENCES = 40
_CONTEXT = 40

# Scripts written without spaces between words, and Korean, whose particles cling to its nouns.
_SPACELESS = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_UNSPACED = rf"{_SPACELESS}\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]+|[^\s{_UNSPACED}]+")

# A run of full stops can match at its start only: tried at each character, "....." would cost the square of its length.
_BOUNDARY = re.compile(
    rf"""\n
    | [。！？｡៕။]+[」』”’）)"]*[ ]?
    | (?<![.!?…؟۔।॥։។])[.!?…؟۔।॥։។]+["'”’»)\]]*[ ]
    | (?<=[{_SPACELESS}])[ ](?=[{_SPACELESS}])""",
    re.VERBOSE,
)
_ABBREVIATIONS = frozenset(
    "dr mr mrs ms prof pres fmr st sr sra jr vs gen gov sen rep sgt capt lt col rev hon mt no nos nr vol fig art ca cf "
    "approx jan feb mar apr jun jul aug sep sept oct nov dec".split(" ")
)
_INITIALS = re.compile(r"(?:[^\W\d]\.)*[^\W\d]")

_LINK = re.compile(r"(?:https?://|www\.)[!-~]+")
_LINK_OR_PLACEHOLDER = re.compile(rf"{_LINK.pattern}|\[\w+\]")
_TAIL = re.compile(rf"{_LINK_OR_PLACEHOLDER.pattern}|[#＃]\S+")
_REPLY_PREFIX = re.compile(r"(?:\s*[@＠]\w+)+\s+(?=\S)")
_PAIRS = ("“”", "«»", "「」", "『』", "()", "（）")
_BULLETS = frozenset("•·▪◦‣*–—-")
_HASHTAG = re.compile(r"[#＃]\w+")
_INSIDE_NUMBER = re.compile(r"(?<=\d)[.,:](?=\d)")

STOP_WORDS = frozenset(
    "a about after all also am an and any are as at be been but by can could d did do does for from had has have he "
    "her here his how i if in into is it its just ll m me more my of on or our out over re s she should so some such than "
    "that the their them then there these they this to up us ve was we were what when where which who will with would "
    "you your".split(" ")
)


class _WordCharacters(dict[int, str | None]):
    """A table for str.translate, filled as characters are met: words stay, the invisible goes, the rest is a space.

    Marks stay because Thai, Arabic and Hindi words contain them; the variation selectors only shape emoji.
    """

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Cf" or 0xFE00 <= code <= 0xFE0F:
            self[code] = None
        else:
            self[code] = character if category[0] in "LN" or category in ("Mn", "Mc") else " "
        return self[code]


_WORD_CHARACTERS = _WordCharacters()


def _spell_out(hashtag: re.Match[str]) -> str:
    """The words of a hashtag in CamelCase: `#ClimateChange` is ` Climate Change`, `#EUEnergy` is ` EU Energy`."""
    tag = hashtag[0][1:]
    starts = (
        character.isupper() and (before.islower() or (before.isupper() and after.islower()))
        for before, character, after in zip(" " + tag, tag, tag[1:] + " ", strict=False)
    )
    return " " + "".join(" " + character if start else character for character, start in zip(tag, starts, strict=True))


def words(text: str) -> list[str]:
    """The words of a text, casefolded; a run of an unspaced script is one. Links and `[photo]` have none."""
    text = _HASHTAG.sub(_spell_out, _LINK_OR_PLACEHOLDER.sub(" ", text[:_CONSIDERED]))
    text = unicodedata.normalize("NFKC", _INSIDE_NUMBER.sub("", text)).casefold()
    return _WORD.findall(text.translate(_WORD_CHARACTERS))


def hashtags(text: str) -> list[str]:
    """The hashtags of a text, each run together and casefolded."""
    return ["".join(words(tag)) for tag in _HASHTAG.findall(text[:_CONSIDERED])]


def is_unspaced(word: str) -> bool:
    """Whether a word is a run of a script without spaces."""
    return re.match(f"[{_UNSPACED}]", word) is not None


def terms(text: str) -> Iterator[str]:
    """What a text is compared by: its words but for stop words; of an unspaced run the pairs of characters.

    Pairs stand in for words well enough to rank (as in Lucene's CJKBigramFilter), and need no dictionary.
    """
    for word in words(text):
        if is_unspaced(word):
            yield from (word[i : i + 2] for i in range(max(1, len(word) - 1)))
        elif word not in STOP_WORDS:
            yield word


def count_words(text: str) -> int:
    """How many words a text has beside links, hashtags, mentions and placeholders; 0 when no letter is among them."""
    seen = words(" ".join(part for part in text.split() if part[0] not in "#＃@"))
    if not any(word[0].isalpha() for word in seen):
        return 0
    return sum((len(word) + 2) // 3 if is_unspaced(word) else 1 for word in seen)


def sentences(text: str, is_reply: bool) -> list[str]:
    """The lines that a text offers: itself when it is short, else its sentences. Verbatim but for white space."""
    head = text[:_CONSIDERED]
    prefix = _REPLY_PREFIX.match(head)
    if prefix and (is_reply or not head[prefix.end()].islower()):
        head = head[prefix.end() :]
    head = "\n".join(line for line in (" ".join(line.split()) for line in head.splitlines()) if line)
    whole = _trim(head.replace("\n", " "))
    if len(whole) <= _SHORT_POST:
        return [whole] if whole else []
    spans = _spans(head)
    if len(text) > _CONSIDERED and len(spans) > 1:
        del spans[-1]
    lines = [_cut(_trim(head[start:end].replace("\n", " ").strip())) for start, end in spans[:_SENTENCES]]
    return [line for line in lines if count_words(line)] or [_cut(whole)]


def _spans(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text are. Few words stay with what is before them, else after; a quotation in one piece."""
    ends = [boundary.end() for boundary in _BOUNDARY.finditer(text) if _ends_sentence(text, boundary)]
    spans: list[tuple[int, int]] = []
    counts: list[int] = []
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        count = count_words(text[start:end])
        joins = spans and (min(count, counts[-1]) < _FRAGMENT or _is_open(text[slice(*spans[-1])]))
        if joins and end - spans[-1][0] <= MAX_LINE:
            spans[-1] = spans[-1][0], end
            counts[-1] += count
        else:
            spans.append((start, end))
            counts.append(count)
    return spans


def _is_open(text: str) -> bool:
    """Whether a quotation or bracket goes on."""
    return text.count('"') % 2 == 1 or any(text.count(opened) > text.count(closed) for opened, closed in _PAIRS)


def _ends_sentence(text: str, boundary: re.Match[str]) -> bool:
    """Whether a mark ends a sentence: not where the text goes on in lower case, nor after `are:`, `Dr.`, `U.S.`, `1.`"""
    before, after = text[: boundary.start()][-_CONTEXT:], text[boundary.end() : boundary.end() + 1]
    goes_on = after.islower() and not _LINK.match(text, boundary.end())
    if boundary[0] == "\n":
        return not goes_on and before[-1] not in ":,"
    if goes_on or (boundary[0][-1] == " " and after in "-–—"):
        return False
    if boundary[0] != ". ":
        return True
    line = before.rpartition("\n")[2]
    word = line.rpartition(" ")[2].lstrip("([\"'“‘").casefold()
    return not (word in _ABBREVIATIONS or _INITIALS.fullmatch(word) or (word == line and word.isdecimal()))


def _trim(text: str) -> str:
    """A line without the links and bullets before it, and the links and hashtags after it, if words remain.

    One stays after a small word, which it completes: `protests in #Utrecht`.
    """
    parts = text.split(" ")
    start, end = 0, len(parts)
    while start < end and (parts[start] in _BULLETS or _LINK_OR_PLACEHOLDER.fullmatch(parts[start])):
        start += 1
    while end > start and _TAIL.fullmatch(parts[end - 1]):
        end -= 1
    if start < end < len(parts) and _is_small(parts[end - 1]):
        end += 1
    trimmed = " ".join(parts[start:end])
    return trimmed if count_words(trimmed) else text


def _is_small(word: str) -> bool:
    return word.casefold() in STOP_WORDS or (len(word) <= 3 and word.isalpha() and word.islower())


def _cut(text: str) -> str:
    """A text of at most MAX_LINE characters: cut after a word if it can be, never inside of a link or a character."""
    if len(text) <= MAX_LINE:
        return text
    end = text.rfind(" ", 0, MAX_LINE)
    if end < MAX_LINE // 2:
        end = MAX_LINE - 1
        while end > 1 and unicodedata.category(text[end])[0] == "M":
            end -= 1
    for link in _LINK.finditer(text):
        if 0 < link.start() < end < link.end():
            end = link.start()
    return text[:end].rstrip(" ,;:-–—") + "…"
