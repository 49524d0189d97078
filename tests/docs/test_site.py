"""What the documentation site is made of besides its pages: reference pages, pictures, links, and its place in CI."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator

import pytest

from .pages import ROOT

pytest.importorskip("mkdocs")
pytest.importorskip("latex2mathml")


@pytest.fixture(autouse=True)
def hooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The modules of docs/_hooks, under the names that mkdocs gives them."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_hooks"))
    yield
    for name in {
        "command_pages",
        "criterion_pages",
        "patch_pages",
        "options",
        "script_pages",
        "site_pages",
        "draw",
    } - before:
        sys.modules.pop(name, None)


def flags(parser: argparse.ArgumentParser) -> set[str]:
    found = {flag for action in parser._actions for flag in action.option_strings} - {"-h", "--help"}
    return found.union(
        *(
            flags(sub)
            for a in parser._actions
            if isinstance(a, argparse._SubParsersAction)
            for sub in a.choices.values()
        )
    )


def test_every_option_of_every_command_is_in_the_reference() -> None:
    import command_pages

    pages = command_pages.pages()
    assert len(pages) == len(command_pages.COMMANDS) + 1
    for name, uri in command_pages.uris().items():
        page = pages[uri]
        assert f"lskd {name}" in pages["reference/commands.md"]
        missing = {flag for flag in flags(command_pages.parser_of(name)) if not re.search(rf"\| `[^|]*{flag}\b", page)}
        assert not missing
    assert "**required**" in pages["reference/commands/translate.md"] + pages["reference/commands/speed.md"]


def test_every_option_of_the_criterions_is_in_the_reference() -> None:
    pytest.importorskip("fairseq")
    import dataclasses

    import criterion_pages

    from fairseq_lskd.criterions.word_kd import WordKDConfig

    page = criterion_pages.pages()["reference/criterions/word_kd.md"]
    names = {field.name for field in dataclasses.fields(WordKDConfig) if field.metadata.get("help")}
    assert "kd_divergence" in names
    assert not {name for name in names if f"`--{name.replace('_', '-')}`" not in page}


def test_every_divergence_is_explained() -> None:
    from fairseq_lskd.losses import DIVERGENCES

    page = (ROOT / "docs/explanation/losses.md").read_text(encoding="utf-8").replace("\\_", "_")
    assert not {name for name in DIVERGENCES if name not in page}


def test_every_script_and_patch_is_in_the_reference() -> None:
    import patch_pages
    import script_pages

    page = script_pages.pages()[script_pages.URI]
    assert all(f"## scripts/{name}.sh" in page for name in script_pages.NAMES)
    assert all(f"`{patch.NAME}`" in patch_pages.pages()[patch_pages.URI] for patch in patch_pages.PATCHES)


def test_links_out_of_docs_lead_to_their_pages_or_name_the_file() -> None:
    import site_pages

    assert site_pages.link("corpora", "../data-prep/README.md", "data.md") == "[corpora](corpora.md)"
    assert site_pages.link("here", "docs/data.md#cleaning", "changelog.md") == "[here](data.md#cleaning)"
    option = site_pages.link("options", "../../fairseq_lskd/criterions/word_kd.py", "explanation/losses.md")
    assert option == "[options](../reference/criterions/word_kd.md)"
    assert site_pages.link("`own.toml`", "../data-prep/own.toml", "data.md") == "`data-prep/own.toml`"
    assert site_pages.link("copy it", "../data-prep/own.toml", "data.md") == "copy it (`data-prep/own.toml`)"
    with pytest.raises(ValueError, match=r"data-prep/none\.toml"):
        site_pages.link("x", "../data-prep/none.toml", "data.md")


def test_links_below_indented_code_lead_to_their_pages_and_code_stays() -> None:
    from types import SimpleNamespace

    import site_pages

    text = "A command:\n\n    lskd run [x](../scripts)\n\nSee [corpora](../data-prep/README.md).\n"
    page = SimpleNamespace(file=SimpleNamespace(src_uri="data.md"))
    assert site_pages.on_page_markdown(text, page) == text.replace("../data-prep/README.md", "corpora.md")


def test_texts_of_commands_are_shown_as_they_are() -> None:
    import command_pages
    from options import escaped

    assert escaped("drop <unk> or &lt;unk&gt;") == "drop &lt;unk&gt; or &amp;lt;unk&amp;gt;"
    overview = command_pages.pages()["reference/commands.md"]
    rows = [line for line in overview.splitlines() if line.startswith("| [`lskd")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)


def test_pictures_are_those_that_the_script_draws() -> None:
    import draw

    for name, text in draw.drawn().items():
        assert (ROOT / "docs" / "images" / name).read_text(encoding="utf-8") == text, "run python docs/_hooks/draw.py"
