"""The instants at which tests of recovery end this process, or hold it.

``reached`` does nothing unless the environment variable ``ASIDE_FAULTS`` names a module when this one is
imported; then it is the function ``reached`` of that module.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Literal

Point = Literal[
    # a turn
    "before_lock",
    "loaded",
    "before_commit",
    "committed",
    # output before the commit
    "before_early_send",
    "early_answered",
    # carrying out
    "job_submitted",
    "before_send",
    "answered",
    "before_acknowledgement",
    "acknowledged",
    # fan-out
    "recipients_entered",
    "mail_put",
    # a job
    "job_claimed",
    "job_run",
    "answer_mailed",
    "job_recorded",
    # a sequence of commands, on a cluster
    "between_slots",
]


def _pass(point: Point) -> None:
    """Nothing happens here."""


_faults = os.environ.get("ASIDE_FAULTS")

reached: Callable[[Point], None] = importlib.import_module(_faults).reached if _faults else _pass
