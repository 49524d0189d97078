"""What is installed, on which devices, and how to get what is not.

Written for Python 3.11 to 3.13, torch 2.6 to 2.13 and fairseq 0.12; reads other versions too.
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

#: fairseq's own pins cannot be resolved by pip >= 24.1, hence --no-deps.
FAIRSEQ = "--no-deps fairseq==0.12.2"


@dataclass(frozen=True)
class Package:
    """Something that fairseq or we need: its module, its distribution and the versions that are known to do."""

    module: str
    distribution: str
    at_least: tuple[int, int] = (0, 0)
    below: tuple[int, int] | None = None
    extra: str | None = None  #: of this package, in which an optional one comes

    @property
    def name(self) -> str:
        """What people call it."""
        return {"ctranslate2": "CTranslate2"}.get(self.distribution, self.distribution)

    @property
    def how_to_get(self) -> str:
        """The command that gets it, and the extra that it is in."""
        return self.install + (f" (the extra fairseq_lskd[{self.extra}])" if self.extra else "")

    @property
    def wanted(self) -> str:
        """The versions as pip takes them, or nothing where every version will do."""
        parts = [f">={self.at_least[0]}.{self.at_least[1]}"] if self.at_least > (0, 0) else []
        parts += [f"<{self.below[0]}.{self.below[1]}"] if self.below else []
        return ",".join(parts)

    @property
    def install(self) -> str:
        """The command that gets it, for this interpreter."""
        what = FAIRSEQ if self.module == "fairseq" else f'"{self.distribution}{self.wanted}"'
        return f"{sys.executable} -m pip install {what}"

    def version(self) -> str | None:
        """The installed version, or None. Reads metadata and imports nothing, unless there are none."""
        return None if importlib.util.find_spec(self.module) is None else version_of(self.module)

    def suits(self, version: str) -> bool:
        """Whether a version is one of those wanted; one that says nothing is given the benefit of the doubt."""
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


#: What only some commands need, by module.
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
    """The installed distributions that a module came with: of fairseq's, other builds have other names."""
    return sorted(set(importlib.metadata.packages_distributions().get(module, [])))


def version_of(module: str) -> str:
    """The version of an installed module or distribution, with its name where it is another than the usual.

    Reads metadata; a module that has none is imported and asked.
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
    except Exception:  # what fails there is told by whoever needs it
        return "of unknown version"


#: Modules whose distribution has another name, among those that builds of fairseq need.
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML"}


def install_line(module: str) -> str:
    """The command that gets the distribution of a module that is none of ours, for this interpreter."""
    top = module.partition(".")[0]
    return f"{sys.executable} -m pip install {_DISTRIBUTIONS.get(top, top)}"


def _of_fairseq(error: ModuleNotFoundError) -> str | None:
    """What to say when fairseq's own import of another package failed; None for others' imports."""
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
    """What to say when an import failed for want of ``module``; None where it is none of ours."""
    name = (module or "").partition(".")[0]
    package = PACKAGES.get(name) or OPTIONAL.get(name)
    if package is None or importlib.util.find_spec(package.module) is not None:
        # None of ours, or installed: then it is a submodule that is missing, which is no user's mistake.
        return None
    return f"{package.distribution} is not installed. Get it with: {package.how_to_get}"


@contextlib.contextmanager
def what_is_missing() -> Iterator[None]:
    """End with a message, not a traceback, when fairseq, torch or another package is found to be missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = how_to_get(error.name) or _of_fairseq(error)
        if message is None:
            raise
        sys.exit(f"lskd: error: {message}")


def python_line() -> str:
    """Which Python this is, and where."""
    return f"{platform.python_version()} ({sys.executable})"


def torch_build(torch: Any) -> str:
    """What torch was built for."""
    if torch.version.cuda:
        return f"CUDA {torch.version.cuda}"
    if getattr(torch.version, "hip", None):
        return f"ROCm {torch.version.hip}"
    return "CPU only"


#: Number formats that are tried on a GPU, and the settings of the product for each.
PRECISIONS = ("float32", "tf32", "float16", "bfloat16")


def precisions(torch: Any, device: str) -> dict[str, str]:
    """What becomes of a small matrix product on a device, by its number format: "works", or why it does not."""
    found = {}
    before = torch.get_float32_matmul_precision()
    for name in PRECISIONS:
        try:
            torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
            dtype = torch.float32 if name == "tf32" else getattr(torch, name)
            product = torch.ones(32, 32, device=device, dtype=dtype) @ torch.ones(32, 32, device=device, dtype=dtype)
            found[name] = "works" if bool((product == 32).all()) else "is wrong"
        except Exception as error:  # of the driver, of the library, of memory that is full
            found[name] = f"fails: {(str(error) or repr(error)).splitlines()[0]}"
        finally:
            torch.set_float32_matmul_precision(before)
    return found


def devices(torch: Any) -> list[dict[str, Any]]:
    """The GPUs that torch sees, and the short number formats each can train in."""
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
                # Units for fp16 products came with 7.0 (Volta), for bf16 with 8.0 (Ampere).
                "fp16": bool(torch.version.hip) or capability >= (7, 0),
                "bf16": bool(torch.version.hip) or capability >= (8, 0),
            }
        )
    return found
