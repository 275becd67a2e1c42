"""Files in AVA's form: every number as it stands there, every fault with its place."""

import gzip
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from acrn_zoo.tables import (
    ANNOTATION_COLUMNS,
    PREDICTION_COLUMNS,
    PROPOSAL_COLUMNS,
    TableError,
    read_annotations,
    read_keyframes,
    read_predictions,
    read_proposals,
    timestamp_key,
    write_table,
)

Reader = Callable[[Path], pd.DataFrame]

ROW = "film,0902,0.1,0.2,0.5,0.9,12,3"
FULL = ["film", 902.0, 0.1, 0.2, 0.5, 0.9, 12, 3.0]
NAN = float("nan")


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def values(table: pd.DataFrame) -> list[list[object]]:
    return [list(row) for row in table.astype(object).itertuples(index=False)]


def same(first: list[list[object]], second: list[list[object]]) -> bool:
    return str(first) == str(second)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (ROW, [FULL]),
        (f"{ROW}\n{ROW}\n", [FULL, FULL]),
        (f"{ROW}\r\n{ROW}\r\n", [FULL, FULL]),
        (f"{ROW}\r{ROW}\r", [FULL, FULL]),
        (f"\n\n{ROW}\n\n{ROW}\n\n", [FULL, FULL]),
        (f"\ufeff{ROW}\n", [FULL]),
        ("film,0902,0.1,0.2,0.5,0.9,12\n", [[*FULL[:7], NAN]]),
        ("film,0902\n", [["film", 902.0, NAN, NAN, NAN, NAN, 0, NAN]]),
        (f"film,0902\n{ROW}\n", [["film", 902.0, NAN, NAN, NAN, NAN, 0, NAN], FULL]),
        (f"{ROW}\nfilm,0902,0.1,0.2,0.5,0.9,12\n", [FULL, [*FULL[:7], NAN]]),
        ('"film",0902,0.1,0.2,"0.5",0.9,12,3\n', [FULL]),
        ("film, 0902 ,0.1, 0.2,0.5,0.9, 12,3\n", [FULL]),
        ("film,9.02e2,.1,0.20000,5e-1,+0.9,12.0,03\n", [FULL]),
        ('"a, ""b""",0902,0.1,0.2,0.5,0.9,12,3\n', [['a, "b"', *FULL[1:]]]),
        ("-5KQ66BBWC4,0902,0.1,0.2,0.5,0.9,12,3\n", [["-5KQ66BBWC4", *FULL[1:]]]),
        ("NA,0902,0.1,0.2,0.5,0.9,12,3\nnan,0902\n", [["NA", *FULL[1:]], ["nan", 902.0, NAN, NAN, NAN, NAN, 0, NAN]]),
        ("007,0902,0.1,0.2,0.5,0.9,12,3\n", [["007", *FULL[1:]]]),
        ("caf\xe9 \u4f60,0902,0.1,0.2,0.5,0.9,12,3\n", [["caf\xe9 \u4f60", *FULL[1:]]]),
        ("film,0902,-3,20,512.5,900,80,-1\n", [["film", 902.0, -3.0, 20.0, 512.5, 900.0, 80, -1.0]]),
        ("film,-0.5,0.1,0.2,0.5,0.9,12,3\n", [["film", -0.5, *FULL[2:]]]),
        ("", []),
        ("\n\n", []),
    ],
)
def test_rows(tmp_path: Path, content: str, expected: list[list[object]]) -> None:
    table = read_annotations(write(tmp_path, content))
    assert tuple(table.columns) == ANNOTATION_COLUMNS
    assert same(values(table), expected)
    assert isinstance(table["video_id"].dtype, pd.CategoricalDtype)
    numbers = {name: table[name].dtype for name in ANNOTATION_COLUMNS[1:]}
    assert numbers.pop("action_id") == np.int64
    assert set(numbers.values()) == {np.dtype(np.float64)}


@pytest.mark.parametrize(
    ("row", "score"),
    [
        (ROW, 3.0),
        ("film,0902,0.1,0.2,0.5,0.9,12", 1.0),
        ("film,0902,0.1,0.2,0.5,0.9,12,-1e-3", -0.001),
        ("film,0902", NAN),
    ],
)
def test_scores_of_predictions(tmp_path: Path, row: str, score: float) -> None:
    """A row without a score has the score 1, as the official evaluation takes it; a keyframe has none."""
    table = read_predictions(write(tmp_path, f"{row}\n"))
    assert tuple(table.columns) == PREDICTION_COLUMNS
    assert str(table["score"].tolist()) == str([score])


