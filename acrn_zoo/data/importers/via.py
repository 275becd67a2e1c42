"""Projects and exports of the VGG Image Annotator: VIA 1 and 2 (pictures) and VIA 3 (videos).

VIA 2 annotates pictures; which frame of which video a picture is, its name says (``kitchen_000012.jpg``,
``kitchen/000012.jpg``). VIA 3 annotates videos: a region ``xy`` at a second ``z``, a temporal segment (two
seconds, no region), or a region of a picture. Attributes are chosen from options; a region's are what a person
does. A segment does not say whom it is about: its actions are given to the person who is alone in the picture.
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from acrn_zoo.data.importers.coco import as_attributes, as_person_id, is_number, read_json
from acrn_zoo.data.importers.marks import (
    ImportFileError,
    Marks,
    PictureSources,
    Source,
    State,
    split_picture_name,
    stem,
)

_CSV_FIELDS = ("filename", "region_shape_attributes", "region_attributes")
_VIA3_FIELDS = ("metadata_id", "file_list", "flags", "temporal_coordinates", "spatial_coordinates", "metadata")
_RECTANGLES = (2, 8)  # drawn by its corner and size, or by its extreme points
_PERSON_ATTRIBUTES = frozenset(("person", "person_id", "track", "track_id", "id"))
_EXPECTED = "expected a project or an export of the VGG Image Annotator"


def read_via(path: Path, marks: Marks) -> None:
    """Read one file.

    Args:
        path: JSON (project or annotations) or CSV.
        marks: takes the boxes.

    Raises:
        ImportFileError: naming the entry or line, if it is not of that form.
    """
    if path.suffix.lower() != ".json" and not _is_json(path):
        _read_csv(path, marks)
        return
    content = read_json(path)
    if isinstance(content, dict) and "metadata" in content and "file" in content:
        _Project3(path, marks, content).read()
        return
    pictures = content.get("_via_img_metadata", content) if isinstance(content, dict) else None
    if not isinstance(pictures, dict):
        raise ImportFileError(f"{path} is JSON of another form, {_EXPECTED}")
    reader = _Pictures(path, marks)
    for key, picture in pictures.items():
        if not isinstance(picture, dict) or "filename" not in picture or "regions" not in picture:
            raise ImportFileError(f"{path}: {key!r} has no filename and regions, {_EXPECTED}")
        name, regions = picture["filename"], picture["regions"]
        regions = list(regions.values()) if isinstance(regions, dict) else regions  # VIA 1
        if not isinstance(name, str) or not isinstance(regions, list):
            raise ImportFileError(
                f"{path}: {key!r} has the filename {name!r:.80} and the regions {regions!r:.80}, expected a text and "
                "a list"
            )
        for index, region in enumerate(regions):
            where = f"{path}: {name}, region {index}"
            _require_object(region, where)
            shape, attributes = region.get("shape_attributes", {}), region.get("region_attributes", {})
            _require_object(shape, f"{where}, shape_attributes")
            _require_object(attributes, f"{where}, region_attributes")
            reader.add(name, shape, attributes, where, index)
        if not regions:
            reader.sources.leave_out(name, f"{path}: {name}")


def _require_object(value: Any, where: str) -> None:  # noqa: ANN401 - any JSON
    if not isinstance(value, dict):
        raise ImportFileError(f"{where} is {value!r:.80}, expected a JSON object of names and values")


def _is_json(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{")


class _Pictures:
    """Regions of pictures of VIA 1 and 2."""

    def __init__(self, path: Path, marks: Marks) -> None:
        self._path = path
        self._marks = marks
        self.sources = PictureSources(path, marks)

    def add(self, name: str, shape: Mapping[str, Any], attributes: Mapping[str, Any], where: str, line: int) -> None:
        """Take a region in."""
        if shape.get("name") != "rect":
            self._marks.leave_out(f"shapes that are no boxes ({shape.get('name')})", where)
            return
        source, frame = self.place(name, where)
        box = _corners([shape.get(side) for side in ("x", "y", "width", "height")], where)
        _mark(self._marks, source, box, as_attributes(attributes), line=line, frame=frame)

    def place(self, name: str, where: str) -> tuple[int, int]:
        """Numbers of the source and of the frame that a picture's name says."""
        found = split_picture_name(name)
        if found is None:
            raise ImportFileError(f"{where}: {name!r} has no frame number, expected the like of kitchen_000012.jpg")
        names, frame = found
        return self.sources.place(names, frame), frame


