"""The templates of everything that XTrack writes for others to read, and how they are rendered."""

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

_environment = Environment(
    loader=PackageLoader("xtrack.templates", ""),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
    # Units are not HTML: systemd.py quotes what goes into them.
    autoescape=select_autoescape(enabled_extensions=["html.j2"]),
)


def render(template: str, **values: object) -> str:
    """A template, named as "systemd/job.service.j2", with its values. Raises UndefinedError when one is missing."""
    return _environment.get_template(template).render(values)
