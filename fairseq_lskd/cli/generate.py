"""Write a bitext drawn from a synchronous grammar, whose p(target | source) is known exactly.

The languages are called xx and yy. OUT gets train, valid and test in both, grammar.json (from which
fairseq_lskd.data.grammar.Grammar.from_json rebuilds the truth), and truth.json: log p(target | source) and
the entropy of p(. | source) in nats, as means over each split (truth.SPLIT.tsv: of every sentence). A model's
negative log-likelihood of a split minus the truth's estimates KL(truth || model); where the model reads
subwords this is an upper bound, because it scores one segmentation only. No source sentence of one split
occurs in another.

With --references N the test set has N references, each drawn from p(target | source): test.yy is the first,
test.1.yy, test.2.yy and so on are the others. Scores against several depend less on the one translation that
happened to be drawn.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

EXAMPLES = """examples:
  lskd generate --out data/generated/raw
  lskd generate --out data/g8/raw --test 2000 --references 8
  lskd generate --out data/big/raw --train 100000 --nouns 1000 --verbs 400
  lskd encode --raw data/generated/raw --out data/generated/pieces -s xx -t yy --vocab-size 1000
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lskd generate`."""
    from ..data.grammar import Parameters

    default = Parameters()
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    for split, size in (("train", 20_000), ("valid", 500), ("test", 500)):
        parser.add_argument(
            f"--{split}", type=int, default=size, metavar="N", help=f"pairs of {split} (default: {size})"
        )
    parser.add_argument(
        "--references", type=int, default=1, metavar="N", help="translations of each test source (default: 1)"
    )
    words = parser.add_argument_group("the grammar")
    words.add_argument("--seed", type=int, default=default.seed, help="of lexicon and draws (default: 1)")
    for name in ("nouns", "verbs", "adjectives", "adverbs", "prepositions"):
        number = getattr(default, name)
        words.add_argument(f"--{name}", type=int, default=number, metavar="N", help=f"default: {number}")
    for name, meaning in (
        ("ambiguous", "share of nouns with two senses, which the clause's verb tells apart"),
        ("separable", "share of target verbs with a particle at the clause's end"),
        ("free_order", "share of clauses in any order that has the subject before the object"),
    ):
        flag, share = f"--{name.replace('_', '-')}", getattr(default, name)
        words.add_argument(flag, type=float, default=share, metavar="P", help=f"{meaning} (default: {share})")
    words.add_argument(
        "--synonyms",
        type=int,
        default=default.synonyms,
        metavar="N",
        help="most translations of a verb, an adverb or a sense of a noun, one fewer of other words "
        f"(default: {default.synonyms})",
    )


def run(args: argparse.Namespace) -> int:
    """Write the bitext, or say that it is there."""
    from ..data.generated import SOURCE_LANG, TARGET_LANG, read_truth, write_bitext
    from ..data.grammar import Grammar, Parameters

    chosen = Parameters(**{name: getattr(args, name) for name in asdict(Parameters())})
    new = write_bitext(
        Grammar(**asdict(chosen)),
        args.out,
        train=args.train,
        valid=args.valid,
        test=args.test,
        seed=args.seed,
        references=args.references,
    )
    print(f"{args.out}: {'written' if new else 'up to date'}")
    truth = read_truth(args.out)
    print(f"{'':<16}{'words per sentence':>20}{'nats per sentence':>22}   nats per word of yy")
    print(f"{'split':<6} {'pairs':>9} {SOURCE_LANG:>9} {TARGET_LANG:>9}   log p(y|x)  entropy   entropy")
    for split in ("train", "valid", "test"):
        facts = truth[split]
        lengths = [facts["words"][language] / max(facts["sentences"], 1) for language in (SOURCE_LANG, TARGET_LANG)]
        print(
            f"{split:<6} {facts['sentences']:>9,} {lengths[0]:>9.1f} {lengths[1]:>9.1f} "
            f"{facts['log_prob_per_sentence']:>12.3f} {facts['entropy_per_sentence']:>8.3f} "
            f"{facts['entropy_per_sentence'] / lengths[1]:>9.3f}"
        )
    return 0
