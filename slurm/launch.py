"""Train, evaluate and predict on a cluster: ``python slurm/launch.py --help``, and README.md beside this file."""

import argparse
import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package beside this file, not another that may be installed

from acrn_zoo.cli.options import natural, positive  # noqa: E402
from acrn_zoo.errors import UserError  # noqa: E402
from acrn_zoo.jobs import plans, status  # noqa: E402
from acrn_zoo.jobs.job import Job  # noqa: E402
from acrn_zoo.jobs.plans import DEFAULT_RECIPE, Plan, Work  # noqa: E402
from acrn_zoo.jobs.profiles import DEFAULT, Profile, read_profile  # noqa: E402
from acrn_zoo.jobs.record import JobFolder, now  # noqa: E402
from acrn_zoo.jobs.run_directory import RunDirectory, Submitted  # noqa: E402
from acrn_zoo.jobs.snapshot import snapshot_path, take_snapshot  # noqa: E402
from acrn_zoo.jobs.submission import (  # noqa: E402
    Resources,
    require_slurm,
    run_in_this_process,
    sbatch_text,
    slurm_parameters,
    start_here,
    submit_to_slurm,
)
from acrn_zoo.jobs.task import JobError  # noqa: E402

PROFILES = ROOT / "slurm" / "profiles.toml"
NUM_GPUS = 8
NUM_SHARES = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for.

    Args:
        arguments: without the program's name; those of the process if None.

    Returns:
        The exit status: 0 if all went well, 1 for an error that its message explains or a job that did not finish.
    """
    command = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(command)
    except UserError as error:
        print(f"launch.py: error: {error}", file=sys.stderr)
        return 1


def _run(command: list[str]) -> int:
    options, flags = _parse(command)
    if (looked := options.status or options.logs or options.cancel or options.resume) is not None:
        if flags := [*_launch_options(options), *flags]:
            raise JobError(
                f"{' '.join(flags)}: these flags are of a launch, and nothing new is launched: leave them out"
            )
        return _look_after(options, RunDirectory(looked))
    if options.profile is None and options.profiles == PROFILES and not PROFILES.exists():
        profile = Profile()
    else:
        profile = read_profile(options.profiles, options.profile or DEFAULT)
    launch = _launch(options, flags, profile)
    if options.dry_run:
        _show(launch)
        return 0
    return _carry_out(launch, command, waits=options.wait)


@dataclass(frozen=True)
class Launch:
    """What is to be launched.

    Args:
        plan: the jobs.
        resources: of each of them.
        profile: of the cluster.
        cluster: slurm, local or debug.
    """

    plan: Plan
    resources: Resources
    profile: Profile
    cluster: str

    @property
    def run(self) -> RunDirectory:
        """Where everything is."""
        return RunDirectory(self.plan.root)

    def parameters(self, works: Sequence[Work], code: Path, dependency: str | None = None) -> dict[str, object]:
        """What submitit is told of some of the jobs."""
        title = works[0].title if len(works) == 1 else f"{works[0].title.split()[0]} {self.plan.root.name}"
        return slurm_parameters(title, self.resources, self.profile, code, dependency)

    def job(self, work: Work, code: Path | None) -> Job:
        """A job, for submitit."""
        return Job(work.task, work.folder, self.resources.num_processes, work.title, code)


def _parse(command: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options of the launcher, and the flags that it hands on."""
    parser = _create_parser()
    options, flags = parser.parse_known_args(command)
    asked = [options.train, options.evaluate, options.predict]
    looked = [options.status, options.logs, options.cancel, options.resume]
    if bool(any(asked)) == bool(any(one is not None for one in looked)) or (options.predict and any(asked[:2])):
        parser.error("say one of --train, --evaluate (or both), --predict, --status, --logs, --cancel, --resume")
    if options.train and options.evaluate not in (None, DEFAULT_RECIPE, options.train):
        parser.error("--evaluate beside --train takes the recipe of the training: leave out its name")
    if (options.sweep or options.ablation) and not options.train:
        parser.error("--sweep and --ablation are for --train")
    return options, flags


