"""Both engines: their translations and scores, and that they agree."""

from __future__ import annotations

import errno
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences.decoding import Batch, DecodingOptions, Engine, Hypothesis, OutOfMemory
from fairseq_lskd.sequences.engines.choose import choose_engine
from fairseq_lskd.sequences.engines.fairseq_engine import FairseqEngine
from fairseq_lskd.teachers.alone import Teacher, load_teacher
from fairseq_lskd.teachers.model_tokens import Affixes

pytest.importorskip("ctranslate2")

from fairseq_lskd.sequences.engines import conversion
from fairseq_lskd.sequences.engines.ctranslate2_engine import CTranslate2Engine

Lists = list[list[Hypothesis]]


@pytest.fixture(scope="module")
def path(bitext: Path) -> Path:
    from trained import trained_teacher

    return trained_teacher(bitext)


@pytest.fixture
def teacher(path: Path) -> Teacher:
    return load_teacher(str(path))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def sources(bitext: Path) -> list[list[str]]:
    # The dictionaries lack "x".
    return [line.split() for line in (bitext.parent / "train.de").read_text().splitlines()[:20]] + [["a", "x", "b"]]


def fairseq(teacher: Teacher, **options: Any) -> FairseqEngine:
    return FairseqEngine(teacher, DecodingOptions(**options), "cpu", 1)


def fast(teacher: Teacher, cache: Path, marks: Affixes | None = None, **options: Any) -> CTranslate2Engine:
    folder = conversion.convert(teacher, cache)
    return CTranslate2Engine(folder, DecodingOptions(**options), "cpu", 1, teacher.max_positions, marks)


def run(engine: Engine, sources: list[list[str]], size: int = 100, first: int = 0, **settings: Any) -> Lists:
    engine.configure(replace(engine.default, **settings))
    batches = [Batch(sources[i : i + size], (first + i) // 8, first + i) for i in range(0, len(sources), size)]
    return [hypotheses for batch in engine.translate(batches) for hypotheses in batch]


def distributions(teacher: Teacher, source: list[str], target: list[str]) -> list[tuple[torch.Tensor, int]]:
    """The teacher's probabilities `[vocabulary]` in float64 at each target position, with the index of its token.

    Computed in the simplest way: one sentence and no padding.
    """
    task, total = teacher.task, 0
    source_ids, target_ids = (
        dictionary.encode_line(" ".join(pieces), add_if_not_exist=False).long()
        for dictionary, pieces in ((task.source_dictionary, source), (task.target_dictionary, target))
    )
    previous = torch.cat([target_ids[-1:], target_ids[:-1]])[None]
    for model in teacher.models:
        with torch.no_grad():
            logits = model(source_ids[None], torch.tensor([len(source_ids)]), previous)[0]
        total = total + torch.softmax(logits[0].double(), -1)
    return list(zip(total / len(teacher.models), target_ids.tolist(), strict=True))


def log_probs(teacher: Teacher, source: list[str], target: list[str]) -> list[float]:
    return [row[token].log().item() for row, token in distributions(teacher, source, target)]


def check_scores(teacher: Teacher, sources: list[list[str]], found: Lists, lenpen: float, tolerance: float) -> None:
    for source, hypotheses in zip(sources, found, strict=True):
        scores = [hypothesis.score for hypothesis in hypotheses]
        assert scores == sorted(scores, reverse=True)
        for hypothesis in hypotheses:
            each = log_probs(teacher, source, hypothesis.tokens)
            assert hypothesis.length == len(hypothesis.tokens) + 1 == len(each)
            assert hypothesis.score == pytest.approx(sum(each) / len(each) ** lenpen, abs=tolerance)
            if hypothesis.token_scores is not None:
                assert hypothesis.token_scores == pytest.approx(each, abs=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"nbest": 5},
        {"beam": 1},
        {"beam": 4, "nbest": 3, "lenpen": 0.0},
        {"nbest": 3, "lenpen": 1.5, "token_scores": True},
        {"nbest": 5, "max_len_b": 3},
        {"nbest": 5, "max_len_a": 0.5, "max_len_b": 2},
    ],
    ids=str,
)
def test_both_engines_agree_on_hypotheses_and_scores(
    teacher: Teacher, cache: Path, sources: list[list[str]], options: dict[str, Any]
) -> None:
    # With 15 types, end-of-sentence is not unlikely as the first token, so forbidding it would change the scores.
    options = {"min_len": 0, **options}
    ours, theirs = run(fairseq(teacher, **options), sources), run(fast(teacher, cache, **options), sources)
    for one, two in zip(ours, theirs, strict=True):
        assert len(one) == len(two) == options.get("nbest", 1)
        assert one[0].tokens == two[0].tokens
        scores = {tuple(hypothesis.tokens): hypothesis.score for hypothesis in one}
        same = [hypothesis for hypothesis in two if tuple(hypothesis.tokens) in scores]
        # The engines order hypotheses that finish at the same step differently, so the last ones may differ.
        assert len(same) >= len(one) - 2
        for hypothesis in same:
            assert hypothesis.score == pytest.approx(scores[tuple(hypothesis.tokens)], abs=1e-5)
    for found in (ours, theirs):
        check_scores(teacher, sources, found, options.get("lenpen", 1.0), 1e-4)


