"""Pack everything that a machine with a GPU and no network lacks. pack.sh calls this."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fairseq_lskd import __version__
from fairseq_lskd.errors import UserError, exit_on_user_error
from fairseq_lskd.files import sha256, write_json
from fairseq_lskd.lines import read_lines

from .packed import LIMIT, MANIFEST, PACK, ROOT, manifest, there, wheels

SHARED = ROOT.parent / "shared" / "corpora"
#: Number of training pairs in the slice, and of lines in its validation and test sets.
TRAIN, HELD_OUT = 30_000, 2000
VOCABULARY = 8000
#: Corpus and languages of the slice.
SLICE, SLICE_LANGUAGES = "europarl-en-fr", ("en", "fr")
EXPERIMENT = "multi30k"
#: The committed tables and pictures, which no stage reads.
UNUSED = "docs/results/"


def main(argv: Sequence[str] | None = None) -> None:
    args = parse(argv)
    with exit_on_user_error("pack.sh"):
        pack(args.out.resolve(), args.raw, find_python())


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pack.sh", description=__doc__)
    parser.add_argument(
        "--raw", type=Path, metavar="DIR", help="folder of corpora (default: ../shared/corpora if it exists)"
    )
    parser.add_argument(
        "--out", type=Path, default=PACK, metavar="DIR", help="output folder (default: benchmarks/gpu/pack)"
    )
    return parser.parse_args(argv)


def pack(out: Path, raw: Path | None, python: str) -> None:
    """Pack into a folder. An existing packed folder is replaced when the new one is complete.

    Raises:
        UserError: if a corpus is invalid, a wheel cannot be built, or the folder is too large.
    """
    if raw is None:
        raw = SHARED if SHARED.is_dir() else None
    elif missing := [name for name in (SLICE, EXPERIMENT) if not (raw / name).is_dir()]:
        raise UserError(f"--raw {raw}: found no folder {missing[0]}; expected {SLICE} and {EXPERIMENT}")
    before = manifest(out)
    if out.exists() and before is None and any(out.iterdir()):
        raise UserError(f"--out {out} is not a packed folder: give another folder, or delete it")
    made_of = ingredients(raw, python)
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    same = before is not None and before["made_of"] == made_of and not damaged(out, before)
    if before is not None and same:
        print("pack.sh: wheels and corpora are up to date", file=sys.stderr)
        for name in ("wheels", "data", "raw"):
            if (out / name).is_dir():
                shutil.copytree(out / name, part / name)
        corpora = before["corpora"]
    else:
        get_wheels(part / "wheels", out / "wheels", python)
        corpora = get_corpora(part, raw)
    get_source(part / "source.tar.gz")
    finish(part, {"fairseq_lskd": __version__, "made_of": made_of, "there": there(), "corpora": corpora})
    if out.exists():
        old = out.with_name(f"{out.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
        part.rename(out)
        shutil.rmtree(old)
    else:
        part.rename(out)
    print(f"packed into {out}")


def find_python() -> str:
    """Find a Python of the version in there.txt: that of PYTHON, on PATH, or of pyenv.

    Raises:
        UserError: if there is none.
    """
    wanted = there()["python"]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    given = os.environ.get("PYTHON")
    names = [given] if given else [f"python{wanted}", *map(str, sorted(pyenv.glob(f"{wanted}.*/bin/python")))]
    code = "import pip, sys; raise SystemExit('%d.%d' % sys.version_info[:2] != sys.argv[1])"
    for name in names:
        if shutil.which(name) and not subprocess.run([name, "-c", code, wanted], capture_output=True).returncode:
            return name
    raise UserError(f"found no Python {wanted} with pip for the wheels among {', '.join(names)}: set PYTHON to one")


def ingredients(raw: Path | None, python: str) -> dict[str, Any]:
    """Return the inputs of wheels and corpora. If they are unchanged, wheels and corpora are up to date."""
    texts = {}
    if raw is not None:
        files = sorted(path for name in (SLICE, EXPERIMENT) for path in (raw / name).glob("*.gz"))
        texts = {f"{path.parent.name}/{path.name}": sha256(path) for path in files}
    return {
        "wheels": wheels(),
        "python": there()["python"],
        "machine": platform.machine(),
        "texts": texts,
        "slice": [TRAIN, HELD_OUT, VOCABULARY],
    }


def damaged(out: Path, before: dict[str, Any]) -> list[str]:
    """Return the files that differ from the manifest."""
    return [
        name
        for name, fact in before["files"].items()
        if not (out / name).is_file() or sha256(out / name) != fact["sha256"]
    ]


def get_wheels(folder: Path, before: Path, python: str) -> None:
    """Download the wheels of wheels.txt, or build those that have only a source distribution, such as fairseq."""
    print(f"pack.sh: {len(wheels())} wheels (fairseq is compiled)", file=sys.stderr)
    command = [python, "-m", "pip", "--disable-pip-version-check", "wheel", "-qq", "--no-deps"]
    command += ["--find-links", str(before)] if before.is_dir() else []
    done = subprocess.run([*command, "--wheel-dir", str(folder), *wheels()], stdin=subprocess.DEVNULL)
    if done.returncode:
        raise UserError("pip could not download or build the wheels: see its output above")


def get_corpora(part: Path, raw: Path | None) -> dict[str, Any]:
    """Write the binarised slice and the text of the experiment, or a generated bitext without a folder of corpora."""
    if raw is None:
        print(f"pack.sh: found no {SHARED} and no --raw: packing a generated bitext instead", file=sys.stderr)
        prepare(part / "data" / "translate", "--corpus", "generated", "--pairs", str(TRAIN))
        return {"translate": "generated", "experiment": "generated"}
    text = part / "text"
    text.mkdir()
    for split, name, count in (("train", "train", TRAIN), ("valid", "dev", HELD_OUT), ("test", "test", HELD_OUT)):
        for language in SLICE_LANGUAGES:
            lines = itertools.islice(read_lines(raw / SLICE / f"{name}.{language}.gz"), count)
            (text / f"{split}.{language}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    source, target = SLICE_LANGUAGES
    prepare(
        part / "data" / "translate",
        *("--raw", str(text), "-s", source, "-t", target, "--vocab-size", str(VOCABULARY)),
    )
    shutil.rmtree(text)
    shutil.copytree(raw / EXPERIMENT, part / "raw" / EXPERIMENT)
    (part / "raw" / EXPERIMENT).chmod(0o755)
    return {"translate": SLICE, "experiment": EXPERIMENT}


def prepare(data: Path, *words: str) -> None:
    """Run scripts/prepare.sh, and remove the files that training and translation do not need."""
    command = [str(ROOT / "scripts" / "prepare.sh"), "--data", str(data), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    if (data / "raw").is_symlink():
        (data / "raw").unlink()
    for path in [*(data / "pieces").iterdir(), *(data / "raw").glob("*")]:
        if path.name.startswith(("train.", "valid.")) and path.is_file():
            path.unlink()


def get_source(path: Path) -> None:
    """Write an archive of the checkout, without files that git ignores and without `UNUSED`."""
    names = sorted(set(source_files()))
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            archive.add(ROOT / name, name, recursive=False)


def source_files() -> Iterator[str]:
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{ROOT} is not a git checkout, so the files to pack are not known: {done.stderr.strip()}")
    names = (name for name in done.stdout.split("\0") if name and not name.startswith(UNUSED))
    yield from (name for name in names if (ROOT / name).is_file())


def finish(part: Path, facts: dict[str, Any]) -> None:
    """Write the manifest and print the packed files; `UserError` if they are too large."""
    paths = sorted(path for path in part.rglob("*") if path.is_file())
    files = {str(path.relative_to(part)): {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in paths}
    total = sum(fact["bytes"] for fact in files.values())
    write_json(part / MANIFEST, {**facts, "bytes": total, "files": files})
    for name, fact in files.items():
        if fact["bytes"] > 2**20:
            print(f"{fact['bytes'] / 2**20:8.1f} MiB  {name}")
    small = [fact["bytes"] for fact in files.values() if fact["bytes"] <= 2**20]
    print(f"{sum(small) / 2**20:8.1f} MiB  {len(small)} files of less than 1 MiB")
    print(f"{total / 2**20:8.1f} MiB  of {LIMIT / 2**20:.0f}; corpora: {json.dumps(facts['corpora'])}")
    if total > LIMIT:
        raise UserError(
            f"{part} has {total / 2**20:.1f} MiB, more than the limit of {LIMIT / 2**20:.0f} MiB: remove packages from "
            "wheels.txt, or reduce the slice in pack.py"
        )


if __name__ == "__main__":
    main()
