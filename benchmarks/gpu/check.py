"""Whether run.sh can run here, said before anything is installed. Prints the folder of what was packed.

Run by the machine's own Python: it has torch, and nothing of ours.
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
            f"run.sh: error: nothing is packed in {args.pack}: run benchmarks/gpu/pack.sh where there is a network"
        )
    if problems := other_versions(packed["there"]) or missing_files(args.pack, packed):
        sys.exit("run.sh: error: " + "\n  - ".join(["this is not what was packed for:", *problems]))
    if not args.rehearse:
        check_gpu(args.stages)
    if args.out.exists() and not args.out.is_dir():
        sys.exit(f"run.sh: error: {args.out} is a file, expected a folder for the rows")
    print(args.pack)


def other_versions(there: dict[str, str]) -> list[str]:
    """How this Python and its packages differ from those of there.txt, and the way out."""
    found = []
    for name, wanted in there.items():
        try:
            here = platform.python_version() if name == "python" else importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} {wanted}".rstrip() + " was to be here, and is not: name another Python in PYTHON")
            continue
        # NumPy's binary interface is that of its major version.
        length = {"numpy": 1, "python": 2}.get(name, 3) if wanted else 0
        if here.partition("+")[0].split(".")[:length] != wanted.split(".")[:length] and wanted:
            found.append(
                f"{name} is {here} here ({sys.executable}), packed was for {wanted}: name another Python in PYTHON, or "
                "change benchmarks/gpu/there.txt and pack again"
            )
    return found


def missing_files(pack: object, packed: dict[str, object]) -> list[str]:
    """Files of the manifest that did not arrive, or not whole."""
    from pathlib import Path

    files = packed["files"]
    assert isinstance(files, dict)
    return [
        f"{name} is missing or not whole: copy {pack} again"
        for name, fact in files.items()
        if not (path := Path(str(pack), name)).is_file() or path.stat().st_size != fact["bytes"]
    ]


def check_gpu(stages: Sequence[str]) -> None:
    """End with a message if torch sees no GPU, or none of the stages fits into it; name those that do not."""
    import torch

    if not torch.cuda.is_available():
        sys.exit(
            f"run.sh: error: torch {torch.__version__} sees no GPU here ({sys.executable}); --rehearse does all stages "
            "at toy size on a CPU"
        )
    free, total = torch.cuda.mem_get_info()
    print(
        f"run.sh: {torch.cuda.get_device_name()}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free", file=sys.stderr
    )
    left_out = {name: why for name in stages if (why := too_large(STAGES[name], free))}
    for name, why in left_out.items():
        print(f"run.sh: {name} is left out: {why}", file=sys.stderr)
    if len(left_out) == len(stages):
        sys.exit("run.sh: error: no stage is left")


if __name__ == "__main__":
    main()
