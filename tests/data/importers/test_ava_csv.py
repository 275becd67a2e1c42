"""CSV in AVA's form as the source of an import."""

from pathlib import Path

import pytest

from acrn_zoo.data.importers.ava_csv import read_ava_csv
from acrn_zoo.data.importers.marks import ImportFileError, Marks
from acrn_zoo.tables import TableError

ROWS = "kitchen,0001,0.1,0.2,0.5,0.9,12,3\nkitchen,2.5\nhall,0001,0,0,1,1,80,0\n"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "video_id,timestamp,x1,y1,x2,y2,action_id,person_id\n",
        "Video,time,xmin,ymin,xmax,ymax,label,entity_id\r\n",
        "\ufeffvideo_id,timestamp,x1,y1,x2,y2,action_id,person_id\n",
    ],
)
def test_with_and_without_header(tmp_path: Path, header: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(header + ROWS, encoding="utf-8")
    marks = Marks()
    read_ava_csv(path, marks)
    assert [(source.names, source.has_fractions) for source in marks.sources] == [
        (("kitchen",), True),
        (("hall",), True),
    ]
    table = marks.table().fillna(-1)
    assert table[["source", "seconds", "x1", "y1", "x2", "y2", "person_id"]].values.tolist() == [
        [0, 1, 0.1, 0.2, 0.5, 0.9, 3],
        [0, 2.5, -1, -1, -1, -1, -1],
        [1, 1, 0, 0, 1, 1, 0],
    ]
    assert [marks.states[number].label if number >= 0 else None for number in table["state"]] == ["12", None, "80"]
    assert marks.labels_are_ids


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("video_id,timestamp,y1,x1,y2,x2,action_id\n" + ROWS, ImportFileError, r"line 1: column 3 is called 'y1'"),
        ("kitchen,1,10,20,50,90,12\n", ImportFileError, r"row 1: the box is \[10.0, 20.0, .*expected fractions"),
        ("kitchen,one,0,0,1,1,12\n", TableError, r"own.csv, line 1, column 2 \(timestamp\): 'one'"),
        (
            "video_id,timestamp,x1,y1,x2,y2,action_id\nkitchen,1,0,0,1,1,walk\n",
            ImportFileError,
            r"/own.csv, line 2, column 7 \(action_id\): 'walk'",
        ),
    ],
)
def test_errors(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_ava_csv(path, Marks())


def test_error_of_a_headed_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("video_id,timestamp,x1,y1,x2,y2,action_id\nkitchen,1,0,0,1,1,walk\n")
    with pytest.raises(ImportFileError) as caught:
        read_ava_csv(path, Marks())
    assert str(caught.value).startswith(f"{path}, line 2")


def test_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="nowhere.csv cannot be read"):
        read_ava_csv(tmp_path / "nowhere.csv", Marks())
