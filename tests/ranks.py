"""Several processes that run a function together, as torchrun would start them; without its minutes of import.

They are forked from a server that has imported PyTorch once. Functions must be importable by name: those of modules
that stand in ``tests/`` itself are.
"""

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch.distributed", "acrn_zoo.zoo", "acrn_zoo.engine.evaluate"])
LIMIT = 120.0  # seconds; only a hang takes so long


def environment_of(rank: int, world_size: int, port: int) -> dict[str, str]:
    """What torchrun would set on one machine."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def run_ranks(function: Callable[..., Any], world_size: int, *arguments: object) -> list[Any]:
    """What the function returns in every process, or the exception that it ended with, in the order of ranks."""
    port = free_port()
    pipes = [CONTEXT.Pipe(duplex=False) for _ in range(world_size)]
    workers = [
        CONTEXT.Process(target=_work, args=(sender, environment_of(rank, world_size, port), function, arguments))
        for rank, (_, sender) in enumerate(pipes)
    ]
    try:
        for worker, (_, sender) in zip(workers, pipes, strict=True):
            worker.start()
            sender.close()
        return [_received(receiver) for receiver, _ in pipes]
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def _received(receiver: Connection) -> object:
    if not receiver.poll(LIMIT):
        raise TimeoutError("a process does not answer")
    try:
        return receiver.recv()
    except EOFError:
        return EOFError("the process ended without an answer")


def _work(
    sender: Connection, environment: dict[str, str], function: Callable[..., Any], arguments: tuple[object, ...]
) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # of loader workers: the server would have to start again
    try:
        sender.send(function(*arguments))
    except Exception as error:  # the test looks at it
        traceback.print_exc()
        sender.send(error)
