"""``slurm/launch.py``, from its flags to what is submitted; Slurm itself is not needed."""

import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from training_case import write_dataset

from acrn_zoo.engine.config import read_config

SCRIPT = Path(__file__).resolve().parents[2] / "slurm" / "launch.py"
TRAIN = ("--train", "small_world", "--data", "data")
CPU = ("--gpus-per-node", "0")

Install = Callable[..., None]


@pytest.fixture(scope="module")
def launch() -> ModuleType:
    spec = importlib.util.spec_from_file_location("launch", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["launch"] = module
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset")).root


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(dataset)
    Path("profiles.toml").write_text("[default]\npartition = 'gpu'\n[short]\nminutes = 2\n")
    return tmp_path


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Commands of Slurm that note what they are asked, and answer as they are told to."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    number = tmp_path / "number"
    submit = f'n=$(($(cat {number} 2>/dev/null || echo 0) + 1)); echo $n > {number}; cp "$1" {tmp_path}/$n.sh; '

    def install(queue: str = "") -> None:
        scripts = {"sbatch": f"{submit}echo Submitted batch job $n", "squeue": queue, "sacct": "exit 1", "srun": ""}
        for name, script in scripts.items():
            (folder / name).write_text(f"#!/bin/bash\n{script}\n")
            (folder / name).chmod(0o755)

    install()
    return install


LAUNCHES = {"--train", "--evaluate", "--predict"}


def run(launch: ModuleType, *arguments: str) -> int:
    return int(launch.main((*arguments, "--profiles", "profiles.toml") if LAUNCHES & set(arguments) else arguments))


def lines_of(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def finish(folder: str) -> None:
    Path(folder).mkdir(exist_ok=True)
    (Path(folder) / "DONE").touch()


@pytest.mark.usefixtures("cluster")
def test_train(launch: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(launch, *TRAIN, "--epochs", "3") == 0
    lines = lines_of("1.sh")
    for line in ("--nodes=1", "--gpus-per-node=8", "--ntasks-per-node=8", "--partition=gpu", "--requeue"):
        assert f"#SBATCH {line}" in lines
    out = tmp_path / "runs" / "small_world"
    (code,) = (out / "code").iterdir()
    assert f"#SBATCH --chdir={code}" in lines
    assert (code / "slurm" / "launch.py").read_text() == SCRIPT.read_text()
    assert (code / "acrn_zoo" / "jobs" / "job.py").exists()
    config = read_config(out / "config.json")
    assert (config.optimization.epochs, config.run.device) == (3, "cuda")
    launched = json.loads((out / "launches" / "001" / "command.json").read_text())
    assert launched["command"][:4] == list(TRAIN)
    captured = capsys.readouterr()
    assert "job 1: train small_world" in captured.out
    assert "is another one on every machine" in captured.err  # pytest's folders are in /tmp


@pytest.mark.usefixtures("cluster")
def test_default_is_the_published_recipe(launch: ModuleType) -> None:
    assert run(launch, "--train", "--data", "data") == 0
    assert read_config("runs/slowfast_acrn_ava22/config.json").recipe == "slowfast_acrn_ava22"


@pytest.mark.usefixtures("cluster")
def test_train_and_evaluate(launch: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(launch, *TRAIN, "--evaluate", "--nodes", "2") == 0
    assert "#SBATCH --dependency=afterok:1" in lines_of("2.sh")
    assert "#SBATCH --kill-on-invalid-dep=yes" in lines_of("2.sh")
    assert "job 2: evaluate small_world, afterok:1" in capsys.readouterr().out
    finish("runs/small_world")
    assert run(launch, *TRAIN, "--evaluate", "--nodes", "2") == 0
    assert "job 3: evaluate small_world\n" in capsys.readouterr().out
    assert "dependency" not in Path("3.sh").read_text()
    finish("runs/small_world/evaluation")
    assert run(launch, *TRAIN, "--evaluate", "--nodes", "2") == 0
    assert "all is finished, and there is nothing to do" in capsys.readouterr().out
    assert not Path("4.sh").exists()


def test_starting_twice(launch: ModuleType, cluster: Install, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(launch, *TRAIN) == 0
    cluster("echo '1|RUNNING|None'")
    assert run(launch, *TRAIN) == 0
    assert "These jobs of this run are still going: nothing was submitted." in capsys.readouterr().out
    assert not Path("2.sh").exists()
    cluster("echo '1|FAILED|None'")
    assert run(launch, *TRAIN) == 0
    assert Path("2.sh").exists()


@pytest.mark.usefixtures("cluster")
def test_sweep(launch: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (*TRAIN, "--ablation", "--sweep", "seed=0,1", "--evaluate", "--out", "out")
    assert run(launch, *arguments) == 0
    assert "#SBATCH --array=0-7%8" in lines_of("1.sh")
    assert {"#SBATCH --array=0-7%8", "#SBATCH --dependency=aftercorr:1"} <= set(lines_of("2.sh"))
    assert "job 1_7: train small_world seed-1_relation-scene_attention" in capsys.readouterr().out
    finish("out/seed-0_relation-acrn")
    assert run(launch, *arguments) == 0
    assert "#SBATCH --array=0-6%7" in lines_of("3.sh")
    assert {"#SBATCH --array=0-6%7", "#SBATCH --dependency=aftercorr:3"} <= set(lines_of("4.sh"))
    assert "job 5: evaluate small_world seed-0_relation-acrn\n" in capsys.readouterr().out  # follows nothing any more
    assert not [line for line in lines_of("5.sh") if "--array" in line or "--dependency" in line]


def test_part_of_a_sweep(launch: ModuleType, cluster: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """What has failed begins again beside what is still going, whose evaluation waits for the next time."""
    arguments = (*TRAIN, "--sweep", "seed=0,1,2", "--out", "out")
    assert run(launch, *arguments) == 0
    cluster("echo '1_0|RUNNING|None'; echo '1_1|FAILED|None'; echo '1_2|FAILED|None'")
    assert run(launch, *arguments, "--evaluate") == 0
    said = capsys.readouterr().out
    assert "1_0  RUNNING" in said
    assert [line for line in said.splitlines() if line.startswith("job ")][3:] == [
        "job 2_0: train small_world seed-1",
        "job 2_1: train small_world seed-2",
        "job 3_0: evaluate small_world seed-1, aftercorr:2",
        "job 3_1: evaluate small_world seed-2, aftercorr:2",
    ]
    cluster('for job in 1_0 2_0 2_1 3_0 3_1; do echo "$job|RUNNING|None"; done')
    assert run(launch, *arguments, "--evaluate") == 0
    said = capsys.readouterr().out
    assert "nothing was submitted" in said
    assert "Their evaluation is not among them" in said  # that of seed 0


def test_a_part_that_is_going_keeps_its_facts(launch: ModuleType, cluster: Install) -> None:
    arguments = (*TRAIN, "--sweep", "seed=0,1", "--out", "out", "--tasks-per-node")
    assert run(launch, *arguments, "2") == 0
    cluster("echo '1_0|RUNNING|None'; echo '1_1|FAILED|None'")
    assert run(launch, *arguments, "3") == 0
    facts = [json.loads(Path(f"out/seed-{seed}/facts.json").read_text())["processes"] for seed in (0, 1)]
    assert facts == [2, 3]


@pytest.mark.usefixtures("cluster")
def test_resume_through_a_link(launch: ModuleType, work_folder: Path) -> None:
    """A run directory that lies elsewhere: the launcher of its snapshot knows itself by another path."""
    (work_folder / "elsewhere").mkdir()
    Path("runs").symlink_to("elsewhere")
    assert run(launch, *TRAIN) == 0
    for _ in range(2):
        assert run(launch, "--resume", "runs/small_world") == 0
    launches = Path("runs/small_world/launches")
    assert [(launches / name / "git.txt").exists() for name in ("001", "002", "003")] == [True] * 3


def test_no_such_profiles(launch: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main([*TRAIN, "--profiles", "typo.toml", "--dry-run"]) == 1
    assert "typo.toml" in capsys.readouterr().err


@pytest.mark.usefixtures("cluster")
def test_another_number_of_processes(launch: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """A training that has begun goes on with as many; one that has not may take others."""
    assert run(launch, *TRAIN, "--tasks-per-node", "2") == 0
    assert run(launch, *TRAIN, "--tasks-per-node", "3") == 0
    (Path("runs/small_world/checkpoints")).mkdir()
    (Path("runs/small_world/checkpoints/step_00000004.pth")).touch()
    assert run(launch, *TRAIN, "--tasks-per-node", "2") == 1
    assert "began otherwise (processes: 3 before, 2 now)" in capsys.readouterr().err
    assert not Path("3.sh").exists()


@pytest.mark.usefixtures("cluster")
def test_evaluate_and_predict(launch: ModuleType) -> None:
    assert run(launch, "--evaluate", "small_world", "--data", "data", "--weights", "mini", *CPU) == 0
    assert "#SBATCH --ntasks-per-node=1" in lines_of("1.sh")
    assert "gpus" not in Path("1.sh").read_text()
    videos = Path("videos")
    videos.mkdir()
    for name in "abcdef":
        (videos / f"{name}.mp4").write_bytes(b"x")
    assert run(launch, "--predict", "videos", "--shares", "3", "--top", "2") == 0
    assert {"#SBATCH --array=0-2%3", "#SBATCH --gpus-per-node=1"} <= set(lines_of("2.sh"))


def test_dry_run(
    launch: ModuleType, work_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/bin")  # no Slurm is needed
    before = sorted(work_folder.rglob("*"))
    assert run(launch, *TRAIN, "--evaluate", "--dry-run", "--seed", "7") == 0
    assert sorted(work_folder.rglob("*")) == before
    output = capsys.readouterr().out
    script, other, settings = re.split(r"(?=#!/bin/bash)|(?=# train small_world: )", output)[1:]
    assert script.splitlines()[3:6] == [
        re.search(r"#SBATCH --chdir=.*/runs/small_world/code/[0-9a-f]{12}", script)[0],  # type: ignore[index]
        f"#SBATCH --error={work_folder}/runs/small_world/logs/%j_0_log.err",
        "#SBATCH --gpus-per-node=8",
    ]
    assert "#SBATCH --dependency=afterok:JOB\n" in other
    assert json.loads(settings.split("\n", 1)[1].split("\n# evaluate")[0])["optimization"]["seed"] == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--train", "smal_world"), "'smal_world' is no recipe: expected one of slowfast_acrn_ava22, "),
        (("--train", "small_world"), "--data is missing"),
        ((*TRAIN, "--profile", "none"), "'none' is no profile of profiles.toml: expected one of default, short"),
        ((*TRAIN, "--profile", "short"), "A time limit of 2 minutes is too short"),
        ((*TRAIN, "--minutes", "3"), "A time limit of 3 minutes is too short"),
        ((*TRAIN, "--tasks-per-node", "9"), "9 processes on a node cannot share 8 GPUs"),
        ((*TRAIN, *CPU, "--device", "cuda"), "--device cuda needs GPUs"),
        ((*TRAIN, "--out", "profiles.toml/run"), "profiles.toml/run cannot be written to"),
        ((*TRAIN, "--out", "50%"), "has a % in its name"),
        ((*TRAIN, "--cluster", "local", "--nodes", "2"), "--cluster local has one node"),
        ((*TRAIN, "--cluster", "local"), "This machine shows 0 GPUs, and 8 are asked for: say --gpus-per-node 0"),
        (("--predict", "data", "--nodes", "2"), "--predict takes one process a job"),
        (("--predict", "nowhere"), "nowhere: there is no such video"),
        (("--status", "nowhere"), "nowhere has no jobs"),
        (("--resume", "nowhere"), "nowhere is no directory of a run that was launched"),
        (("--status", "nowhere", "--epochs", "3"), "--epochs 3: these flags are of a launch"),
        (("--cancel", "nowhere", "--dry-run"), "--dry-run: these flags are of a launch"),
        (("--resume", "nowhere", "--minutes", "9", "--nodes", "2"), "--nodes --minutes: these flags are of a launch"),
    ],
)
@pytest.mark.usefixtures("cluster")
def test_bad_input(
    launch: ModuleType,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert run(launch, *arguments) == 1
    assert message in capsys.readouterr().err
    assert not Path("runs").exists()
    assert not Path("1.sh").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say one of --train"),
        (("--train", "--predict", "x"), "say one of --train"),
        (("--train", "--status", "x"), "say one of --train"),
        (("--status", "x", "--cancel", "x"), "not allowed with"),
        (("--evaluate", "--ablation"), "are for --train"),
        (("--train", "small_world", "--evaluate", "finetune"), "takes the recipe of the training"),
        (("--train", "--nodes", "0"), "--nodes"),
        (("--train", "--gpus-per-node", "-1"), "a whole number of at least 0"),
        (("--train", "small_world", "--epohs", "3"), "epohs"),
    ],
)
def test_wrong_flags(
    launch: ModuleType, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(launch, *arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_no_slurm(launch: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert run(launch, *TRAIN) == 1
    assert "There is no sbatch on PATH" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_status_logs_and_cancel(launch: ModuleType, cluster: Install, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(launch, *TRAIN, "--out", "out") == 0
    Path("out/logs/1_1_log.err").write_text("words of rank 1")
    cluster("echo '1|PENDING|Priority'")
    capsys.readouterr()
    assert launch.main(["--status", "out"]) == 0
    assert capsys.readouterr().out == "1  PENDING    train small_world (Priority)\n"
    assert launch.main(["--logs", "out", "--rank", "1"]) == 0
    assert "words of rank 1" in capsys.readouterr().out
    cluster()
    assert launch.main(["--cancel", "out"]) == 0
    assert capsys.readouterr().out == "No job of this run is going.\n"


def test_wait(launch: ModuleType, cluster: Install, capsys: pytest.CaptureFixture[str]) -> None:
    cluster("echo '1|TIMEOUT|TimeLimit'")
    assert run(launch, *TRAIN, "--wait") == 1
    assert "1  TIMEOUT    train small_world (TimeLimit)" in capsys.readouterr().out


@pytest.mark.usefixtures("cluster")
def test_resumes_with_the_code_as_it_was(launch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(launch, *TRAIN, "--out", "out") == 0
    (code,) = Path("out/code").iterdir()
    (code / "slurm" / "launch.py").write_text(
        "import sys, os\nfrom pathlib import Path\n"
        "Path('resumed').write_text('|'.join([os.getcwd(), *sys.argv[1:]]))\nsys.exit(5)\n"
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert launch.main(["--resume", "../out"]) == 5
    expected = [str(tmp_path), *TRAIN, "--out", "out", "--profiles", "profiles.toml"]
    assert (tmp_path / "resumed").read_text() == "|".join(expected)
    assert launch.main(["--resume", "../out", "--wait", "--dry-run"]) == 5
    assert (tmp_path / "resumed").read_text() == "|".join([*expected, "--wait", "--dry-run"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # submitit leaves its log files open
def test_debug_and_local_clusters(launch: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """Real training, in this process, and as two of this machine."""
    small = ("--short-side", "32", "40", "--crop", "32", "--eval-short-side", "32", "--clips-per-process", "3")
    flags = (*small, "--epochs", "1", "--warmup-epochs", "0.5", "--no-tensorboard", "--num-workers", "0")
    assert run(launch, *TRAIN, *flags, "--device", "cpu", "--cluster", "debug", "--out", "debug") == 0
    assert Path("debug/last.pth").exists()
    assert "debug  FINISHED   train small_world" in capsys.readouterr().out
    several = ("--cluster", "local", *CPU, "--tasks-per-node", "2", "--evaluate", "--out", "local")
    assert run(launch, *TRAIN, *flags, *several) == 0
    assert len(list(Path("local/ranks").iterdir())) == 2
    assert Path("local/evaluation/score.json").exists()
