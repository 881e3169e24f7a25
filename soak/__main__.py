"""``python -m soak --minutes 5 --seed 1``: a line with what came of it, and one with what was done to it; exit status 1
if anything was amiss."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from soak.plan import Plan
from soak.run import Soak


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m soak", description="Soak the service in load and faults.")
    parser.add_argument("--minutes", type=float, default=1.0, help="of load and faults (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="by which everything is chosen (default %(default)s)")
    parser.add_argument(
        "--lease", type=float, help="seconds until others take over from a process that died (default: the service's)"
    )
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="aside-soak-"))
    plan = Plan(seconds=options.minutes * 60, seed=options.seed, lease=options.lease)
    outcome = asyncio.run(Soak(plan, folder).run())
    sys.stdout.write(f"{outcome.line()}\n({outcome.kinds_line()})\n")
    if not outcome.good:
        sys.stderr.write("\n".join([*outcome.details(), f"logs: {folder}"]) + "\n")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
