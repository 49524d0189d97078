"""Packaging. Beside the package it installs ``fairseq_lskd.pth``, which has Python run the import hook.

The corpus files of data-prep go into the package; a checkout (an editable install too) reads them where they are.
"""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
VERSION = re.search(
    r'^__version__ = "([^"]+)"', (HERE / "fairseq_lskd" / "__init__.py").read_text(encoding="utf-8"), re.M
).group(1)
README = HERE / "README.md"


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


setup(
    name="fairseq_lskd",
    version=VERSION,
    description="Knowledge distillation for neural machine translation, as a plug-in for fairseq",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    keywords=["knowledge distillation", "machine translation", "fairseq", "label smoothing"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    packages=find_packages(include=["fairseq_lskd*"]),
    py_modules=["_fairseq_lskd_hook"],
    python_requires=">=3.11",
    # What fairseq 0.12.2 needs to run is named here, not by fairseq: its own pins (hydra-core<1.1,
    # omegaconf<2.1) cannot be resolved by pip >= 24.1, so it is installed by `pip install --no-deps`.
    install_requires=[
        "torch>=2.6",
        "numpy",
        "hydra-core>=1.3,<1.4",
        "omegaconf>=2.3,<2.4",
        "regex",
        "sacrebleu>=2.0",
        "sentencepiece",
        "tqdm",
        "bitarray",
        "cffi",
        "tabulate",
    ],
    extras_require={
        "fast": ["ctranslate2>=4.0"],
        "select": ["py3langid>=0.4"],
        # Ids of mtdata in corpus files, language identification, and Moses tokens (for the split of IWSLT14).
        "data": ["mtdata>=0.5.1", "py3langid>=0.4", "sacremoses>=0.1.1"],
        "bench": ["matplotlib>=3.8"],
        # BLEU's tokenisers of Japanese and Korean.
        "ja": ["sacrebleu[ja]>=2.0"],
        "ko": ["sacrebleu[ko]>=2.0"],
        "moses": ["sacremoses>=0.1", "subword-nmt>=0.3.8"],
        # The report of `lskd analyze`: pictures, and a page; jinja2 is there already where torch is.
        "analysis": ["matplotlib>=3.8", "jinja2>=3.0"],
        "vision": ["scikit-learn>=1.5", "matplotlib>=3.8"],  # examples/vision: real images that come with a library
        # snakemake 9.10 to 9.16 start more jobs than there are cores.
        "pipeline": ["snakemake>=9.17", "matplotlib>=3.8", "psutil"],
        "slurm": ["snakemake>=9.17", "matplotlib>=3.8", "snakemake-executor-plugin-slurm>=2.0"],
        "dev": [
            "ctranslate2>=4.0",
            "import-linter>=2.0",
            "jinja2>=3.0",
            "matplotlib>=3.8",
            "mtdata>=0.5.1",
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "ruff",
            "sacremoses>=0.1",
            "subword-nmt>=0.3.8",
            "mypy",
            "psutil",
            "py3langid>=0.4",
            "scikit-learn>=1.5",
            "setuptools>=77",
            "snakemake>=9.17",
            "types-tabulate",
            "types-regex",
            "types-tqdm",
        ],
    },
    entry_points={"console_scripts": ["lskd = fairseq_lskd.cli:main"]},
    cmdclass={"build_py": BuildWithPth},
)
