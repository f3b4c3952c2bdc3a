"""The published sets that ProRL trained on (arXiv 2505.24864, table 4), and own questions, one module each.

A new set is one module and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping

from prorl_cli.data.importers.base import Importer
from prorl_cli.data.importers.deepscaler import DEEPSCALER
from prorl_cli.data.importers.eurus_code import EURUS_CODE
from prorl_cli.data.importers.llama_nemotron import LLAMA_NEMOTRON
from prorl_cli.data.importers.question_answer import QUESTION_ANSWER
from prorl_cli.data.importers.scp_116k import SCP_116K

IMPORTERS: Mapping[str, Importer] = {
    importer.name: importer for importer in (DEEPSCALER, EURUS_CODE, SCP_116K, LLAMA_NEMOTRON, QUESTION_ANSWER)
}
"""By the name that `prorl data import` takes."""
