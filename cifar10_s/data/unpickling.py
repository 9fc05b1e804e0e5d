"""Unpickle untrusted files of plain values and arrays of numbers, such as the CIFAR-10 batches."""

import io
import mmap
import pickle
import struct
from collections.abc import Callable, Collection
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cifar10_s.errors import SourceError, one_line, printable

# NumPy's codes of the types of numbers.
BYTES = ("u1",)
NUMBERS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


def load_plain(
    data: bytes | mmap.mmap, name: str, types: Collection[str] = BYTES, advice: str = "do not use this file"
) -> Any:
    """Read a pickle of plain values and arrays; Python 2 strings become bytes.

    Arrays may be alone, in a list, a tuple or the values of a dictionary, or in tuples of two in a list. It takes the
    memory of the arrays.

    Parameters
    ----------
    data
        The pickle, untrusted.
    name
        The file's name, for errors.
    types
        NumPy's codes of the arrays' types, some of `NUMBERS`.
    advice
        What to do if the pickle names anything else.

    Raises
    ------
    SourceError
        If it is anything else; the message names the file ``name``. Nothing that the pickle names is imported or run.
    """
    try:
        file = data if isinstance(data, mmap.mmap) else io.BytesIO(data)
        return _plain(_PlainUnpickler(file, encoding="bytes").load(), types)
    except _ForbiddenGlobalError as error:
        named = printable(str(error))[:200]
        raise SourceError(
            f"{name}: its pickle names {named}, which is not part of an array; it was not run; {advice}"
        ) from None
    except Exception as error:  # a broken pickle can raise anything
        raise SourceError(f"{name}: is not a readable pickle ({one_line(error)})") from None


class _ForbiddenGlobalError(Exception):
    pass


class _Type:
    """Stands in for ``numpy.dtype``, of which only plain numbers are needed."""

    __slots__ = ("code", "dtype")

    def __init__(self, code: object, *options: object) -> None:
        self.code = code.decode("latin1") if isinstance(code, bytes) else code
        if self.code not in NUMBERS:
            raise ValueError(f"expected an array of {', '.join(NUMBERS)}, got {code!r}")

    def __setstate__(self, state: object) -> None:
        orders = [(order, None, None, None, -1, -1, 0) for order in ("|", b"|", "<", b"<", ">", b">")]
        if not isinstance(state, tuple) or state[1:] not in orders:
            raise ValueError("expected an array type of plain numbers")
        order = state[1].decode() if isinstance(state[1], bytes) else state[1]
        self.dtype = np.dtype(f"{order}{self.code}")


class _Array:
    """Stands in for an array that is being rebuilt: NumPy itself would trust the pickle."""

    __slots__ = ("array",)

    def __init__(self, kind: object, shape: object, code: object) -> None:
        if kind is not _NDARRAY or shape != (0,):
            raise ValueError("expected an array that is rebuilt as NumPy writes it")

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.array = _array(data, dtype, shape, "F" if fortran else "C")


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    if type(dtype) is not _Type or type(data) is not bytes or not all(type(size) is int for size in shape):
        raise ValueError("expected an array that is rebuilt as NumPy writes it")
    return np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if order in ("F", b"F") else "C")


def _from_buffer(data: object, dtype: object, shape: object, order: object, axes: object = None) -> _Array:
    """Stand in for NumPy's function of the same name, by which protocol 5 rebuilds an array."""
    stand_in = _Array(_NDARRAY, (0,), b"b")
    stand_in.array = _array(data, dtype, shape, order)
    if axes is not None:
        if not isinstance(axes, tuple) or sorted(axes) != list(range(stand_in.array.ndim)):
            raise ValueError("expected the order of an array's axes")
        stand_in.array = stand_in.array.transpose(axes)
    return stand_in


def _plain(content: Any, types: Collection[str]) -> Any:
    """Replace stand-ins by their arrays."""

    def array(value: Any) -> Any:
        if not isinstance(value, _Array):
            return value
        if value.array.dtype.str[1:] not in types:
            raise ValueError(f"expected an array of {', '.join(types)}, got {value.array.dtype.str[1:]}")
        return value.array

    if isinstance(content, dict):
        return {key: array(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_pair(value, array) if isinstance(value, tuple) else array(value) for value in content]
    return array(content)


def _pair(values: tuple[Any, ...], array: Callable[[Any], Any]) -> tuple[Any, ...]:
    # A small file can name one long tuple many times.
    return tuple(map(array, values)) if len(values) == 2 else values


def _latin1_bytes(text: object, encoding: object) -> bytes:
    """Stand in for ``_codecs.encode``, with which Python 3 writes bytes into old pickles."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise ValueError("expected bytes as Python 3 writes them")
    return text.encode("latin1")


_NDARRAY = "stands in for the array type, which is named but never called"
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _latin1_bytes,
}
_MUTABLE_BUFFERS = (pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER)


class _PlainUnpickler(pickle._Unpickler):
    """An unpickler that builds only plain values and arrays of numbers.

    It is Python's, since the one in C allocates as much memory as a number in a broken file says. So would the mutable
    buffers of protocol 5: those in the file are read as bytes, the others are left out.
    """

    dispatch: ClassVar[dict[int, Any]] = {
        code: method
        for code, method in pickle._Unpickler.dispatch.items()
        if code not in [kind[0] for kind in _MUTABLE_BUFFERS]
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _ForbiddenGlobalError(f"{module}.{name}") from None

    def load_build(self) -> None:
        if not isinstance(self.stack[-2], _Array | _Type):  # type: ignore[attr-defined]
            raise ValueError("expected a state for an array only")
        super().load_build()  # type: ignore[misc]

    dispatch[pickle.BUILD[0]] = load_build

    def load_bytearray8(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))  # type: ignore[attr-defined]
        self.append(self.read(size))  # type: ignore[attr-defined]

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8
