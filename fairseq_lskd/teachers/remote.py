"""A teacher in a process of its own, which runs on the batches of an epoch ahead of the student."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import pickle
import queue
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from fairseq import tasks, utils
from omegaconf import OmegaConf
from torch import Tensor

from ..errors import UserError
from ..losses import MEAN, Projection
from ..models import mask_indices
from ..user_dir import import_user_dirs
from .languages import options_of
from .online import OnlineTeacher

logger = logging.getLogger(__name__)

#: The tensors of fairseq's `net_input` that tell whether two inputs are the same.
TOKENS = ("src_tokens", "prev_output_tokens")


class Packed(NamedTuple):
    """A tensor as bytes: pickling tensors would put them into shared memory, which a killed process leaves behind."""

    content: Any  #: [bytes] uint8, a NumPy array
    dtype: torch.dtype
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> Packed:
        flat = tensor.detach().cpu().contiguous().view(-1)
        return cls(flat.view(torch.uint8).numpy(), tensor.dtype, tuple(tensor.shape))

    def tensor(self) -> Tensor:
        return torch.from_numpy(self.content).view(self.dtype).view(self.shape)


class Ready(NamedTuple):
    """The process has loaded the teacher."""

    widths: list[int]


class Failed(NamedTuple):
    """The process ends with an error."""

    message: str


class Sentences(NamedTuple):
    """A dataset, to make batches from; `prefix` target tokens of each sentence have no teacher."""

    dataset: Any
    padding: int
    prefix: int


class Batch(NamedTuple):
    """A request: sentences of the dataset."""

    number: int
    dtype: torch.dtype  #: of the student
    ids: Any


class Input(NamedTuple):
    """A request: a batch itself."""

    number: int
    dtype: torch.dtype
    net_input: dict[str, Packed]
    indices: Packed


class Answer(NamedTuple):
    """The hidden states of each member, and the input that they belong to."""

    number: int
    hidden: list[Packed]
    tokens: list[Packed]
    indices: Packed
    #: The output matrix and bias of each member, in the first answer of a dtype.
    matrices: list[tuple[Packed, Packed | None]] | None


class RemoteTeacher(OnlineTeacher):
    """An `OnlineTeacher` whose models are in another process, on a device of its own.

    After `read_ahead`, the process runs the models on the batches of an epoch in order, and stays a few batches ahead.
    Hidden states come over a pipe. The student's process multiplies them by the output matrices, as with a teacher of
    its own, so that losses are the same to the last digit where the device is of the same kind. Any other input, such
    as a batch of validation data, is sent to the process and waited for.
    """

    def __init__(
        self,
        paths: str,
        task: Any,
        teacher_data: str | None = None,
        dtype: torch.dtype | None = None,
        device: str = "cpu",
        ahead: int = 4,
    ):
        """Start the process and wait until it has loaded the teacher.

        Args:
            paths: as for `OnlineTeacher.from_checkpoints`.
            task: as there.
            teacher_data: as there.
            dtype: as there.
            device: the teacher's device.
            ahead: the number of batches that are computed before the student needs them, 1 or more.

        Raises:
            UserError: as `from_checkpoints`; or if the process cannot be started, or a member has no output matrix.
        """
        self.names, self.mixture, self.dtype = paths.split(":"), MEAN, dtype
        self.models: list[Any] = []  # they are there
        self.why_not_projected = None
        self._device, self._ahead = device, ahead
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        modules = sorted(getattr(utils.import_user_module, "memo", ()))
        given = (theirs, paths, _plain(options_of(task)), modules, teacher_data, dtype, device, torch.get_num_threads())
        self._process = context.Process(target=_serve, args=given, name="teacher", daemon=True)
        self._process.start()
        theirs.close()
        self._arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._sentences: Any = None
        self._plan: Iterator[Any] = iter(())
        self._numbers = 0
        self._pending: deque[int] = deque()  #: requests of the plan that are not used yet
        self._answers: dict[int, Answer] = {}  #: answers to them
        self._sent: list[tuple[Packed, Packed | None]] = []
        self._matrices: list[tuple[Tensor, Tensor | None]] = []  #: `_sent`, on the student's device
        # The thread empties the pipe, so that the process never waits for the student while the student sends.
        threading.Thread(target=self._receive, daemon=True).start()
        self._widths = self._next().widths
        logger.info(f"teacher {paths}: in a process of its own on {device}, {ahead} batches ahead")

    @property
    def widths(self) -> list[int]:
        return self._widths

    def read_ahead(
        self, dataset: Any, batches: Iterable[Sequence[int]], like: Tensor, padding: int, prefix: int
    ) -> None:
        """Begin with the batches of an epoch. What was computed ahead before is dropped.

        Args:
            dataset: fairseq's dataset, whose collater makes the student's batches, too.
            batches: the indices of each batch's sentences, in the student's order.
            like: a parameter of the student. padding: the index of padding in targets.
            prefix: the number of target tokens of each sentence that have no loss.

        Raises:
            UserError: if the dataset cannot be passed to another process.
        """
        if dataset is not self._sentences:
            try:
                self._ask(Sentences(dataset, padding, prefix))
            except (pickle.PicklingError, AttributeError, TypeError, ValueError) as error:
                raise UserError(f"--teacher-process: the data cannot be passed to another process ({error})") from None
            self._sentences = dataset
        self._pending.clear()
        self._answers.clear()
        dtype = self._dtype_for(like)
        self._plan = (Batch(0, dtype, list(map(int, ids))) for ids in batches if len(ids))
        for _ in range(self._ahead):
            self._ask_next()

    @torch.no_grad()
    def projections(self, net_input: dict[str, Any], like: Tensor, mask: Tensor) -> list[Projection]:
        """As `OnlineTeacher.projections`; from what was computed ahead, if it is of the same tokens.

        Raises:
            UserError: if the process has ended, or has met an error.
        """
        if torch.is_autocast_enabled(like.device.type):
            raise UserError("--teacher-process does not go with --amp. Use --fp16 or --bf16, or leave it out")
        indices = mask_indices(mask)
        tokens = [net_input[name].cpu() for name in TOKENS]
        wanted = [*tokens, indices.cpu()]
        # A later request can't be answered before these, so that waiting for them costs nothing.
        for used, number in enumerate(self._pending, 1):
            answer = self._wait(number)
            if all(map(_equal, (*answer.tokens, answer.indices), wanted)):
                for _ in range(used):  # batches that were skipped, and this one
                    self._answers.pop(self._pending.popleft())
                    self._ask_next()
                return self._projections(answer, like)
        self._numbers += 1
        packed = {name: Packed.of(tensor) for name, tensor in net_input.items() if isinstance(tensor, Tensor)}
        self._ask(Input(self._numbers, self._dtype_for(like), packed, Packed.of(indices)))
        return self._projections(self._wait(self._numbers, keep=False), like)

    def log_probs(self, net_input: dict[str, Any], like: Tensor, temperature: float = 1.0) -> Tensor:
        """Raise a `UserError`: whole distributions are not sent."""
        raise UserError(
            "--teacher-process sends hidden states, and the plain form of the loss needs whole distributions. Use "
            "--loss-form auto with a Transformer, or leave --teacher-process out"
        )

    def of_pair(self, pair: str) -> OnlineTeacher:
        raise UserError("--teacher-process does not go with a task of several language pairs. Leave it out")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()

    def _dtype_for(self, like: Tensor) -> torch.dtype:
        dtype = self.dtype or like.dtype
        if dtype == torch.float16 and torch.device(self._device).type == "cpu":
            raise UserError(
                f"--teacher-process {self._device}: a CPU is slow in float16. Give --teacher-dtype float32, or a GPU"
            )
        return dtype

    def _projections(self, answer: Answer, like: Tensor) -> list[Projection]:
        if not self._matrices:
            self._matrices = [
                (weight.tensor().to(like.device), None if bias is None else bias.tensor().to(like.device))
                for weight, bias in self._sent
            ]
            self._sent = []
        members = zip(answer.hidden, self._matrices, strict=True)
        return [Projection(hidden.tensor().to(like.device), *matrix) for hidden, matrix in members]

    def _ask_next(self) -> None:
        """Request the next batch of the plan, if there is one."""
        if (request := next(self._plan, None)) is not None:
            self._numbers += 1
            self._pending.append(self._numbers)
            self._ask(request._replace(number=self._numbers))

    def _ask(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # the process has ended, which the next answer says
            self._pipe.send(message)

    def _wait(self, number: int, keep: bool = True) -> Answer:
        while number not in self._answers:
            answer = self._next()
            if answer.matrices is not None:
                self._sent, self._matrices = answer.matrices, []
            if answer.number == number or answer.number in self._pending:
                self._answers[answer.number] = answer
        return self._answers[number] if keep else self._answers.pop(number)

    def _next(self) -> Any:
        found = self._arrived.get()
        if isinstance(found, Failed):
            self._arrived.put(found)
            raise UserError(found.message)
        if found is None:
            self._arrived.put(None)
            self._process.join(5)
            raise UserError(f"--teacher-process: the teacher's process has ended ({_end_of(self._process.exitcode)})")
        return found

    def _receive(self) -> None:
        try:
            while True:
                self._arrived.put(self._pipe.recv())
        except (EOFError, OSError):
            self._arrived.put(None)


def _equal(packed: Packed, tensor: Tensor) -> bool:
    return packed.shape == tuple(tensor.shape) and torch.equal(packed.tensor(), tensor)


def _end_of(status: int | None) -> str:
    if status is None:
        return "it does not answer"
    return f"by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def _plain(options: Any) -> Any:
    """Return a task's options without fairseq's enums, which cannot be pickled."""
    if not OmegaConf.is_config(options):
        return options
    return OmegaConf.create(OmegaConf.to_container(options, resolve=True, enum_to_str=True))


def _serve(
    pipe: Connection,
    paths: str,
    task: Any,
    modules: list[str],
    teacher_data: str | None,
    dtype: torch.dtype | None,
    device: str,
    threads: int,
) -> None:
    """Answer requests in their order, until the student's process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the student, and so this process
    try:
        torch.set_num_threads(threads)
        import_user_dirs(modules)
        teacher = OnlineTeacher.from_checkpoints(paths, tasks.setup_task(task), teacher_data, dtype=dtype)
        if teacher.why_not_projected is not None:
            raise UserError(f"--teacher-process needs a teacher with hidden states: {teacher.why_not_projected}")
        pipe.send(Ready(teacher.widths))
        for answer in _answers(pipe, teacher, device):
            pipe.send(answer)
    except (EOFError, ConnectionError):
        return
    except UserError as error:
        problem = str(error)
    except Exception as error:  # of the models, fairseq's data or the device
        problem = f"--teacher-process {device}: {type(error).__name__}: {error}"
    with contextlib.suppress(OSError):
        pipe.send(Failed(problem))


