"""Read untrusted .npz files. NumPy does not check the shapes and sizes in their headers."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError

#: Upper bound on the compression ratio of deflate, which is 1,032.
SHRINKS = 1_100


def read_npz(path: Path, names: Collection[str], expected: str, flag: str = "") -> dict[str, Any]:
    """Return the named arrays of a file, as far as it contains them. No code in the file is executed.

    Args:
        expected: the expected file, in words.
        flag: the option that named the file, for messages.

    Raises:
        UserError: for a file or array that cannot be read or contradicts its header, with the name of both.
    """
    found: dict[str, Any] = {}
    problems = []
    called = f"{flag} {path}".lstrip()
    try:
        with path.open("rb") as stream:
            if stream.read(6) == b"\x93NUMPY":
                raise UserError(f"{called}: a single array, expected {expected}")
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name not in names or name == info.filename:
                    continue
                try:
                    found[name] = _read(archive, info, path.stat().st_size)
                except Exception as error:  # damaged headers and streams raise many kinds
                    problems.append(f"{name}: {_message(error)}")
    except OSError as error:
        raise UserError(f"{called}: cannot be read ({error.strerror or error})") from None
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{called}: not an .npz file, or broken ({_message(error)}); expected {expected}") from None
    if problems:
        raise UserError(f"{called}: {'; '.join(problems)}; expected {expected}. Write it again")
    return found


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> Any:
    if info.flag_bits & 1:
        raise ValueError("it is encrypted, which is not supported")
    if info.compress_size > size or info.file_size > SHRINKS * info.compress_size + SHRINKS:
        raise ValueError(f"its header says that it has {info.file_size:,} bytes, but the file has only {size:,}")
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version[0]}.{version[1]} of NumPy's format, expected 1.0 or 2.0")
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = header(stream)
        if kind.hasobject:
            raise ValueError("it holds Python objects, which are not read; save it as numbers or strings")
        if any(length < 0 for length in shape):
            raise ValueError(f"its shape {list(shape)} is negative")
        # Checked before NumPy allocates the memory.
        if (there := info.file_size - stream.tell()) != (wanted := math.prod(shape) * kind.itemsize):
            raise ValueError(f"its shape {list(shape)} needs {wanted:,} bytes, but it has {there:,}")
    with archive.open(info) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _message(error: Exception) -> str:
    text = " ".join(str(error).split())[:200] or type(error).__name__
    return text if text.isprintable() else ascii(text)
