"""Write the page and its pictures from what is kept: `python -m prorl_analysis.prolonged [ARMS] [FOLDER]`."""

from __future__ import annotations

import sys
from pathlib import Path

from prorl_analysis.prolonged.arms import Arms, read_arms
from prorl_analysis.prolonged.figures import draw
from prorl_analysis.prolonged.findings import Kept, judge
from prorl_analysis.prolonged.page import page
from prorl_analysis.prolonged.record import BaseRecord, Record, read
from prorl_api.errors import ProRLError

ARMS, FOLDER = Path("examples/arms/prolonged.yaml"), Path("docs/results/prolonged")
BASE = "base.json"


def kept_in(folder: Path, arms: Arms) -> Kept:
    """Return what a folder keeps, in the order of the arms and seeds.

    Raises:
        SpecError: A file is no record, or of an arm that the table does not have.
    """
    records = [read(path, Record) for path in sorted(folder.glob("*.json")) if path.name != BASE]
    base = read(folder / BASE, BaseRecord) if (folder / BASE).is_file() else None
    return judge(arms, base, records)


def main(arms_path: Path = ARMS, folder: Path = FOLDER) -> int:
    """Entry point."""
    try:
        arms = read_arms(arms_path)
        kept = kept_in(folder, arms)
    except ProRLError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    draw(folder, kept)
    path = folder.with_suffix(".md")
    path.write_text(page(kept), encoding="utf-8")
    sys.stdout.write(f"{path}: {len(kept.records)} runs\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
