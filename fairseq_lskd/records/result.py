"""What a system scored: the fields of its record, each described once, for tables, CSV, differences and pictures.

`lskd record` writes a run's result.json, and `lskd table` a results.json of many. In a program a record is a row, a
mapping by the names of these fields; what else is in it are facts and labels of the training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from ..errors import UserError
from ..reading import Kind, misfit, read_json

#: Of a row. Those without one are older, and have the same fields.
SCHEMA = 1
EXPECTED = "the JSON that `lskd score` writes"
MEASURE = Kind("a number, or nothing", lambda v: v is None or (isinstance(v, int | float) and not isinstance(v, bool)))
LABEL = Kind("a text, a number or nothing", lambda value: value is None or isinstance(value, str | int | float))
ANSWER = Kind("true, false or nothing", lambda value: value is None or isinstance(value, bool))
WORDS = Kind("a list of texts", lambda v: v is None or (isinstance(v, list) and all(isinstance(w, str) for w in v)))
#: Parts of a row. Systems are told apart by their labels; scores and the gap have a spread over seeds; the course of a
#: training is its length and end, and a cost its seconds; the rest is how the row came about.
LABELS, SCORES, COURSE, COST, STORY = "labels", "scores", "course", "cost", "story"


@dataclass(frozen=True)
class Column:
    """What a field of a result is."""

    part: str
    header: str | None = None  #: in a table; None: it is in no table
    form: str = "{}"  #: of a value
    name: str = ""  #: in words, for pictures; the header where it is not given
    unit: str = ""
    better: bool | None = None  #: whether more is better; None: neither
    measured: bool | None = None  #: whether it is averaged over seeds, as scores are
    left: bool = False  #: whether a table has it to the left, as text
    kind: Any = MEASURE  #: a shape, as `reading.misfit` has it
    key: str = ""  #: in a row; the field's name where it is not given

    @property
    def title(self) -> str:
        """The name with its unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def shown(self, value: Any, sign: bool = False) -> str:
        """A value as it is in a table, or with its sign, as a difference."""
        return (self.form.replace(":", ":+") if sign else self.form).format(value)


