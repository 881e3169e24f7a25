"""The service with something else in it: ``python -m benchmarks.altered ORDER…`` is ``python app.py`` otherwise.

An order is ``state.store:BATCH=128``, a constant and its value; ``gc:set_threshold(7000,10,10)``, a call before the
start; or ``uvloop``, a module that cannot be imported.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys

_ORDER = re.compile(r"(?P<module>[\w.]+)(?::(?P<name>\w+)(?:=(?P<value>.+)|\((?P<arguments>.*)\)))?")


def alter(order: str) -> None:
    parts = _ORDER.fullmatch(order)
    if parts is None:
        raise ValueError(f"{order!r} is no order")
    module, name = parts["module"], parts["name"]
    if name is None:
        sys.modules[module] = None  # type: ignore[assignment]
        return
    found = importlib.import_module(module)
    before = getattr(found, name)
    if parts["value"] is None:
        before(*ast.literal_eval(f"({parts['arguments']},)"))
    else:
        setattr(found, name, ast.literal_eval(parts["value"]))


def main(orders: list[str]) -> int:
    for order in orders:
        alter(order)
    import app

    return app.main([])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
