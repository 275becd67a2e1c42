"""Label maps: which number means which action, in the text form that AVA is published with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from acrn_zoo.errors import UserError
from acrn_zoo.files import replacing

_FIELD = re.compile(r"""(\w+)\s*:\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s"'{},;]+))""")
_OPENING = re.compile(r"(?:item|label)\s*\{")
_SPACE = re.compile(r"(?:\s|[,;]|#[^\n]*)*")
_EXPECTED = 'expected blocks such as\nitem {\n  name: "stand"\n  id: 12\n}'


class LabelMapError(UserError, ValueError):
    """A label map is missing or not of the expected form."""


@dataclass(frozen=True)
class LabelMap:
    """Actions and their numbers.

    Args:
        names: id, from 1 on, to name. Kept in ascending order of the ids; gaps are allowed (AVA evaluates 60
            of its 80 ids), equal names too.

    Raises:
        LabelMapError: if there is no class, or an id is below 1.
    """

    names: Mapping[int, str]

    def __post_init__(self) -> None:
        if not self.names:
            raise LabelMapError("A label map needs at least one class")
        if (lowest := min(self.names)) < 1:
            raise LabelMapError(f"Action ids count from 1, but {self.names[lowest]!r} has the id {lowest}")
        object.__setattr__(self, "names", dict(sorted(self.names.items())))

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids, ascending."""
        return tuple(self.names)

    @property
    def num_columns(self) -> int:
        """The number of columns of logits and labels that the ids need: the action with id i is column i - 1."""
        return max(self.names)

    @property
    def categories(self) -> tuple[str, ...]:
        """The name of every column, ``num_columns`` of them; where an id is not used, the id as text."""
        return tuple(self.names.get(number, str(number)) for number in range(1, self.num_columns + 1))


def read_label_map(path: str | Path) -> LabelMap:
    """Read a label map.

    Args:
        path: a text file of blocks ``item { name: "stand" id: 12 }``, or ``label { name: ... label_id: ... }``;
            other fields (``label_type``) are ignored, and so are comments and how lines are broken and indented. A
            ``display_name`` goes before the name.

    Raises:
        LabelMapError: naming file and line, if the file is missing or of another form, an id is no whole number
            from 1 on, or stands there twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LabelMapError(f"The label map {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise LabelMapError(f"The label map {path} is not text; {_EXPECTED}") from error
    names: dict[int, str] = {}
    position = _skip_space(text, 0)
    while position < len(text):
        where = f"{path}, line {text.count(chr(10), 0, position) + 1}"
        opening = _OPENING.match(text, position)
        if opening is None:
            line = text[position:].partition("\n")[0]
            raise LabelMapError(f"{where}: {line[:60]!r} begins no class; {_EXPECTED}")
        number, name, position = _read_block(text, opening.end(), where)
        if number in names:
            raise LabelMapError(f"{where}: the id {number} stands for {names[number]!r} already, now for {name!r}")
        names[number] = name
        position = _skip_space(text, position)
    if not names:
        raise LabelMapError(f"The label map {path} names no class; {_EXPECTED}")
    return LabelMap(names)


def _skip_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return position if found is None else found.end()


def _read_block(text: str, position: int, where: str) -> tuple[int, str, int]:
    """Id and name of the block whose fields begin at ``position``, and where the text goes on behind it."""
    fields: dict[str, str] = {}
    while not text.startswith("}", position := _skip_space(text, position)):
        field = _FIELD.match(text, position)
        if field is None:
            raise LabelMapError(f"{where}: this class is not closed, or has a line that is no field; {_EXPECTED}")
        quoted = field[2] if field[2] is not None else field[3]
        fields[field[1]] = field[4] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        position = field.end()
    number = fields.get("id", fields.get("label_id"))
    name = fields.get("display_name", fields.get("name"))
    if name is None or number is None:
        raise LabelMapError(f"{where}: this class lacks a name or an id; {_EXPECTED}")
    if not re.fullmatch(r"0*[1-9]\d{0,5}", number):
        raise LabelMapError(f"{where}: the id of {name!r} is {number}, expected a whole number from 1 on")
    return int(number), name, position + 1


def write_label_map(path: str | Path, label_map: LabelMap) -> None:
    """Write a label map as AVA's, so that other programs read it too; see :func:`read_label_map`."""
    blocks = []
    for number, name in label_map.names.items():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        blocks.append(f'item {{\n  name: "{escaped}"\n  id: {number}\n}}\n')
    with replacing(Path(path)) as partial:
        partial.write_text("".join(blocks), encoding="utf-8")