def _mark(
    marks: Marks, source: int, box: tuple[float, ...], attributes: tuple[tuple[str, str], ...], **place: float
) -> None:
    person = next((value for name, value in attributes if name.lower() in _PERSON_ATTRIBUTES), None)
    others = tuple(entry for entry in attributes if entry[0].lower() not in _PERSON_ATTRIBUTES)
    frame, seconds = place.get("frame", math.nan), place.get("seconds", math.nan)
    marks.add(
        source,
        box,
        State(None, others),
        line=int(place["line"]),
        frame=frame,
        seconds=seconds,
        person_id=as_person_id(person),
    )


def _corners(sides: list[Any], where: str) -> tuple[float, float, float, float]:
    if len(sides) != 4 or not all(map(is_number, sides)):
        raise ImportFileError(f"{where}: the box is {sides}, expected the 4 numbers x, y, width, height")
    x, y, width, height = sides
    return x, y, x + width, y + height


def _read_csv(path: Path, marks: Marks) -> None:
    """VIA 1 and 2 have one line of names, VIA 3 has comments, one of which holds the attributes."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            if first.startswith("#") and "filename" not in first:
                _read_csv3(path, marks, file)
            else:
                _read_csv2(path, marks, file)
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ImportFileError(f"{path} is not a CSV file ({error})") from error


def _read_csv2(path: Path, marks: Marks, file: Iterator[str]) -> None:
    reader = csv.reader(file)
    header = [name.lstrip("#").strip() for name in next(reader, [])]
    if missing := [name for name in _CSV_FIELDS if name not in header]:
        raise ImportFileError(f"{path}, line 1: there is no column {missing[0]!r}, {_EXPECTED}")
    pictures = _Pictures(path, marks)
    columns = [header.index(name) for name in _CSV_FIELDS]
    for cells in filter(None, reader):
        where = f"{path}, line {reader.line_num}"
        if len(cells) != len(header):
            raise ImportFileError(f"{where}: {len(cells)} columns, expected {len(header)}")
        name, shape, attributes = (cells[column] for column in columns)
        if shape.strip() in ("", "{}"):
            pictures.sources.leave_out(name, where)
        else:
            pictures.add(name, _object(shape, where), _object(attributes or "{}", where), where, reader.line_num)


def _read_csv3(path: Path, marks: Marks, file: Iterator[str]) -> None:
    attributes: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    files: dict[str, Any] = {}
    views: dict[str, Any] = {}
    reader = csv.reader(line if not line.startswith("#") else _comment(line, attributes, path) for line in file)
    for cells in filter(None, reader):
        where = f"{path}, line {reader.line_num}"
        if len(cells) < len(_VIA3_FIELDS):
            raise ImportFileError(f"{where}: {len(cells)} columns, expected {','.join(_VIA3_FIELDS)}")
        key, names, _, z, xy, values = cells[: len(_VIA3_FIELDS)]
        listed = _json(names, where)
        name = listed[0] if isinstance(listed, list) and listed else None
        if not isinstance(name, str):
            raise ImportFileError(f"{where}: file_list is {names!r}, expected a list with one file name")
        # no type is stated: a picture has no second
        files[name] = {"fname": name, "type": 4 if split_picture_name(name) is None or _json(z, where) else 2}
        views[name] = {"fid_list": [name]}
        rows[f"{key} (line {reader.line_num})"] = {
            "vid": name,
            "z": _json(z, where),
            "xy": _json(xy, where),
            "av": _object(values, where),
        }
    content = {"attribute": attributes, "file": files, "view": views, "metadata": rows}
    _Project3(path, marks, content).read()


def _comment(line: str, attributes: dict[str, Any], path: Path) -> str:
    name, _, value = line.lstrip("# ").partition("=")
    if name.strip() in ("ATTRIBUTE", "ATTRIBUTES"):
        attributes.update(_object(value.strip(), str(path)))
    return "\n"


def _json(text: str, where: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(text)
    except ValueError as error:
        raise ImportFileError(f"{where}: {text!r} is not JSON, which VIA writes into its cells") from error


def _object(text: str, where: str) -> dict[str, Any]:
    value = _json(text, where)
    if not isinstance(value, dict):
        raise ImportFileError(f"{where}: {text!r}, expected a JSON object")
    return value


class _Project3:
    """A project of VIA 3."""

    def __init__(self, path: Path, marks: Marks, content: Mapping[str, Any]) -> None:
        self._path = path
        self._marks = marks
        self._content = content
        self._sources: dict[str, int] = {}
        self._pictures = _Pictures(path, marks)
        self.segments: list[tuple[int, float, float, tuple[tuple[str, str], ...]]] = []

    def read(self) -> None:
        """Take all regions in."""
        boxes = []
        for name in ("metadata", "attribute", "file", "view"):
            _require_object(self._content.get(name, {}), f"{self._path}: {name}")
        for index, (key, row) in enumerate(self._content["metadata"].items()):
            where = f"{self._path}: metadata {key}"
            if not isinstance(row, dict) or not all(isinstance(row.get(name), list) for name in ("z", "xy")):
                raise ImportFileError(f"{where} has no lists z and xy, {_EXPECTED}")
            file = self._file(row, where)
            attributes = self._attributes(row.get("av", {}), where)
            times = [self._second(value, where) for value in row["z"]]
            if row["xy"]:
                boxes.append((file, times, row["xy"], attributes, where, index))
            elif len(times) == 2 and attributes:
                self.segments.append((self._video(file), times[0], times[1], attributes))
            else:
                self._marks.leave_out("attributes of whole files", where)
        for box in boxes:
            self._add(*box)
        self._give_segments()

    def _add(
        self,
        file: Mapping[str, Any],
        times: list[float],
        xy: list[Any],
        attributes: tuple[tuple[str, str], ...],
        where: str,
        index: int,
    ) -> None:
        if xy[0] not in _RECTANGLES:
            self._marks.leave_out(f"shapes that are no boxes (VIA shape {xy[0]})", where)
            return
        box = _corners(xy[1:], where)
        if len(times) == 1:
            _mark(self._marks, self._video(file), box, attributes, line=index, seconds=times[0])
        elif times:
            self._marks.leave_out("regions that last for a time", where)
        else:
            source, frame = self._pictures.place(str(file.get("fname")), where)
            _mark(self._marks, source, box, attributes, line=index, frame=frame)

    def _give_segments(self) -> None:
        """Add what a segment says to the boxes in it that are alone in their picture."""
        if not self.segments:
            return
        table = self._marks.table()
        alone = table[~table.duplicated(["source", "seconds"], keep=False)]
        for source, start, end, attributes in self.segments:
            inside = table[(table["source"] == source) & table["seconds"].between(start, end)].index
            lonely = inside.intersection(alone.index)
            for row in lonely:
                self._marks.extend_state(int(row), attributes)
            where = f"{self._path}: {stem(self._marks.sources[source].names[0])}, {start:g} to {end:g} s"
            if len(lonely) < len(inside):
                self._marks.leave_out("temporal segments with several people in them: whose action is it?", where)
            elif not len(inside):
                self._marks.leave_out("temporal segments without a box in them", where)

    def _file(self, row: Mapping[str, Any], where: str) -> Mapping[str, Any]:
        try:
            view = self._content["view"][str(row["vid"])]
            file = self._content["file"][str(view["fid_list"][0])]
        except (KeyError, IndexError, TypeError):
            raise ImportFileError(f"{where} is of view {row.get('vid')!r}, which the file does not have") from None
        _require_object(file, f"{where}: its file")
        return file

    def _video(self, file: Mapping[str, Any]) -> int:
        name = str(file.get("fname") or file.get("src"))
        if name not in self._sources:
            self._sources[name] = self._marks.add_source(
                Source(self._path, (name, self._path.stem), entry="metadata entry")
            )
        return self._sources[name]

    def _second(self, value: Any, where: str) -> float:  # noqa: ANN401 - any JSON
        if not is_number(value) or value < 0:
            raise ImportFileError(f"{where}: z is {value!r}, expected seconds")
        return float(value)

    def _attributes(self, values: Mapping[str, Any], where: str) -> tuple[tuple[str, str], ...]:
        """Names and chosen options; several options of a checkbox stand in one text, split by commas."""
        entries = []
        _require_object(values, f"{where}, av")
        for key, value in values.items():
            attribute = self._content.get("attribute", {}).get(str(key))
            if attribute is None:
                raise ImportFileError(f"{where} has a value of attribute {key!r}, which the file does not have")
            _require_object(attribute, f"{self._path}: attribute {key}")
            options = attribute.get("options") or {}
            _require_object(options, f"{self._path}: attribute {key}, options")
            chosen = [part.strip() for part in str(value).split(",")] if options else [str(value)]
            entries += [(str(attribute.get("aname")), str(options.get(option, option))) for option in chosen]
        return tuple(sorted(entries))
