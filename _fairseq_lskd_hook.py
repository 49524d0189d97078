"""Runs at every start of Python (``fairseq_lskd.pth`` imports it), so it does next to nothing.

It puts one finder on ``sys.meta_path`` that waits for the name ``fairseq``, or ``fairseq_cli``: that is the
commands, which import torch before fairseq. Only then is ``fairseq_lskd/compat`` loaded, under a name of its
own: were ``fairseq_lskd`` itself imported here, fairseq's ``--user-dir`` would see the package as already
loaded and not register its criterions.
"""

import sys


class FairseqFinder:
    """Finds nothing itself: it makes the mends ready just before fairseq is found by others."""

    def __init__(self):
        self.done = False

    def find_spec(self, fullname, path=None, target=None):
        if fullname in ("fairseq", "fairseq_cli") and not self.done:
            self.done = True
            try:
                load_compat().watch(self)
            except Exception as error:
                import warnings

                warnings.warn(
                    f"fairseq_lskd could not mend fairseq for this Python ({error!r}): fairseq is imported "
                    "as it is. `lskd doctor` says what is wrong.",
                    RuntimeWarning,
                    stacklevel=2,
                )
        return None


def load_compat():
    """The package ``fairseq_lskd/compat`` beside this file, as ``_fairseq_lskd_compat``."""
    name = "_fairseq_lskd_compat"
    if name in sys.modules:
        return sys.modules[name]
    import importlib.util
    from pathlib import Path

    folder = Path(__file__).resolve().parent / "fairseq_lskd" / "compat"
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def is_active():
    """Whether the finder is (or, once fairseq was imported, has been) in place in this process."""
    return "_fairseq_lskd_compat" in sys.modules or any(
        type(finder).__name__ == "FairseqFinder" for finder in sys.meta_path
    )


if not is_active():
    sys.meta_path.insert(0, FairseqFinder())
