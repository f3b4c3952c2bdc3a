"""Writing the page: one HTML file that needs nothing beside it.

Completions are a model's output and are treated as hostile: the template escapes everything, chart data is escaped
JSON, and the page's content security policy admits its own two scripts by digest and no connection at all.
"""

from __future__ import annotations

import base64
import hashlib
import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prorl_api import metrics
from prorl_api.run_folder import RunFolder
from prorl_cli.report import words
from prorl_cli.report.gallery import gallery_of
from prorl_cli.report.loading import RunData, load
from prorl_cli.report.narrative import gain_line, story
from prorl_cli.report.results import summary_of
from prorl_cli.report.samples import Rewards, validation_rewards
from prorl_cli.report.sections import sections
from prorl_cli.report.settings import main_settings

if TYPE_CHECKING:
    from jinja2 import Environment

LONGEST_TEXT = 4000
"""Characters of a prompt or completion on the page; `samples/` has the whole text."""


def write_page(run: RunFolder) -> Path:
    """Render and write `report.html` in one move."""
    data = load(run)
    rewards = validation_rewards(run, data.timeline)
    page = render(data, rewards)
    beside = run.report.with_name(f".{run.report.name}.{os.getpid()}")
    try:
        # Half of a surrogate pair can come out of a model's tokens and has no UTF-8 form.
        beside.write_text(page, encoding="utf-8", errors="replace")
        beside.replace(run.report)
    finally:
        beside.unlink(missing_ok=True)
    return run.report


def render(data: RunData, rewards: Rewards, *, now: float | None = None) -> str:
    """Return the page's text.

    Args:
        data: The run.
        rewards: Of its held-out items, by validation.
        now: Unix time at which "running" is judged; unset: the clock.
    """
    summary = summary_of(data, rewards, now=now)
    shown = sections(data, rewards)
    scripts = {"plotly": _plotly(), "own": _asset("page.js")}
    context: dict[str, Any] = {
        "summary": summary,
        "headline": summary.held_out[0] if summary.held_out else None,
        "story": story(summary),
        "sections": shown,
        "figures": [chart.figure for section in shown for chart in section.charts if chart.figure is not None],
        "resets": data.resets,
        "gallery": gallery_of(data, rewards),
        "settings": main_settings(data.job, is_local=data.folder.lock.exists()) if data.job else {},
        "manifest": data.manifest,
        "notes": data.notes,
        "scripts": scripts,
        "style": _asset("page.css"),
        "policy": _policy(list(scripts.values())),
    }
    return _environment().get_template("page.html.j2").render(context)


def clipped(text: str) -> str:
    """Clip a prompt or completion where the page would drown in it."""
    hidden = len(text) - LONGEST_TEXT
    return text if hidden <= 0 else f"{text[:LONGEST_TEXT]}\n… {hidden:,} more characters in samples/"


def unit_of(name: str) -> str:
    """Return the unit of a metric, for people; empty for pure numbers and unknown names."""
    metric = metrics.BY_NAME.get(name)
    return metric.unit if metric else ""


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
        "duration": words.duration,
        "when": words.when,
        "score": words.score,
        "signed": words.signed,
        "share": words.share,
        "gain": gain_line,
        "tight": words.tight,
        "clipped": clipped,
        "unit": unit_of,
    }
    return environment


def _policy(scripts: list[str]) -> str:
    """Return the content security policy: these scripts, inline styles, images of the page itself; nothing else."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _asset(name: str) -> str:
    return (resources.files("prorl_cli.report") / "templates" / name).read_text(encoding="utf-8")
