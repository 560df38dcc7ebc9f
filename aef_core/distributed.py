"""Several processes, one perturbation: each takes its share of every batch.

`torchrun --nproc-per-node N -m aef_core optimize ...` starts the processes. Gradients and losses
are summed over them, so every process holds the same weights and the same perturbation.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from aef_core.errors import AEFError

T = TypeVar("T")
TIMEOUT = timedelta(minutes=10)  # a process silent for longer counts as dead


class LostPeer(AEFError, RuntimeError):
    """Another process of the job died or fell silent; the message says how to go on."""


@dataclass(frozen=True)
class Peers:
    """This process among those that share each batch; by default it is alone."""

    rank: int = 0
    size: int = 1

    def parts(self, n: int, micro_batch: int = 0) -> list[slice]:
        """This process's share of the positions 0 .. n - 1, in pieces of at most `micro_batch`.

        Shares are contiguous and differ by one at most; a share is empty where n < size.
        """
        start, stop = n * self.rank // self.size, n * (self.rank + 1) // self.size
        piece = micro_batch or max(1, stop - start)
        return [slice(i, min(i + piece, stop)) for i in range(start, stop, piece)]

    def sum(self, *tensors: Tensor) -> None:
        """Add up over all processes, in place, to the same bits in each."""
        if self.size > 1:
            with _told():
                for tensor in tensors:
                    dist.all_reduce(tensor)

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process."""
        raised = torch.tensor(float(flag), device=_device())
        self.sum(raised)
        return raised.item() > 0

    def agree(self, make: Callable[[], T]) -> T:
        """What the first process makes of it, its exception included, in every process."""
        if self.size == 1:
            return make()
        box: list = [None, None]
        if self.rank == 0:
            try:
                box[0] = make()
            except Exception as error:  # not swallowed: raised below, in every process
                box[1] = error
        with _told():
            dist.broadcast_object_list(box, src=0)
        if box[1] is not None:
            raise box[1]
        return box[0]


ALONE = Peers()


def peers() -> Peers:
    """The processes `joined` has connected this one with; alone outside of it."""
    return Peers(dist.get_rank(), dist.get_world_size()) if _joined else ALONE


_joined = False


@contextmanager
def joined() -> Iterator[Peers]:
    """Connect with the other processes if torchrun started this one, and part at the end.

    Over NCCL where there is a GPU for each local process (which is then the default device), over
    gloo on the CPU elsewhere. Without torchrun: nothing happens, `Peers()`.
    """
    global _joined
    if "LOCAL_RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield ALONE
        return
    local, on_gpu = int(os.environ["LOCAL_RANK"]), False
    if os.environ.get("AEF_DEVICE", "cuda").startswith("cuda") and torch.cuda.is_available():
        on_gpu = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) <= torch.cuda.device_count()
    if on_gpu:
        torch.cuda.set_device(local)
    os.environ["AEF_DEVICE"] = f"cuda:{local}" if on_gpu else "cpu"
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=TIMEOUT)
    _joined = True
    try:
        with _quiet_unless_first():
            yield peers()
    finally:
        _joined = False
        dist.destroy_process_group()


@contextmanager
def _quiet_unless_first() -> Iterator[None]:
    """What the job says, it says once."""
    if dist.get_rank() == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        yield


def _device() -> str:
    nccl = _joined and dist.get_backend() == "nccl"
    return os.environ["AEF_DEVICE"] if nccl else "cpu"


@contextmanager
def _told() -> Iterator[None]:
    """What the backend says of a lost connection, in one line with the cure."""
    try:
        yield
    except RuntimeError as error:
        if not _is_connection(error):
            raise
        raise LostPeer(
            "another process of this job died or fell silent "
            f"({str(error).splitlines()[0][:80]}): start the same command again, "
            "the run goes on from its last saved step"
        ) from None


def _is_connection(error: RuntimeError) -> bool:
    """Whether the backend speaks of its connection; gloo raises a plain RuntimeError."""
    words = ("gloo/transport", "connection", "timed out", "timeout", "broken pipe")
    return isinstance(error, dist.DistError) or any(w in str(error).lower() for w in words)