def test_proposals(tmp_path: Path) -> None:
    table = read_proposals(write(tmp_path, "a,1,0,0,1,1,0.5\na,1,0,0,1,1\na,2\n"))
    assert tuple(table.columns) == PROPOSAL_COLUMNS
    assert str(table["score"].tolist()) == str([0.5, 1.0, NAN])
    assert str(table["x2"].tolist()) == str([1.0, 1.0, NAN])


def test_keyframes(tmp_path: Path) -> None:
    table = read_keyframes(write(tmp_path, "a,0902\nb,1.5\na,0903\n"))
    assert values(table) == [["a", 902.0], ["b", 1.5], ["a", 903.0]]


def test_videos_in_the_order_of_the_file(tmp_path: Path) -> None:
    table = read_keyframes(write(tmp_path, "b,1\na,1\nb,2\n"))
    assert list(table["video_id"].cat.categories) == ["b", "a"]


EMPTY = r": '', expected a finite number"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("film,x,0.1,0.2,0.5,0.9,12,3", r", column 2 \(timestamp\): 'x', expected a finite number"),
        ("film,nan,0.1,0.2,0.5,0.9,12,3", r", column 2 \(timestamp\): 'nan', expected a finite number"),
        ("film,inf", r", column 2 \(timestamp\): 'inf', expected a finite number"),
        ("film,1e13,0.1,0.2,0.5,0.9,12,3", r", column 2 \(timestamp\): '1e13'"),
        ("film,0:15:02,0.1,0.2,0.5,0.9,12,3", r", column 2 \(timestamp\): '0:15:02'"),
        ("film,0902,a,0.2,0.5,0.9,12,3", r", column 3 \(x1\): 'a', expected a finite number"),
        ("film,0902,0.1,,0.5,0.9,12,3", r", column 4 \(y1\)" + EMPTY),
        ("film,0902,0.1,0.2,nan,0.9,12,3", r", column 5 \(x2\): 'nan', expected a finite number"),
        ("film,0902,0.1,0.2,0.5,-inf,12,3", r", column 6 \(y2\): '-inf', expected a finite number"),
        ("film,0902,0.1,0.2,0.5,1e999,12,3", r", column 6 \(y2\): '1e999', expected a finite number"),
        ("film,0902,0.1,0.2,0.5,0.9,walk,3", r", column 7 \(action_id\): 'walk', expected a whole number"),
        ("film,0902,0.1,0.2,0.5,0.9,1.5,3", r", column 7 \(action_id\): '1.5', expected a whole number"),
        ("film,0902,0.1,0.2,0.5,0.9,,3", r", column 7 \(action_id\): '', expected a whole number"),
        ("film,0902,0.1,0.2,0.5,0.9,inf,3", r", column 7 \(action_id\): 'inf', expected a whole number"),
        ("film,0902,0.1,0.2,0.5,0.9,3000000000,3", r", column 7 \(action_id\): '3000000000'"),
        ("film,0902,0.1,0.2,0.5,0.9,12,ann", r", column 8 \(person_id\): 'ann', expected a finite number"),
        ("film,0902,0.1,0.2,0.5,0.9,12,", r", column 8 \(person_id\)" + EMPTY),
        ("film,0902,,,,,,", r", column 3 \(x1\)" + EMPTY),
        ("film,,0.1,0.2,0.5,0.9,12,3", r", column 2 \(timestamp\)" + EMPTY),
        (",0902,0.1,0.2,0.5,0.9,12,3", r", column 1 \(video_id\): empty, expected the name of a video"),
        ("film", r": 1 columns, expected 2, 7 or 8; expected the columns video_id,timestamp,x1"),
        ("film,0902,0.1", r": 3 columns, expected 2, 7 or 8"),
        ("film,0902,0.1,0.2,0.5,0.9", r": 6 columns, expected 2, 7 or 8"),
        ("film,0902,0.1,0.2,0.5,0.9,12,3,4", r": 9 columns, expected 2, 7 or 8"),
        ("film,0902,0.1,0.2,0.5,0.9,12,3,4,5,6", r": 11 columns, expected 2, 7 or 8"),
        (
            "film;0902;0.1;0.2;0.5;0.9;12;3",
            r": 1 columns \(it is separated by semicolons, not by commas\)",
        ),
        ("video_id,timestamp,x1,y1,x2,y2,action_id,person_id", r": this is a header.*delete the line"),
        ("Video_ID, Timestamp, X1, Y1, X2, Y2, Action_ID", r": this is a header.*delete the line"),
        ("film,0902,0.1,0.2,0.5,0x1,12,3", r", column 6 \(y2\): '0x1'"),
        ("film,0902,0.1,0.2,0.5,0.9,12,3 4", r", column 8 \(person_id\): '3 4'"),
    ],
)
@pytest.mark.parametrize("line", [1, 2, 1000])
def test_faults_and_their_places(tmp_path: Path, row: str, message: str, line: int) -> None:
    path = write(tmp_path, "".join(f"{ROW}\n" for _ in range(line - 1)) + f"{row}\n{ROW}\n")
    with pytest.raises(TableError, match=f"line {line}{message}") as caught:
        read_annotations(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_numbers_count_all_lines(tmp_path: Path, end: str) -> None:
    """Empty ones, those inside quotes, and whatever ends them."""
    quoted = '"two\nlines",0902,0.1,0.2,0.5,0.9,12,3'
    path = write(tmp_path, end.join([ROW, "", quoted, "", "film,x", ""]))
    with pytest.raises(TableError, match="line 6, column 2"):
        read_annotations(path)


def test_first_fault_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, f"{ROW}\nfilm,0902,0.1,0.2,inf,0.9,12,3\nfilm,x\n")
    with pytest.raises(TableError, match=r"line 2, column 5 \(x2\): 'inf'"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("reader", "row", "message"),
    [
        (read_predictions, "a,1,0,0,1,1,2,high", r"column 8 \(score\): 'high'"),
        (read_predictions, "a,1,0,0,1,1,2,nan", r"column 8 \(score\): 'nan'"),
        (read_predictions, "a,1,0,0,1,1,2,", r"column 8 \(score\): ''"),
        (read_proposals, "a,1,0,0,1,1,0.5,7", "8 columns, expected 2, 6 or 7; .* video_id,timestamp,x1,y1,x2,y2,score"),
        (read_proposals, "a,1,0,0,1,x,0.5", r"column 6 \(y2\): 'x'"),
        (read_keyframes, "a,1,2", "3 columns, expected 2; expected the columns video_id,timestamp, without"),
        (read_keyframes, "a", "1 columns, expected 2"),
        (read_keyframes, "video_id,timestamp", "this is a header"),
        (read_keyframes, "a,", r"column 2 \(timestamp\): ''"),
    ],
)
def test_faults_of_other_files(tmp_path: Path, reader: Reader, row: str, message: str) -> None:
    with pytest.raises(TableError, match=f"line 1[:,] {message}".replace("[:,] column", ", column")):
        reader(write(tmp_path, f"{row}\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("caf\xe9,0902\n".encode("latin-1"), "is not text"),
        (ROW.encode("utf-16"), "is not text"),
        (gzip.compress(ROW.encode()), "is not text"),
        (b"\x80\x04\x95 pickled", "is not text"),
        (b'"film,0902,0.1,0.2,0.5,0.9,12,3\nfilm,0902\n', "columns, expected"),
    ],
)
def test_not_a_table(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_annotations(write(tmp_path, content))


def test_not_readable(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="nowhere.csv cannot be read .No such file"):
        read_annotations(tmp_path / "nowhere.csv")
    with pytest.raises(TableError, match="cannot be read .Is a directory"):
        read_annotations(tmp_path)


def decimals(count: int) -> list[str]:
    """Texts of numbers that are hard to read: many digits, halves between two floats, exponents."""
    dice = random.Random(1)
    texts = [f"0.{dice.randrange(10**digits):0{digits}d}" for digits in (3, 6, 17, 18, 25) for _ in range(count)]
    texts += [repr(dice.uniform(0, 2000)) for _ in range(count)]
    texts += [f"{dice.randrange(10**18)}e{dice.randrange(-30, -10)}" for _ in range(count)]
    for _ in range(count):
        low = dice.random()
        middle = (int(low * 2**60) * 2 + int(np.nextafter(low, 1) * 2**60) - int(low * 2**60)) * 5**61
        texts.append(f"0.{middle:061d}")
    return texts


def test_numbers_are_read_as_python_reads_them(tmp_path: Path) -> None:
    texts = decimals(500)
    path = write(tmp_path, "".join(f"a,{text},{text},{text},{text},{text},1,{text}\n" for text in texts))
    table = read_predictions(path)
    expected = [float(text) for text in texts]
    for name in ("timestamp", "x1", "y1", "x2", "y2", "score"):
        assert table[name].tolist() == expected, name


def test_round_trip_of_any_numbers(tmp_path: Path) -> None:
    dice = random.Random(2)
    count = 300
    given = pd.DataFrame(
        {
            "video_id": [dice.choice(["a", "-b_1", 'c,"d"', "caf\xe9", "NA", "12"]) for _ in range(count)],
            "timestamp": [dice.choice([902.0, 0.0, dice.random() * 1e4, 1 / 3]) for _ in range(count)],
            **{name: [dice.choice([0.0, 1.0, dice.random()]) for _ in range(count)] for name in ("x1", "y1")},
            **{name: [dice.uniform(-1e-9, 1e300) for _ in range(count)] for name in ("x2", "y2")},
            "action_id": [dice.randrange(1, 81) for _ in range(count)],
            "score": [dice.choice([dice.random(), 1.0, -5.0]) for _ in range(count)],
        }
    )
    path = tmp_path / "out.csv"
    write_table(path, given)
    read = read_predictions(path)
    assert same(values(read), values(given))
    write_table(tmp_path / "again.csv", read)
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (
            read_annotations,
            "film,0902,0.1,0.2,0.5,0.9,12,3\nfilm,0903\nfilm,904.5,0,0,1,1,80\n",
        ),
        (read_predictions, "film,0902,0.1,0.2,0.5,0.9,12,0.25\nfilm,0903\nfilm,1798,0,0,1,1,80,1\n"),
        (read_proposals, "film,0902,0.1,0.2,0.5,0.9,0.25\nfilm,0903\n"),
        (read_keyframes, "film,0902\nother,12345.000001\nother,-001\n"),
        (read_annotations, ""),
    ],
)
def test_text_is_written_as_it_was(tmp_path: Path, reader: Reader, text: str) -> None:
    path = write(tmp_path, text)
    write_table(tmp_path / "out.csv", reader(path))
    assert (tmp_path / "out.csv").read_text() == text


