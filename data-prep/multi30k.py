"""Write Multi30k (German-English image captions) as {train,valid,test}.{de,en}; test is test_2016_flickr.

Fetches the six files of the multi30k/dataset repository once, into a cache, and verifies them; or takes them
from a folder with --raw, and needs no network.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import sys
import urllib.error
import zlib
from pathlib import Path

from fairseq_lskd.data.bitext import check_bitext, find_side
from fairseq_lskd.data.outputs import Manifest
from fairseq_lskd.errors import UserError, exit_on_user_error

EXAMPLES = """examples:
  python data-prep/multi30k.py --out data/multi30k/raw
  python data-prep/multi30k.py --out data/multi30k/raw --raw ~/downloads/multi30k
then:
  lskd encode --raw data/multi30k/raw --out data/multi30k/pieces -s de -t en
"""
URL = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/"
SPLITS = {"train": "train", "val": "valid", "test_2016_flickr": "test"}
LANGUAGES = ("de", "en")
#: SHA-256 of the uncompressed text, and bytes of the gzipped file.
FILES = {
    "train.de": ("2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72", 637_044),
    "train.en": ("460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6", 568_929),
    "val.de": ("660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660", 24_681),
    "val.en": ("1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227", 21_650),
    "test_2016_flickr.de": ("4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16", 22_890),
    "test_2016_flickr.en": ("399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182", 21_077),
}


def cache_folder() -> Path:
    """Where downloads are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "fairseq_lskd" / "multi30k"


def uncompressed(path: Path) -> bytes:
    """The text of a file; `UserError` if it cannot be read or is no whole gzip file."""
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: not a whole gzip file ({error})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def take(raw: Path) -> dict[str, bytes]:
    """The six texts from a folder. Other texts than the known ones are used, with a warning."""
    texts: dict[str, bytes] = {}
    problems = []
    for name, (digest, _) in FILES.items():
        try:
            path = find_side(raw, name)
            texts[name] = uncompressed(path)
        except UserError as error:
            problems.append(str(error))
            continue
        if hashlib.sha256(texts[name]).hexdigest() != digest:
            print(
                f"multi30k.py: warning: {path} is not the known text of this name (another SHA-256): "
                "results are not comparable with published ones",
                file=sys.stderr,
            )
    if problems:
        raise UserError(f"--raw {raw}:\n  " + "\n  ".join(problems))
    return texts


def fetch(cache: Path) -> dict[str, bytes]:
    """The six texts from the cache, and what it lacks from the network. A wrong file is removed."""
    from torch.hub import download_url_to_file

    texts: dict[str, bytes] = {}
    missing, wrong = [], []
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the cache {cache} cannot be made ({error.strerror}): set XDG_CACHE_HOME to another folder, or give --raw"
        ) from None
    for name, (digest, size) in FILES.items():
        path = cache / f"{name}.gz"
        if not path.exists():
            try:
                download_url_to_file(f"{URL}{name}.gz", str(path), progress=sys.stderr.isatty())
            except (urllib.error.URLError, OSError) as error:
                missing.append(f"{name}.gz ({size:,} bytes): {getattr(error, 'reason', None) or error}")
                continue
        try:
            texts[name] = uncompressed(path)
            if hashlib.sha256(texts[name]).hexdigest() != digest:
                raise UserError(f"{path}: its text has another SHA-256 than {digest}")
        except UserError as error:
            path.unlink(missing_ok=True)
            wrong.append(f"{error}; removed")
    if wrong:
        raise UserError("files are not what was expected; run again, or give --raw DIR:\n  " + "\n  ".join(wrong))
    if missing:
        raise UserError(
            f"cannot be fetched from {URL}:\n  " + "\n  ".join(missing) + "\n"
            "fetch these files on a machine with a network, and give --raw with the folder that has them"
        )
    return texts


def prepare(out: Path, raw: Path | None) -> bool:
    """Write the bitext to `out`; False if it was up to date."""
    # Without --raw the texts can only be the known ones: nothing to fetch in order to compare.
    if raw is None:
        inputs = {name: digest for name, (digest, _) in FILES.items()}
        texts = None
    else:
        texts = take(raw)
        inputs = {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}
    manifest = Manifest("multi30k.json", {}, inputs)
    if manifest.is_up_to_date(out):
        return False
    if texts is None:
        texts = fetch(cache_folder())
    with manifest.written(out) as (folder, _):
        for given, split in SPLITS.items():
            for language in LANGUAGES:
                (folder / f"{split}.{language}").write_bytes(texts[f"{given}.{language}"])
        check_bitext(folder, LANGUAGES)
    return True


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--raw",
        type=Path,
        metavar="DIR",
        help="folder with {train,val,test_2016_flickr}.{de,en}, plain or .gz",
    )
    args = parser.parse_args()
    with exit_on_user_error("multi30k.py"):
        new = prepare(args.out, args.raw)
        print(f"{args.out}: {'written' if new else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
