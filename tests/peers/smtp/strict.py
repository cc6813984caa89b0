"""What a message may not be, by the RFCs that mail servers have in mind. Pure."""

import re

_FIELD = re.compile(r"([!-9;-~]+): ([ -~]*)((?:\r\n[ \t]+[!-~][ -~]*)*)\r\n")
_ONCE = ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type")


def sins(data: str, sender: str, recipients: list[str]) -> list[str]:
    """What is wrong with a message, none at best: RFC 5322, sections 2.1 to 3.6, and RFC 2047, section 2."""
    found = []
    if not data.isascii() or "\0" in data:
        found.append("it is not ASCII")
    if re.search("\r(?!\n)|(?<!\r)\n", data) or not data.endswith("\r\n"):
        found.append("a line ends with something else than CR LF")
    if (longest := max(map(len, data.split("\r\n")))) > 998:
        found.append(f"a line has {longest} characters")
    if len(recipients) != 1:
        found.append(f"it is for {len(recipients)}")
    head = data.partition("\r\n\r\n")[0] + "\r\n"
    fields = [(one[1], one[2] + one[3].replace("\r\n", "")) for one in _FIELD.finditer(head)]
    if _FIELD.sub("", head):
        found.append(f"this is no header: {_FIELD.sub('', head)[:200]!r}")
    names = [name.lower() for name, _ in fields]
    found += [f"{name} is there {names.count(name.lower())} times" for name in _ONCE if names.count(name.lower()) != 1]
    by_name = dict(fields)
    if recipients[:1] != [by_name.get("To", "")] or f"<{sender}>" not in by_name.get("From", ""):
        found.append("it is not from and to whom the envelope says")
    found += [f"this is too long: {word}" for word in re.findall(r"=\?\S*\?=", head) if len(word) > 75]
    return found
