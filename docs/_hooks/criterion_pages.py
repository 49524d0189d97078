"""A page for each criterion, from the dataclass of its options."""

from __future__ import annotations

import argparse

from options import paragraphs, tables

from fairseq_lskd.cli.criterion import NAMES


def uris() -> dict[str, str]:
    """The page of each criterion."""
    return {name: f"reference/criterions/{name}.md" for name in NAMES}


def page(name: str) -> str:
    """The page of a criterion; fairseq makes its parser from the dataclass."""
    from fairseq.criterions import CRITERION_REGISTRY

    import fairseq_lskd.criterions  # noqa: F401  registers them

    criterion = CRITERION_REGISTRY[name]
    parser = argparse.ArgumentParser(prog="fairseq-train", add_help=False)
    criterion.add_args(parser)
    usage = f"```text\nfairseq-train DATA --user-dir fairseq_lskd --criterion {name} [options]\n```"
    return "\n\n".join([f"# {name}", paragraphs(criterion.__doc__ or ""), usage, tables(parser)]) + "\n"


def pages() -> dict[str, str]:
    """All pages, by their place in the site."""
    return {uri: page(name) for name, uri in uris().items()}