def test_the_longest_source_of_a_batch_limits_the_length_of_its_translations(
    teacher: Teacher, cache: Path, sources: list[list[str]]
) -> None:
    options = {"nbest": 3, "max_len_a": 0.5, "max_len_b": 1, "min_len": 2}
    bound = int(0.5 * (max(map(len, sources)) + 1) + 1)
    for engine in (fairseq(teacher, **options), fast(teacher, cache, **options)):
        lengths = {len(hypothesis.tokens) for hypotheses in run(engine, sources) for hypothesis in hypotheses}
        assert min(lengths) >= 2 and max(lengths) == bound
        check_scores(teacher, sources, run(engine, sources), 1.0, 1e-4)


@pytest.mark.parametrize(
    "options",
    [{"sampling_topk": 3}, {"sampling_topp": 0.7}, {"temperature": 2.0}, {"temperature": 0.5, "token_scores": True}],
    ids=str,
)
@pytest.mark.parametrize("kind", ["fairseq", "ctranslate2"])
def test_samples_depend_on_the_seed_and_not_on_where_a_run_begins(
    teacher: Teacher, cache: Path, sources: list[list[str]], kind: str, options: dict[str, Any]
) -> None:
    options = {"sampling": True, "beam": 4, "nbest": 3, **options}
    engine = fairseq(teacher, **options) if kind == "fairseq" else fast(teacher, cache, **options)
    whole = run(engine, sources, size=4)
    assert whole == run(engine, sources, size=4)
    # Begin with the third batch, which is the first of a window.
    assert whole[8:] == run(engine, sources[8:], size=4, first=8)
    check_scores(teacher, sources, whole, 1.0, 1e-4)
    other = fairseq(teacher, **options, seed=2) if kind == "fairseq" else fast(teacher, cache, **options, seed=2)
    assert whole != run(other, sources, size=4)
    assert len({tuple(hypothesis.tokens) for hypotheses in whole for hypothesis in hypotheses}) > len(sources)


def test_diverse_beams_are_scored_by_the_model(teacher: Teacher, sources: list[list[str]]) -> None:
    plain = run(fairseq(teacher, beam=4, nbest=4), sources)
    diverse = run(fairseq(teacher, beam=4, nbest=4, diverse_beam_groups=2, diverse_beam_strength=2.0), sources)
    assert plain != diverse
    check_scores(teacher, sources, diverse, 1.0, 1e-4)


def test_epsilon_near_1_samples_what_greedy_search_finds(teacher: Teacher, sources: list[list[str]]) -> None:
    greedy = run(fairseq(teacher, beam=1), sources)
    sampled = run(fairseq(teacher, beam=3, nbest=3, sampling=True, sampling_epsilon=0.999), sources)
    for (best,), samples in zip(greedy, sampled, strict=True):
        assert {tuple(each.tokens) for each in samples} == {tuple(best.tokens)}
        assert samples[0].score == pytest.approx(best.score, abs=1e-4)


