"""Figures as text: aligned columns that can be pasted into a note."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Table:
    """``units`` is a second line of headings."""

    title: str
    headings: Sequence[str]
    units: Sequence[str] = ()
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        self.rows.append(cells)

    def text(self) -> str:
        lines = [self.headings, *([self.units] if self.units else []), *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.headings))]
        shown = []
        for line in lines:
            first = line[0].ljust(widths[0])
            others = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
            shown.append("  ".join((first, *others)).rstrip())
        heads = 2 if self.units else 1
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        return "\n".join((self.title, "", *shown[:heads], rule, *shown[heads:], *self.notes))


def number(value: float) -> str:
    """Three significant digits, none of them made up."""
    if math.isnan(value):
        return "?"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def ratio(value: float) -> str:
    return f"{value:,.0f}x" if value >= 20 else f"{value:.1f}x" if value >= 2 else f"{value:.2f}x"


def show(*tables: Table) -> None:
    for table in tables:
        sys.stdout.write(f"\n{table.text()}\n")
    sys.stdout.flush()


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]
