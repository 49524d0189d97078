"""Print versions and devices, what is mended so that fairseq runs, and what is wrong with the way out of it.

Exit status 0: all is well; 1: something is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
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
    """The options of ``lskd doctor``."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument(
        "--user-dir", action="store_true", help="print only the path to give fairseq's commands as --user-dir"
    )


def run(args: argparse.Namespace) -> int:
    """Examine, print, and return 0 if nothing is wrong, 1 otherwise."""
    if args.user_dir:
        print(PACKAGE)
        return 0
    report = examine()
    print(json.dumps(report, indent=2) if args.json else as_text(report))
    return 1 if report["problems"] else 0


def examine() -> dict[str, Any]:
    """Everything that the doctor has to say, as plain values."""
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
        # Of a GPU that computes no float32 nothing else is to be expected; formats that are too new for it are no
        # fault.
        if (said := device["precisions"]["float32"]) != "works":
            problem(
                problems,
                f"{device['device']} ({device['name']}): a product in float32 {said}",
                "a torch that was built for this GPU and its driver, or CUDA_VISIBLE_DEVICES without it",
            )
    report["hook"] = read_hook(problems)
    report["openmp"] = openmp.describe(report["hook"])
    mend = None if report["hook"] else hook_install()
    fairseq = try_import("fairseq", problems, mend) if torch and packages["fairseq"] else None
    report["fairseq_runs"] = fairseq is not None
    if fairseq:
        # Compiled when fairseq was installed; without it, batches cannot be made.
        try_import("fairseq.data.data_utils_fast", problems)
    report["mends"] = read_mends(problems)
    report["problems"] = problems
    return report


def problem(problems: list[dict[str, str]], what: str, mend: str) -> None:
    """Note what is wrong and the command that mends it."""
    problems.append({"what": what, "mend": mend})


def read_package(package: versions.Package, problems: list[dict[str, str]]) -> str | None:
    """The version of a package; a missing or unsuitable one is a problem."""
    version = package.version()
    if version is None:
        problem(problems, f"{package.distribution} is not installed", package.install)
    elif not package.suits(version):
        problem(problems, f"{package.distribution} is {version}, wanted is {package.wanted}", package.install)
    if package.module == "fairseq" and len(builds := versions.providers("fairseq")) > 1:
        # Each overwrote files of the other, and left what the other did not have.
        problem(
            problems,
            f"fairseq was installed {len(builds)} times, by {' and '.join(builds)}, into the same folder",
            f"{sys.executable} -m pip uninstall -y {' '.join(builds)}; {package.install}",
        )
    return version


def try_import(name: str, problems: list[dict[str, str]], mend: str | None = None) -> ModuleType | None:
    """Import a module with nothing printed; a failure is a problem, by default mended by installing it again."""
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
        problem(problems, f"`import {name}` fails: {type(error).__name__}: {text}", mend or again)
        return None


def hook_install() -> str:
    """The command that installs this copy of the package, hook and all."""
    what = f"-e {PACKAGE.parent}" if (PACKAGE.parent / "setup.py").exists() else "--force-reinstall fairseq_lskd"
    return f"{sys.executable} -m pip install --no-deps {what}"


def read_hook(problems: list[dict[str, str]]) -> bool:
    """Whether a Python started now has fairseq mended, by this copy of the package."""
    hook = sys.modules.get("_fairseq_lskd_hook")
    if hook is None or not hook.is_active():
        problem(
            problems,
            "the import hook is not active, so fairseq is not mended when it is imported "
            "(fairseq_lskd.pth is not in site-packages, or Python runs with -S)",
            hook_install(),
        )
        return False
    place = Path(str(hook.__file__)).resolve().parent
    if place != PACKAGE.parent:
        problem(problems, f"the import hook belongs to another copy of fairseq_lskd, in {place}", hook_install())
    return True


def read_mends(problems: list[dict[str, str]]) -> list[dict[str, str]]:
    """What became of each mend when fairseq was imported just now, or whether it would be needed."""
    private = sys.modules.get(PRIVATE_COMPAT)
    found = []
    for mend in compat.MENDS:
        if private is None:
            status = would_need(mend)
        else:
            status = private.status.get(mend.NAME, "unknown to the copy that is active")
            status = "ready for when it is needed" if status == "waiting" else status
        if status.startswith("failed"):
            problem(
                problems,
                f"the mend {mend.NAME} {status}",
                f"{sys.executable} -m pip install -r constraints.txt  # versions that were seen to work",
            )
        found.append({"name": mend.NAME, "status": status, "without_it": mend.NEEDED_BY})
    return found


def would_need(mend: Any) -> str:
    """Whether a mend that nobody applied is needed here."""
    try:
        if mend.needed():
            return "NEEDED, not applied"
        imported = all(name in sys.modules for name in mend.MODULES)
        return "not needed" if imported else "cannot tell before fairseq can be imported"
    except Exception as error:
        return f"cannot tell ({type(error).__name__}: {error})"


def as_text(report: dict[str, Any]) -> str:
    """The report for people."""
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
        lines.append("GPU            none seen: fairseq runs on the CPU")
    lines.append(f"OpenMP waits   {report['openmp']}")
    lines += [f"import hook    {'active' if report['hook'] else 'NOT active'}", "mends"]
    for mend in report["mends"]:
        lines += [f"  {mend['name']:<20} {mend['status']}", f"  {'':<20}   without it: {mend['without_it']}"]
    lines.append(f"--user-dir     {report['user_dir']}")
    if not report["problems"]:
        return "\n".join([*lines, "All is well."])
    lines.append(f"{len(report['problems'])} wrong:")
    for number, item in enumerate(report["problems"], 1):
        lines += [f"  {number}. {item['what']}", f"     mend it with: {item['mend']}"]
    return "\n".join(lines)
