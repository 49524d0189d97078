"""Hooks of mkdocs: pages generated from the code, pages from outside docs/, formulas, and links that leave docs/."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import command_pages
import criterion_pages
import patch_pages
import script_pages
from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
#: Pages of the site that stand elsewhere in the repository, by their place in the site.
ELSEWHERE = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
    "corpora.md": "data-prep/README.md",
    "how-benchmarks-are-made.md": "benchmarks/README.md",
}
#: Where links to files lead that have a page: code that pages are generated from, too.
PLACES = {"README.md": "index.md", "fairseq_lskd/cli/__init__.py": "reference/commands.md"}
PLACES |= {"fairseq_lskd/compat/__init__.py": patch_pages.URI, "scripts": script_pages.URI}
PLACES |= {path: page for page, path in ELSEWHERE.items()}
PLACES |= {f"fairseq_lskd/cli/{name}.py": uri for name, uri in command_pages.uris().items()}
PLACES |= {f"fairseq_lskd/criterions/{name}.py": uri for name, uri in criterion_pages.uris().items()}
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```math\n(.*?)^```$", re.M | re.S)
_INLINE = re.compile(r"\$`(.+?)`\$")
_CODE = re.compile(r"^```.*?^```$|^    [^\n]*$", re.M | re.S)


def on_config(config: Any) -> None:
    """Put the generated pages in their place in the navigation."""
    (reference,) = (entry["Reference"] for entry in config.nav if "Reference" in entry)
    reference[:0] = [
        {"Commands": [{f"lskd {name}": uri} for name, uri in command_pages.uris().items()]},
        {"Criterions": [{name: uri} for name, uri in criterion_pages.uris().items()]},
        {"Scripts": script_pages.URI},
        {"Patches of fairseq": patch_pages.URI},
    ]


def on_files(files: Any, config: Any) -> None:
    """Add the pages that are not files of docs/."""
    pages = {page: (ROOT / path).read_text(encoding="utf-8") for page, path in ELSEWHERE.items()}
    for module in (command_pages, criterion_pages, script_pages, patch_pages):
        pages |= module.pages()
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links where their files are in the site, and turn LaTeX into MathML, which needs no script."""
    uri = page.file.src_uri
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"\0{len(kept) - 1}\0"

    markdown = _FENCE.sub(lambda found: f"<div>{mathml(found[1].strip(), 'block')}</div>", markdown)
    markdown = _CODE.sub(keep, markdown)
    # In a span, which is no block of its own where it begins a line.
    markdown = _INLINE.sub(lambda found: f"<span>{mathml(found[1], 'inline')}</span>", markdown)
    markdown = _LINK.sub(lambda found: link(found[1], found[2], uri), markdown)
    return re.sub("\0(\\d+)\0", lambda found: kept[int(found[1])], markdown)


def mathml(latex: str, display: str) -> str:
    """LaTeX as MathML, with the space after a logarithm that TeX sets."""
    return convert(latex, display=display).replace("<mi>log</mi>", '<mi>log</mi><mspace width="0.17em"/>')


def link(text: str, target: str, uri: str) -> str:
    """A link of the repository as the site has it; the file's name, where the site does not have the file.

    Args:
        text: what is shown; target: as written, relative to the file that has the link.
        uri: the page's place in the site.
    """
    if re.match(r"[a-z]+:|#", target):
        return f"[{text}]({target})"
    path, hash_, anchor = target.partition("#")
    folder = posixpath.dirname(ELSEWHERE.get(uri, f"docs/{uri}"))
    path = posixpath.normpath(posixpath.join(folder, path))
    if not (ROOT / path).exists() and not path.startswith("docs/"):
        raise ValueError(f"{uri}: a link leads to {path}, which does not exist")
    if path.startswith("docs/"):
        place = path.removeprefix("docs/")
    elif path in PLACES:
        place = PLACES[path]
    else:
        return f"`{path}`" if text.strip("`") in (path, posixpath.basename(path)) else f"{text} (`{path}`)"
    return f"[{text}]({posixpath.relpath(place, posixpath.dirname(uri) or '.')}{hash_}{anchor})"
