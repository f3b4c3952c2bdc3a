"""The HTML document that every page of this package is: one file that needs nothing beside it.

Completions are a model's output and are treated as hostile: templates escape everything, chart data is escaped
JSON, and the page's content security policy admits its own scripts by digest. A static page may connect nowhere, a
live one to its own origin alone. A page is a list of named parts, so that a live one can be brought up to date part by
part; the static page has the same parts, filled in.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prorl_api import metrics
from prorl_cli.durations import duration
from prorl_cli.errors import storage_error
from prorl_cli.report import words
from prorl_cli.report.figures import Figure
from prorl_cli.report.narrative import gain_line

if TYPE_CHECKING:
    from jinja2 import Environment

LONGEST_TEXT = 4000
"""Characters of a prompt or completion on the page; `samples/` has the whole text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a page shows."""

    title: str
    parts: dict[str, str]
    """Name to HTML, in the page's order."""
    figures: Sequence[Figure]
    """Of the elements with `data-figure`, by number."""


def render_parts(names: Sequence[str], context: dict[str, Any]) -> dict[str, str]:
    """Return the HTML of the parts, each from its template in `templates/parts`."""
    environment = _environment()
    return {name: environment.get_template(f"parts/{name}.html.j2").render(context).strip() for name in names}


def static_document(content: Content) -> str:
    """Return the whole page as one text."""
    return _document(content, is_live=False)


def live_document(title: str, part_names: Sequence[str]) -> str:
    """Return a page without any content: its script asks its own origin for that, with the session's token."""
    return _document(Content(title=title, parts=dict.fromkeys(part_names, ""), figures=()), is_live=True)


def live_policy() -> str:
    """Return the live page's content security policy, as the server sends it: nobody may frame the page either."""
    return f"{_policy(_scripts(is_live=True), is_live=True)}; frame-ancestors 'none'"


def write_document(text: str, path: Path) -> Path:
    """Write a page in one move; `path`."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Half of a surrogate pair can come out of a model's tokens and has no UTF-8 form.
        beside.write_text(text, encoding="utf-8", errors="replace")
        beside.replace(path)
    except OSError as error:
        raise storage_error(error, path, "--output") from error
    finally:
        beside.unlink(missing_ok=True)
    return path


def clipped(text: str) -> str:
    """Clip a prompt or completion where the page would drown in it."""
    hidden = len(text) - LONGEST_TEXT
    return text if hidden <= 0 else f"{text[:LONGEST_TEXT]}\n… {hidden:,} more characters in samples/"


def unit_of(name: str) -> str:
    """Return the unit of a metric, for people; empty for pure numbers and unknown names."""
    metric = metrics.BY_NAME.get(name)
    return metric.unit if metric else ""


def _document(content: Content, *, is_live: bool) -> str:
    scripts = _scripts(is_live=is_live)
    context = {
        "title": content.title,
        "parts": content.parts,
        "figures": list(content.figures),
        "scripts": scripts,
        "style": _asset("page.css"),
        "policy": _policy(scripts, is_live=is_live),
        "is_live": is_live,
    }
    return _environment().get_template("page.html.j2").render(context)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("prorl_cli.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": duration,
        "when": words.when,
        "score": words.score,
        "signed": words.signed,
        "between": words.between,
        "share": words.share,
        "gain": gain_line,
        "tight": words.tight,
        "clipped": clipped,
        "unit": unit_of,
        "capitalised": lambda text: text[:1].upper() + text[1:],
    }
    return environment


@cache
def _scripts(*, is_live: bool) -> tuple[str, ...]:
    from plotly.offline import get_plotlyjs

    own = ("page.js", "live.js") if is_live else ("page.js",)
    return (str(get_plotlyjs()), *map(_asset, own))


@cache
def _policy(scripts: tuple[str, ...], *, is_live: bool) -> str:
    """Return the content security policy: these scripts, inline styles, images of the page itself; nothing else."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    connect = "; connect-src 'self'" if is_live else ""
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:{connect}; "
        "base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    return (resources.files("prorl_cli.report") / "templates" / name).read_text(encoding="utf-8")