@pytest.mark.parametrize("name", ["sampling_epsilon", "sampling_eta"])
def test_truncated_sampling_draws_no_improbable_token(
    teacher: Teacher, sources: list[list[str]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 0.2
    free = run(fairseq(teacher, beam=8, nbest=8, sampling=True, token_scores=True), sources[:8])
    assert any(math.exp(score) < limit / 4 for many in free for each in many for score in each.token_scores)
    found = run(fairseq(teacher, beam=8, nbest=8, sampling=True, token_scores=True, **{name: limit}), sources[:8])
    for source, many in zip(sources, found, strict=False):
        for each in many:
            rows = distributions(teacher, source, each.tokens)
            assert each.token_scores == pytest.approx([row[token].log().item() for row, token in rows], abs=1e-4)
            for row, token in rows:
                least = limit
                if name == "sampling_eta":
                    entropy = -sum(p * math.log(p) for p in row.tolist() if p > 0)
                    least = min(limit, math.sqrt(limit) * math.exp(-entropy))
                assert row[token] > least - 1e-4 or row[token] == row.max()


def test_an_ensemble_is_scored_by_its_mean_distribution(bitext: Path, path: Path, sources: list[list[str]]) -> None:
    from trained import trained_teacher

    ensemble = load_teacher(f"{path}:{trained_teacher(bitext, seed=2)}")
    check_scores(ensemble, sources, run(fairseq(ensemble, nbest=2), sources), 1.0, 1e-4)


def test_results_are_the_same_for_all_workers_and_threads(
    teacher: Teacher, cache: Path, sources: list[list[str]]
) -> None:
    engine = fast(teacher, cache, nbest=3)
    for kind in ("float32", "int8"):
        found = [
            run(engine, sources, size=3, compute_type=kind, workers=workers, threads=threads)
            for workers, threads in ((1, 1), (3, 1), (1, 2))
        ]
        assert found[0] == found[1] == found[2]


def test_a_translation_does_not_depend_on_its_batch(teacher: Teacher, cache: Path, sources: list[list[str]]) -> None:
    for engine in (fairseq(teacher), fast(teacher, cache)):
        one, many = (run(engine, sources, size=size) for size in (1, 50))
        for ours, theirs in zip(one, many, strict=True):
            assert ours[0].tokens == theirs[0].tokens
            assert ours[0].score == pytest.approx(theirs[0].score, abs=1e-5)


def test_a_forced_prefix_is_not_part_of_the_translation(
    teacher: Teacher, cache: Path, sources: list[list[str]]
) -> None:
    engine = fast(teacher, cache, Affixes(target_prefix=("A", "B")), nbest=2, token_scores=True)
    for source, hypotheses in zip(sources, run(engine, sources), strict=True):
        for hypothesis in hypotheses:
            assert hypothesis.tokens[:2] != ["A", "B"]
            each = log_probs(teacher, source, ["A", "B", *hypothesis.tokens])[2:]
            assert hypothesis.length == len(each)
            assert hypothesis.token_scores == pytest.approx(each, abs=1e-4)
            assert hypothesis.score == pytest.approx(sum(each) / len(each), abs=1e-4)


def test_marks_are_put_around_the_source(teacher: Teacher, cache: Path) -> None:
    marked = fast(teacher, cache, Affixes(source_prefix=("a",), source_suffix=("b", "c")))
    assert run(marked, [["d", "e"]]) == run(fast(teacher, cache), [["a", "d", "e", "b", "c"]])


class TestConversion:
    def test_a_model_is_converted_once(self, teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = conversion.convert(teacher, tmp_path)
        assert json.loads((folder / "verified.json").read_text())["largest_difference"] < 1e-4
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]
        monkeypatch.setattr(conversion, "_difference", lambda *_: pytest.fail("converted again"))
        assert conversion.convert(teacher, tmp_path) == folder

    def test_an_unfinished_folder_is_replaced(self, teacher: Teacher, tmp_path: Path) -> None:
        folder = conversion.convert(teacher, tmp_path)
        (folder / "verified.json").unlink()
        assert conversion.convert(teacher, tmp_path) == folder and (folder / "verified.json").is_file()

    @pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "older"])
    def test_a_damaged_model_is_converted_again(
        self, teacher: Teacher, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture
    ) -> None:
        folder = conversion.convert(teacher, tmp_path)
        path, record = folder / "model.bin", folder / "verified.json"
        whole = path.read_bytes()
        if damage == "older":
            record.write_text(json.dumps({"largest_difference": 0.0, "checkpoint": "a.pt"}))
        elif damage == "gone":
            path.unlink()
        else:
            path.write_bytes(whole[:-9] if damage == "cut" else whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        assert conversion.convert(teacher, tmp_path) == folder and path.read_bytes() == whole
        said = capsys.readouterr().err
        assert str(folder) in said and ("verified.json" if damage == "older" else "model.bin") in said
        assert list(tmp_path.iterdir()) == [folder]
        conversion.convert(teacher, tmp_path)
        assert capsys.readouterr().err == ""

    def test_folders_of_killed_conversions_are_removed_and_locked_ones_kept(
        self, teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(conversion, "SECONDS", 0.0)
        left, mine = tmp_path / f".0123.abcd{conversion.UNFINISHED}", tmp_path / ".mine"
        for path in (left / "model", mine):
            path.mkdir(parents=True)
        (left / "model" / "model.bin").write_bytes(b"half")
        with conversion._workplace(tmp_path, "4567") as place:
            folder = conversion.convert(teacher, tmp_path)
            assert sorted(tmp_path.iterdir()) == sorted([place, mine, folder])

    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("not written")])
    def test_a_full_disk_is_reported_as_such(
        self, teacher: Teacher, tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise error

        monkeypatch.setattr(conversion.FromModel, "convert", full)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        with pytest.raises(OSError, match="No space left on device") as caught:
            conversion.convert(teacher, tmp_path)
        assert str(tmp_path) in str(caught.value.filename) and not list(tmp_path.iterdir())

    @pytest.mark.parametrize("difference", [0.01, math.nan])
    def test_a_model_with_other_log_probabilities_is_refused(
        self, teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, difference: float
    ) -> None:
        monkeypatch.setattr(conversion, "_difference", lambda *_: difference)
        with pytest.raises(conversion.Unsupported, match=r"log-probabilities .*differ"):
            conversion.convert(teacher, tmp_path)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("flags", "named"),
        [
            (["--no-token-positional-embeddings"], ["--no-token-positional-embeddings"]),
            (
                ["--encoder-normalize-before", "--decoder-attention-heads", "4"],
                [
                    f"--{side}-{name}"
                    for name in ("normalize-before", "attention-heads")
                    for side in ("encoder", "decoder")
                ],
            ),
            (["--adaptive-softmax-cutoff", "6,9"], ["--adaptive-softmax-cutoff"]),
        ],
    )
    def test_unsupported_options_are_named(
        self, bitext: Path, tmp_path: Path, flags: list[str], named: list[str]
    ) -> None:
        from tiny import save

        teacher = load_teacher(str(save(tmp_path / "t.pt", bitext, *flags)))
        with pytest.raises(conversion.Unsupported) as caught:
            conversion.convert(teacher, tmp_path / "cache")
        assert re.findall(r"--[\w-]+", str(caught.value)) == named and "CTranslate2" in str(caught.value)

    @pytest.mark.parametrize(
        "flags",
        [
            ["--encoder-normalize-before", "--decoder-normalize-before", "--activation-fn", "gelu"],
            ["--encoder-learned-pos", "--decoder-learned-pos", "--layernorm-embedding", "--no-scale-embedding"],
            ["--share-decoder-input-output-embed", "--decoder-layers", "3", "--activation-fn", "gelu_accurate"],
        ],
        ids=" ".join,
    )
    def test_variants_of_the_transformer_are_converted_exactly(
        self, bitext: Path, tmp_path: Path, flags: list[str]
    ) -> None:
        from tiny import save

        folder = conversion.convert(load_teacher(str(save(tmp_path / "t.pt", bitext, *flags))), tmp_path / "cache")
        assert json.loads((folder / "verified.json").read_text())["largest_difference"] < 1e-3


