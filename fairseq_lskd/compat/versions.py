"""The installed packages and their versions, the devices, and how to install what is missing.

The package supports Python 3.11 to 3.13, torch 2.6 to 2.13 and fairseq 0.12. This module runs with other versions too.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: pip >= 24.1 cannot resolve fairseq's pins, hence --no-deps.
FAIRSEQ = "--no-deps fairseq==0.12.2"


@dataclass(frozen=True)
class Package:
    """A package that fairseq or fairseq_lskd needs: its module, its distribution and the supported versions."""

    module: str
    distribution: str
    at_least: tuple[int, int] = (0, 0)
    below: tuple[int, int] | None = None
    extra: str | None = None  #: the extra of fairseq_lskd that includes it

    @property
    def name(self) -> str:
        """The usual name of the package."""
        return {"ctranslate2": "CTranslate2"}.get(self.distribution, self.distribution)

    @property
    def how_to_get(self) -> str:
        """The command that installs the package, and the extra that includes it."""
        return self.install + (f" (the extra fairseq_lskd[{self.extra}])" if self.extra else "")

    @property
    def wanted(self) -> str:
        """The supported versions in pip's syntax; empty if every version is supported."""
        parts = [f">={self.at_least[0]}.{self.at_least[1]}"] if self.at_least > (0, 0) else []
        parts += [f"<{self.below[0]}.{self.below[1]}"] if self.below else []
        return ",".join(parts)

    @property
    def install(self) -> str:
        """The command that installs the package for this interpreter."""
        what = FAIRSEQ if self.module == "fairseq" else f'"{self.distribution}{self.wanted}"'
        return f"{sys.executable} -m pip install {what}"

    def version(self) -> str | None:
        """Return the installed version, or None. The module is imported only if it has no metadata."""
        return None if importlib.util.find_spec(self.module) is None else version_of(self.module)

    def suits(self, version: str) -> bool:
        """Whether a version is supported. A version without two numbers counts as supported."""
        numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
        if len(numbers) < 2:
            return True
        found = (numbers[0], numbers[1])
        return found >= self.at_least and (self.below is None or found < self.below)


PACKAGES = {
    package.module: package
    for package in (
        Package("torch", "torch", at_least=(2, 6)),
        Package("fairseq", "fairseq", at_least=(0, 12), below=(0, 13)),
        Package("hydra", "hydra-core", at_least=(1, 3), below=(1, 4)),
        Package("omegaconf", "omegaconf", at_least=(2, 3), below=(2, 4)),
        Package("numpy", "numpy"),
        Package("sacrebleu", "sacrebleu", at_least=(2, 0)),
        Package("sentencepiece", "sentencepiece"),
        Package("regex", "regex"),
        Package("tqdm", "tqdm"),
        Package("bitarray", "bitarray"),
        Package("cffi", "cffi"),
        Package("tabulate", "tabulate"),
    )
}


#: Packages that only some commands need, by module.
OPTIONAL = {
    package.module: package
    for package in (
        Package("matplotlib", "matplotlib", at_least=(3, 8), extra="analysis"),
        Package("jinja2", "jinja2", at_least=(3, 0), extra="analysis"),
        Package("ctranslate2", "ctranslate2", at_least=(4, 0), extra="fast"),
        Package("py3langid", "py3langid", at_least=(0, 4), extra="select"),
        Package("mtdata", "mtdata", at_least=(0, 5), extra="data"),
        Package("sacremoses", "sacremoses", at_least=(0, 1), extra="moses"),
        Package("subword_nmt", "subword-nmt", at_least=(0, 3), extra="moses"),
        Package("comet", "unbabel-comet"),
    )
}


def providers(module: str) -> list[str]:
    """Return the installed distributions that provide a module. Builds of fairseq have different names."""
    return sorted(set(importlib.metadata.packages_distributions().get(module, [])))


