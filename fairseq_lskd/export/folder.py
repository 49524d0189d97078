"""Write an exported folder: a CTranslate2 model, the SentencePiece models, and a manifest of its inputs."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..data.outputs import Manifest
from ..files import sha256
from ..sequences.engines.conversion import VERIFIED, FromModel, convert
from ..teachers.alone import Teacher
from ..teachers.languages import options_of
from ..teachers.model_tokens import Affixes
from .facts import MANIFEST, size
from .pieces import Pieces


def export_student(
    student: Teacher, pieces: Pieces, out: Path, compute_type: str, pairs: Mapping[str, Affixes] | None = None
) -> bool:
    """Write the model folder `out`, which CTranslate2 loads. Return False if it is up to date already.

    Args:
        compute_type: type of the stored weights, one of CTranslate2's quantisations.
        pairs: the tokens around the sentences of each language pair, for a multilingual student; the tags before the
            sources of the only pair, for another.

    Raises:
        UserError: if `out` is something else, or was created with different options or inputs.
        Unsupported: if CTranslate2 does not support the model, or its log-probabilities differ from fairseq's.
    """
    (checkpoint,) = student.paths
    texts = pieces.by_name()
    files = {"checkpoint": checkpoint, **{path.name: path for path in student.dictionaries}, **texts}
    files |= {path.name: path for path in student.more_files}
    tags = next(iter(pairs.values())).source_prefix if pairs and student.marks is None else ()
    manifest = Manifest(
        MANIFEST,
        {
            "compute-type": compute_type,
            **({"pairs": ",".join(pairs)} if pairs else {}),
            **({"source-prefix": " ".join(tags)} if tags else {}),
        },
        {name: sha256(path) for name, path in files.items()},
        libraries=("ctranslate2", "sentencepiece", "fairseq", "torch"),
    )
    if manifest.is_up_to_date(out):
        return False
    with manifest.written(out) as (folder, facts):
        with tempfile.TemporaryDirectory(dir=folder) as cache:
            verified = convert(student, Path(cache)) / VERIFIED
            difference = json.loads(verified.read_text(encoding="utf-8"))["largest_difference"]
        # The conversion overwrites the weights of the model when it quantises them.
        own = replace(student, models=copy.deepcopy(student.models))
        FromModel(own).convert(str(folder), quantization=compute_type, force=True)
        for name, path in texts.items():
            shutil.copyfile(path, folder / name)
        task = options_of(student.task)
        facts |= {
            "checkpoint": str(checkpoint),
            "checkpoint_bytes": checkpoint.stat().st_size,
            "bytes": size(folder),
            **({} if pairs and len(pairs) > 1 else {"source_lang": task.source_lang, "target_lang": task.target_lang}),
            **({"pairs": {pair: affixes.written() for pair, affixes in pairs.items()}} if pairs else {}),
            **({"language_tokens": sorted(student.language_tokens)} if pairs else {}),
            "max_positions": (student.max_positions[0] - len(tags), student.max_positions[1]),
            "sentencepiece": {name: str(path) for name, path in texts.items()},
            "float32_largest_difference": difference,
        }
    return True
