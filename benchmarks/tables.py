"""Figures beside their targets: aligned columns that can be pasted into a note, or Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

HEADS_OF_A_TARGET = ("target", "reached")
NO_TARGET = ("", "")


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
    if math.isnan(value):
        return "?"
    return f"{value:,.0f}x" if value >= 20 else f"{value:.1f}x" if value >= 2 else f"{value:.2f}x"


def percent(value: float) -> str:
    return "?" if math.isnan(value) else f"{100 * value:+.0f} %"


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a figure should be: ``at_least`` so much, or else at most. ``form`` writes figure and bound alike."""

    bound: float
    at_least: bool = False
    unit: str = ""
    form: Callable[[float], str] = number
    scaled_by: float | None = None

    def __str__(self) -> str:
        shown = f"{'>=' if self.at_least else '<='} {self.written(self.bound)}"
        return shown if self.scaled_by is None else f"{shown} scaled"

    def written(self, value: float) -> str:
        return f"{self.form(value)}{self.unit}"

    def scaled(self, factor: float) -> Target:
        """The same for a machine that takes ``factor`` times as long."""
        return replace(self, bound=self.bound / factor if self.at_least else self.bound * factor, scaled_by=factor)

    def reached(self, value: float) -> str:
        if math.isnan(value) or math.isnan(self.bound):
            return "?"
        return "yes" if (value >= self.bound if self.at_least else value <= self.bound) else "no"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A figure that has a target, under a name that stands alone."""

    figure: str
    measured: str
    target: str
    reached: str


@dataclass
class Table:
    """``units`` is a second line of headings, ``names`` how many columns hold words.

    ``detail``: too long for a page; shown on the screen only.
    """

    title: str
    headings: Sequence[str]
    units: Sequence[str] = ()
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    names: int = 1
    detail: bool = False

    def add(self, *cells: str) -> None:
        self.rows.append(cells)

    def judge(self, figure: str, value: float, target: Target) -> tuple[str, str]:
        """The cells of a target and of whether ``value`` reaches it; kept for the summary as ``figure``."""
        reached = target.reached(value)
        self.verdicts.append(
            Verdict(figure=figure, measured=target.written(value), target=str(target), reached=reached)
        )
        return str(target), reached

    def text(self) -> str:
        lines = [self.headings, *([self.units] if self.units else []), *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.headings))]
        shown = []
        for line in lines:
            words = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)][: self.names]
            figures = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)][self.names :]
            shown.append("  ".join(words + figures).rstrip())
        heads = 2 if self.units else 1
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        return "\n".join((self.title, "", *shown[:heads], rule, *shown[heads:], *self.notes))

    def markdown(self, level: int = 3) -> str:
        units = self.units or [""] * len(self.headings)
        heads = [" ".join(filter(None, pair)) for pair in zip(self.headings, units, strict=True)]
        rules = ["---"] * self.names + ["---:"] * (len(heads) - self.names)
        lines = [_row(cells) for cells in (heads, rules, *self.rows)]
        return "\n\n".join((f"{'#' * level} {self.title}", "\n".join(lines), *self.notes))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def summary(tables: Sequence[Table]) -> list[Table]:
    """Every figure that has a target; nothing if none of the tables has one."""
    verdicts = [verdict for table in tables for verdict in table.verdicts]
    if not verdicts:
        return []
    reached = sum(verdict.reached == "yes" for verdict in verdicts)
    table = Table(f"Targets: {reached} of {len(verdicts)} reached", ("figure", "measured", *HEADS_OF_A_TARGET))
    for verdict in verdicts:
        table.add(verdict.figure, verdict.measured, verdict.target, verdict.reached)
    return [table]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of the values do not exceed."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]
