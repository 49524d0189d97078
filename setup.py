"""The parts of the build that pyproject.toml cannot express.

The wheel gets ``fairseq_lskd.pth``, which runs the import hook at every start of Python, and the corpus files of
data-prep. A checkout (also an editable install) reads the corpus files from data-prep.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent


class BuildWithPth(build_py):
    """Add the .pth file to the root of the wheel, which pip unpacks into site-packages."""

    # This name sorts after setuptools' __editable__*.pth, which makes the hook importable in an editable install.
    name = "fairseq_lskd.pth"

    def pth(self):
        # An editable wheel is built from install_lib, without build_lib.
        root = self.get_finalized_command("install").install_lib if self.editable_mode else self.build_lib
        return Path(root) / self.name

    def corpora(self):
        """Return each corpus file with its place in the wheel."""
        folder = Path(self.build_lib) / "fairseq_lskd" / "data" / "corpora"
        files = [] if self.editable_mode else sorted((HERE / "data-prep").glob("*.toml"))
        return [(path, folder / path.name) for path in files]

    def run(self):
        super().run()
        for path, place in self.corpora():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
        self.pth().parent.mkdir(parents=True, exist_ok=True)
        self.pth().write_text("import _fairseq_lskd_hook\n", encoding="utf-8")

    def get_outputs(self, include_bytecode=1):
        places = [str(place) for _, place in self.corpora()]
        return [*super().get_outputs(include_bytecode), *places, str(self.pth())]


setup(cmdclass={"build_py": BuildWithPth})
