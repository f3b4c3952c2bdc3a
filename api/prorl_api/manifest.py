"""Reading and judging a manifest as a whole: every fault at once, each with path, what was got, what is wanted."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from prorl_api import API_VERSION, yaml12
from prorl_api.assignments import with_assignments
from prorl_api.errors import Fault, SpecError
from prorl_api.spec.base import BrokenRules, SpecModel
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.nulls import without_nulls
from prorl_api.wording import reason_of, wanted

RESET_KIND = "ProRLReset"
_Model = TypeVar("_Model", bound=SpecModel)


class ManifestFaults(SpecError):
    """What is wrong with an object, and what is left of it, so that more can be judged in the same round."""

    def __init__(self, faults: Sequence[Fault], *, source: str, rest: SpecModel) -> None:
        super().__init__(faults, source=source)
        self.rest = rest
        """The object; contradictions stand in it, and what was faulty by itself has its default."""


_SHAPES: dict[type[object], str] = {list: "a list", str: "a text"}
_MAX_SHOWN = 80
_SERVERS = "the API server sets it; remove it"
_OTHER_WORDS = {
    **dict.fromkeys(("lr", "learning_rate", "actor_learning_rate"), "here it is `spec.learner.optimizer.learningRate`"),
    **dict.fromkeys(("num_generations", "n_samples_per_prompt"), "here it is `spec.learner.groupSize`"),
    **dict.fromkeys(("beta", "kl_coef", "kl_loss_coef"), "here it is `spec.algorithm.kl.coefficient`"),
    **dict.fromkeys(("max_prompt_length",), "here it is `spec.rollout.maxPromptTokens`"),
    **dict.fromkeys(("max_completion_length", "max_tokens"), "here it is `spec.rollout.maxCompletionTokens`"),
    **dict.fromkeys(("max_steps", "total_training_steps"), "here it is `spec.schedule.totalSteps`"),
    **dict.fromkeys(
        ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"), _SERVERS
    ),
}
"""What other trainers call a field of ours, and what `kubectl get -o yaml` adds."""


def read_job(path: Path, assignments: Sequence[str] = ()) -> ProRLJob:
    """Return the single `ProRLJob` of a YAML file, or of a JSON file that a body wrote.

    Args:
        path: The file.
        assignments: `path=value`, set before the manifest is judged.

    Raises:
        SpecError: The file cannot be read, or what it holds is not one valid job.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        want = "a readable UTF-8 file with one ProRLJob"
        raise SpecError([Fault(path=str(path), got=reason_of(error), want=want)], source=str(path)) from error
    if path.suffix == ".json":  # written by a body; YAML would read some characters of JSON strings otherwise
        return _sole_job([_parsed_json(text, str(path))], str(path), assignments)
    return _sole_job(yaml12.load(text, source=str(path)), str(path), assignments)


