"""Print for scripts/experiment.sh the scale, whether to estimate hours (`hours` or `-`), and on a line each:

the folder of the results, that of the data, and the command that prepares the data.

python -m fairseq_lskd.experiments EXPERIMENT SCALE FOLDER-OF-EXPERIMENTS NAME RECIPE RAW
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..errors import UserError, exit_on_user_error
from .options import wrong_options
from .plan import Plan
from .preparation import wrong_values
from .settings import find, usual_scale

if __name__ == "__main__":
    with exit_on_user_error("experiment.sh"):
        experiment, scale, folder, name, recipe, raw = sys.argv[1:]
        scale = scale or usual_scale(experiment, Path(folder))
        root = Path(folder).parent
        more = {"scripts": Plan.scripts_in(root), "raw": raw or None}
        plan = Plan.read(experiment, scale, Path(folder), name or None, recipe or None, **more)
        if raw and plan.settings.corpus == "generated":
            raise UserError(
                f"--raw {raw}: the scale {scale} generates its text. Give another --scale, or leave out --raw"
            )
        settings = plan.settings
        problems = wrong_values(settings.corpus, settings.languages, settings.prepare)
        if problems := problems + wrong_options(plan, root / "scripts" / "recipes"):
            raise UserError("\n  ".join([f"{find(experiment, Path(folder))} has mistakes:", *problems]))
        if why := plan.without_exports():
            print(f"experiment.sh: exported models are not measured: {why}", file=sys.stderr)
        print(scale, "hours" if plan.settings.hours else "-")
        print(plan.results, plan.data, plan.prepare_command(), sep="\n")
