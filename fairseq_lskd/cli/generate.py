"""Generate a bitext from a synchronous grammar, with an exactly known p(target | source).

The languages are called xx and yy. --dialect 1 and 2 replace xx by ww and zz, which are related to it: they have
another spelling and word order, and are translated into the same yy. The three bitexts are for a multilingual model.
They have different sentences in train, and the same in valid and test, so that no train has sentences of another
bitext's test.

The output folder contains train, valid and test in both, grammar.json (which
fairseq_lskd.data.grammar.Grammar.from_json reads), and truth.json: log p(target | source) and the entropy of
p(. | source) in nats, as means over each split. truth.SPLIT.tsv has both for every sentence. A model's negative
log-likelihood of a split minus that of the truth estimates KL(truth || model). For models of subwords it is an upper
bound, because only one segmentation is scored. The splits have no source sentence in common.

With --references N, the test set has N references, each drawn from p(target | source): test.yy, test.1.yy, test.2.yy
and so on. Scores against several references depend less on the random draw.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ._options import add_options, add_out

EXAMPLES = """examples:
  lskd generate --out data/generated/raw
  lskd generate --out data/g8/raw --test 2000 --references 8
  lskd generate --out data/big/raw --train 100000 --nouns 1000 --verbs 400
  lskd generate --out data/ww-yy/raw --dialect 1
  lskd encode --raw data/generated/raw --out data/generated/pieces -s xx -t yy --vocab-size 1000
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lskd generate`."""
    from ..data.grammar import Parameters

    default = Parameters()
    add_out(parser)
    synonyms = "maximum number of translations of a verb, an adverb or a sense of a noun; other words have one fewer"
    order = "share of clauses with free word order, except that the subject precedes the object"
    counted = ("nouns", "verbs", "adjectives", "adverbs", "prepositions")
    add_options(
        parser,
        ("--train", int, "N", "number of sentence pairs in train", 20_000),
        ("--valid", int, "N", "number of sentence pairs in valid", 500),
        ("--test", int, "N", "number of sentence pairs in test", 500),
        ("--references", int, "N", "number of references of the test set", 1),
    )
    add_options(
        parser.add_argument_group("grammar"),
        ("--seed", int, "S", "random seed of lexicon and sentences", default.seed),
        *((f"--{name}", int, "N", f"number of source {name}", getattr(default, name)) for name in counted),
        ("--ambiguous", float, "P", "share of nouns with two senses, which depend on the verb", default.ambiguous),
        ("--separable", float, "P", "share of verbs with a particle at the end of the clause", default.separable),
        ("--free-order", float, "P", order, default.free_order),
        ("--synonyms", int, "N", synonyms, default.synonyms),
        ("--dialect", int, "N", "source language: 0 (xx), 1 (ww) or 2 (zz)", default.dialect),
    )


def run(args: argparse.Namespace) -> int:
    """Write the bitext unless it is up to date, and print statistics."""
    from ..data.generated import TARGET_LANG, read_truth, write_bitext
    from ..data.grammar import Grammar, Parameters

    chosen = Parameters(**{name: getattr(args, name) for name in asdict(Parameters())})
    grammar = Grammar(**asdict(chosen))
    languages = (grammar.dialect.language, TARGET_LANG)
    new = write_bitext(
        grammar,
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
    print(f"{'split':<6} {'pairs':>9} {languages[0]:>9} {languages[1]:>9}   log p(y|x)  entropy   entropy")
    for split in ("train", "valid", "test"):
        facts = truth[split]
        lengths = [facts["words"][language] / max(facts["sentences"], 1) for language in languages]
        print(
            f"{split:<6} {facts['sentences']:>9,} {lengths[0]:>9.1f} {lengths[1]:>9.1f} "
            f"{facts['log_prob_per_sentence']:>12.3f} {facts['entropy_per_sentence']:>8.3f} "
            f"{facts['entropy_per_sentence'] / lengths[1]:>9.3f}"
        )
    return 0