def _launch_options(options: argparse.Namespace) -> list[str]:
    """The options that say how to launch, where one of them is not as it is when nobody names it."""
    usual = vars(_create_parser().parse_args([]))
    looks = {"status", "logs", "cancel", "resume", "rank"}
    if options.resume is not None:
        looks |= {"wait", "dry_run"}
    return [
        f"--{name.replace('_', '-')}"
        for name, value in vars(options).items()
        if value != usual[name] and name not in looks
    ]


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="launch.py",
        description="Train, evaluate and predict on a cluster. All other flags are those of the recipe, or of "
        "`acrn-zoo predict`. Give the same command again to go on with what was interrupted.",
        allow_abbrev=False,
    )
    what = parser.add_argument_group("what")
    recipe = {"nargs": "?", "metavar": "RECIPE", "const": DEFAULT_RECIPE}
    what.add_argument("--train", help=f"train by a recipe ({DEFAULT_RECIPE} if none is named)", **recipe)  # type: ignore[arg-type]
    what.add_argument("--evaluate", help="evaluate; beside --train, what was trained", **recipe)  # type: ignore[arg-type]
    what.add_argument("--predict", nargs="+", type=Path, metavar="VIDEOS", help="label videos, and folders of them")
    what.add_argument("--sweep", nargs="+", default=[], metavar="NAME=V,V", help="train all combinations of flags")
    what.add_argument("--ablation", action="store_true", help="sweep over all relations")
    what.add_argument("--out", type=Path, metavar="DIR", help="the run directory; runs/RECIPE if not given")
    where = parser.add_argument_group("where")
    where.add_argument("--cluster", choices=("slurm", "local", "debug"), default="slurm", help="debug: in this process")
    where.add_argument("--profile", metavar="NAME", help=f"facts of the cluster; {DEFAULT} if not given")
    where.add_argument("--profiles", type=Path, default=PROFILES, metavar="FILE")
    where.add_argument("--nodes", type=positive, default=1, help="machines of a job; 1 if not given")
    where.add_argument(
        "--gpus-per-node", type=natural, metavar="N", help=f"{NUM_GPUS}, or 1 to predict; 0 for CPUs alone"
    )
    where.add_argument("--tasks-per-node", type=positive, metavar="N", help="processes; one a GPU if not given")
    where.add_argument("--shares", type=positive, default=NUM_SHARES, metavar="N", help="jobs to predict with, at most")
    where.add_argument("--minutes", type=positive, help="time limit of a job, instead of the profile's")
    how = parser.add_argument_group("how")
    how.add_argument("--dry-run", action="store_true", help="show what would be submitted, and do nothing")
    how.add_argument("--wait", action="store_true", help="wait until all is over; local and debug always do")
    after = parser.add_argument_group("a run directory").add_mutually_exclusive_group()
    after.add_argument("--status", type=Path, metavar="DIR", help="how its jobs are; what failed first comes first")
    after.add_argument("--logs", type=Path, metavar="DIR", help="what a process of its jobs wrote")
    after.add_argument("--cancel", type=Path, metavar="DIR", help="end its jobs; what they have saved stays")
    after.add_argument("--resume", type=Path, metavar="DIR", help="its last command again, with the code as it was")
    parser.add_argument("--rank", type=int, default=0, help="with --logs: of which process")
    return parser


def _launch(options: argparse.Namespace, flags: list[str], profile: Profile) -> Launch:
    gpus = options.gpus_per_node
    if gpus is None:
        gpus = 1 if options.predict else NUM_GPUS
    tasks = 1 if options.predict else options.tasks_per_node or max(gpus, 1)
    if options.cluster == "debug":
        gpus, tasks = 0, 1
    if options.cluster != "slurm" and options.nodes > 1:
        raise JobError(f"--cluster {options.cluster} has one node: leave out --nodes")
    if options.predict and (options.nodes > 1 or (options.tasks_per_node or 1) > 1):
        raise JobError("--predict takes one process a job: say --shares for more jobs")
    resources = Resources(options.nodes, gpus, tasks, options.minutes or profile.minutes, profile.signal_seconds)
    if options.cluster == "local":
        _require_gpus_here(gpus)
    device: plans.Device = "auto" if options.cluster == "debug" else "cuda" if gpus else "cpu"
    if options.predict:
        plan = plans.plan_prediction(options.predict, flags, out=options.out, num_shares=options.shares, device=device)
    elif options.train:
        plan = plans.plan_training(
            options.train,
            flags,
            out=options.out,
            sweep=[*options.sweep, *(plans.ablation() if options.ablation else [])],
            with_evaluation=options.evaluate is not None,
            profile=profile,
            device=device,
        )
    else:
        plan = plans.plan_evaluation(options.evaluate, flags, out=options.out, profile=profile, device=device)
    return Launch(plan, resources, profile, options.cluster)


