"""Peak memory of a step, from every allocation and release that torch's allocators report to its profiler."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

# Before torch is imported: its profiler would announce each of its stages on stderr.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

#: c10::DeviceType, as the profiler writes it.
DEVICE_TYPES = {"cpu": 0, "cuda": 1}


class Peak(NamedTuple):
    """Bytes beyond what was allocated before the step, at the worst moment."""

    net: int  #: of all but the tensors that outlive the step as its result
    gross: int


def peak(step: Callable[[], object], results: Callable[[], Sequence[Tensor]], device: torch.device) -> Peak:
    """Run `step` once and count.

    Exact for what goes through torch's allocators, operators' temporaries and the backward pass included; blind to
    what libraries take for themselves (MKL's packed matrices, say). The GPU's allocator rounds up to 512 bytes.

    Args:
        results: called after the step; the tensors that it leaves behind in every form (gradients).
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    kept = {tensor.untyped_storage().data_ptr() for tensor in results()}
    events = list(_of_the_step((a, size) for a, size, kind in _events(found) if kind == DEVICE_TYPES[device.type]))
    # An address may be used again and again: a result's allocation is the last one there.
    last = {address: index for index, (address, size) in enumerate(events) if size > 0}
    live = mine = net = gross = 0
    for index, (address, size) in enumerate(events):
        live += size
        if not (address in kept and last[address] == index):
            mine += size
        gross, net = max(gross, live), max(net, mine)
    return Peak(net, gross)


def _of_the_step(events: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """All but releases of what was there before: torch takes their size from what once had the address in a profile."""
    held = set()
    for address, size in events:
        if size > 0:
            held.add(address)
        elif address not in held:
            continue
        else:
            held.remove(address)
        yield address, size


def _events(found: profile) -> list[tuple[int, int, int]]:
    """(address, bytes, type of device) in the order of time; a release has negative bytes."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.json")
        found.export_chrome_trace(str(trace))
        events = [e for e in json.loads(trace.read_text())["traceEvents"] if e.get("name") == "[memory]"]
    events.sort(key=lambda event: event["ts"])
    return [(e["args"]["Addr"], e["args"]["Bytes"], e["args"]["Device Type"]) for e in events]
