"""Check the installation: versions, devices and the patches of fairseq. Each problem comes with a command to solve it.

Exit status 0: no problems; 1: there are problems.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import json
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import __version__, compat
from ..compat import openmp, versions

EXAMPLES = """\
examples:
  lskd doctor
  lskd doctor --json | python -m json.tool
  fairseq-train DATA --user-dir "$(lskd doctor --user-dir)" --criterion word_kd ...
"""

PACKAGE = Path(__file__).resolve().parent.parent
PRIVATE_COMPAT = "_fairseq_lskd_compat"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lskd doctor`."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the report as a JSON object")
    form.add_argument("--user-dir", action="store_true", help="print only the folder for --user-dir of fairseq-train")


def run(args: argparse.Namespace) -> int:
    """Print the report, and return 1 if there are problems."""
    if args.user_dir:
        print(PACKAGE)
        return 0
    report = examine()
    print(json.dumps(report, indent=2) if args.json else as_text(report))
    return 1 if report["problems"] else 0


def examine() -> dict[str, Any]:
    """Return the report as JSON-compatible values."""
    problems: list[dict[str, str]] = []
    packages = {name: read_package(package, problems) for name, package in versions.PACKAGES.items()}
    report: dict[str, Any] = {
        "fairseq_lskd": __version__,
        "user_dir": str(PACKAGE),
        "python": versions.python_line(),
        "packages": packages,
    }
    torch = try_import("torch", problems) if packages["torch"] else None
    report["torch_build"] = versions.torch_build(torch) if torch else None
    report["devices"] = versions.devices(torch) if torch else []
    for device in report["devices"]:
        device["precisions"] = versions.precisions(torch, device["device"])
        # A GPU that cannot compute in float32 is a problem. An old GPU may lack other formats.
        if (said := device["precisions"]["float32"]) != "works":
            problem(
                problems,
                f"{device['device']} ({device['name']}): a product in float32 {said}",
                "install a torch that was built for this GPU and its driver, or hide the GPU (CUDA_VISIBLE_DEVICES)",
            )
    report["hook"] = read_hook(problems)
    report["openmp"] = openmp.describe(report["hook"])
    solution = None if report["hook"] else hook_install()
    fairseq = try_import("fairseq", problems, solution) if torch and packages["fairseq"] else None
    report["fairseq_runs"] = fairseq is not None
    if fairseq:
        # This extension is compiled when fairseq is installed. fairseq needs it to build batches.
        try_import("fairseq.data.data_utils_fast", problems)
        report["notes"] = notes()
    report["patches"] = read_patches(problems)
    report["problems"] = problems
    return report


def notes() -> list[str]:
    """Return what this fairseq lacks that few trainings need."""
    if any(importlib.util.find_spec(f"fairseq.{name}") for name in ("libnat", "libnat_cuda")):
        return []
    # Neither PyPI's wheel nor its source package has the C++ files.
    return [
        "fairseq.libnat is missing, as in every fairseq of PyPI: levenshtein_transformer and insertion_transformer "
        "cannot be trained (cmlm_transformer can)"
    ]


def problem(problems: list[dict[str, str]], what: str, solution: str) -> None:
    """Add a problem and the command that solves it."""
    problems.append({"what": what, "solution": solution})


def read_package(package: versions.Package, problems: list[dict[str, str]]) -> str | None:
    """Return the version of a package. Add a problem if it is missing, unsuitable or installed twice."""
    version = package.version()
    if version is None:
        problem(problems, f"{package.distribution} is not installed", package.install)
    elif not package.suits(version):
        problem(problems, f"{package.distribution} is {version}, expected {package.wanted}", package.install)
    if package.module == "fairseq" and len(builds := versions.providers("fairseq")) > 1:
        # The second overwrote files of the first, and kept its other files.
        problem(
            problems,
            f"fairseq was installed {len(builds)} times, by {' and '.join(builds)}, into the same folder",
            f"{sys.executable} -m pip uninstall -y {' '.join(builds)}; {package.install}",
        )
    return version


def try_import(name: str, problems: list[dict[str, str]], solution: str | None = None) -> ModuleType | None:
    """Import a module silently. If that fails, add a problem with the `solution` (default: install it again)."""
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except Exception as error:
        text = (str(error) or repr(error)).splitlines()[0]
        missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        package = versions.PACKAGES[name.partition(".")[0]]
        again = package.install.replace("pip install", "pip install --force-reinstall --no-cache-dir")
        if missing not in (None, name):
            again = versions.install_line(missing)
        problem(problems, f"`import {name}` fails: {type(error).__name__}: {text}", solution or again)
        return None


def hook_install() -> str:
    """Return the command that installs this copy of the package with its import hook."""
    what = f"-e {PACKAGE.parent}" if (PACKAGE.parent / "setup.py").exists() else "--force-reinstall fairseq_lskd"
    return f"{sys.executable} -m pip install --no-deps {what}"


def read_hook(problems: list[dict[str, str]]) -> bool:
    """Return whether this copy's import hook is active, which patches fairseq in each new Python process."""
    hook = sys.modules.get("_fairseq_lskd_hook")
    if hook is None or not hook.is_active():
        problem(
            problems,
            "the import hook is not active, so that fairseq is not patched when it is imported "
            "(fairseq_lskd.pth is not in site-packages, or Python runs with -S)",
            hook_install(),
        )
        return False
    place = Path(str(hook.__file__)).resolve().parent
    if place != PACKAGE.parent:
        problem(problems, f"the import hook belongs to another copy of fairseq_lskd, in {place}", hook_install())
    return True