class TestChoice:
    def choose(self, teacher: Teacher, cache: Path, wanted: str = "auto", **options: Any) -> Engine:
        return choose_engine(teacher, DecodingOptions(**options), wanted, "cpu", 1, cache)

    def test_ctranslate2_is_the_default(self, teacher: Teacher, cache: Path, capsys: pytest.CaptureFixture) -> None:
        assert isinstance(self.choose(teacher, cache), CTranslate2Engine)
        assert isinstance(self.choose(teacher, cache, "fairseq"), FairseqEngine)
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize(
        ("obstacle", "said"),
        [
            ("ensemble", "ensembles"),
            ("epsilon", "--sampling-epsilon"),
            ("diverse", "diverse beam search"),
            ("lstm", "LSTMModel"),
            ("missing", "not installed"),
        ],
    )
    def test_fairseq_is_used_with_a_reason_where_ctranslate2_cannot_be(
        self,
        bitext: Path,
        path: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
        obstacle: str,
        said: str,
    ) -> None:
        options: dict[str, Any] = {
            "diverse": {"beam": 4, "diverse_beam_groups": 2},
            "epsilon": {"sampling": True, "sampling_epsilon": 0.02},
        }.get(obstacle, {})
        paths = f"{path}:{path}" if obstacle == "ensemble" else str(path)
        if obstacle == "lstm":
            paths = str(save_lstm(tmp_path / "t.pt", bitext))
        if obstacle == "missing":
            monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        teacher = load_teacher(paths)
        engine = self.choose(teacher, tmp_path, **options)
        assert isinstance(engine, FairseqEngine)
        assert re.match(f"translating with fairseq: CTranslate2.*{said}", capsys.readouterr().err)
        assert run(engine, [["a", "b"]])[0][0].length
        with pytest.raises(UserError) as caught:
            self.choose(load_teacher(paths), tmp_path, "ctranslate2", **options)
        wanted = "pip install" if obstacle == "missing" else said
        assert "--engine ctranslate2" in str(caught.value) and wanted in str(caught.value)


