"""What README says is so: its links, its Python, its commands, its table."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from throwaway_slurm import PACKAGES

from acrn_zoo import loading
from acrn_zoo.cli import parse
from acrn_zoo.weights import SlowFast_R50_ACRN_Weights, SlowFast_R50_RoI_Weights

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [line for language, code in BLOCKS if language == "bash" for line in code.splitlines()]


def test_links_to_files_and_sections_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert targets
    titles = re.findall(r"^#+ (.+)$", README, flags=re.MULTILINE)
    sections = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    for target in targets:
        if target.startswith("#"):
            assert target[1:] in sections, target
        elif not target.startswith("https://"):
            assert (ROOT / target.split("#")[0]).exists(), target


def test_files_that_are_named_exist() -> None:
    for name in re.findall(r"\b(?:tests|benchmarks|slurm|acrn_zoo)/[\w/]+\.py\b", README):
        assert (ROOT / name).is_file(), name


@pytest.mark.slow
@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.splitlines()[0])
def test_python_blocks_run(
    code: str,
    small_video: Path,
    published_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As they stand; only the download is replaced by a file of the published layout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "fetch", lambda _url, **_options: published_checkpoint)
    shutil.copy(small_video, "video.mp4")
    Path("boxes.csv").write_text("timestamp,x1,y1,x2,y2\n1.5,5,8,40,60\n")
    exec(compile(code, "README.md", "exec"), {})


def test_commands_parse() -> None:
    commands = [line.split("#")[0] for line in SHELL if line.startswith("acrn-zoo ")]
    assert commands
    for command in commands:
        parse(shlex.split(command)[1:])


def test_nothing_is_left_to_be_filled_in() -> None:
    assert not re.findall(r"\b[A-Z]{8,}\b", re.sub(r"```.*?```", "", README, flags=re.DOTALL))


def test_packages_of_the_tests_on_slurm() -> None:
    command = README.split("<!-- command: slurm -->\n```bash\n")[1].splitlines()[0]
    assert command.split()[-len(PACKAGES) :] == list(PACKAGES)


def test_ci_finds_the_two_commands() -> None:
    for name in ("demo", "tests"):
        assert re.search(rf"^<!-- command: {name} -->\n```bash\n.+\n```$", README, flags=re.MULTILINE), name


def test_table_is_that_of_the_records() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| ([\d.]+) \| (AVA [\d.]+) \|", README, flags=re.MULTILINE)
    expected = []
    for function, records in (("acrn", SlowFast_R50_ACRN_Weights), ("roi", SlowFast_R50_RoI_Weights)):
        for name, record in records.__members__.items():
            if name == "DEFAULT":
                continue
            ((dataset, metrics),) = record.meta["metrics"].items()
            version = dataset.removeprefix("AVA v")
            builder = f"slowfast_acrn_ava{version.replace('.', '')}" if function == "acrn" else "slowfast_r50_roi"
            expected.append((builder, name, str(metrics["mAP"]), f"AVA {version}"))
    assert sorted(rows) == sorted(expected)