def test_writing_replaces_whole(tmp_path: Path) -> None:
    path = write(tmp_path, "film,0902\n")
    broken = pd.DataFrame({"video_id": ["a", "b"], "timestamp": [1.0, "x"]})
    with pytest.raises(ValueError, match="x"):
        write_table(path, broken)
    assert path.read_text() == "film,0902\n"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_leaves_the_table_alone(tmp_path: Path) -> None:
    table = read_annotations(write(tmp_path, f"{ROW}\nfilm,1\n"))
    before = table.copy(deep=True)
    write_table(tmp_path / "out.csv", table)
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize("name", ["ava_val_v2.1.csv", "mmaction2_ava_dataset"])
def test_real_annotations(shared: Path, tmp_path: Path, name: str) -> None:
    place = shared / "data" / "ava" / name
    paths = [place] if place.is_file() else sorted(place.glob("*.csv"))
    for path in paths:
        if "excluded" in path.name or "annotated" in path.name:
            continue
        table = read_annotations(path)
        lines = [line.split(",") for line in path.read_text().split()]
        assert len(table) == len(lines)
        assert table["video_id"].tolist() == [cells[0] for cells in lines]
        assert table["x2"].tolist() == [float(cells[4]) for cells in lines]
        assert table["action_id"].tolist() == [int(cells[6]) for cells in lines]
        write_table(tmp_path / "out.csv", table)
        pd.testing.assert_frame_equal(read_annotations(tmp_path / "out.csv"), table)