def _parsed_json(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SpecError(
            [Fault(path="the text", got=reason_of(error), want="one JSON object")], source=source
        ) from error


def parse_job(text: str, *, source: str = "the manifest") -> ProRLJob:
    """Return the single `ProRLJob` of a YAML text.

    Raises:
        SpecError: With every fault found.
    """
    return _sole_job(yaml12.load(text, source=source), source)


def _sole_job(documents: Sequence[Any], source: str, assignments: Sequence[str] = ()) -> ProRLJob:
    document = sole_document(documents, source)
    if document.get("kind") == RESET_KIND:
        want = (
            "a ProRLJob; on one machine `prorl resets request RUN` asks for a reset, `prorl validate` judges this one"
        )
        raise SpecError([Fault(path="kind", got=RESET_KIND, want=want)], source=source)
    return validate_job(with_assignments(document, assignments), source=source)


def sole_document(documents: Sequence[Any], source: str) -> dict[str, Any]:
    """Return the one object of a text.

    Raises:
        SpecError: It holds none, several, or something else.
    """
    if len(documents) != 1 or not isinstance(documents[0], dict):
        got = f"{len(documents)} documents" if len(documents) != 1 else _SHAPES.get(type(documents[0]), "a plain value")
        want = f"one object with apiVersion {API_VERSION} and kind ProRLJob"
        raise SpecError([Fault(path="the text", got=got, want=want)], source=source)
    return documents[0]


def validate_job(document: dict[str, Any], *, source: str = "the manifest") -> ProRLJob:
    """Return the job that a parsed document describes, judged as strictly as the API server judges it.

    Raises:
        SpecError: With every fault found.
    """
    return validated(ProRLJob, document, source=source)


def validated(model: type[_Model], document: dict[str, Any], *, source: str) -> _Model:
    """Return the object of a kind that a parsed document describes.

    A field that is null is a field that is not set, as it is there.

    Fields that are wrong by themselves are reported, then taken out with what cannot stand without them, so that the
    rules that cross fields are still checked on the rest; a rule that speaks of something taken out is not reported.

    Raises:
        ManifestFaults: With every fault found.
        SpecError: The same, where nothing else is left.
    """
    faults: list[Fault] = []
    remaining = _Remaining(without_nulls(document, model), model)
    while True:
        broken = BrokenRules()
        try:
            # JSON, because the API server judges JSON: strict about types, but lists may stand for tuples.
            found = model.model_validate_json(
                json.dumps(remaining.document), strict=True, by_alias=True, by_name=False, context=broken
            )
        except ValidationError as error:
            problems = _without_echoes(error.errors(include_url=False))
            faults += [fault for fault in remaining.faults(problems) if fault not in faults]
            if not remaining.take_out(problems):
                raise SpecError(faults, source=source) from None
            continue
        locations = {id(part): location for location, part in _walk(found, ())} if broken.found else {}
        for part, message in broken.found:
            place = remaining.place(locations[id(part)])
            if not remaining.lacks_what(message, place):
                path = _path(place) or "the manifest"
                faults.append(Fault(path=path, got="fields that contradict each other", want=message))
        if faults:
            raise ManifestFaults(faults, source=source, rest=found)
        return found


_Location = tuple[str | int, ...]


def _without_echoes(problems: Sequence[Any]) -> list[Any]:
    """Leave out lists called too short because pydantic does not count their faulty items."""
    locations = [problem["loc"] for problem in problems]
    return [
        problem
        for problem in problems
        if problem["type"] != "too_short"
        or not any(problem["loc"] == location[: len(problem["loc"])] != location for location in locations)
    ]


class _Remaining:
    """A document from which faulty parts are taken out, while what is left keeps the places it had."""

    def __init__(self, document: dict[str, Any], model: type[BaseModel]) -> None:
        self.document: Any = document
        self._model = model
        self._is_whole = True
        """Nothing was taken out, and the document is still the caller's."""
        self._taken: set[_Location] = set()
        self._indexes: dict[int, list[int]] = {}
        """Of each list that lost items, by identity: the first index of every item left."""

    def place(self, location: _Location) -> _Location:
        """Return where `location` lay in the document as it was given."""
        place: list[str | int] = []
        current = self.document
        for part in location:
            indexes = self._indexes.get(id(current))
            place.append(indexes[part] if indexes is not None and isinstance(part, int) else part)
            current = current[part] if _holds(current, part) else None
        return tuple(place)

    def faults(self, problems: Sequence[Any]) -> list[Fault]:
        """Return one fault a place; nothing about places where we took something out ourselves."""
        found: dict[str, Fault] = {}
        for problem in problems:
            location = problem["loc"] if problem["type"] == "missing" else self._existing(problem["loc"])
            place = self.place(location)
            if any(taken[: len(place)] == place for taken in self._taken):
                continue
            fault = _fault(self._model, problem, location, _path(place) or "the manifest")
            first = found.get(fault.path)
            found[fault.path] = dataclasses.replace(fault, want=f"{first.want}, or {fault.want}") if first else fault
        return list(found.values())

    def take_out(self, problems: Sequence[Any]) -> bool:
        """Take the faulty values out, and whatever lacks a required field; False if there was nothing to take."""
        locations = {
            problem["loc"][:-1] if problem["type"] == "missing" else self._existing(problem["loc"])
            for problem in problems
        } - {()}
        self._taken |= {self.place(location) for location in locations}
        if self._is_whole:
            self.document, self._is_whole = copy.deepcopy(self.document), False
        for location in sorted(locations, reverse=True):  # the last item of a list first: indexes stay true
            *parents, last = location
            container = self.document
            for part in parents:
                container = container[part]
            if isinstance(container, list):
                del self._indexes.setdefault(id(container), list(range(len(container))))[int(last)]
            del container[last]
        return bool(locations)

    def lacks_what(self, message: str, place: _Location) -> bool:
        """Tell whether something was taken out of the part at `place` that the message speaks of."""
        inside = [taken[len(place) :] for taken in self._taken if taken[: len(place)] == place]
        names = {next((part for part in reversed(taken) if isinstance(part, str)), None) for taken in inside}
        return any(f"`{name}`" in message or f".{name}`" in message for name in names if name)

    def _existing(self, location: _Location) -> _Location:
        """Return the part of a location that leads to something.

        Pydantic appends the branch of a union that it tried.
        """
        current = self.document
        for depth, part in enumerate(location):
            if not _holds(current, part):
                return location[:depth]
            current = current[part]
        return location


def _holds(container: Any, key: str | int) -> bool:
    if isinstance(container, list):
        return isinstance(key, int) and key < len(container)
    return isinstance(container, dict) and key in container


def _walk(model: BaseModel, location: _Location) -> Iterator[tuple[_Location, BaseModel]]:
    """Return every model in the tree with its location in the manifest's spelling."""
    yield location, model
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        here = (*location, field.alias or name)
        if isinstance(value, BaseModel):
            yield from _walk(value, here)
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                if isinstance(item, BaseModel):
                    yield from _walk(item, (*here, index))


def _fault(model: type[BaseModel], problem: Any, location: _Location, path: str) -> Fault:
    got = _shown(problem.get("input"))
    kind = problem["type"]
    if kind == "extra_forbidden":
        if (known := _OTHER_WORDS.get(str(location[-1]))) is not None:
            return Fault(path=path, got=got, want=f"unknown field; {known}")
        names = _known_names(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(sorted(names))}"
        return Fault(path=path, got=got, want=f"unknown field; {hint}")
    if kind == "missing":
        return Fault(path=path, got="nothing", want="this field is required")
    return Fault(path=path, got=got, want=wanted(problem))


def _path(location: _Location) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _known_names(model: type[BaseModel], location: _Location) -> list[str]:
    """Return the aliases of the fields of the model that `location` leads to."""
    current: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        fields = {field.alias or name: field for name, field in current.model_fields.items()}
        if part not in fields:
            return []
        found = _models_in(fields[part].annotation)
        if not found:
            return []
        current = found[0]
    return [field.alias or name for name, field in current.model_fields.items()]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]
