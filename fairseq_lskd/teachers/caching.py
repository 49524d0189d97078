"""Write the cache of a teacher, as `lskd cache` does."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from ..files import free, size
from ..losses.sampled import Error, label_variance
from ..progress import Progress
from .cache import PLAN, read_plan
from .cache_request import Request
from .cache_writer import CacheWriter
from .respelled import RespelledTopK
from .sampled import Plan, affordable, choose, errors, sample
from .sources import Teachers
from .top_k import Source, TeacherTopK

TOP_K = 16  #: stored without --top-k
#: Share of the variance of labels up to which a sampled cache is good enough. With it, updates on labels would become
#: as noisy as with a tenth fewer tokens.
MOST_NOISE = 0.1


class Written(NamedTuple):
    """Numbers of blocks of a cache."""

    now: int  #: written by this call
    missing: int  #: still to be written, by other shards; 0 if the cache is complete
    whole: int  #: of the whole cache


def write_cache(request: Request) -> Written:
    """Write a cache, or one shard of it. Continue where an earlier call was killed.

    Raises:
        UserError: if options conflict, an input cannot be used, the disk is too small, or the folder has another cache.
    """
    request.check()
    teachers = Teachers(request)
    kept = _plan(request, teachers)
    writer = CacheWriter(
        request.out,
        teachers.task,
        request.subset,
        kept,
        request.kd_temperature,
        request.teacher_path,
        half=request.fp16,
        bytes_per_token=request.bytes_per_token,
        mixture=teachers.mixture,
        teacher_texts=teachers.texts,
        model=request.model,
        compute_type=None if teachers.converted is None else teachers.converted.compute_type,
        affixes=None if teachers.converted is None else teachers.converted.recorded_affixes,
    )
    blocks = writer.to_do(request.shard_id, request.num_shards)
    if blocks:
        room = _check_space(request.out, writer.tokens(blocks) * writer.dtype.itemsize)
        _write(request, writer, blocks, teachers.source(writer.dataset, kept), kept, room)
    return Written(len(blocks), writer.finish(), writer.blocks)


def _write(request: Request, writer: CacheWriter, blocks: Sequence[int], source: Source, kept: Plan, room: str) -> None:
    tokens = writer.tokens(blocks)
    _check_lengths(request, source, len(writer.dataset))
    if isinstance(source, TeacherTopK) and kept.sampled and request.shard_id == 0:
        log_probs = sample(source, range(len(writer.dataset)))
        _print_errors(errors(kept, log_probs), label_variance(log_probs))
    speed = writer.speed(blocks[0], source)
    if isinstance(source, RespelledTopK):
        source.count_anew()  # without the batches of the measurement
    print(
        f"{request.out}: writing {len(blocks)} of {writer.blocks} blocks, {tokens:,} tokens, {room}, "
        f"about {_duration(tokens / speed)} at {speed:,.0f} tokens/s",
        file=sys.stderr,
    )
    progress = Progress(request.out.name, 0, tokens, unit="tokens")
    for done in writer.write(blocks, source):
        progress(done)
    if isinstance(source, RespelledTopK):
        for name, masses in source.masses:
            print(f"{request.out}: {name}: {masses}", file=sys.stderr)


def _check_lengths(request: Request, source: Source, sentences: int) -> None:
    """Print how many sentences are too long. Raise a `UserError` if all are."""
    count = source.too_long()
    if count == sentences:
        raise UserError(
            f"no sentence is short enough for the cache: all {count:,} are longer than {source.limits[0]} tokens, "
            f"or their targets are longer than {source.limits[1]}. Raise --max-source-positions "
            f"{request.max_source_positions} or --max-target-positions {request.max_target_positions}, or use a "
            "teacher that accepts longer sentences"
        )
    if count:
        warning = "warning: " if 2 * count > sentences else ""
        print(
            f"{warning}{count:,} of {sentences:,} sentences are left out, as fairseq-train skips them "
            f"too: they are longer than {source.limits[0]} tokens, or their targets are longer than "
            f"{source.limits[1]}",
            file=sys.stderr,
        )


def _plan(request: Request, teachers: Teachers) -> Plan:
    """Return what the cache stores for each token: as requested, as in the existing cache, or the best for a budget."""
    draws, seed = request.draws or 1, 1 if request.seed is None else request.seed
    if request.bytes_per_token is None:
        return Plan(request.top_k or TOP_K, request.sampled or 0, draws, seed)
    return _existing_plan(request, draws, seed) or _choose_plan(request, teachers, draws, seed)


def _existing_plan(request: Request, draws: int, seed: int) -> Plan | None:
    """Return the plan of an existing cache with the same --bytes-per-token, --draws and --seed; None without one."""
    if not (request.out / PLAN).is_file():
        return None
    plan = read_plan(request.out / PLAN, f"--out {request.out}")
    options = plan["options"]
    wanted = {"--draws": draws, "--seed": seed}
    if plan.get("bytes_per_token") != request.bytes_per_token or any(options.get(k) != v for k, v in wanted.items()):
        return None
    return Plan(options["--top-k"], options["--sampled"], options["--draws"], options["--seed"])


def _choose_plan(request: Request, teachers: Teachers, draws: int, seed: int) -> Plan:
    """Choose K and M for --bytes-per-token: those with the lowest variance on a sample of the data."""
    task, budget = teachers.task, request.bytes_per_token
    assert budget is not None
    affordable(budget, len(task.target_dictionary), draws)
    dataset = teachers.load(task)
    source = TeacherTopK(teachers.ensemble, task, dataset, 1, request.kd_temperature, teachers.like, request.max_tokens)
    kept = choose(budget, sample(source, range(len(dataset))), draws, seed)
    print(
        f"--bytes-per-token {budget}: chose --top-k {kept.k} and --sampled {kept.sampled}"
        + (f" (--draws {draws})" if draws > 1 else "")
        + f", with the lowest variance; they take {kept.dtype(len(task.target_dictionary)).itemsize} bytes",
        file=sys.stderr,
    )
    return kept


def _print_errors(found: Mapping[str, Error], of_labels: float) -> None:
    """Print bias and variance of the gradient of the forward KL, the only divergence that uses a sampled cache.

    Args:
        found: the errors of the cache first, then of others.
        of_labels: the variance of the gradient with labels drawn from the teacher.
    """
    print("gradient of the forward KL with respect to the logits, per token (Euclidean norm):", file=sys.stderr)
    for what, error in found.items():
        chance = f" ({error.chance:.2g} expected by chance)" if error.chance else ""
        print(f"  {what}: bias {error.bias:.2g}{chance}, standard deviation {error.deviation:.2g}", file=sys.stderr)
    print(f"  {verdict(next(iter(found.values())), of_labels)}", file=sys.stderr)


def verdict(error: Error, of_labels: float) -> str:
    """Say whether a sampled cache with this error is good enough: see `MOST_NOISE`.

    Args:
        of_labels: the variance of the gradient with labels drawn from the teacher.
    """
    share = error.deviation**2 / of_labels if of_labels else 0.0
    words = "good enough" if share <= MOST_NOISE else "noisy, take more bytes per token"
    return (
        f"{words}: the cache's variance is {share:.1%} of that of labels drawn from the teacher (the limit is "
        f"{MOST_NOISE:.0%})"
    )


def _check_space(out: Path, wanted: int) -> str:
    """Check that there is enough disk space, and return the size in words."""
    if wanted > (there := free(out)):
        raise UserError(
            f"--out {out}: the cache needs {size(wanted)} more, and {size(there)} are free. Free some space, choose a "
            "folder on another disk, or lower --top-k or --bytes-per-token (with another --out)."
        )
    return size(wanted)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
