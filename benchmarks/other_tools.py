"""A second opinion: the yardsticks of another folder of measuring tools, where there is one.

``ASIDE_BENCH_TOOLS`` names the folder; it holds ``fake_channel.py``, ``sdk_loop.py`` and ``raw_limit.py``, each of which
prints one JSON object with ``msg_s`` and ``cpu_ms``. That their figures and ours agree says that our yardsticks are fair.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from benchmarks.broadcast import AT_ONCE, run
from benchmarks.people import connected, introduce
from benchmarks.processes import ROOT, outcome, staged
from benchmarks.tables import Table, number, ratio
