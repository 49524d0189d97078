"""Packaging. Beside the package it installs ``fairseq_lskd.pth``, which has Python run the import hook."""

import re
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

    def run(self):
        super().run()
        self.pth().parent.mkdir(parents=True, exist_ok=True)
        self.pth().write_text("import _fairseq_lskd_hook\n", encoding="utf-8")

    def get_outputs(self, include_bytecode=1):
        return [*super().get_outputs(include_bytecode), str(self.pth())]


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
        "bench": ["matplotlib>=3.8"],
        "pipeline": ["snakemake>=9.5", "matplotlib>=3.8"],
        "slurm": ["snakemake>=9.5", "matplotlib>=3.8", "snakemake-executor-plugin-slurm>=2.0"],
        "dev": [
            "ctranslate2>=4.0",
            "matplotlib>=3.8",
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "ruff",
            "mypy",
            "py3langid>=0.4",
            "setuptools>=77",
            "snakemake>=9.5",
            "types-tabulate",
            "types-regex",
            "types-tqdm",
        ],
    },
    entry_points={"console_scripts": ["lskd = fairseq_lskd.cli:main"]},
    cmdclass={"build_py": BuildWithPth},
)
