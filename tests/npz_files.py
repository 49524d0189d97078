"""Archives of arrays that say other than they are."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np


def member(array: Any, **changes: Any) -> bytes:
    """An array as a member of an .npz; changes of its header: "shape", "descr"."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(np.asarray(array)) | changes)
    return stream.getvalue() + np.asarray(array).tobytes()


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as found:
        for name, content in members.items():
            found.writestr(f"{name}.npy", content)
    return path


def patch(
    path: Path, name: str, *, flags: int | None = None, method: int | None = None, size: int | None = None
) -> Path:
    """Change what a zip's directory and the member's own header say of a member."""
    data = bytearray(path.read_bytes())
    # Where the fields are behind the name's: (signature, length of the header, flags, method, size).
    for signature, header, flag, kind, length in ((b"PK\x03\x04", 30, 6, 8, 22), (b"PK\x01\x02", 46, 8, 10, 24)):
        at = data.find(signature)
        while data[at + header : at + header + len(name)] != name.encode():
            at = data.find(signature, at + 1)
        for place, form, value in ((flag, "<H", flags), (kind, "<H", method), (length, "<I", size)):
            if value is not None:
                struct.pack_into(form, data, at + place, value)
    path.write_bytes(data)
    return path
