"""One run in several processes: who reads and writes, who waits, what is sent. In one process all of it is idle."""
import contextlib
import functools
import multiprocessing
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from .core import InputError
from .guards import guard, shown

__all__ = ["world_size", "processes", "average_over_processes", "stop_all", "on_main_process", "main_process_first",
           "share", "check_shares", "backward"]


LAUNCH = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what a launcher tells its processes
FIRST_MEETING = 180, 10  # seconds that processes which nothing launched wait for each other, and before they say so


def _launched() -> bool:
    "Whether torchrun, accelerate or notebook_launcher started this process."
    return "TORCHELASTIC_RUN_ID" in os.environ or multiprocessing.parent_process() is not None


def _whole(name: str, otherwise: int) -> int:
    "A whole number of the environment, -1 where it is none."
    text = os.environ.get(name, str(otherwise)).strip()
    return int(text) if len(text) < 9 and text.isascii() and text.isdecimal() else -1


def is_first() -> bool:
    "False in the second and further processes of a training: what one has said the others need not say again."
    return _whole("WORLD_SIZE", 1) < 2 or _whole("RANK", 0) == 0 or bool(leftovers())


def _told() -> str:
    "What the environment says of several processes, and how to unset it."
    found = [name for name in LAUNCH if name in os.environ]
    return (f"{', '.join(f'{name}={os.environ[name]}' for name in found)} in the environment; "
            f"for one process unset them (env {' '.join(f'-u {name}' for name in found)} gan-course …)")


