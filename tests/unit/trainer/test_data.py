"""Prompts: deterministic by index, never shared between training and validation, clear about bad data."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from prorl_api.errors import SpecError
from prorl_api.spec.data import PromptFormat
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.run import ValidationSource
from prorl_trainer.algorithm.types import Prompt
from prorl_trainer.data.prompts import PromptSource, source_weights
from prorl_trainer.data.rendering import render
from prorl_trainer.storage.lines import LineFile
from prorl_trainer.storage.prompt_store import PromptStore
from tests.unit.trainer.trainer_builders import make_spec

SMALL = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}


class WordTokenizer:
    """One token a word; a chat template in brackets."""

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [0] * add_special_tokens + [len(word) for word in text.split()]}

    def apply_chat_template(
        self, messages: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        assert not tokenize
        assert add_generation_prompt
        return "".join(f"[{message['role']}] {message['content']} " for message in messages) + "[assistant] "


def gym(name: str = "sums", *tasks: str, **fields: Any) -> dict[str, Any]:
    items = [{"name": task, "config": SMALL if task == "chain_sum" else {}} for task in tasks or ("chain_sum",)]
    return {"name": name, "domain": "logic", "reasoningGym": {"tasks": items, "seed": 3}, **fields}


def make_source(folder: Path, *sources: dict[str, Any], **sections: Any) -> PromptSource:
    spec = make_spec(data={"sources": list(sources)}, **sections)
    return open_source(folder, spec)


def open_source(folder: Path, spec: ProRLJobSpec) -> PromptSource:
    return PromptSource(spec, WordTokenizer(), folder, LineFile(folder / "prompts.jsonl"))


def texts(source: PromptSource, count: int, **weights: float) -> list[str]:
    return [prompt(source, index, **weights).text for index in range(count)]


def prompt(source: PromptSource, index: int, **weights: float) -> Prompt:
    found = source.train(index, weights or {"sums": 1.0})
    assert found is not None
    return found


def test_prompt_i_is_always_the_same_prompt(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = make_source(tmp_path / "a", gym()), make_source(tmp_path / "b", gym())
    in_order = texts(first, 20)
    backwards = [prompt(second, index).text for index in reversed(range(20))]
    assert in_order == backwards[::-1]
    assert len(set(in_order)) > 10


def test_training_and_validation_share_no_question(tmp_path: Path) -> None:
    # 2 terms of 1 digit and 2 signs are 162 questions: without the rule they would overlap.
    wanted = ValidationSource(name="sums", size=60)
    source = make_source(tmp_path, gym(), validation={"sources": [wanted.model_dump()]})
    held = {prompt.text for prompt in source.held_out()[wanted]}
    assert len(held) == 60
    assert not held & set(texts(source, 150))


def test_too_small_a_task_for_validation_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"got size 5000; at most \d+ in spec.validation.sources"):
        make_source(tmp_path, gym(), validation={"sources": [{"name": "sums", "size": 5000}]})


def test_materialised_prompts_are_read_back_instead_of_generated(tmp_path: Path) -> None:
    wanted = ValidationSource(name="sums", size=3)
    first = make_source(tmp_path, gym(), validation={"sources": [wanted.model_dump()]})
    before = [*first.held_out()[wanted], *(prompt(first, index) for index in range(3))]
    path = tmp_path / "prompts.jsonl"
    path.write_text(path.read_text().replace("Calculate", "Work out").replace("State", "Tell"))
    changed = path.read_text()
    second = make_source(tmp_path, gym(), validation={"sources": [wanted.model_dump()]})
    after = [*second.held_out()[wanted], *(prompt(second, index) for index in range(3))]
    assert [prompt.text for prompt in after] != [prompt.text for prompt in before]
    assert [prompt.row["entry"]["answer"] for prompt in after] == [prompt.row["entry"]["answer"] for prompt in before]
    assert path.read_text() == changed, "nothing is written twice"


def test_sources_are_mixed_by_weight_and_tasks_independently_of_them(tmp_path: Path) -> None:
    source = make_source(tmp_path, gym("a", "chain_sum", "basic_arithmetic"), gym("b", "chain_sum", "basic_arithmetic"))
    prompts = [prompt(source, index, a=3.0, b=1.0) for index in range(400)]
    counts = {
        (name, task): sum(one.source == name and one.row["task"] == task for one in prompts)
        for name in ("a", "b")
        for task in ("chain_sum", "basic_arithmetic")
    }
    # 150, 150, 50, 50 expected; five standard deviations are 48 and 33.
    assert 102 < counts["a", "chain_sum"] < 198
    assert 102 < counts["a", "basic_arithmetic"] < 198
    assert 17 < counts["b", "chain_sum"] < 83
    assert 17 < counts["b", "basic_arithmetic"] < 83


def test_an_unknown_task_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"sources\[sums\]\.reasoningGym\.tasks\[no_such_task\]"):
        make_source(tmp_path, gym("sums", "no_such_task"))


def test_settings_that_a_task_refuses_are_named(tmp_path: Path) -> None:
    bad = gym()
    bad["reasoningGym"]["tasks"][0]["config"] = {"min_terms": -1}
    with pytest.raises(SpecError, match=r"tasks\[chain_sum\]"):
        make_source(tmp_path, bad)


def write_rows(folder: Path, count: int, name: str = "rows.jsonl") -> None:
    rows = [{"prompt": f"question {number}", "row": {"answer": str(number)}} for number in range(count)]
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def jsonl(**fields: Any) -> dict[str, Any]:
    return {"name": "maths", "domain": "math", "jsonl": "*.jsonl", "prompt": {"chat": False}, **fields}


def folder_with(tmp_path: Path, count: int) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_rows(folder, count)
    return folder


def make_jsonl(folder: Path, **fields: Any) -> PromptSource:
    spec = make_spec(data={"sources": [jsonl(**fields)]}, referenceReset={"mode": "disabled"})
    return PromptSource(spec, WordTokenizer(), folder, LineFile(folder.parent / "prompts.jsonl"))


def test_every_epoch_has_all_training_rows_in_its_own_order(tmp_path: Path) -> None:
    source = make_jsonl(folder_with(tmp_path, 12), heldOut=4)
    epochs = [[prompt(source, 8 * epoch + i, maths=1.0).text for i in range(8)] for epoch in range(3)]
    assert len({frozenset(epoch) for epoch in epochs}) == 1
    assert len(set(epochs[0])) == 8
    assert len({tuple(epoch) for epoch in epochs}) == 3
    held = {prompt.text for prompt in source.held_out()[ValidationSource(name="maths", size=4)]}
    assert len(held) == 4
    assert not held & set(epochs[0])


def test_rows_keep_characters_that_look_like_line_ends(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 0)
    row = {"prompt": "one\u2028two\x85three", "row": {"answer": 1}}
    (folder / "rows.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\r\n", encoding="utf-8")
    assert prompt(make_jsonl(folder), 0, maths=1.0).text == "one\u2028two\x85three"


def test_bad_rows_are_all_named_with_file_and_line(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 0)
    good = '{"prompt": "a", "row": {"answer": 1}}'
    lines = [
        good,
        "not json",
        "",
        '{"prompt": 3, "row": {"answer": 1}}',
        '{"prompt": "b"}',
        '{"prompt": "c", "row": {}}',
    ]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    with pytest.raises(SpecError) as caught:
        make_jsonl(folder)
    places = [fault.path.rsplit(":", 1)[1] for fault in caught.value.faults]
    assert places == ["2", "4 prompt", "5 row", "6 row.answer"]


@pytest.mark.parametrize(
    ("count", "want"), [(0, "at least one row"), (4, "at least 5 rows: heldOut = 4 and some to train on")]
)
def test_too_few_rows_are_an_error(tmp_path: Path, count: int, want: str) -> None:
    with pytest.raises(SpecError, match=want):
        make_jsonl(folder_with(tmp_path, count), heldOut=4)


def test_a_file_that_is_only_validated_may_be_held_out_whole(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 4)
    spec = make_spec(data={"sources": [gym("sums"), jsonl(weight=0, heldOut=4)]})
    source = PromptSource(spec, WordTokenizer(), folder, LineFile(tmp_path / "prompts.jsonl"))
    assert len(source.held_out()[ValidationSource(name="maths", size=4)]) == 4
    late = make_spec(
        data={"sources": [gym("sums"), jsonl(weight=0, heldOut=4)]},
        schedule={"stages": [{"name": "late", "fromStep": 2, "overrides": {"sourceWeights": {"maths": 1}}}]},
    )
    with pytest.raises(SpecError, match="at least 5 rows: heldOut = 4 and some to train on"):
        PromptSource(late, WordTokenizer(), folder, LineFile(tmp_path / "prompts.jsonl"))


def test_neighbouring_seeds_share_no_stretch_of_items(tmp_path: Path) -> None:
    wide = {"tasks": [{"name": "chain_sum", "config": {"min_digits": 6, "max_digits": 6}}]}
    streams = []
    for seed in (3, 4):
        folder = tmp_path / str(seed)
        folder.mkdir()
        streams.append(set(texts(make_source(folder, gym(reasoningGym={**wide, "seed": seed})), 50)))
    assert not streams[0] & streams[1]


def test_rows_that_are_too_long_are_all_named_when_the_file_is_read(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 3)
    rows = [{"prompt": "word " * count, "row": {"answer": count}} for count in (60, 64, 65, 70)]
    (folder / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = make_spec(data={"sources": [jsonl()]}, rollout={"maxPromptTokens": 65}, referenceReset={"mode": "disabled"})
    with pytest.raises(SpecError) as caught:
        PromptSource(spec, WordTokenizer(), folder, LineFile(tmp_path / "prompts.jsonl"))
    # The tokenizer adds one special token.
    assert [(fault.path.rsplit("/", 1)[1], fault.got) for fault in caught.value.faults] == [
        ("long.jsonl:3", "66 tokens"),
        ("long.jsonl:4", "71 tokens"),
    ]


LONG = {"tasks": [{"name": "chain_sum", "config": {"min_terms": 2, "max_terms": 9}}], "seed": 3}
"""Questions of 14 words and 2 more a term: 18 to 32 with the roles."""


def long_source(folder: Path, limit: int = 26, size: int = 10) -> PromptSource:
    folder.mkdir(exist_ok=True)
    sections = {
        "rollout": {"maxPromptTokens": limit},
        "learner": {"microbatchTokens": 256},
        "validation": {"sources": [{"name": "sums", "size": size}]},
    }
    return make_source(folder, gym(reasoningGym=LONG), **sections)


def test_a_generated_prompt_that_is_too_long_is_passed_over_and_counted(tmp_path: Path) -> None:
    weights = {"sums": 1.0}
    everything, some = long_source(tmp_path / "all", 200), long_source(tmp_path / "some")
    lengths = [len(prompt.token_ids) for i in range(60) if (prompt := everything.train(i, weights)) is not None]
    fitting = [index for index, length in enumerate(lengths) if length <= 26]
    assert 10 < len(fitting) < 50
    taken = some.take(0, 10, weights)
    assert [prompt.index for prompt in taken.prompts] == fitting[:10]
    assert taken.next_index == fitting[9] + 1
    assert taken.num_passed_over == taken.next_index - 10
    rest = some.take(taken.next_index, 5, weights)
    assert [prompt.index for prompt in rest.prompts] == fitting[10:15]


def test_an_index_is_passed_over_after_a_resume_too(tmp_path: Path) -> None:
    first = long_source(tmp_path).take(0, 20, {"sums": 1.0})
    lines = len((tmp_path / "prompts.jsonl").read_text().splitlines())
    assert long_source(tmp_path).take(0, 20, {"sums": 1.0}) == first
    assert len((tmp_path / "prompts.jsonl").read_text().splitlines()) == lines, "nothing is made or written twice"


def test_held_out_prompts_are_those_that_fit(tmp_path: Path) -> None:
    held = long_source(tmp_path).held_out()[ValidationSource(name="sums", size=10)]
    assert len(held) == 10
    assert max(len(prompt.token_ids) for prompt in held) <= 26


def test_held_out_prompts_that_no_longer_fit_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = long_source(tmp_path, 200).held_out()[ValidationSource(name="sums", size=10)]
    after = long_source(tmp_path, 26).held_out()[ValidationSource(name="sums", size=10)]
    assert after == [prompt for prompt in before if len(prompt.token_ids) <= 26]
    assert 0 < len(after) < 10
    assert f"{10 - len(after)} held-out prompts of source sums are too long" in caplog.text


def test_a_limit_that_no_prompt_fits_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"source sums: got size 10; .* longer than spec.rollout.maxPromptTokens"):
        long_source(tmp_path, 5)
    sections = {"rollout": {"maxPromptTokens": 5}, "referenceReset": {"mode": "disabled"}}
    (tmp_path / "other.jsonl").write_text('{"prompt": "a", "row": {"answer": 1}}\n')
    held = jsonl(name="held", heldOut=1, weight=0, jsonl="other.jsonl")
    validation = {"sources": [{"name": "held", "size": 1}]}
    source = make_source(tmp_path, gym(reasoningGym=LONG), held, validation=validation, **sections)
    with pytest.raises(SpecError, match=r"source sums: got prompts longer than spec.rollout.maxPromptTokens = 5"):
        source.take(0, 1, {"sums": 1.0})


def test_rendering() -> None:
    form = PromptFormat(system="Be brief.", template="Q: {question}", assistant_prefix="A:")
    assert render(WordTokenizer(), form, "1 + 1?") == "[system] Be brief. [user] Q: 1 + 1? [assistant] A:"
    plain = PromptFormat(chat=False, template="Q: {question} A:")
    assert render(WordTokenizer(), plain, "{x}") == "Q: {x} A:"
    messages = [{"role": "user", "content": "hello"}]
    assert render(WordTokenizer(), PromptFormat(), messages) == "[user] hello [assistant] "


def test_sources_of_weight_zero_are_validated_but_not_trained_on() -> None:
    spec = make_spec(data={"sources": [gym("a"), gym("b", weight=0)]})
    assert source_weights(spec) == {"a": 1.0}
    assert [(wanted.name, wanted.size) for wanted in spec.validated_sources] == [("a", 128), ("b", 128)]


def test_rows_with_the_same_fault_are_one_fault(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 0)
    (folder / "rows.jsonl").write_text("[]\n" * 25)
    with pytest.raises(SpecError) as caught:
        make_jsonl(folder)
    (fault,) = caught.value.faults
    assert (Path(fault.path).name, fault.got) == ("rows.jsonl", "list '[]' in all 25 rows")


def test_prompts_that_are_too_long_are_counted_with_the_longest(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 30)
    with (folder / "rows.jsonl").open("a") as file:
        for length in (70, 90, 80):
            file.write(json.dumps({"prompt": "word " * length, "row": {"answer": "1"}}) + "\n")
    with pytest.raises(SpecError) as caught:
        make_jsonl(folder)
    (fault,) = caught.value.faults
    assert re.fullmatch(r"7\d to 9\d tokens in 3 of 33 rows \(lines 31, 32, 33\)", fault.got)
    assert fault.want.startswith("at most spec.rollout.maxPromptTokens = 64")


def test_rows_are_judged_by_the_model_of_the_source_s_domain(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 2)
    with pytest.raises(SpecError) as caught:
        make_jsonl(folder, domain="stem")
    assert [fault.path.rsplit(" ", 1)[1] for fault in caught.value.faults] == ["row.kind", "row.kind"]


def test_rows_that_repeat_a_held_out_question_are_not_trained_on(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 12)
    write_rows(folder, 12, "again.jsonl")
    source = make_jsonl(folder, heldOut=4)
    held = {prompt.text for prompt in source.held_out()[ValidationSource(name="maths", size=4)]}
    epoch = [prompt(source, index, maths=1.0).text for index in range(24 - 4 - len(held))]
    assert not held & set(epoch)
    assert held | set(epoch) == {f"question {number}" for number in range(12)}


def test_nothing_left_to_train_on_is_an_error(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1)
    write_rows(folder, 1, "again.jsonl")
    with pytest.raises(SpecError, match="1 rows to train on, all with a question that is held out"):
        make_jsonl(folder, heldOut=1)


CONVERSATION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]


@pytest.mark.parametrize(
    ("form", "want"),
    [
        ({"chat": False}, "`prompt.chat: false`"),
        ({"template": "Q: {question}"}, "`prompt.template`"),
        ({"system": "Be kind."}, "`prompt.system`"),
    ],
)
def test_a_prompt_setting_that_cannot_take_effect_on_a_conversation_is_an_error(
    tmp_path: Path, form: dict[str, Any], want: str
) -> None:
    folder = folder_with(tmp_path, 0)
    (folder / "rows.jsonl").write_text(json.dumps({"prompt": CONVERSATION, "row": {"answer": 2}}))
    assert prompt(make_jsonl(folder, prompt={}), 0, maths=1.0).text == "[system] Be brief. [user] 1 + 1? [assistant] "
    with pytest.raises(SpecError, match=r"rows.jsonl:1 prompt") as caught:
        make_jsonl(folder, prompt=form)
    assert want in caught.value.faults[0].want


def test_faults_of_all_sources_come_together(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text("[]\n")
    sources = [jsonl(name=name, jsonl=f"{name}.jsonl") for name in ("a", "b")]
    spec = make_spec(data={"sources": [*sources, gym("sums", "no_such_task")]}, referenceReset={"mode": "disabled"})
    with pytest.raises(SpecError) as caught:
        open_source(tmp_path, spec)
    assert [Path(fault.path).name for fault in caught.value.faults[:2]] == ["a.jsonl:1", "b.jsonl:1"]
    assert "no_such_task" in caught.value.faults[2].path


def big_rows(folder: Path, count: int = 20, size: int = 200_000) -> None:
    rows = [
        {"prompt": f"question {number}", "row": {"tests": [{"stdin": "7" * size, "expected_stdout": "7"}]}}
        for number in range(count)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_rows_of_files_are_not_copied_into_the_run_folder(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 0)
    big_rows(folder)
    source = make_jsonl(folder, heldOut=4, domain="code")
    used = [prompt(source, index, maths=1.0).row["tests"][0]["stdin"] for index in range(100)]
    assert used == ["7" * 200_000] * 100
    assert (tmp_path / "prompts.jsonl").stat().st_size < 200


def test_rows_of_files_are_not_held_in_memory(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 0)
    big_rows(folder)
    make_jsonl(folder, heldOut=4, domain="code")
    tracemalloc.start()
    source = make_jsonl(folder, heldOut=4, domain="code")
    for index in range(100):
        prompt(source, index, maths=1.0)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 4 * 200_000 + 100_000, "the held-out rows, of 4 MB"


def test_generated_items_are_stored_once_and_not_held_in_memory(tmp_path: Path) -> None:
    source = make_source(tmp_path, gym())
    first = texts(source, 300)
    size = (tmp_path / "prompts.jsonl").stat().st_size
    assert texts(source, 300) == first
    assert texts(make_source(tmp_path, gym()), 300) == first
    assert (tmp_path / "prompts.jsonl").stat().st_size == size
    store = PromptStore(LineFile(tmp_path / "prompts.jsonl"))
    tracemalloc.start()
    again = PromptStore(LineFile(tmp_path / "prompts.jsonl"))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert again.item("train", "sums", 299) == store.item("train", "sums", 299)
    assert kept < size / 4


def test_files_that_change_after_the_run_began_are_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 12)
    before = texts(make_jsonl(folder, heldOut=4), 8, maths=1.0)
    (folder / "rows.jsonl").rename(folder / "renamed.jsonl")
    assert texts(make_jsonl(folder, heldOut=4), 8, maths=1.0) == before, "names of files do not matter"
    write_rows(folder, 1, "zz.jsonl")
    with pytest.raises(SpecError, match=r"got 13 rows with sha256 .*the 12 rows .* that the run began with"):
        make_jsonl(folder, heldOut=4)
    (folder / "zz.jsonl").unlink()
    assert texts(make_jsonl(folder, heldOut=4), 8, maths=1.0) == before


def test_a_file_that_changes_while_the_run_goes_on_is_noticed(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 4)
    source = make_jsonl(folder)
    write_rows(folder, 3)
    (folder / "rows.jsonl").write_text((folder / "rows.jsonl").read_text().replace("question", "Question"))
    with pytest.raises(SpecError, match="a file that does not change while the run goes on"):
        texts(source, 4, maths=1.0)


def test_a_run_folder_of_an_earlier_version_is_read_on(tmp_path: Path) -> None:
    """There every use of a row was written down, too."""
    folder = folder_with(tmp_path, 4)
    used = [("train/maths/0", "maths"), ("validation/maths/0", "maths"), ("train/sums/1", "sums")]
    row = {"task": "chain_sum", "entry": {"question": "1 + 1?", "answer": "2", "metadata": {}}}
    lines = [{"key": key, "source": name, "question": "1 + 1?", "row": row} for key, name in used]
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    spec = make_spec(data={"sources": [gym(), jsonl(heldOut=1)]}, referenceReset={"mode": "disabled"})
    source = PromptSource(spec, WordTokenizer(), folder, LineFile(path))
    assert prompt(source, 1).text == "[user] 1 + 1? [assistant] "
    assert prompt(source, 0, maths=1.0).text.startswith("question ")
    assert path.read_text().count("question 0") == 0


def sources_of(folder: Path, *sources: dict[str, Any], **sections: Any) -> PromptSource:
    spec = make_spec(data={"sources": list(sources)}, referenceReset={"mode": "disabled"}, **sections)
    return PromptSource(spec, WordTokenizer(), folder, LineFile(folder.parent / "prompts.jsonl"))


def write_questions(folder: Path, name: str, questions: list[Any]) -> None:
    rows = [{"prompt": question, "row": {"answer": "1"}} for question in questions]
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    "again",
    [
        "What is 1 + 1?",
        "  what  IS\n1 + 1? ",
        "What is \uff11 + \uff11?",
        [{"role": "user", "content": "What is 1 + 1?"}],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1 + 1?"}],
    ],
    ids=["equal", "white space and case", "full width", "a conversation", "with a system message"],
)
@pytest.mark.parametrize("size", [1, 2], ids=["of which one is validated", "all validated"])
def test_a_question_held_out_by_one_source_is_trained_on_by_none(tmp_path: Path, again: Any, size: int) -> None:
    folder = folder_with(tmp_path, 0)
    write_questions(folder, "held.jsonl", ["What is 1 + 1?", "What is 9 + 9?"])
    write_questions(folder, "other.jsonl", [again, "What is 9 + 9?", "What is 2 + 2?", "What is 1 - 1?"])
    source = sources_of(
        folder,
        jsonl(name="held", jsonl="held.jsonl", heldOut=2, weight=0),
        jsonl(name="other", jsonl="other.jsonl", prompt={}, heldOut=0),
        validation={"sources": [{"name": "held", "size": size}]},
    )
    taken = source.take(0, 4, {"other": 1.0})
    asked = {prompt.text for prompt in taken.prompts}
    assert len(asked) == 2, asked
    assert not any("1 + 1" in text or "9 + 9" in text or "\uff11" in text for text in asked)
    assert taken.kept_out == {"other": 2}


def test_generated_items_that_a_file_holds_out_are_replaced_and_counted(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 0)
    (tmp_path / "first").mkdir()
    questions = {text.removeprefix("[user] ").removesuffix(" [assistant] ") for text in texts(
        make_source(tmp_path / "first", gym()), 20
    )}  # fmt: skip
    write_questions(folder, "held.jsonl", [question.upper() for question in sorted(questions)])
    held = jsonl(name="held", jsonl="held.jsonl", heldOut=len(questions), weight=0)
    source = sources_of(folder, gym(), held)
    taken = source.take(0, 20, {"sums": 1.0})
    assert not questions & {prompt.row["entry"]["question"] for prompt in taken.prompts}
    assert taken.kept_out["sums"] >= 20


def test_rows_of_a_file_that_a_generator_holds_out_are_not_trained_on(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 0)
    (tmp_path / "first").mkdir()
    wanted = ValidationSource(name="sums", size=5)
    sections = {"validation": {"sources": [wanted.model_dump()]}}
    held = make_source(tmp_path / "first", gym(), **sections).held_out()[wanted]
    write_questions(folder, "rows.jsonl", [prompt.row["entry"]["question"] for prompt in held] + ["Another?"])
    source = sources_of(folder, gym(), jsonl(), **sections)
    assert set(texts(source, 6, maths=1.0)) == {"Another?"}
    assert source.take(0, 1, {"maths": 1.0}).kept_out == {"maths": 5}


def test_a_source_that_others_hold_out_whole_is_an_error(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 0)
    for name in ("a", "b"):
        write_questions(folder, f"{name}.jsonl", ["What is 1 + 1?"])
    with pytest.raises(SpecError, match=r"sources\[b\].*1 rows to train on, all with a question that is held out"):
        sources_of(
            folder, jsonl(name="a", jsonl="a.jsonl", heldOut=1, weight=0), jsonl(name="b", jsonl="b.jsonl"), gym()
        )