def read_patches(problems: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the status of each patch after the import of fairseq; without the hook, whether fairseq needs it."""
    private = sys.modules.get(PRIVATE_COMPAT)
    found = []
    for patch in compat.PATCHES:
        if private is None:
            status = would_need(patch)
        else:
            status = private.status.get(patch.NAME, "unknown to the active copy of fairseq_lskd")
            status = "applied when needed" if status == "waiting" else status
        if status.startswith("failed"):
            problem(
                problems,
                f"the patch {patch.NAME} {status}",
                f"{sys.executable} -m pip install -r constraints.txt  # tested versions",
            )
        found.append({"name": patch.NAME, "status": status, "without_it": patch.NEEDED_BY})
    return found


def would_need(patch: Any) -> str:
    """Return whether fairseq needs a patch that was not applied, in words."""
    try:
        if patch.needed():
            return "NEEDED, not applied"
        imported = all(name in sys.modules for name in patch.MODULES)
        return "not needed" if imported else "unknown, as fairseq cannot be imported"
    except Exception as error:
        return f"unknown ({type(error).__name__}: {error})"


def as_text(report: dict[str, Any]) -> str:
    """Return the report as text."""
    lines = [f"fairseq_lskd   {report['fairseq_lskd']}", f"Python         {report['python']}"]
    for name, version in report["packages"].items():
        label = versions.PACKAGES[name].distribution
        build = f" ({report['torch_build']})" if name == "torch" and report["torch_build"] else ""
        lines.append(f"{label:<14} {version or 'MISSING'}{build}")
    for device in report["devices"]:
        able = ", ".join(f"--{kind} {'yes' if device[kind] else 'no'}" for kind in ("fp16", "bf16"))
        name = f"{device['name']}, {device['memory_gib']} GiB, compute capability {device['capability']}"
        lines.append(f"{device['device']:<14} {name}")
        tried = ", ".join(f"{kind} {said}" for kind, said in device["precisions"].items())
        lines += [f"{'':<14} products: {tried}", f"{'':<14} fast: {able}"]
    if not report["devices"]:
        lines.append("GPU            none found: fairseq runs on the CPU")
    lines.append(f"OpenMP waits   {report['openmp']}")
    lines += [f"import hook    {'active' if report['hook'] else 'NOT active'}", "patches of fairseq"]
    for patch in report["patches"]:
        lines += [f"  {patch['name']:<20} {patch['status']}", f"  {'':<20}   without it: {patch['without_it']}"]
    lines.append(f"--user-dir     {report['user_dir']}")
    lines += [f"note           {note}" for note in report.get("notes", [])]
    if not report["problems"]:
        return "\n".join([*lines, "No problems found."])
    count = len(report["problems"])
    lines.append(f"{count} problem{'s' * (count > 1)}:")
    for number, item in enumerate(report["problems"], 1):
        lines += [f"  {number}. {item['what']}", f"     solution: {item['solution']}"]
    return "\n".join(lines)