def save_lstm(path: Path, data: Path) -> Path:
    """Save the checkpoint of an LSTM."""
    from fairseq import models, options
    from tiny import TRAIN, make_task, save

    words = [str(data), "--arch", "lstm_wiseman_iwslt_de_en", *TRAIN]
    args = options.parse_args_and_arch(options.get_training_parser(), words)
    state = torch.load(save(path, data), weights_only=True)
    state["cfg"]["model"], state["model"] = args, models.build_model(args, make_task(data)).state_dict()
    torch.save(state, path)
    return path


def test_unsupported_settings_are_refused(teacher: Teacher, cache: Path) -> None:
    for engine in (fairseq(teacher), fast(teacher, cache)):
        with pytest.raises(UserError, match=r"--compute-type float16"):
            engine.configure(replace(engine.default, compute_type="float16"))
    with pytest.raises(UserError, match=r"--workers 2: .*fairseq"):
        engine = fairseq(teacher)
        engine.configure(replace(engine.default, workers=2))
    with pytest.raises(UserError, match=r"--workers 2: .*--sampling"):
        sampler = fast(teacher, cache, sampling=True)
        sampler.configure(replace(sampler.default, workers=2))


def test_failures_of_ctranslate2_are_user_errors(teacher: Teacher, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "shared_vocabulary.json").write_text("[]")
    engine = CTranslate2Engine(tmp_path, DecodingOptions(), "cpu", 1, (512, 512))
    with pytest.raises(UserError, match="CTranslate2 cannot load"):
        engine.configure(engine.default)
    long = fast(teacher, cache)
    with pytest.raises(UserError, match=r"CTranslate2 failed .* position 1100\b.*--max-source-positions"):
        run(long, [["a"] * 1100])


def test_fairseq_out_of_memory_names_settings_and_flag(
    teacher: Teacher, sources: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore of it.")

    engine = fairseq(teacher)
    monkeypatch.setattr(engine.task, "inference_step", full)
    with pytest.raises(OutOfMemory) as caught:
        run(engine, sources)
    said = str(caught.value)
    assert "More of it" not in said
    for fact in ("fairseq", "cpu float32", "batches of 4,000 tokens", "Tried to allocate 2 GiB", "--max-tokens"):
        assert fact in said


def test_ctranslate2_out_of_memory_is_distinguished_from_other_failures(
    teacher: Teacher, cache: Path, sources: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, said = fast(teacher, cache), "CUDA failed with error out of memory"

    class Full:
        def result(self) -> Any:
            raise RuntimeError(said)

    monkeypatch.setattr(engine, "_submit", lambda batch: [Full()])
    with pytest.raises(OutOfMemory, match=r"failed with .*: CUDA failed with error out of memory\b.*--max-tokens"):
        run(engine, sources)
    said = "the model is broken"
    with pytest.raises(UserError, match="the model is broken") as caught:
        run(engine, sources)
    assert not isinstance(caught.value, OutOfMemory)

    def load(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("CUDA failed with error out of memory")

    monkeypatch.setattr("ctranslate2.Translator", load)
    with pytest.raises(OutOfMemory, match="does not fit into the memory of this cpu"):
        engine.configure(engine.default)
