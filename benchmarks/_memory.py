"""Peak memory of a step, from the allocations and releases that torch's allocators report to the profiler."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

# This must be set before torch is imported. Otherwise the profiler announces each of its stages on stderr.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

#: Values of c10::DeviceType in the profiler's output.
DEVICE_TYPES = {"cpu": 0, "cuda": 1}


class Peak(NamedTuple):
    """The maximum number of bytes allocated during a step, beyond those allocated before."""

    net: int  #: without the result of the step
    gross: int


def peak(step: Callable[[], object], results: Callable[[], Sequence[Tensor]], device: torch.device) -> Peak:
    """Run `step` once and count its memory.

    The count is exact for torch's allocators, including temporaries and the backward pass. It leaves out memory that
    libraries allocate themselves, such as packed matrices of MKL. The GPU's allocator rounds up to 512 bytes.

    Args:
        step: function to measure.
        results: function called after the step that returns the tensors it leaves in memory (gradients).
        device: device whose memory is counted.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    kept = {tensor.untyped_storage().data_ptr() for tensor in results()}
    events = list(_of_the_step((a, size) for a, size, kind in _events(found) if kind == DEVICE_TYPES[device.type]))
    # Addresses are reused. The allocation of a result is the last one at its address.
    last = {address: index for index, (address, size) in enumerate(events) if size > 0}
    live = mine = net = gross = 0
    for index, (address, size) in enumerate(events):
        live += size
        if not (address in kept and last[address] == index):
            mine += size
        gross, net = max(gross, live), max(net, mine)
    return Peak(net, gross)


def _of_the_step(events: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Skip releases of memory allocated before the step: the profiler reports wrong sizes for them."""
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
    """Return (address, bytes, device type) in order of time. Releases have negative bytes."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.json")
        found.export_chrome_trace(str(trace))
        events = [e for e in json.loads(trace.read_text())["traceEvents"] if e.get("name") == "[memory]"]
    events.sort(key=lambda event: event["ts"])
    return [(e["args"]["Addr"], e["args"]["Bytes"], e["args"]["Device Type"]) for e in events]
