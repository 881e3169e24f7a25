"""``python -m soak.service``: ``python app.py`` with leases of ``SOAK_LEASE`` seconds; others take over soon."""

from __future__ import annotations

import os
import sys
from datetime import timedelta

import state.turns

LEASE = float(os.environ["SOAK_LEASE"])
state.turns.LEASE = timedelta(seconds=LEASE)

import app  # noqa: E402 - so that it finds the shorter lease
import proactive.presentation  # noqa: E402

app.FANOUT_LEASE = app.JOB_LEASE = LEASE + 0.5
proactive.presentation.LINES = 10_000  # the verdict looks for everything in what was shown

if __name__ == "__main__":
    sys.exit(app.main(sys.argv[1:]))
