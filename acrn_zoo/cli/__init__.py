"""The command line ``acrn-zoo``: one module a verb, imported only when its verb is used.

So a verb that needs no network, such as ``score``, starts without PyTorch, in a fraction of a second.
"""

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.options import HelpFormatter
from acrn_zoo.errors import UserError
from acrn_zoo.version import VERSION

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended
BROKEN_PIPE = 141  # and for one that wrote to nobody

VERBS: dict[tuple[str, ...], tuple[str, str]] = {
    ("predict",): ("predict", "label the people of a video"),
    ("demo",): ("demo", "see the whole way once, offline, on a small generated video"),
    ("data", "import"): ("data_import", "make a dataset of your own annotations (CVAT, VIA, COCO, AVA)"),
    ("data", "jhmdb"): ("data_jhmdb", "make a dataset of a split of J-HMDB"),
    ("data", "check"): ("data_check", "find what is wrong with a dataset, or with predictions on it"),
    ("data", "manifest"): ("data_manifest", "look at every video of a dataset once, before training does"),
    ("data", "people"): ("data_people", "find the people of all keyframes: the proposals of training and evaluation"),
    ("data", "ava"): ("data_ava", "fetch AVA's annotations and the list of its videos"),
    ("data", "small-world"): ("data_small_world", "generate a small world, whose relations can be learnt in minutes"),
    ("data-speed",): ("data_speed", "measure how fast your machine reads training clips"),
    ("train",): ("train", "train a detector by a recipe; on one process, or several under torchrun"),
    ("evaluate",): ("evaluate", "mAP of a detector on a dataset"),
    ("score",): ("score", "mAP of predictions, equal to the official evaluation's"),
    ("score-tubes",): ("score_tubes", "frame-mAP and video-mAP of J-HMDB"),
}
"""The words of a verb; its module in this package, and what it is for."""

GROUPS = {"data": "get data in, and find out what is wrong with it"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; those of the process if None.

    Returns:
        The exit status: 0 if all went well, 1 for an error that its message explains, 130 when interrupted.
    """
    try:
        with _short_warnings(), Interruption() as interruption:
            options = parse(sys.argv[1:] if arguments is None else arguments)
            status = options.run(options, interruption) or 0
            sys.stdout.flush()
            return status
    except UserError as error:
        if not error.is_echo:
            print(f"acrn-zoo: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("acrn-zoo: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return BROKEN_PIPE


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of one command, with ``run``, the function that carries it out."""
    parser = argparse.ArgumentParser(prog="acrn-zoo", description="Who does what in a video?")
    parser.add_argument("--version", action="version", version=f"acrn-zoo {VERSION}")
    groups: dict[tuple[str, ...], argparse._SubParsersAction[argparse.ArgumentParser]] = {}
    groups[()] = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for words, (module, about) in VERBS.items():
        *group, word = words
        if (key := tuple(group)) not in groups:
            inner = groups[()].add_parser(group[0], help=GROUPS[group[0]], description=GROUPS[group[0]])
            groups[key] = inner.add_subparsers(title="commands", required=True, metavar="COMMAND")
        verb = groups[key].add_parser(word, help=about, description=about, formatter_class=HelpFormatter)
        if tuple(arguments[: len(words)]) == words:
            implementation = importlib.import_module(f"acrn_zoo.cli.{module}")
            implementation.add_arguments(verb)
            verb.set_defaults(run=implementation.run)
    return parser.parse_args(arguments)


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Notes to the user as one line, without the place in the code; other packages' deprecations not at all."""

    def show(message: Warning | str, *_: object) -> None:
        print(f"acrn-zoo: note: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield
