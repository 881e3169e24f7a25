"""Starts processes of the service within a moment: a process that has imported everything, and forks.

Each line that it reads is an order in JSON: ``role``, ``environment`` and ``log``; it answers with the process id.
Leases are short in its children, so that others take over soon, unless ``LEASES`` says ``as shipped``. In a child's
environment ``ANSWER_WITHIN`` is the time after which a turn is answered though it goes on, and ``FANOUT_PAGE`` how many
recipients a fan-out serves at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from datetime import timedelta
from typing import Any, NoReturn

import state.turns

SHORT = os.environ.get("LEASES") != "as shipped"
if SHORT:
    state.turns.LEASE = timedelta(seconds=1)

import app  # noqa: E402 - so that it finds the shorter lease
import delivery.fanout  # noqa: E402
import devchannel.routes  # noqa: E402
import proactive.presentation  # noqa: E402
import web.messages  # noqa: E402

proactive.presentation.LINES = 10_000  # what tests look for in a digest is in it, however many it tells of

if SHORT:
    app.FANOUT_LEASE = 1.5
    app.JOB_LEASE = 1.5


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    children = []
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            become(order)
        children.append(child)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def become(order: dict[str, Any]) -> NoReturn:
    """Be the process that was ordered."""
    status = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(order["environment"])
        if within := os.environ.get("ANSWER_WITHIN"):
            for waiting in (web.messages.Messages.__init__, devchannel.routes.add_routes):
                defaults = waiting.__kwdefaults__
                assert defaults is not None
                defaults["answer_within"] = float(within)
        if page := os.environ.get("FANOUT_PAGE"):
            vars(delivery.fanout)["PAGE"] = int(page)
        status = app.main([order["role"]])
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