def version_of(module: str) -> str:
    """Return the version of an installed module or distribution, with the distribution's name if it is unusual.

    The version is read from metadata. A module without metadata is imported.
    """
    package = PACKAGES.get(module)
    usual = package.distribution if package else module
    try:
        return importlib.metadata.version(usual)
    except importlib.metadata.PackageNotFoundError:
        pass
    for name in providers(module):
        return f"{importlib.metadata.version(name)} ({name})"
    try:
        return str(getattr(importlib.import_module(module), "__version__", "of unknown version"))
    except Exception:  # the import error is reported where the module is needed
        return "of unknown version"


#: Distributions of modules that builds of fairseq need, if the names differ.
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML"}


def install_line(module: str) -> str:
    """Return the command that installs a module that is not in `PACKAGES` or `OPTIONAL`, for this interpreter."""
    top = module.partition(".")[0]
    return f"{sys.executable} -m pip install {_DISTRIBUTIONS.get(top, top)}"


def _of_fairseq(error: ModuleNotFoundError) -> str | None:
    """Return the message for an import that failed inside of fairseq; None for other imports."""
    importer, trace = "", error.__traceback__
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        importer = importer if name.startswith("importlib") else name
        trace = trace.tb_next
    missing = error.name or ""
    if importer.partition(".")[0] != "fairseq" or missing.partition(".")[0] in ("", "fairseq"):
        return None
    fairseq = f"fairseq {version_of('fairseq')}"
    return f"{fairseq} needs {missing}, which is not installed. Get it with: {install_line(missing)}"


def how_to_get(module: str | None) -> str | None:
    """Return the message for a failed import of ``module``; None if it is not a package that is missing."""
    name = (module or "").partition(".")[0]
    package = PACKAGES.get(name) or OPTIONAL.get(name)
    if package is None or importlib.util.find_spec(package.module) is not None:
        # An unknown module; or the package is installed but lacks a submodule, which is not the user's mistake.
        return None
    return f"{package.distribution} is not installed. Get it with: {package.how_to_get}"


@contextlib.contextmanager
def what_is_missing() -> Iterator[None]:
    """Exit with a message, not a traceback, if fairseq, torch or another package is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = how_to_get(error.name) or _of_fairseq(error)
        if message is None:
            raise
        sys.exit(f"lskd: error: {message}")


def python_line() -> str:
    return f"{platform.python_version()} ({sys.executable})"


def torch_build(torch: Any) -> str:
    if torch.version.cuda:
        return f"CUDA {torch.version.cuda}"
    if getattr(torch.version, "hip", None):
        return f"ROCm {torch.version.hip}"
    return "CPU only"


#: Number formats that `precisions` tests on a GPU.
PRECISIONS = ("float32", "tf32", "float16", "bfloat16")


def precisions(torch: Any, device: str) -> dict[str, str]:
    """Compute a small matrix product on a device in each number format. Return "works" or the error for each."""
    found = {}
    before = torch.get_float32_matmul_precision()
    for name in PRECISIONS:
        try:
            torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
            dtype = torch.float32 if name == "tf32" else getattr(torch, name)
            product = torch.ones(32, 32, device=device, dtype=dtype) @ torch.ones(32, 32, device=device, dtype=dtype)
            found[name] = "works" if bool((product == 32).all()) else "is wrong"
        except Exception as error:  # the driver, the library or a full memory may raise anything
            found[name] = f"fails: {(str(error) or repr(error)).splitlines()[0]}"
        finally:
            torch.set_float32_matmul_precision(before)
    return found


def devices(torch: Any) -> list[dict[str, Any]]:
    """Return the GPUs that torch sees, and whether each can train with --fp16 and --bf16."""
    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        capability = (properties.major, properties.minor)
        found.append(
            {
                "device": f"cuda:{index}",
                "name": properties.name,
                "memory_gib": round(properties.total_memory / 2**30, 1),
                "capability": f"{capability[0]}.{capability[1]}",
                # Tensor cores support fp16 since capability 7.0 (Volta), bf16 since 8.0 (Ampere).
                "fp16": bool(torch.version.hip) or capability >= (7, 0),
                "bf16": bool(torch.version.hip) or capability >= (8, 0),
            }
        )
    return found
