"""Fetch and clean public corpora or a bitext of your own, add test sets, and verify prepared data.

`lskd data prepare` downloads a corpus (or reads it from --raw), cleans it and writes DATA/raw/{train,valid,test}.LANG,
with a report of the dropped pairs. docs/data.md explains the steps; data-prep/NAME.toml has the steps of each corpus.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ._help import HelpFormatter
from ._options import add_allow_shifted, add_options, add_workers

EXAMPLES = """examples:
  lskd data list
  lskd data prepare wmt14-en-de --out data/wmt14 --dry-run
  lskd data prepare wmt14-en-de --out data/wmt14
  lskd data prepare wmt14-en-de --out data/wmt14 --raw ~/downloads
  lskd data prepare own --raw my/text -s de -t en --out data/mine
  lskd data prepare my/corpus.toml --out data/mine
  lskd data test newstest2013 --data data/europarl --sacrebleu wmt13
  lskd data verify data/wmt14
then:
  lskd encode --raw data/wmt14/raw --out data/wmt14/pieces -s en -t de --vocab-size 32000
"""
PREPARE_EXAMPLES = """examples:
  lskd data prepare multi30k --out data/multi30k
  lskd data prepare wmt14-en-de --out data/wmt14 --raw ~/downloads --workers 8
  lskd data prepare own --raw my/text -s de -t en --out data/mine --dry-run
  lskd data prepare own --raw my/mono -s de --out data/mono
"""
TEST_EXAMPLES = """examples:
  lskd data test newstest2013 --data data/europarl --sacrebleu wmt13
  lskd data test medical --data data/mine --raw my/medical
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of `lskd data`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    form = HelpFormatter
    actions.add_parser(
        "list",
        help="list the corpora with their languages, sizes and licences",
        description="List the corpora that `lskd data prepare` knows by name, with their languages, sizes and "
        "licences. `-s` and `-t` of `lskd data prepare` reverse the languages.",
        formatter_class=form,
    )

    prepare = actions.add_parser(
        "prepare",
        help="fetch and clean a corpus",
        description="Fetch a corpus or read it from --raw, clean it, and write DATA/raw. If it is interrupted, run it "
        "again to continue.",
        epilog=PREPARE_EXAMPLES,
        formatter_class=form,
    )
    prepare.add_argument(
        "corpus", metavar="CORPUS", help="name of a corpus (see `lskd data list`), own, or a corpus file (.toml)"
    )
    prepare.add_argument("--out", type=Path, required=True, metavar="DATA", help="output folder, which gets raw/")
    add_options(
        prepare,
        ("--raw", Path, "DIR", "folder of archives or texts to read, instead of downloading"),
        ("--cache", Path, "DIR", "folder of downloads (default: ~/.cache/fairseq_lskd)"),
        ("-s --source-lang", str, "LANG", "source language; required for own, selects the direction of a corpus"),
        ("-t --target-lang", str, "LANG", "target language; leave it out for text in the source language alone"),
    )
    prepare.add_argument(
        "--dry-run", action="store_true", help="only show what would be downloaded, or what cleaning would drop"
    )
    add_allow_shifted(prepare)
    add_workers(prepare)

    test = actions.add_parser(
        "test",
        help="add a test set to prepared data",
        description="Add a test set, for example of another domain, to data that scripts/prepare.sh prepared. It is "
        "written to DATA/tests/NAME, in the pieces of the data. `scripts/score.sh --test-set NAME` scores it.",
        epilog=TEST_EXAMPLES,
        formatter_class=form,
    )
    test.add_argument("name", metavar="NAME", help="name of the test set in --data")
    test.add_argument("--data", type=Path, required=True, metavar="DATA", help="folder of the prepared data")
    add_options(
        test,
        ("--raw", Path, "DIR", "folder with the text, NAME.SRC and NAME.TGT, plain or gzipped (.gz)"),
        ("--sacrebleu", str, "SET", "name of a test set that sacreBLEU downloads, instead of --raw"),
    )
    add_allow_shifted(test)

    verify = actions.add_parser(
        "verify",
        help="check prepared data against its manifests",
        description="Check prepared data against its manifests: missing and changed files, and files that were made "
        "from another text. Exit status 1: there are problems.",
        epilog="examples:\n  lskd data verify data/wmt14",
        formatter_class=form,
    )
    verify.add_argument("data", type=Path, metavar="DATA", help="prepared folder, or a folder with prepared folders")


