"""The import hook, which patches fairseq when it is imported.

``fairseq_lskd.pth`` imports this module at every start of Python, so it must be fast. It adds a finder to
``sys.meta_path`` that waits for the import of ``fairseq`` or ``fairseq_cli``. (fairseq's commands import
``fairseq_cli``, and torch, before ``fairseq``.) Then it loads ``fairseq_lskd/compat`` under another name: if
``fairseq_lskd`` were imported here, fairseq's ``--user-dir`` would not import it again, and its criterions
would not be registered.
"""

import sys


class FairseqFinder:
    """A finder that finds no modules. It prepares the patches just before other finders find fairseq."""

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
                    f"fairseq_lskd could not patch fairseq for this Python ({error!r}): fairseq is imported "
                    "without patches. Run `lskd doctor` to see the problem.",
                    RuntimeWarning,
                    stacklevel=2,
                )
        return None


def load_compat():
    """Load the package ``fairseq_lskd/compat`` beside this file, as ``_fairseq_lskd_compat``."""
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
    """Return whether this process has the finder, or has loaded the patches."""
    return "_fairseq_lskd_compat" in sys.modules or any(
        type(finder).__name__ == "FairseqFinder" for finder in sys.meta_path
    )


if not is_active():
    sys.meta_path.insert(0, FairseqFinder())
