"""Get and clean the corpora of the field, or a bitext of your own, add test sets, and check what was prepared.

`lskd data list` shows the corpora; `prepare` fetches one (or takes it from --raw), cleans it and writes
DATA/raw/{train,valid,test}.LANG with a report of what was dropped; `test` adds a further test set to prepared data;
`verify` checks prepared data against its manifests. docs/data.md explains the steps; data-prep/NAME.toml has each
corpus's own.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

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
    form = argparse.RawDescriptionHelpFormatter
    actions.add_parser("list", help="the corpora, their languages, sizes and licences")

    prepare = actions.add_parser(
        "prepare",
        help="fetch and clean a corpus",
        description="Fetch a corpus, or take it from --raw, clean it, and write DATA/raw. What stopped half-way goes "
        "on where it was.",
        epilog=PREPARE_EXAMPLES,
        formatter_class=form,
    )
    prepare.add_argument("corpus", metavar="CORPUS", help="a name of `lskd data list`, or a corpus file (.toml)")
    prepare.add_argument("--out", type=Path, required=True, metavar="DATA", help="folder that gets raw/")
    prepare.add_argument(
        "--raw", type=Path, metavar="DIR", help="take archives or texts from here; never use the network"
    )
    prepare.add_argument(
        "--cache", type=Path, metavar="DIR", help="keep downloads here (default: ~/.cache/fairseq_lskd)"
    )
    prepare.add_argument(
        "-s", "--source-lang", metavar="LANG", help="needed for a text of your own; a corpus may be turned round"
    )
    prepare.add_argument("-t", "--target-lang", metavar="LANG", help="likewise")
    prepare.add_argument(
        "--dry-run", action="store_true", help="show what would be fetched, or what cleaning would drop"
    )
    prepare.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: %(default)s)"
    )

    test = actions.add_parser(
        "test",
        help="add a further test set to prepared data",
        description="Add a further test set, of another domain say, to a folder of scripts/prepare.sh, in its pieces: "
        "DATA/tests/NAME, which `scripts/score.sh --test-set NAME` scores.",
        epilog=TEST_EXAMPLES,
        formatter_class=form,
    )
    test.add_argument("name", metavar="NAME", help="what to call it")
    test.add_argument("--data", type=Path, required=True, metavar="DATA", help="the prepared data")
    test.add_argument(
        "--raw", type=Path, metavar="DIR", help="its text, NAME.SRC and NAME.TGT, plain or gzipped; never the network"
    )
    test.add_argument("--sacrebleu", metavar="SET", help="without --raw: sacreBLEU's test set of this name")

    verify = actions.add_parser("verify", help="check prepared data against its manifests")
    verify.add_argument("data", type=Path, metavar="DATA", help="a prepared folder, or one that has some below")


def run(args: argparse.Namespace) -> int:
    """Do what is asked for."""
    return {"list": _list, "prepare": _prepare, "test": _test, "verify": _verify}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from tabulate import tabulate

    from ..data.acquire.locate import size
    from ..data.corpora import OWN, load, names

    rows = []
    for name in names():
        corpus = load(name, ("SRC", "TGT") if name == OWN else None)
        known = sum(download.size or 0 for download in corpus.downloads)
        fetched = "yours" if not corpus.downloads else size(known or None)
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
        tabulate(rows, ("corpus", "languages", "pairs before cleaning", "to fetch", "licence"), disable_numparse=True)
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
        problems.append("-t needs -s")
    if alone and (args.raw is None or args.dry_run):
        problems.append(
            "-t is missing. -s alone is for a text of your own in the source language: --raw DIR, without --dry-run"
        )
    if args.source_lang and args.source_lang == args.target_lang:
        problems.append(f"-s and -t are both {args.source_lang}: expected two languages")
    if args.workers < 1:
        problems.append(f"--workers {args.workers}: expected 1 or more")
    if problems:
        raise UserError("; ".join(problems))
    if alone:
        return _prepare_source(args)
    languages = (args.source_lang, args.target_lang) if args.source_lang else None
    corpus = load(args.corpus, languages)
    request = Request(corpus, args.out, args.cache or cache_folder(), args.raw, args.workers)
    if args.dry_run:
        print(dry_run(request))
        return 0
    new = prepare(request)
    out = args.out / "raw"
    print(f"{out}: {'written' if new else 'up to date'}")
    if new:
        print(f"what was dropped, with examples: {out / 'report.md'}")
    return 0


def _prepare_source(args: argparse.Namespace) -> int:
    from ..data.corpora import OWN, load
    from ..data.monolingual import prepare_source
    from ..errors import UserError

    if args.corpus != OWN and not args.corpus.endswith(".toml"):
        raise UserError(
            f"{args.corpus} -s {args.source_lang}: a corpus has two languages, give both or none; "
            f"-s alone is for `{OWN}`"
        )
    corpus = load(args.corpus, (args.source_lang, "any"))  # for its steps
    new = prepare_source(args.raw, args.out, args.source_lang, corpus.steps, args.workers)
    print(f"{args.out / 'raw'}: {'written' if new else 'up to date'}")
    return 0


def _test(args: argparse.Namespace) -> int:
    from ..data.test_sets import add, folder_of, languages_of
    from ..errors import UserError

    if args.raw is None and args.sacrebleu is None:
        raise UserError(f"{args.name}: there is no text; give --raw, or --sacrebleu with sacreBLEU's name of it")
    out = folder_of(args.data, args.name)
    if args.raw is not None:
        new = add(args.data, args.name, args.raw)
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
        return add(data, name, Path(folder))


def _verify(args: argparse.Namespace) -> int:
    from ..data.verify import verify

    wrong = 0
    for checked in verify(args.data):
        count = len(checked.problems)
        state = f"{count} problem{'s' * (count > 1)}" if count else "as it was written"
        print(f"{checked.manifest.parent}: {state} ({checked.manifest.name}, {checked.files} files)")
        for problem in checked.problems:
            print(f"  {problem}", file=sys.stderr)
        wrong += len(checked.problems)
    return 1 if wrong else 0
