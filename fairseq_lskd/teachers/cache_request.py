"""What `lskd cache` is asked for, and what no cache can be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from .cache import AFFIXES


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of `lskd cache`, described by its `--help`."""

    data: str
    out: Path
    teacher_path: str | None = None
    model: Path | None = None
    compute_type: str | None = None
    source_prefix: str | None = None
    source_suffix: str | None = None
    target_prefix: str | None = None
    teacher_weights: str | None = None
    top_k: int | None = None
    sampled: int | None = None
    draws: int | None = None
    bytes_per_token: int | None = None
    seed: int | None = None
    kd_temperature: float = 1.0
    subset: str = "train"
    teacher_text: str | None = None
    teacher_data: str | None = None
    source_lang: str | None = None
    target_lang: str | None = None
    max_source_positions: int = 1024
    max_target_positions: int = 1024
    truncate_source: bool = False
    upsample_primary: int = -1
    max_tokens: int = 8000
    shard_id: int = 0
    num_shards: int = 1
    cpu: bool = False
    fp16: bool = False

    def check(self) -> None:
        """Raise a `UserError` for options that contradict each other. No file is read."""
        self._check_teacher()
        if not 0 <= self.shard_id < self.num_shards:
            raise UserError(f"--shard-id {self.shard_id}: expected 0 to {self.num_shards - 1} (--num-shards - 1)")
        if self.teacher_text is not None:
            self._check_text()
        if self.bytes_per_token is not None:
            for flag, value in (("--top-k", self.top_k), ("--sampled", self.sampled)):
                if value is not None:
                    raise UserError(f"{flag} {value}: --bytes-per-token chooses this value; leave out one of them")
        elif self.sampled is None:
            for flag, value in (("--draws", self.draws), ("--seed", self.seed)):
                if value is not None:
                    raise UserError(f"{flag} {value}: only a sampled cache has it; add --sampled or --bytes-per-token")
        if self.seed is not None and self.seed < 0:
            raise UserError(f"--seed {self.seed}: expected 0 or more")

    def _check_teacher(self) -> None:
        if (self.teacher_path is None) == (self.model is None):
            raise UserError(
                "expected either --teacher-path with fairseq checkpoints, or --model with a CTranslate2 model folder, "
                f"found {'neither' if self.model is None else 'both'}"
            )
        if self.model is None:
            if self.compute_type is not None:
                raise UserError(f"--compute-type {self.compute_type} is for --model; with --teacher-path, use --fp16")
            for flag, value in zip(AFFIXES, self.affixes, strict=True):
                if value is not None:
                    raise UserError(
                        f"{flag} {value!r} is for --model; --teacher-path has the language tokens of its task. Leave "
                        "it out"
                    )
            return
        if self.fp16:
            raise UserError("--fp16 is for --teacher-path; with --model, use --compute-type float16")
        if self.teacher_data is not None:
            raise UserError(
                f"--teacher-data {self.teacher_data} is for --teacher-path: the folder of --model has its vocabulary. "
                "Leave it out"
            )
        if self.teacher_weights is not None or (":" in str(self.model) and not self.model.exists()):
            raise UserError(
                f"--model {self.model}: expected one folder, without --teacher-weights. To mix several teachers, give "
                "fairseq checkpoints with --teacher-path A:B"
            )

    @property
    def affixes(self) -> tuple[str | None, str | None, str | None]:
        """The values of --source-prefix, --source-suffix and --target-prefix."""
        return self.source_prefix, self.source_suffix, self.target_prefix

    @property
    def teachers(self) -> list[str]:
        """The paths of the teachers."""
        return [str(self.model)] if self.teacher_path is None else self.teacher_path.split(":")

    @property
    def texts(self) -> list[str]:
        """The folders of --teacher-text: one for all teachers, or one for each."""
        return [] if self.teacher_text is None else self.teacher_text.split(":")

    def _check_text(self) -> None:
        if not all(self.texts):
            raise UserError(
                f"--teacher-text {self.teacher_text!r}: expected folders, joined by ':'; found an empty name"
            )
        teachers, texts = len(self.teachers), len(self.texts)
        dictionaries = len((self.teacher_data or "").split(":"))
        if texts not in (1, teachers):
            flag, kind = ("--teacher-path", "checkpoint") if self.model is None else ("--model", "folder")
            raise UserError(
                f"--teacher-text names {texts} folders, {flag} {teachers} {kind}{'s' if teachers > 1 else ''}. "
                "Give one folder for all teachers, or one for each; a teacher with the student's vocabulary reads DATA"
            )
        if dictionaries not in (1, texts):
            raise UserError(
                f"--teacher-data names {dictionaries} folders, --teacher-text {texts}. Give one folder for all, or one "
                "for each"
            )
        for flag, value in (("--sampled", self.sampled), ("--bytes-per-token", self.bytes_per_token)):
            if value is not None:
                raise UserError(f"{flag} {value} does not go with --teacher-text, which writes a top k: leave it out")
        if self.kd_temperature != 1:
            raise UserError(
                f"--kd-temperature {self.kd_temperature:g}: expected 1 with --teacher-text: a part of the "
                "teacher's mass belongs to no piece of the student's, and a temperature needs all of them"
            )
