"""What pyproject.toml cannot say: the wheel also has ``fairseq_lskd.pth``, which has Python run the import hook.

The corpus files of data-prep go into the package; a checkout (an editable install too) reads them where they are.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent


class BuildWithPth(build_py):
    """Puts the .pth file at the root of the wheel, which pip unpacks into site-packages."""

    # Sorts after setuptools' own __editable__*.pth: in an editable install that one makes the hook importable.
    name = "fairseq_lskd.pth"

    def pth(self):
        # An editable build collects its wheel in install_lib; build_lib is not part of it.
        root = self.get_finalized_command("install").install_lib if self.editable_mode else self.build_lib
        return Path(root) / self.name

    def corpora(self):
        """Each corpus file, and its place in the wheel."""
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
