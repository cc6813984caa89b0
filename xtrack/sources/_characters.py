"""Characters of texts from elsewhere: what stands for others, and what must not get any further."""

import re
import sys

# What could steer a terminal, turn the direction of what follows, or not be encoded (half a surrogate pair).
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_REFERENCE = re.compile("&#(?:x0*([0-9a-f]+)|0*([0-9]+));?", re.IGNORECASE | re.ASCII)


def printable(text: str) -> str:
    """The text without what could harm a terminal; a tab is a space."""
    return _UNPRINTABLE.sub("", text).replace("\t", " ")


def unescaped(text: str) -> str:
    """The characters that `&eacute;` and `&#233;` stand for; few texts have any, and their table takes long to load."""
    if "&" not in text:
        return text
    from html import unescape

    return unescape(mended(text))


def mended(text: str) -> str:
    """The text with a character for each reference that XML forbids and Python's parsers fail for.

    These are halves of surrogate pairs, which some programs write for emoji, and numbers that no character has.
    """

    def character(reference: re.Match[str]) -> str:
        digits = reference[1] or reference[2]
        number = int(digits, 16 if reference[1] else 10) if len(digits) < 9 else sys.maxunicode + 1
        if 0xD800 <= number <= 0xDFFF:
            return chr(number)
        return "\ufffd" if number > sys.maxunicode else reference[0]

    halves = _REFERENCE.sub(character, text)
    return halves.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