def leftovers() -> str:  # "" if all is well
    "What another job left in the environment: it speaks of several processes, but nothing launched them."
    found = {name for name in LAUNCH if name in os.environ}
    size, rank, local, port = map(_whole, ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_PORT"), (1, 0, 0, -1))
    if _launched() or not found or (size == 1 and rank == 0 and local == 0): return ""
    if size > 1 and 0 <= rank < size and local >= 0 and found >= {"MASTER_ADDR", "RANK"} and 0 < port < 65536: return ""
    return f"nothing launched several processes, but there is {_told()}, for several begin with torchrun -m gan_course"


def world_size() -> int:  # processes that share this run
    "How many processes there are; torchrun and notebook_launcher tell each of them so."
    if text := leftovers(): raise InputError(text)  # a training would fail, or wait, without a word
    return _whole("WORLD_SIZE", 1)


def processes():  # accelerate.state.PartialState
    "Accelerate's view of the processes: which one this is, and on which device it works."
    from accelerate.state import PartialState

    if world_size() == 1:
        with _unseen(*(() if _launched() else LAUNCH)): return _checked(PartialState())
    on_cpu, forked = not torch.accelerator.is_available(), multiprocessing.parent_process() is not None
    if on_cpu and os.environ.get("OMP_NUM_THREADS", "1") == "1":  # 1 is what torchrun sets
        cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        torch.set_num_threads(1 if forked else max(1, cores))  # a forked process hangs with more than one
    _end_with_launcher()
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    met = None if _launched() or torch.distributed.is_initialized() else _meet()
    patience = timedelta(days=1)  # so long the others wait while the first measures an FID
    state = _checked(PartialState(cpu=on_cpu, timeout=patience))
    del met  # until here it keeps its port
    return state


def _checked(state):
    if state.num_processes == world_size(): return state
    raise InputError("several processes are started by torchrun or by accelerate.notebook_launcher")


@contextlib.contextmanager
def _unseen(*names: str):
    "Without these variables: of one process alone there is nothing to read for Accelerate."
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try: yield
    finally: os.environ.update(hidden)


def _meet():  # what holds the port on which they met
    "The first meeting of processes that nothing launched: another job's variables make one wait for what never comes."
    (patience, quiet), place = FIRST_MEETING, (os.environ["MASTER_ADDR"], _whole("MASTER_PORT", -1))
    rank, size = _whole("RANK", 0), world_size()
    connect: Any = getattr(torch.distributed, "TCPStore")  # noqa: B009  documented, but not in its stubs
    began, store, said = time.monotonic(), None, False
    while (waited := time.monotonic() - began) < patience:
        try:
            if store is None:
                if rank: socket.create_connection(place, timeout=1).close()  # torch prints a page if nobody is there,
                else: socket.getaddrinfo(*place)  # or if there is no such place
                store = connect(*place, size, not rank, timedelta(seconds=30), False, multi_tenant=True)
                store.add("met", 1)
            if store.add("met", 0) >= size: return store
        except OSError: pass  # not there yet
        except (RuntimeError, ValueError) as e:
            why = f"{str(e).strip().splitlines()[0]:.150}"
            raise InputError(f"process {rank} of {size} cannot meet the others ({why}), because of {_told()}") from None
        if waited > quiet and not said:
            said = True
            text = f"gan-course: process {rank} of {size} waits for the others, because of {_told()}"
            print(text, file=sys.stderr, flush=True)
        time.sleep(.2)
    raise InputError(f"process {rank} of {size} has waited {patience} s for the others, because of {_told()}")


@functools.cache
def _end_with_launcher():
    "A worker whose launcher has been killed ends too: it would train on, unseen, and hold its run's lock."
    launcher = os.getppid()

    def watch():
        while os.getppid() == launcher: time.sleep(.5)
        with contextlib.suppress(OSError, ValueError):
            print(f"gan-course: process {os.getpid()} ends: what launched it is gone", file=sys.stderr, flush=True)
        os._exit(1)  # as if killed itself: the last complete epoch is kept
    if "TORCHELASTIC_RUN_ID" in os.environ: threading.Thread(target=watch, daemon=True).start()


@torch.no_grad()
def average_over_processes(
    tensors: list[Tensor],  # gradients, say; changed in place
    mean: Callable[[Tensor], Tensor],  # flat tensor → its mean over the processes, e.g. Accelerate's `reduce`
) -> None:
    "Replace tensors by their means over the processes; they travel as one message."
    if not tensors: return
    flat = mean(torch.cat([x.flatten() for x in tensors]))
    if not isinstance(flat, Tensor): raise InputError(f"mean has to return a tensor, not {shown(flat)}")
    parts = flat.split([x.numel() for x in tensors])
    for x, part in zip(tensors, parts, strict=True): x.copy_(part.view_as(x))


def stop_all(
    error: BaseException | None,  # of this process
) -> None:
    "Raise the error of one process in all of them, so that none waits for it for ever; None where there is none."
    from accelerate.utils import gather_object

    told = None
    if error is not None:
        told = isinstance(error, KeyboardInterrupt), str(error) if isinstance(error, ValueError) else repr(error)
    met = gather_object([told])
    if error is not None: raise error
    for interrupted, message in filter(None, met):
        raise KeyboardInterrupt if interrupted else InputError(message)


def on_main_process(
    work: Callable[[], Any],  # function without arguments
    send: bool = True,  # the others get what it returns; otherwise they get None
) -> Any:  # what `work` returns
    "Do something in the first process only, while the others wait; an error there ends all of them."
    if world_size() == 1: return work()
    from accelerate.utils import broadcast_object_list

    state, result, error = processes(), None, None
    if state.is_main_process:
        try: result = work()
        except BaseException as e: error = e
    stop_all(error)
    return broadcast_object_list([result])[0] if send else result


def main_process_first(
    work: Callable[[], Any],  # function without arguments
) -> Any:  # what `work` returns in this process
    "Do something in each process, first in one of each machine: it fetches and keeps what the others then find there."
    if world_size() == 1: return work()
    state, result = processes(), None
    for turn in (True, False):
        error = None
        if state.is_local_main_process == turn:
            try: result = work()
            except BaseException as e: error = e
        stop_all(error)
    return result


def share(
    batch_size: int,  # images a step, over all processes
) -> slice:
    "The part of a batch that falls to this process."
    if world_size() == 1: return slice(0, batch_size)
    part, index = batch_size // world_size(), processes().process_index
    return slice(index * part, (index + 1) * part)


def check_shares(
    batch_size: int,  # images a step, over all processes
) -> None:
    "An `InputError` if a batch cannot be shared equally."
    n = world_size()
    if batch_size % n:
        raise InputError(
            f"a batch of {batch_size} images cannot be shared equally by {n} processes: choose a multiple of {n}")


def backward(
    accelerator,  # accelerate.Accelerator
    network: nn.Module,  # the player that makes the step
) -> Callable[[Tensor], None]:
    "What to call on a loss: backward pass, then the mean of the gradients of the network that makes the step."
    if not hasattr(accelerator, "reduce"):
        raise InputError(f"accelerator has to be an accelerate.Accelerator, not {shown(accelerator)}")
    if world_size() == 1: return accelerator.backward

    def backward_and_average(loss):
        accelerator.backward(loss)
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        average_over_processes(gradients, lambda flat: accelerator.reduce(flat, "mean"))
    return backward_and_average


guard(__name__)