def run(args: argparse.Namespace) -> int:
    """Run the action, and return the exit status."""
    return {"list": _list, "prepare": _prepare, "test": _test, "verify": _verify}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from tabulate import tabulate

    from ..data.corpora import OWN, load, names
    from ..files import size

    rows = []
    for name in names():
        corpus = load(name, ("SRC", "TGT") if name == OWN else None)
        known = sum(download.size or 0 for download in corpus.downloads)
        fetched = "none (--raw)" if not corpus.downloads else size(known or None)
        rows.append(
            (
                name,
                "any" if name == OWN else "-".join(corpus.languages),
                f"{corpus.pairs:,}" if corpus.pairs else "",
                fetched,
                corpus.licence,
            )
        )
    print(
        tabulate(rows, ("corpus", "languages", "pairs before cleaning", "download", "licence"), disable_numparse=True)
    )
    return 0


def _prepare(args: argparse.Namespace) -> int:
    from ..data.acquire.locate import cache_folder
    from ..data.corpora import load
    from ..data.prepare import Request, dry_run, prepare
    from ..errors import UserError

    problems = []
    alone = bool(args.source_lang) and not args.target_lang
    if args.target_lang and not args.source_lang:
        problems.append("-s is missing: give both -s and -t")
    if alone and (args.raw is None or args.dry_run):
        problems.append(
            "-t is missing. -s alone prepares a text of your own in the source language, with --raw and without "
            "--dry-run"
        )
    if args.source_lang and args.source_lang == args.target_lang:
        problems.append(f"-s and -t are both {args.source_lang}: expected two languages")
    if problems:
        raise UserError("; ".join(problems))
    if alone:
        return _prepare_source(args)
    languages = (args.source_lang, args.target_lang) if args.source_lang else None
    corpus = load(args.corpus, languages)
    request = Request(corpus, args.out, args.cache or cache_folder(), args.raw, args.workers, args.allow_shifted)
    if args.dry_run:
        print(dry_run(request))
        return 0
    new = prepare(request)
    out = args.out / "raw"
    print(f"{out}: {'written' if new else 'up to date'}")
    if new:
        print(f"dropped pairs, with examples: {out / 'report.md'}")
    return 0


def _prepare_source(args: argparse.Namespace) -> int:
    from ..data.corpora import OWN, load
    from ..data.monolingual import prepare_source
    from ..errors import UserError

    if args.corpus != OWN and not args.corpus.endswith(".toml"):
        raise UserError(
            f"{args.corpus} -s {args.source_lang}: expected both -s and -t, or neither; only `{OWN}` accepts -s alone"
        )
    corpus = load(args.corpus, (args.source_lang, "any"))
    new = prepare_source(args.raw, args.out, args.source_lang, corpus, args.workers)
    print(f"{args.out / 'raw'}: {'written' if new else 'up to date'}")
    return 0


def _test(args: argparse.Namespace) -> int:
    from ..data.test_sets import add, folder_of, languages_of
    from ..errors import UserError

    if args.raw is None and args.sacrebleu is None:
        raise UserError(f"{args.name}: there is no text; give --raw, or --sacrebleu with the name of a test set")
    out = folder_of(args.data, args.name)
    if args.raw is not None:
        new = add(args.data, args.name, args.raw, allow_shifted=args.allow_shifted)
    else:
        new = _add_of_sacrebleu(args.data, args.name, args.sacrebleu, languages_of(args.data))
    print(f"{out}: {'written' if new else 'up to date'}")
    return 0


def _add_of_sacrebleu(data: Path, name: str, test_set: str, languages: tuple[str, str]) -> bool:
    import tempfile

    from ..data.test_sets import add
    from ..scoring.testsets import load

    found = load(test_set, "-".join(languages))
    with tempfile.TemporaryDirectory() as folder:
        for language, lines in zip(languages, (found.source, found.references[0]), strict=True):
            text = "".join(f"{line}\n" for line in lines)
            Path(folder, f"{name}.{language}").write_text(text, encoding="utf-8", newline="\n")
        return add(data, name, Path(folder), allow_shifted=True)  # published


def _verify(args: argparse.Namespace) -> int:
    from ..data.verify import verify

    wrong = 0
    for checked in verify(args.data):
        count = len(checked.problems)
        state = f"{count} problem{'s' * (count > 1)}" if count else "unchanged"
        unchecked = f"; raw text not checked: {checked.unchecked}" if checked.unchecked else ""
        print(f"{checked.manifest.parent}: {state} ({checked.manifest.name}, {checked.files} files){unchecked}")
        for problem in checked.problems:
            print(f"  {problem}", file=sys.stderr)
        wrong += len(checked.problems)
    return 1 if wrong else 0