def test_real_keyframes(shared: Path, tmp_path: Path) -> None:
    for path in sorted((shared / "data" / "ava").glob("*excluded_timestamps*.csv")):
        table = read_keyframes(path)
        assert len(table) == len(path.read_text().split())
        write_table(tmp_path / "out.csv", table)
        assert (tmp_path / "out.csv").read_text().split() == path.read_text().split()


def official(seconds: float) -> int:
    """The official evaluation compares moments as text with 6 decimals."""
    return int(f"{seconds:.6f}".replace(".", ""))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0902", 902_000_000),
        ("902.0", 902_000_000),
        ("902.0000004", 902_000_000),
        ("902.0000006", 902_000_001),
        ("902.5", 902_500_000),
        ("0.0000005", 0),  # a little below the half, as a float
        ("0.0000015", 2),  # a little below or above: printing knows
        ("0.5000005", 500_000),
        ("-0.0000015", -2),
        ("0", 0),
    ],
)
def test_timestamp_key(text: str, expected: int) -> None:
    assert timestamp_key([float(text)]).tolist() == [expected] == [official(float(text))]


@pytest.mark.parametrize("largest", [1, 100, 2000, 100_000])
def test_timestamp_key_is_what_printing_says(largest: int) -> None:
    """At halves and right beside them, where a product's own rounding would decide wrongly."""
    dice = random.Random(largest)
    seconds = [dice.uniform(-largest, largest) for _ in range(2000)]
    for _ in range(2000):
        half = (dice.randrange(largest * 10**6) + 0.5) / 1e6
        seconds += [half, float(np.nextafter(half, 0)), float(np.nextafter(half, np.inf)), -half]
    seconds += [number / 2**7 for number in range(2000)]  # exact halves: 7 binary digits are 7 decimals that end in 5
    assert timestamp_key(seconds).tolist() == [official(value) for value in seconds]


