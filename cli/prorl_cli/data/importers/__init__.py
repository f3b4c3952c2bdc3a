"""The published sets that ProRL trained on and was evaluated on (arXiv 2505.24864), and own questions, one module each.

A new set is one module and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping

from prorl_api.jsonl import LineError, RawLine, parse_object
from prorl_api.spec.values import Domain
from prorl_cli.data.importers.base import Imported, Importer
from prorl_cli.data.importers.competitions import COMPETITIONS
from prorl_cli.data.importers.deepscaler import DEEPSCALER
from prorl_cli.data.importers.eurus_code import EURUS_CODE
from prorl_cli.data.importers.gpqa import GPQA
from prorl_cli.data.importers.human_eval import HUMAN_EVAL
from prorl_cli.data.importers.ifeval import IFEVAL
from prorl_cli.data.importers.live_code_bench import LIVE_CODE_BENCH
from prorl_cli.data.importers.llama_nemotron import LLAMA_NEMOTRON
from prorl_cli.data.importers.question_answer import QUESTION_ANSWER
from prorl_cli.data.importers.question_row import QUESTION_ROW
from prorl_cli.data.importers.reasoning_gym_items import REASONING_GYM
from prorl_cli.data.importers.scp_116k import SCP_116K

_FOR_TRAINING = (DEEPSCALER, EURUS_CODE, SCP_116K, LLAMA_NEMOTRON, QUESTION_ANSWER, QUESTION_ROW)
EVALUATION_SETS = (*COMPETITIONS, GPQA, HUMAN_EVAL, LIVE_CODE_BENCH, IFEVAL, REASONING_GYM)
"""In the paper's order."""
IMPORTERS: Mapping[str, Importer] = {importer.name: importer for importer in (*_FOR_TRAINING, *EVALUATION_SETS)}
"""By the name that `prorl data import` takes."""


def importers_of(raw: RawLine, domain: Domain) -> tuple[str, ...]:
    """Name the importers of a domain that make a row of a line which is none by itself."""
    try:
        record = parse_object(raw.content)
    except LineError:
        return ()
    if "prompt" in record and "row" in record:
        return ()  # meant as a row: its faults are to be mended
    fitting = (item for item in _FOR_TRAINING if item.domain is domain)
    return tuple(item.name for item in fitting if isinstance(item.convert(record), Imported))