def _require_gpus_here(num_gpus: int) -> None:
    import torch

    if (found := torch.cuda.device_count()) < num_gpus:
        raise JobError(
            f"This machine shows {found} GPUs, and {num_gpus} are asked for: say --gpus-per-node {found}"
            + (", with --tasks-per-node for the number of processes" if found == 0 else "")
        )


def _show(launch: Launch) -> None:
    """The batch scripts and the settings."""
    plan, code = launch.plan, snapshot_path(ROOT, launch.run.code)
    if launch.cluster == "slurm":
        for group, relation in _arrays(plan.works, plan.afterwards):
            dependency = f"{relation}:JOB" if relation else None
            print(sbatch_text(launch.run.logs, launch.parameters(group, code, dependency), len(group)))
    for work in (*plan.works, *plan.afterwards):
        print(f"# {work.title}: {work.folder}")
        print(json.dumps(work.settings, indent=1))


def _carry_out(launch: Launch, command: list[str], *, waits: bool) -> int:
    run = launch.run
    run.require_usable()
    if launch.cluster == "slurm":
        require_slurm()
        if doubt := run.doubt():
            print(f"launch.py: note: {doubt}", file=sys.stderr)
    with run.locked():
        outcome = _begin(launch, command)
    if isinstance(outcome, Here):
        _run_here(launch, outcome)
    return _conclude(run) if isinstance(outcome, Here) or (outcome == GOING and waits) else 0


@dataclass(frozen=True)
class Here:
    """Jobs that this command runs itself: those that are not finished, the code, and the number of the launch."""

    works: Sequence[Work]
    code: Path
    number: int


GOING, FINISHED = "going", "finished"


def _begin(launch: Launch, command: list[str]) -> "Here | str":
    """Submit what is neither going nor finished; what is to run here is left to the caller."""
    run, plan = launch.run, launch.plan
    going = [one for one in status.statuses(run) if one.is_going] if run.jobs.exists() else []
    if going:
        print(status.describe(run, going))
    groups = {run.root / one.job.group for one in going}
    works, afterwards = _to_begin(plan, groups)
    if going and (launch.cluster != "slurm" or (not works and not afterwards)):
        print("These jobs of this run are still going: nothing was submitted.")
        if any(work.group not in groups for work in _unfinished(plan.afterwards)):
            print("Their evaluation is not among them: give the same command again when they have ended.")
        return GOING
    free = [work for work in plan.works if work.group not in groups]
    followers = [work for work in plan.afterwards if not {work.group, work.folder.parent} & groups]
    plans.settle(run, replace(plan, works=tuple(free), afterwards=tuple(followers)), launch.resources.num_processes)
    works, afterwards = _to_begin(plan, groups)  # settled anew, parts of a prediction begin anew
    if not works and not afterwards:
        print(f"{run.root}: all is finished, and there is nothing to do")
        return FINISHED
    code = take_snapshot(ROOT, run.code)
    number = run.add_launch(command, ROOT, code)
    if launch.cluster != "slurm":
        return Here([*works, *afterwards], code, number)
    _submit(launch, works, afterwards, code, number)
    print(f"How it goes: python slurm/launch.py --status {plan.root}")
    return GOING


