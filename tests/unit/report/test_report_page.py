"""The page: whole, self-contained, and safe to open whatever the model wrote."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from prorl_api.manifest import parse_job
from prorl_api.resets import ResetCondition, ResetRecord
from prorl_api.run_folder import RunFolder
from prorl_api.status import Condition, ConditionStatus, ConditionType
from prorl_cli.local import folder
from prorl_cli.report import summarise, write_report
from prorl_cli.report.gallery import gallery_of, kind_of, spread
from prorl_cli.report.loading import load
from prorl_cli.report.narrative import story
from prorl_cli.report.page import content_of
from prorl_cli.report.samples import validation_rewards
from prorl_cli.report.sections import sections
from prorl_cli.report.summary import print_summary
from prorl_cli.resets import describe_record
from prorl_control.advice import advise_on

MakeRun = Callable[..., RunFolder]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)><!-- & \ud800 \x00 [bold]"


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, scripts, text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._open = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self.scripts[-1] += data
        elif self._open != "style":
            self.text += data

    @property
    def figures(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.scripts[0])
        return found


def test_importing_the_package_is_light() -> None:
    code = "import prorl_cli.report, sys; print(*{'plotly', 'jinja2', 'scipy', 'numpy', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_whole_run_is_told(make_run: MakeRun) -> None:
    run = make_run()
    assert write_report(run) == run.report
    page = Page(run.report)
    assert len(page.figures) == sum(len(section.charts) for section in sections(load(run), {}))
    for expected in (
        "quickstart",
        "succeeded",
        "./models/smollm2-135m-instruct",
        "after step 9 by kl-spike",
        "held-back",
    ):
        assert expected in page.text
    assert [file.name for file in run.path.iterdir() if "report" in file.name] == ["report.html"]


def test_the_page_needs_no_network_and_admits_only_its_own_scripts(make_run: MakeRun) -> None:
    run = make_run()
    page = Page(write_report(run))
    links = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href", "action")]
    assert links
    assert all(str(link).startswith("#") for link in links)
    policy = next(str(attrs["content"]) for _, attrs in page.tags if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'; ")
    for script in page.scripts[1:]:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_what_the_model_wrote_stays_text(make_run: MakeRun) -> None:
    run = make_run()
    plain = Page(write_report(run))
    hostile = json.dumps(HOSTILE)[1:-1]
    for file in run.samples.iterdir():
        text = file.read_text()
        for value in ("because \\u2026", "The answer is", "timed out after", "correct"):
            text = text.replace(value, hostile)
        file.write_text(text)
    for file in run.resets.iterdir():
        text = file.read_text().replace("KL to the reference averaged", hostile.replace("\\ud800", ""))
        file.write_text(text.replace("kl-spike", "<b>spike</b><a href='javascript:0'>"))
    page = Page(write_report(run))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert page.scripts[1:] == plain.scripts[1:]
    assert "<img src=x onerror=alert(1)>" in page.text
    hovers = [text for figure in page.figures for trace in figure["data"] for text in trace.get("text", ())]
    assert any("&lt;b&gt;spike" in text for text in hovers)
    assert not any("<a" in text or "<img" in text for text in hovers)


@pytest.mark.parametrize(
    "missing", ["metrics.jsonl", "samples", "resets", "status.json", "run.json", "job.yaml", "everything"]
)
def test_missing_parts_do_not_break_it(make_run: MakeRun, missing: str) -> None:
    run = make_run()
    for path in sorted(run.path.rglob("*"), reverse=True):
        if missing in ("everything", path.name, path.parent.name):
            path.rmdir() if path.is_dir() else path.unlink()
    assert "Reference resets" in Page(write_report(run)).text
    print_summary(run, Console(file=StringIO()))


@pytest.mark.parametrize("last_step", [0, 1, 3])
def test_a_run_that_has_just_begun_is_shown(make_run: MakeRun, last_step: int) -> None:
    run = make_run(last_step=last_step, resets=())
    page = Page(write_report(run))
    assert "The only validation so far, at step 0" in page.text
    print_summary(run, Console(file=StringIO()))


def test_resets_in_every_condition_are_shown_and_only_applied_ones_marked(make_run: MakeRun) -> None:
    run = make_run()
    (first, _) = load(run).resets
    for number, condition in enumerate(ResetCondition, 3):
        fields = first.model_dump() | {"name": f"quickstart-reset-{number}", "number": number, "condition": condition}
        if condition is not ResetCondition.APPLIED:
            fields |= {"applied_step": None, "digest_before": None, "digest_after": None, "validation_after": None}
        record = ResetRecord.model_validate(fields)
        (run.resets / f"{record.name}.json").write_text(record.model_dump_json())
    page = Page(write_report(run))
    assert all(condition.value in page.text for condition in ResetCondition)
    marks = [trace for trace in page.figures[0]["data"] if trace.get("yaxis") == "y2"]
    assert [trace["x"][0::3] for trace in marks] == [[9, 17, 9], [13]]


def test_every_figure_is_one_that_plotly_knows(make_run: MakeRun) -> None:
    import plotly.graph_objects as go

    run = make_run()
    data = load(run)
    for section in sections(data, validation_rewards(run, data.timeline)):
        for chart in section.charts:
            go.Figure(chart.figure)


def test_advice_stands_at_the_top_in_the_words_of_the_table(make_run: MakeRun) -> None:
    run = make_run()
    data = load(run)
    assert content_of(data, {}).parts["advice"] == ""
    lines = [json.loads(line) | {"truncated": 0.4} for line in run.metrics.read_text().splitlines()]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = load(run)
    (advice,) = advise_on(parse_job(data.manifest, source="job.yaml").spec, data.lines)
    assert advice.name == "Truncation"
    text = Page(write_report(run)).text
    place = text.index(advice.seen[1:])
    assert text.index("attempts") < place < text.index("Mean sampled reward")
    assert advice.remedy in text


def test_of_a_run_that_goes_on_its_body_gives_the_advice(make_run: MakeRun) -> None:
    told = Condition(
        type=ConditionType.HEALTHY,
        status=ConditionStatus.FALSE,
        reason="RolloutServersMissing",
        message="0 of 1 rollout servers work. See RolloutReady.",
        last_transition_time=1.0,
    )
    run = make_run()
    status = load(run).status
    assert status is not None
    run.status.write_text(status.model_copy(update={"conditions": (*status.conditions, told)}).model_dump_json())
    with folder.locked(run):
        assert told.message in content_of(load(run), {}).parts["advice"]
    assert content_of(load(run), {}).parts["advice"] == ""


def test_the_same_number_is_written_the_same_wherever_it_stands(make_run: MakeRun) -> None:
    run = make_run()
    summary = summarise(run)
    text = Page(write_report(run)).text
    output = StringIO()
    print_summary(run, Console(file=output, width=160))
    for number in (summary.held_out[0].before, summary.held_out[0].after, summary.sampled[0].last):
        assert f"{number:.3f}" in text
        assert f"{number:.3f}" in output.getvalue()
        assert not re.search(rf"(?<![\d.]){number:.2f}(?!\d)", text)


def test_small_shares_are_written_as_shares(make_run: MakeRun) -> None:
    data = load(make_run())
    for section in sections(data, validation_rewards(data.folder, data.timeline)):
        for chart in section.charts:
            assert chart.figure is not None
            axis = chart.figure["layout"]["yaxis"]
            assert axis["exponentformat"] == "none", "plotly's own would be 800µ"
            shown = [trace["hovertemplate"] for trace in chart.figure["data"] if "hovertemplate" in trace]
            if any("%}" in text for text in shown) and not axis.get("range"):
                assert axis["tickformat"] == "~%"


def test_a_reset_by_hand_is_told_once(make_run: MakeRun) -> None:
    run = make_run()
    path = run.resets / "quickstart-reset-1.json"
    record = ResetRecord.model_validate_json(path.read_bytes())
    evidence = record.evidence.model_copy(update={"trigger": "manual", "reason": "asked for by a person at step 8"})
    by_hand = record.model_copy(update={"evidence": evidence})
    path.write_text(by_hand.model_dump_json())
    assert "  asked for by a person at step 8" in describe_record(by_hand).splitlines()
    assert "  kl-spike at step 8: KL to the" in describe_record(record)
    told = " ".join(story(summarise(run)))
    assert "after step 9 by hand and after step 17 by kl-spike" in told


def test_every_cell_of_a_table_that_stacks_on_a_phone_has_its_name(make_run: MakeRun) -> None:
    data = load(make_run())
    content = content_of(data, validation_rewards(data.folder, data.timeline))
    stacking = [html for html in content.parts.values() if "stacked" in html]
    assert len(stacking) == 2
    for html in stacking:
        cells = re.findall(r"<td[^>]*>", html)
        assert cells
        assert all("data-label=" in cell for cell in cells)


def test_bounds_of_kl_triggers_are_drawn_on_their_own_charts(make_run: MakeRun) -> None:
    charts = {chart.title: chart for section in sections(load(make_run()), {}) for chart in section.charts}
    drawn = {title: [key.name for key in chart.legend] for title, chart in charts.items()}
    assert drawn["KL to the reference"] == ["KL", "kl-spike: mean of 3 steps above 0.06"]
    assert drawn["KL term's share of the loss"] == ["KL share", "held-back: mean of 3 steps above 0.7"]
    assert drawn["Entropy"] == []


def test_error_bars_reach_the_interval(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.metrics.write_text('{"step": 0, "attempt": 1, "validation_source_accuracy/a": 0.8}\n')
    rewards = {0: {("a", index): float(index < 8) for index in range(10)}}
    chart = sections(load(run), rewards)[0].charts[0]
    assert chart.figure is not None
    (trace,) = chart.figure["data"]
    # Wilson's interval of 8 in 10 is 0.490162 to 0.943318.
    assert trace["error_y"]["array"] == [pytest.approx(0.143318, abs=1e-5)]
    assert trace["error_y"]["arrayminus"] == [pytest.approx(0.309838, abs=1e-5)]
    assert trace["text"] == ["0.490 to 0.943"]


def test_held_out_prompts_are_sorted_by_how_they_fared(make_run: MakeRun) -> None:
    run = make_run()
    data = load(run)
    gallery = gallery_of(data, validation_rewards(run, data.timeline))
    assert sum(kind.count for kind in gallery.kinds) == 520
    shown = gallery.kinds[0].shown
    assert {item.source for item in shown} == {"addition", "products"}
    assert [answer.step for answer in shown[0].answers] == [0, 8, 16, 24]
    assert [step for step, _ in gallery.training] == [1, 6, 11, 21]


def test_kinds_and_spread() -> None:
    told = [kind_of(0, 1), kind_of(1, 0), kind_of(1, 1), kind_of(0.5, 0.5)]
    assert told == ["Became better", "Became worse", "Right both times", "Not right either time"]
    assert spread(range(11), 3) == [0, 5, 10]
    assert spread([4, 8], 3) == [4, 8]


def test_long_completions_are_cut_with_their_rest_counted(make_run: MakeRun) -> None:
    run = make_run(last_step=1)
    file = run.samples / "train-1.jsonl"
    file.write_text(file.read_text().replace("because \\u2026", "x" * 5000))
    assert "more characters in samples/" in Page(write_report(run)).text


def test_the_page_is_replaced_in_one_move(make_run: MakeRun) -> None:
    run = make_run(last_step=1)
    run.report.write_text("old")
    before = run.report.stat().st_ino
    write_report(run)
    assert run.report.stat().st_ino != before
    assert not list(run.path.glob(f".*{os.getpid()}"))


def test_the_table_says_what_the_page_says(make_run: MakeRun) -> None:
    run = make_run()
    write_report(run)
    output = StringIO()
    print_summary(run, Console(file=output, width=140))
    told = output.getvalue()
    expected = ["quickstart succeeded", "Held-out accuracy, step 0 to 24", "paired 95 % interval", "520", "kl-spike"]
    expected += [
        "sampling and scoring",
        "tokens/s sampled",
        "report.html",
        "prorl resets list",
        "--model",
        "totalSteps",
    ]
    assert [text for text in expected if text not in told] == []


def test_the_table_shows_markup_as_text(make_run: MakeRun) -> None:
    run = make_run()
    for record in run.resets.iterdir():
        record.write_text(record.read_text().replace("KL to the reference averaged", "[/bold] [red]mean"))
    output = StringIO()
    print_summary(run, Console(file=output, width=140))
    assert "[/bold] [red]mean" in output.getvalue()
