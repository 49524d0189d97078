"""Check the options of fairseq-train that an experiment's YAML file gives, before anything is trained."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from ..commands import option
from .plan import Plan, System

#: Called in a process of its own, once for all trainings, because it imports torch and fairseq.
CHECK = "fairseq_lskd.criterions.command_line"
#: Print the options of a recipe ($1) for a model ($2) that has a teacher ($3: yes or no), each followed by a zero byte.
#: A recipe names others by $root ($4), the checkout.
RECIPE = """
set -eu
root=$4 distilled=()
. "$1"
declare -n model="$2_model"
[ "$3" = yes ] || distilled=()
printf '%s\\0' "${model[@]}" "${training[@]}" "${distilled[@]}"
"""


def wrong_options(plan: Plan, recipes: Path) -> list[str]:
    """Return what fairseq-train would refuse in the options of the YAML file, with the names of the systems.

    Args:
        recipes: the folder of the recipes that can be called by name.
    """
    commands: dict[tuple[str, str], list[str]] = {}
    for name, system in plan.systems.items():
        sampled = _is_sampled(plan, system)
        if plan.settings.train or system.train or sampled:
            command = [*(["--sampled"] if sampled else []), "fairseq-train", *_words(plan, system, recipes)]
            commands["teachers" if name in plan.leads else "students", system.called] = command
    if not commands:
        return []
    asked = json.dumps(list(commands.values()))
    done = subprocess.run([sys.executable, "-m", CHECK], input=asked, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (kind, called), problems in zip(commands, json.loads(done.stdout), strict=True):
        for problem in problems:
            found[kind, problem].append(called)
    return [f"{kind}: {', '.join(called)}: {problem}" for (kind, problem), called in found.items()]


def _is_sampled(plan: Plan, system: System) -> bool:
    """Return whether a student learns from an unbiased cache."""
    of_cache = system.cache is not None and "--bytes-per-token" in plan.caches[system.cache].keep
    return of_cache or "--cache-bytes" in system.options


def _words(plan: Plan, system: System, recipes: Path) -> list[str]:
    """Return the options with which a script trains a system, except for its files, which do not exist yet."""
    given = system.options
    if system.teacher is None:
        words = [
            "--criterion",
            "label_smoothed_teacher",
            "--label-smoothing",
            option(given, "--label-smoothing") or "0",
        ]
    elif system.translations:
        words = ["--criterion", "seq_kd", "--sequence-weights", "train.weights.npz"]
        words += ["--reference-weight", share] if (share := option(given, "--reference-weight")) else []
    else:
        words = ["--criterion", "word_kd"]
    if system.online or system.cache:
        cached = system.cache or "--cache-bytes" in given or "--cache-top-k" in given
        words += ["--teacher-cache", "top-k"] if cached else ["--teacher-path", "teacher.pt"]
        words += ["--kd-weight", option(given, "--kd-weight") or "0.5"]
        words += ["--kd-temperature", option(given, "--kd-temperature") or "1"]
    taught = "yes" if system.teacher else "no"
    call = [str(plan.recipe_file(recipes)), option(given, "--size") or "student", taught]
    recipe = subprocess.run(
        ["bash", "-c", RECIPE, "recipe", *call, str(recipes.parent.parent)], stdout=subprocess.PIPE, text=True
    )
    if recipe.returncode:
        sys.exit(recipe.returncode)
    return ["data", *words, *recipe.stdout.split("\0")[:-1], *plan.settings.train, *system.train]
