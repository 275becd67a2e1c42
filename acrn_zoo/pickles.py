"""Pickle files of plain data, read without running anything that stands in them.

A pickle is a program: unpickling a file from elsewhere can do whatever its author liked. Datasets of this field
are nevertheless published as pickles, so here is a reader that can build plain values and NumPy arrays of numbers
and nothing else. What NumPy's own unpickling functions would do is done here, after a check of every argument;
nothing that a file names is ever imported or called.
"""

import io
import math
import pickle
import pickletools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from acrn_zoo.errors import UserError

_NUMBERS = frozenset({"?", "b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
_KEYS = (str, int, bytes)  # not tuples: the hash of deeply shared ones takes for ever
_LEAVES = (bool, int, float, str, bytes, np.ndarray, np.number, np.bool_)
_OPCODES = """
    PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT
    BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE SHORT_BINUNICODE
    BINUNICODE8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT GET BINGET
    LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL
"""
_OPCODE_NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
_ALLOWED = "None, numbers, text, bytes, lists, tuples, dictionaries and NumPy arrays of numbers"


class PickleError(UserError, ValueError):
    """A pickle file is missing, damaged, or holds more than plain data."""


def read_plain_pickle(path: str | Path, *, encoding: Literal["ASCII", "latin1"] = "ASCII") -> Any:  # noqa: ANN401
    """Read a pickle that holds plain data, without executing anything of it.

    Args:
        path: the file.
        encoding: how the text of a file that Python 2 wrote is encoded; ``"latin1"`` if it holds arrays.

    Returns:
        What the file holds: None, bool, int, float, str, bytes, lists, tuples, dictionaries (with keys of str,
        int or bytes) and NumPy arrays and scalars of bool, integer or floating-point type.

    Raises:
        PickleError: naming the file, if it cannot be read, is damaged or no pickle, or asks for anything else,
            which is named and was not executed.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PickleError(f"The pickle {path} cannot be read ({error.strerror or error})") from error
    try:
        value = _PlainUnpickler(data, encoding).load()
        _require_plain(value)
    except _ForbiddenError as error:
        raise PickleError(
            f"The pickle {path} asks for {error}, which was not executed: only {_ALLOWED} are read. "
            "If you trust the file, convert it to such data first"
        ) from None
    except UnicodeDecodeError as error:
        raise PickleError(
            f'The pickle {path} holds text that is not {encoding}; if Python 2 wrote it, read it with encoding="latin1"'
        ) from error
    except Exception as error:  # a damaged file can fail in any way
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise PickleError(f"The file {path} is damaged, cut off or no pickle ({reason}); fetch it again") from error
    return value


class _ForbiddenError(Exception):
    """The file asks for something that is not plain data; the message names it."""


class _Global:
    """Stands for a name that the file mentions; the thing itself is never touched."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class _Dtype:
    """Stands for a NumPy dtype of plain numbers while it is being built."""

    __slots__ = ("value",)

    def __init__(self, value: np.dtype[Any]) -> None:
        self.value = value


class _Dispatch(dict[int, Callable[[Any], None]]):
    """What to do at each opcode."""

    def __missing__(self, code: int) -> Callable[[Any], None]:
        if code not in _OPCODE_NAMES:
            raise ValueError(f"no pickle has the instruction 0x{code:02x}")
        raise _ForbiddenError(f"the pickle instruction {_OPCODE_NAMES[code]}")


# The implementation in C cannot be told which opcodes to refuse, and one number in a file of 20 bytes makes it
# allocate gigabytes for its memo.
class _PlainUnpickler(pickle._Unpickler):
    """Python's unpickler with the opcodes that plain data needs, and arrays built by the functions below."""

    dispatch = _Dispatch(
        {code: pickle._Unpickler.dispatch[code] for code, name in _OPCODE_NAMES.items() if name in _OPCODES.split()}
    )
    stack: list[Any]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, data: bytes, encoding: str) -> None:
        super().__init__(io.BytesIO(data), encoding=encoding)
        # All data of arrays stands in the file once, perhaps first as text; more is a trick to fill the memory.
        self._num_bytes_left = 2 * len(data)

    def find_class(self, module_name: str, global_name: str) -> Any:  # noqa: ANN401
        name = f"{module_name}.{global_name}".replace("numpy._core.", "numpy.core.")
        if name not in _CONSTRUCTORS and name != "numpy.ndarray":
            raise _ForbiddenError(f"{module_name}.{global_name}")
        return _Global(name)

    def _load_reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Global) or function.name not in _CONSTRUCTORS:
            raise _ForbiddenError(f"a call of {_name(function)}")
        self.stack.append(_CONSTRUCTORS[function.name](self, *arguments))

    def _load_build(self) -> None:
        state, value = self.stack.pop(), self.stack[-1]
        if isinstance(value, _Dtype):
            value.value = _with_byte_order(value.value, state)
        elif type(value) is np.ndarray:
            _version, shape, dtype, is_fortran, raw = state
            content = self._content(raw, dtype, shape)
            value.__setstate__((1, shape, dtype.value, bool(is_fortran), content))  # type: ignore[arg-type]
        else:
            raise _ForbiddenError(f"a change of the state of {_name(value)}")

    def _load_bytearray8(self) -> None:
        self.stack.append(self.read(int.from_bytes(self.read(8), "little")))

    def _load_dict(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self._set_items(items)

    def _load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    def _load_setitems(self) -> None:
        self._set_items(self.pop_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise _ForbiddenError(f"items of {_name(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, _KEYS):
                raise _ForbiddenError(f"a dictionary with a key of type {type(key).__name__}")
            target[key] = value

    def _dtype(self, name: str, _align: int = 0, _copy: int = 1) -> _Dtype:
        if not isinstance(name, str) or name.lstrip("<>|=") not in _NUMBERS:
            raise _ForbiddenError(f"the dtype {_name(name)}")
        return _Dtype(np.dtype(name))

    def _empty_array(self, subtype: _Global, _shape: object, _typecode: object) -> npt.NDArray[np.int8]:
        if not isinstance(subtype, _Global) or subtype.name != "numpy.ndarray":
            raise _ForbiddenError(f"an array of the type {_name(subtype)}")
        return np.empty(0, dtype=np.int8)  # whatever the arguments say: the state that follows tells all

    def _array_of_buffer(self, raw: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> npt.NDArray[Any]:
        content = self._content(raw, dtype, shape)
        flat = np.frombuffer(content, dtype=dtype.value).copy()
        return flat.reshape(shape, order="F" if order == "F" else "C")

    def _scalar(self, dtype: _Dtype, raw: bytes | str) -> Any:  # noqa: ANN401
        return np.frombuffer(self._content(raw, dtype, ()), dtype=dtype.value)[0]

    def _encode(self, text: str, encoding: str = "") -> bytes:
        if encoding not in ("latin1", "latin-1"):
            raise _ForbiddenError(f"a conversion of text to {_name(encoding)}")
        self._spend(len(text))
        return text.encode("latin1")

    def _empty_bytes(self) -> bytes:
        return b""

    def _content(self, raw: bytes | str, dtype: _Dtype, shape: tuple[int, ...]) -> bytes:
        """The bytes of an array, after a check that they are as many as its shape and dtype need."""
        if not isinstance(dtype, _Dtype):
            raise _ForbiddenError(f"an array of {_name(dtype)}")
        if not isinstance(raw, bytes | str):
            raise _ForbiddenError(f"an array made of {_name(raw)}")
        if not isinstance(shape, tuple) or len(shape) > 32 or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("the shape of an array is not a tuple of whole numbers")
        if math.prod(shape) * dtype.value.itemsize != len(raw):
            raise ValueError(f"an array of shape {shape} and type {dtype.value} is made of {len(raw)} bytes")
        self._spend(len(raw))
        return raw.encode("latin1") if isinstance(raw, str) else raw  # a text if Python 2 wrote it

    def _spend(self, num_bytes: int) -> None:
        self._num_bytes_left -= num_bytes
        if self._num_bytes_left < 0:
            raise ValueError("its arrays are larger than the whole file")

    dispatch.update(
        {
            ord(pickle.REDUCE): _load_reduce,
            ord(pickle.BUILD): _load_build,
            ord(pickle.BYTEARRAY8): _load_bytearray8,
            ord(pickle.DICT): _load_dict,
            ord(pickle.SETITEM): _load_setitem,
            ord(pickle.SETITEMS): _load_setitems,
        }
    )


_CONSTRUCTORS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": _PlainUnpickler._dtype,
    "numpy.core.multiarray._reconstruct": _PlainUnpickler._empty_array,
    "numpy.core.multiarray.scalar": _PlainUnpickler._scalar,
    "numpy.core.numeric._frombuffer": _PlainUnpickler._array_of_buffer,
    "_codecs.encode": _PlainUnpickler._encode,
    "builtins.bytes": _PlainUnpickler._empty_bytes,
    "__builtin__.bytes": _PlainUnpickler._empty_bytes,
}
"""What a file may call, and what is done instead: NumPy's functions, and how Python 3 writes bytes for Python 2."""


def _with_byte_order(dtype: np.dtype[Any], state: tuple[Any, ...]) -> np.dtype[Any]:
    """The dtype whose state a file gives: version, byte order, three times None, three sizes that follow."""
    version, byte_order, subdtype, names, fields, *_sizes = state
    is_plain = subdtype is None and names is None and fields is None and len(_sizes) == 3
    if version != 3 or byte_order not in ("<", ">", "|", "=") or not is_plain:
        raise _ForbiddenError("a dtype that is more than a kind of number")
    return dtype.newbyteorder(byte_order)


def _name(value: object) -> str:
    """What an error calls a value; never its whole text, which a few bytes of a file can make endless."""
    if isinstance(value, str):
        return repr(value[:60])
    return value.name if isinstance(value, _Global) else f"an object of type {type(value).__name__}"


def _require_plain(value: object) -> None:
    """Refuse what is fit only as a part of something else, such as a bare dtype."""
    seen: set[int] = set()
    waiting: list[Iterable[object]] = [(value,)]
    while waiting:
        for item in waiting.pop():
            if isinstance(item, list | tuple | dict):
                if id(item) not in seen:
                    seen.add(id(item))
                    waiting.append(item.values() if isinstance(item, dict) else item)
            elif item is not None and not isinstance(item, _LEAVES):
                raise _ForbiddenError(_name(item))
