"""Print what scripts/experiment.sh needs to know: whether to estimate hours (`hours` or `-`), and the results folder.

python -m fairseq_lskd.experiments EXPERIMENT SCALE FOLDER-OF-EXPERIMENTS NAME RECIPE
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..errors import exit_on_user_error
from .plan import Plan

if __name__ == "__main__":
    with exit_on_user_error("experiment.sh"):
        experiment, scale, folder, name, recipe = sys.argv[1:]
        plan = Plan.read(experiment, scale, Path(folder), name or None, recipe or None)
        if why := plan.without_exports():
            print(f"experiment.sh: exported models are not measured: {why}", file=sys.stderr)
        print("hours" if plan.settings.hours else "-", plan.results)
