"""Pages that hold what was measured: each result in a place of its own, between two comments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.tables import Table


class NoPlace(Exception):
    """The page has no place for this result, or more than one."""


class Place:
    """What stands between ``<!-- measured: NAME -->`` and ``<!-- end -->``. Raises :class:`NoPlace`."""

    def __init__(self, page: Path, name: str) -> None:
        self._page = page
        self._where = re.compile(rf"(<!-- measured: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        if len(self._where.findall(page.read_text(encoding="utf-8"))) != 1:
            raise NoPlace(f"{page} needs one place for this: <!-- measured: {name} --> and <!-- end -->")

    def put(self, heads: Sequence[str], tables: Sequence[Table]) -> None:
        shown = [table.markdown() for table in tables if not table.detail]
        body = "\n\n".join(("\n".join(f"- {line}" for line in heads), *shown))
        text = self._page.read_text(encoding="utf-8")
        text = self._where.sub(lambda found: f"{found[1]}\n{body}\n\n{found[2]}", text)
        self._page.write_text(text, encoding="utf-8")