def _answers(pipe: Connection, teacher: OnlineTeacher, device: str) -> Iterator[Answer]:
    sentences: Sentences | None = None
    known: torch.dtype | None = None  #: the dtype in which the student has the matrices
    while True:
        request = pipe.recv()
        if isinstance(request, Sentences):
            sentences = request
            continue
        if isinstance(request, Batch):
            assert sentences is not None
            sample = sentences.dataset.collater([sentences.dataset[i] for i in request.ids])
            net_input = sample["net_input"]
            mask = sample["target"].ne(sentences.padding)
            mask[:, : sentences.prefix] = False
            indices = mask_indices(mask)
        else:
            net_input = {name: packed.tensor() for name, packed in request.net_input.items()}
            indices = request.indices.tensor()
        like = torch.empty(0, dtype=request.dtype, device=device)
        there = utils.apply_to_sample(lambda tensor: tensor.to(device), net_input)
        found = teacher.projections(there, like, indices.to(device))
        assert found is not None
        matrices = None
        if known != request.dtype:
            matrices = [(Packed.of(each.weight), None if each.bias is None else Packed.of(each.bias)) for each in found]
            known = request.dtype
        tokens = [Packed.of(net_input[name]) for name in TOKENS]
        yield Answer(request.number, [Packed.of(each.hidden) for each in found], tokens, Packed.of(indices), matrices)
