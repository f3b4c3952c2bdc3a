"""Tables of an evaluation and of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from prorl_analysis.boundary import Boundary, powers
from prorl_analysis.estimators import Estimate, mean_over_items, pass_at_k
from prorl_analysis.novelty import Novelty
from prorl_analysis.results import Results


def summary(results: Results) -> Table:
    """Show by source the mean reward and pass@k at powers of two up to the fewest judged samples of an item."""
    table = Table("source", "what", "value", "95 %", "items")
    for source in results.settings.sources:
        items = [item for item in results.samples if item[0] == source and results.rewards(item)]
        if not items:
            continue
        rewards = [results.rewards(item) for item in items]
        _add(table, source, "mean reward", mean_over_items([sum(values) / len(values) for values in rewards]))
        counts = [results.counts(item) for item in items]
        judged, correct = [n for n, _ in counts], [c for _, c in counts]
        for k in powers(min(judged)):
            _add(table, source, f"pass@{k}", mean_over_items(pass_at_k(judged, correct, k)))
    return table


def moves(rows: Sequence[Boundary]) -> Table:
    """Show what was lost and gained, losses first."""
    table = Table("source", "shrunk", "expanded", "preserved", "out of reach", "SRR", "NDR", "NSCR", "regime")
    for row in rows:
        counts = (len(row.shrunk), len(row.expanded), len(row.preserved), len(row.out_of_reach))
        ratios = (row.support_retention, row.net_discovery, row.net_change)
        shown = ("-" if ratio is None else f"{ratio:.3f}" for ratio in ratios)
        table.add_row(row.source, *map(str, counts), *shown, row.regime.value)
    return table


def curves(rows: Sequence[Boundary]) -> Table:
    """Show pass@k of both."""
    table = Table("source", "k", "base pass@k", "95 %", "checkpoint pass@k", "95 %")
    for row in rows:
        for k, before, after in row.curve:
            table.add_row(row.source, str(k), *_shown(before), *_shown(after))
    return table


def novelties(found: Sequence[Novelty]) -> Table:
    """Show how new completions are."""
    span = f"L = {found[0].shortest} to {found[0].longest}"
    table = Table("results", f"creativity index ({span})", "95 %", "completions",
                  *(f"distinct-{n}" for n, _ in found[0].distinct), "entropy of answers")  # fmt: skip
    for each in found:
        shares = (f"{share:.3f}" for _, share in each.distinct)
        entropy = "-" if each.entropy is None else f"{each.entropy.value:.3f}"
        table.add_row(each.path, *_shown(each.index), str(each.completions), *shares, entropy)
    return table


def _add(table: Table, source: str, what: str, estimate: Estimate) -> None:
    table.add_row(source, what, *_shown(estimate), str(estimate.num_items))


def _shown(estimate: Estimate) -> Iterator[str]:
    yield f"{estimate.value:.3f}"
    yield "-" if estimate.low is None or estimate.high is None else f"{estimate.low:.3f} to {estimate.high:.3f}"