#: A system as `lskd export` ships it: scores, and how large and fast it is.
_EXPORTED = {
    **{f"{name}{std}?": MEASURE for name in ("bleu", "chrf", "chrf++", "ter") for std in ("", "_std")},
    **{"sentences_per_second?": MEASURE, "bytes": MEASURE, "compute_type": str},
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """A row; tables have the columns in this order, those with nothing in them left out."""

    system: Annotated[str | None, Column(STORY, "system", left=True, kind=str)] = None
    role: Annotated[str | None, Column(LABELS, kind=LABEL)] = None
    teacher_smoothing: Annotated[float | None, Column(LABELS, "teacher LS", kind=LABEL)] = None
    method: Annotated[str | None, Column(LABELS, "method", left=True, kind=LABEL)] = None
    temperature: Annotated[float | None, Column(LABELS, "T", kind=LABEL)] = None
    size: Annotated[str | None, Column(LABELS, kind=LABEL)] = None
    strategy: Annotated[str | None, Column(LABELS, kind=LABEL)] = None
    cached: Annotated[bool | None, Column(LABELS, kind=LABEL)] = None
    seed: Annotated[int | None, Column(STORY, kind=LABEL)] = None
    seeds: Annotated[int | None, Column(STORY, "seeds", kind=LABEL)] = None
    parameters: Annotated[int | None, Column(STORY, "parameters", "{:,}")] = None
    sentences_per_second: Annotated[float | None, Column(STORY, "sent/s", "{:.0f}")] = None
    speed_machine: Annotated[str | None, Column(STORY, kind=LABEL)] = None
    #: How many cores other programs kept busy meanwhile.
    speed_others_cores: Annotated[float | None, Column(STORY)] = None
    bleu: Annotated[float | None, Column(SCORES, "BLEU", "{:.1f}", better=True)] = None
    chrf: Annotated[float | None, Column(SCORES, "chrF", "{:.1f}", better=True)] = None
    chrf_words: Annotated[float | None, Column(SCORES, "chrF++", "{:.1f}", better=True, key="chrf++")] = None
    ter: Annotated[float | None, Column(SCORES, "TER", "{:.1f}", better=False)] = None
    comet: Annotated[float | None, Column(SCORES, "COMET", "{:.1f}", better=True)] = None
    bleu_gap_closed: Annotated[float | None, Column(STORY, "gap closed", kind=object)] = None
    chrf_gap_closed: Annotated[float | None, Column(STORY, "chrF gap closed", kind=object)] = None
    valid_ppl: Annotated[
        float | None, Column(SCORES, "valid ppl", "{:.2f}", name="validation perplexity", better=False)
    ] = None
    valid_accuracy: Annotated[float | None, Column(SCORES, name="validation accuracy", unit="%", better=True)] = None
    valid_entropy: Annotated[float | None, Column(SCORES, name="validation entropy", unit="bits")] = None
    valid_ece: Annotated[float | None, Column(SCORES, name="validation calibration error", better=False)] = None
    kl_to_truth: Annotated[
        float | None, Column(SCORES, "KL to truth", "{:.2f}", unit="nats a sentence", better=False)
    ] = None
    train_nll_loss: Annotated[float | None, Column(SCORES, name="training NLL", unit="bits", better=False)] = None
    train_kd_loss: Annotated[
        float | None, Column(SCORES, "train KD", "{:.3f}", name="training distillation loss", unit="bits", better=False)
    ] = None
    #: The teacher's types that the distillation loss compares; None: all.
    kd_top_k: Annotated[int | None, Column(STORY, kind=LABEL)] = None
    updates: Annotated[int | None, Column(COURSE, "updates", "{:,.0f}", measured=True)] = None
    target_tokens: Annotated[int | None, Column(COURSE, measured=True)] = None
    max_updates: Annotated[int | None, Column(COURSE)] = None
    patience: Annotated[int | None, Column(COURSE)] = None
    validation_metric: Annotated[str | None, Column(COURSE, kind=LABEL)] = None
    validation_interval: Annotated[int | None, Column(COURSE)] = None
    validation_best: Annotated[float | None, Column(COURSE, measured=True)] = None
    last_fifth_gain: Annotated[float | None, Column(COURSE, measured=True)] = None
    converged: Annotated[bool | None, Column(COURSE, kind=ANSWER)] = None
    train_seconds: Annotated[float | None, Column(COST, "train s", "{:.0f}", measured=True)] = None
    exported: Annotated[dict[str, Any] | None, Column(STORY, kind=(type(None), _EXPORTED))] = None
    signature: Annotated[str | None, Column(STORY, kind=LABEL)] = None
    empty_hypotheses: Annotated[int | None, Column(STORY)] = None
    unknown_hypotheses: Annotated[int | None, Column(STORY)] = None
    test_set: Annotated[str | None, Column(STORY, kind=LABEL)] = None
    command: Annotated[list[str] | None, Column(STORY, kind=WORDS)] = None
    teacher_sha256: Annotated[list[str] | None, Column(STORY, kind=WORDS)] = None
    checkpoint_sha256: Annotated[str | None, Column(STORY, kind=LABEL)] = None
    versions: Annotated[dict[str, str] | None, Column(STORY, kind=object)] = None
    schema: Annotated[int | None, Column(STORY)] = None
    more: dict[str, Any] = field(default_factory=dict)  #: other facts and labels, and other metrics' signatures

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Result:
        """What a row says; `read_results` has checked it."""
        known = {_NAMES[key]: value for key, value in row.items() if key in _NAMES}
        return cls(**known, more={key: value for key, value in row.items() if key not in _NAMES})

    def to_row(self) -> dict[str, Any]:
        """A row as `lskd record` writes it: without what is not known, but for what every record says."""
        found = {key: getattr(self, name) for key, name in _NAMES.items()}
        says = {key for key, value in found.items() if value is not None} | _ALWAYS
        if self.updates is not None:
            says |= {key for key, column in COLUMNS.items() if column.part == COURSE}
        return {"schema": SCHEMA, **{key: value for key, value in found.items() if key in says}, **self.more}


#: Null where they do not apply.
_ALWAYS = {"role", "method", "teacher_smoothing", "temperature", "train_seconds", "teacher_sha256"}


def _columns() -> Iterator[tuple[str, Column]]:
    for name, hint in get_type_hints(Result, include_extras=True).items():
        for found in getattr(hint, "__metadata__", ()):
            average = found.part == SCORES if found.measured is None else found.measured
            words = found.name or found.header or ""
            yield name, replace(found, key=found.key or name, name=words, measured=average)


#: Key of a row -> what it is, and -> the attribute that has it.
COLUMNS = {column.key: column for _, column in _columns()}
_NAMES = {column.key: name for name, column in _columns()}
SHAPE: dict[str, Any] = {
    "system": str,
    **{f"{key}?": column.kind for key, column in COLUMNS.items() if column.kind not in (str, object)},
    **{
        f"{key}_std?": MEASURE
        for key, column in COLUMNS.items()
        if column.measured or key in ("parameters", "sentences_per_second")
    },
}


def measured(*parts: str) -> list[str]:
    """What is averaged over seeds, of these parts of a row, or of all."""
    return [key for key, column in COLUMNS.items() if column.measured and (not parts or column.part in parts)]


def is_label(key: str) -> bool:
    """Whether a field of a row tells systems apart: one that is described as a label, or not described at all."""
    column = COLUMNS.get(key)
    return not key.endswith(("_signature", "_std")) if column is None else column.part == LABELS


def system_of(row: Mapping[str, Any]) -> str:
    """A row's system whatever its seed: its name, without the mark `-s1` of the seed that is in the row."""
    name = str(row["system"])
    return name.removesuffix(f"-s{row['seed']}") if row.get("seed") is not None else name


def read_results(path: Path) -> list[dict[str, Any]]:
    """The rows in a file that has one, or a list of them.

    Raises:
        UserError: naming the file and the field, if it is something else.
    """
    found = read_json(path, expected=EXPECTED)
    rows = found if isinstance(found, list) else [found]
    for number, row in enumerate(rows, start=1):
        if problem := misfit(row, SHAPE):
            place = f"record {number}: " if len(rows) > 1 else ""
            raise UserError(f"{path}: {place}{problem}; expected {EXPECTED}")
    return rows
