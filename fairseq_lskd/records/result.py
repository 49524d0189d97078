"""The fields of a system's record: what each one is, for tables, CSV, differences and plots.

`lskd record` writes the result.json of a run, and `lskd table` a results.json with the records of several runs. In
memory a record is a row: a mapping from the names of these fields to values. Other keys of a row are facts and labels
of the training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from ..errors import UserError
from ..reading import Kind, misfit, read_json
from ..runs import RECORD as RUN

SCHEMA = 1  #: version of a row; rows without one are older, and have the same fields
EXPECTED = "the JSON that `lskd record` or `lskd table` writes"
MEASURE = Kind("a number or null", lambda v: v is None or (isinstance(v, int | float) and not isinstance(v, bool)))
LABEL = Kind("a string, a number or null", lambda value: value is None or isinstance(value, str | int | float))
ANSWER = Kind("true, false or null", lambda value: value is None or isinstance(value, bool))
WORDS = Kind("a list of strings", lambda v: v is None or (isinstance(v, list) and all(isinstance(w, str) for w in v)))
#: Parts of a row: labels tell systems apart; scores are averaged over seeds; the course is a training's length and end;
#: the cost is its time; the story is everything else that says how the row was made.
LABELS, SCORES, COURSE, COST, STORY = "labels", "scores", "course", "cost", "story"


@dataclass(frozen=True)
class Column:
    """The description of a field."""

    part: str
    header: str | None = None  #: column header; None: not shown in tables
    form: str = "{}"  #: format of a value
    name: str = ""  #: name in plots (default: the header)
    unit: str = ""
    better: bool | None = None  #: whether larger values are better; None: neither larger nor smaller
    measured: bool | None = None  #: whether it is averaged over seeds (default: scores are)
    left: bool = False  #: whether the column is aligned to the left
    kind: Any = MEASURE  #: shape of the value, for `reading.misfit`
    key: str = ""  #: key in a row (default: the field's name)

    @property
    def title(self) -> str:
        """The name with its unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def shown(self, value: Any, sign: bool = False) -> str:
        """Format a value as in a table. With `sign`, write "+" before positive values."""
        return (self.form.replace(":", ":+") if sign else self.form).format(value)


#: Scores, size and speed of a system exported by `lskd export`.
_EXPORTED = {
    **{f"{name}{std}?": MEASURE for name in ("bleu", "chrf", "chrf++", "ter") for std in ("", "_std")},
    **{"sentences_per_second?": MEASURE, "bytes": MEASURE, "compute_type": str},
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """A row. Tables have the columns in this order, without empty ones."""

    system: Annotated[str | None, Column(STORY, "system", left=True, kind=str)] = None
    #: Language pair of the test set; tables of one pair do not show it.
    pair: Annotated[str | None, Column(LABELS, "pair", left=True, kind=LABEL)] = None
    #: Number of language pairs that a multilingual model was trained on.
    pairs: Annotated[int | None, Column(LABELS, "pairs of training", kind=LABEL)] = None
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
    #: Number of cores that other programs kept busy while the speed was measured.
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
        float | None, Column(SCORES, "KL to truth", "{:.2f}", unit="nats per sentence", better=False)
    ] = None
    train_nll_loss: Annotated[float | None, Column(SCORES, name="training NLL", unit="bits", better=False)] = None
    train_kd_loss: Annotated[
        float | None, Column(SCORES, "train KD", "{:.3f}", name="training distillation loss", unit="bits", better=False)
    ] = None
    #: Number of the teacher's most probable types that the distillation loss compares; None: all.
    kd_top_k: Annotated[int | None, Column(STORY, kind=LABEL)] = None
    #: Bytes per token of an unbiased cache, which stands for all types.
    cache_bytes: Annotated[int | None, Column(STORY, kind=LABEL)] = None
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
    more: dict[str, Any] = field(default_factory=dict)  #: other facts, labels and signatures

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Result:
        """Convert a row that `read_results` has checked."""
        known = {_NAMES[key]: value for key, value in row.items() if key in _NAMES}
        return cls(**known, more={key: value for key, value in row.items() if key not in _NAMES})

    def to_row(self) -> dict[str, Any]:
        """Return the row that `lskd record` writes: all known values, and null for unknown ones of `_ALWAYS`."""
        found = {key: getattr(self, name) for key, name in _NAMES.items()}
        says = {key for key, value in found.items() if value is not None} | _ALWAYS
        if self.updates is not None:
            says |= {key for key, column in COLUMNS.items() if column.part == COURSE}
        return {"schema": SCHEMA, **{key: value for key, value in found.items() if key in says}, **self.more}


#: Keys that every row has, null if they do not apply.
_ALWAYS = {"role", "method", "teacher_smoothing", "temperature", "train_seconds", "teacher_sha256"}


def _columns() -> Iterator[tuple[str, Column]]:
    for name, hint in get_type_hints(Result, include_extras=True).items():
        for found in getattr(hint, "__metadata__", ()):
            average = found.part == SCORES if found.measured is None else found.measured
            words = found.name or found.header or ""
            yield name, replace(found, key=found.key or name, name=words, measured=average)


#: Key of a row -> description, and key of a row -> attribute of `Result`.
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
    """Return the keys of a row, or of the given parts of it, that are averaged over seeds."""
    return [key for key, column in COLUMNS.items() if column.measured and (not parts or column.part in parts)]


def is_label(key: str) -> bool:
    """Return whether a key of a row tells systems apart: it is a label, or not one of the described fields."""
    column = COLUMNS.get(key)
    return not key.endswith(("_signature", "_std")) if column is None else column.part == LABELS


def system_of(row: Mapping[str, Any]) -> str:
    """Return the name of a row's system without the suffix of its seed (`-s1` for seed 1)."""
    name = str(row["system"])
    return name.removesuffix(f"-s{row['seed']}") if row.get("seed") is not None else name


def run_of(row: Mapping[str, Any]) -> str:
    """Return the name of a row's run. The system of a multilingual model has the language pair in its name too."""
    system, pair = system_of(row), row.get("pair")
    seed = str(row["system"]).removeprefix(system)
    return (system.removesuffix(f"-{pair}") if row.get("pairs") and pair else system) + seed


def pairs_of(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the language pairs of rows. Rows of older versions have none."""
    return {row["pair"] for row in rows if row.get("pair") is not None}


def read_results(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a JSON file with one row or a list of rows.

    Raises:
        UserError: if the file has anything else. The message names the file and the field.
    """
    if path.is_dir():
        own = path / "result.json"
        raise UserError(
            f"{path} is a folder: expected files, such as {own if own.is_file() else path / '*' / 'result.json'}"
        )
    if not path.exists():
        raise UserError(f"{path}: no such file. Score the models first: scripts/score.sh or `lskd record`")
    if path.name == RUN:
        raise UserError(f"{path} tells how a model was trained; expected its scores: {path.with_name('result.json')}")
    found = read_json(path, expected=EXPECTED)
    rows = found if isinstance(found, list) else [found]
    for number, row in enumerate(rows, start=1):
        if problem := misfit(row, SHAPE):
            place = f"record {number}: " if len(rows) > 1 else ""
            raise UserError(f"{path}: {place}{problem}; expected {EXPECTED}")
    return rows