def test_timestamp_key_of_nothing() -> None:
    key = timestamp_key([])
    assert key.dtype == np.int64
    assert key.shape == (0,)


@pytest.mark.parametrize("word", ["True", "false", "TRUE"])
def test_words_for_truth_are_no_numbers(tmp_path: Path, word: str) -> None:
    with pytest.raises(TableError, match=rf"line 1, column 8 \(score\): '{word}'"):
        read_predictions(write(tmp_path, f"film,0902,0.1,0.2,0.5,0.9,12,{word}\n"))


@pytest.mark.parametrize("number", ["1_000", "\u0661"])
def test_what_only_python_takes_for_a_number_is_named(tmp_path: Path, number: str) -> None:
    with pytest.raises(TableError, match=r"line 2, column 2 \(timestamp\)"):
        read_annotations(write(tmp_path, f"{ROW}\nfilm,{number}\n"))


def test_comma_at_the_end_is_a_column_too_many(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="line 2: 9 columns, expected 2, 7 or 8"):
        read_annotations(write(tmp_path, f"{ROW}\n{ROW},\n"))


@pytest.mark.parametrize("column", ["timestamp", "x2", "score"])
def test_infinity_is_not_written(tmp_path: Path, column: str) -> None:
    table = read_predictions(write(tmp_path, f"{ROW}\n"))
    table[column] = np.inf
    with pytest.raises(TableError, match=f"the column {column} holds a number that is not finite"):
        write_table(tmp_path / "out.csv", table)
    assert not (tmp_path / "out.csv").exists()


def test_a_box_without_an_end_is_not_written(tmp_path: Path) -> None:
    table = read_predictions(write(tmp_path, f"{ROW}\nfilm,1\n"))
    table.loc[0, "x2"] = np.nan
    with pytest.raises(TableError, match="the column x2 holds a number that is not finite"):
        write_table(tmp_path / "out.csv", table)


def test_names_with_commas_and_quotes_come_back(tmp_path: Path) -> None:
    table = read_predictions(write(tmp_path, f"{ROW}\n"))
    table["video_id"] = pd.Categorical(['a,"b'])
    write_table(tmp_path / "out.csv", table)
    assert read_predictions(tmp_path / "out.csv")["video_id"].tolist() == ['a,"b']


def test_words_for_truth_after_a_keyframe_alone(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"line 2, column 8 \(score\): 'True'"):
        read_predictions(write(tmp_path, "film,0901\nfilm,0902,0.1,0.2,0.5,0.9,12,True\n"))


def test_a_name_with_a_line_break_comes_back(tmp_path: Path) -> None:
    table = read_predictions(write(tmp_path, f"{ROW}\n"))
    table["video_id"] = pd.Categorical(["two\nlines"])
    write_table(tmp_path / "out.csv", table)
    assert read_predictions(tmp_path / "out.csv")["video_id"].tolist() == ["two\nlines"]
