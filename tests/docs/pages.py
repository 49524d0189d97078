"""The Markdown pages of the repository, and what stands in them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.M | re.S)
#: What stands before a block that the tests run.
MARK = "<!-- run in CI -->"
_BLOCK = re.compile(rf"^{MARK}\n```bash\n(.*?)^```$", re.M | re.S)


def pages() -> list[Path]:
    """All Markdown pages that git knows or would add, wherever they are."""
    command = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted(ROOT / name for name in names if name and (ROOT / name).exists())


def is_marked(page: Path) -> bool:
    """Whether a page has a block that the tests run."""
    return re.search(rf"^{MARK}$", page.read_text(encoding="utf-8"), re.M) is not None


def runnable(page: Path) -> list[str]:
    """The marked blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    blocks = _BLOCK.findall(text)
    assert len(blocks) == len(re.findall(rf"^{MARK}$", text, re.M)), (
        f"{page}: a mark stands before something else than a block of bash"
    )
    return blocks


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    found = set()
    for heading in re.findall(r"^#{1,6} (.*)$", FENCE.sub("", text), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        found.add(re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-"))
    return found


def links(text: str) -> list[str]:
    """The targets of a page's links and pictures, code left out."""
    prose = re.sub(r"^    .*$", "", FENCE.sub("", text), flags=re.M)
    prose = re.sub(r"`[^`\n]*`(?!\])", "", prose)
    return re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'<img [^>]*src="([^"]+)"', prose)
