"""Check whether run.sh can run on this machine, before anything is installed. Print the packed folder.

The machine's own Python runs this module. It has torch, but not this package.
"""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Sequence

from .packed import manifest
from .stages import STAGES, options, too_large


def main(argv: Sequence[str] | None = None) -> None:
    args = options(argv)
    packed = manifest(args.pack)
    if packed is None:
        sys.exit(
            f"run.sh: error: found no packed folder {args.pack}: run benchmarks/gpu/pack.sh where there is a network"
        )
    if problems := other_versions(packed["there"]) or missing_files(args.pack, packed):
        sys.exit("run.sh: error: " + "\n  - ".join(["the packed folder does not fit this machine:", *problems]))
    if not args.rehearse:
        check_gpu(args.stages)
    if args.out.exists() and not args.out.is_dir():
        sys.exit(f"run.sh: error: {args.out} is a file, expected a folder for the rows")
    print(args.pack)


def other_versions(there: dict[str, str]) -> list[str]:
    """Compare this Python and its packages with there.txt. Return one line per difference."""
    found = []
    for name, wanted in there.items():
        try:
            here = platform.python_version() if name == "python" else importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            expected = f"{name} {wanted}".rstrip()
            found.append(f"{expected} is not installed: set PYTHON to a Python that has it")
            continue
        # NumPy's binary interface depends on its major version only.
        length = {"numpy": 1, "python": 2}.get(name, 3) if wanted else 0
        if here.partition("+")[0].split(".")[:length] != wanted.split(".")[:length] and wanted:
            found.append(
                f"{name} has version {here} ({sys.executable}), expected {wanted}: set PYTHON to another Python, or "
                "change benchmarks/gpu/there.txt and pack again"
            )
    return found


def missing_files(pack: object, packed: dict[str, object]) -> list[str]:
    """Return one line per file of the manifest that is missing or incomplete."""
    from pathlib import Path

    files = packed["files"]
    assert isinstance(files, dict)
    return [
        f"{name} is missing or incomplete: copy {pack} again"
        for name, fact in files.items()
        if not (path := Path(str(pack), name)).is_file() or path.stat().st_size != fact["bytes"]
    ]


def check_gpu(stages: Sequence[str]) -> None:
    """Exit with a message if torch finds no GPU or no stage fits into its memory. Print the stages that do not fit."""
    import torch

    if not torch.cuda.is_available():
        sys.exit(
            f"run.sh: error: torch {torch.__version__} finds no GPU here ({sys.executable}). Use --rehearse to run all "
            "stages at toy size on a CPU"
        )
    free, total = torch.cuda.mem_get_info()
    print(
        f"run.sh: {torch.cuda.get_device_name()}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free", file=sys.stderr
    )
    left_out = {name: why for name in stages if (why := too_large(STAGES[name], free))}
    for name, why in left_out.items():
        print(f"run.sh: stage {name} is skipped: {why}", file=sys.stderr)
    if len(left_out) == len(stages):
        sys.exit("run.sh: error: all stages are skipped: free memory of the GPU, or use another one")


if __name__ == "__main__":
    main()