def _to_begin(plan: Plan, going: set[Path]) -> tuple[list[Work], list[Work]]:
    """What is neither finished nor going, nor waits for a training that is going.

    Args:
        plan: what is to be done.
        going: the groups of jobs that are.
    """
    works = [work for work in _unfinished(plan.works) if work.group not in going]
    busy = {work.folder for work in plan.works if work.group in going}
    afterwards = [
        work for work in _unfinished(plan.afterwards) if work.group not in going and work.folder.parent not in busy
    ]
    return works, afterwards


def _submit(launch: Launch, works: Sequence[Work], afterwards: Sequence[Work], code: Path, number: int) -> None:
    """Jobs that may run together as an array, and others behind those of them that they follow."""
    first = ""
    for group, relation in _arrays(works, afterwards):
        dependency = f"{relation}:{first}" if relation else None
        jobs = [launch.job(work, code) for work in group]
        job_ids = submit_to_slurm(jobs, launch.run.logs, launch.parameters(group, code, dependency))
        for work, job_id in zip(group, job_ids, strict=True):
            _note(launch, work, job_id, number)
            print(f"job {job_id}: {work.title}" + (f", {dependency}" if dependency else ""))
        first = first or job_ids[0].partition("_")[0]


def _arrays(works: Sequence[Work], afterwards: Sequence[Work]) -> list[tuple[list[Work], str | None]]:
    """What is submitted together, and how it follows the first: each part of an array the part of the same number."""
    followed = {work.folder.parent for work in afterwards}
    followers = [work for work in afterwards if work.folder.parent in {one.folder for one in works}]
    ordered = sorted(works, key=lambda work: work.folder not in followed)  # stable: the followers' order is the same
    relation = "aftercorr" if len(works) > 1 else "afterok"
    arrays = [(ordered, None), (followers, relation), ([work for work in afterwards if work not in followers], None)]
    return [(group, relation) for group, relation in arrays if group]


def _run_here(launch: Launch, here: Here) -> None:
    """One after the other, since they would share the GPUs; one that does not finish ends the row."""
    run = launch.run
    for work in here.works:
        if launch.cluster == "debug":
            _note(launch, work, "debug", here.number)
            run_in_this_process(launch.job(work, None), run.logs)
        else:
            submission = start_here(launch.job(work, here.code), run.logs, launch.resources, here.code)
            job_id = str(submission.job_id)
            _note(launch, work, job_id, here.number)
            print(f"process {job_id}: {work.title}", flush=True)
            submission.wait()
        if not JobFolder(work.folder).done.exists():
            return


def _note(launch: Launch, work: Work, job_id: str, number: int) -> None:
    """Write down a job of the launch of this number."""
    root = launch.run.root
    launch.run.add_job(
        Submitted(
            job_id=job_id,
            cluster=launch.cluster,
            title=work.title,
            folder=str(work.folder.relative_to(root)),
            group=str(work.group.relative_to(root)),
            launch=number,
            num_processes=launch.resources.num_processes,
            launched_on=socket.gethostname(),
            submitted_at=now(),
        )
    )


def _unfinished(works: Sequence[Work]) -> list[Work]:
    return [work for work in works if not JobFolder(work.folder).done.exists()]


def _conclude(run: RunDirectory) -> int:
    """Wait, and say how it went."""
    found = status.wait(run)
    print(status.describe(run, found))
    return 0 if all(one.state == status.FINISHED for one in found) else 1


def _look_after(options: argparse.Namespace, run: RunDirectory) -> int:
    if options.status is not None:
        print(status.describe(run, status.statuses(run)))
    elif options.logs is not None:
        print(status.logs(run, options.rank))
    elif options.cancel is not None:
        cancelled = status.cancel(run)
        print("\n".join(f"cancelled: {job.job_id}, {job.title}" for job in cancelled) or "No job of this run is going.")
    else:
        return _resume(run, ["--wait"] * options.wait + ["--dry-run"] * options.dry_run)
    return 0


def _resume(run: RunDirectory, more: list[str]) -> int:
    """The last command again, with the code as it was then."""
    last = run.last_launch()
    launcher = Path(last["code"]) / "slurm" / "launch.py"
    command = [*last["command"], *(flag for flag in more if flag not in last["command"])]
    return subprocess.run([sys.executable, str(launcher), *command], cwd=last["folder"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
