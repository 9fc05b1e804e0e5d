"""Unpickling without trust: plain values and arrays of bytes, as the CIFAR-10 batches have, and nothing else."""

import io
import pickle
from typing import Any, ClassVar

import numpy as np

from cifar10_s.errors import SourceError


def load_plain(data: bytes, name: str) -> Any:
    """Read a pickle of plain values and arrays of bytes; text of Python 2 comes as bytes.

    Raises
    ------
    SourceError
        Where it is anything else; ``name`` says which file. Nothing it names is looked up or run.
    """
    try:
        return _plain(_PlainUnpickler(io.BytesIO(data), encoding="bytes").load())
    except _ForbiddenGlobalError as error:
        raise SourceError(
            f"{name}: its pickle names {error}, which is no part of an array; it was not run; do not use this file"
        ) from None
    except Exception as error:  # a broken pickle can raise anything
        raise SourceError(f"{name}: is no readable pickle ({type(error).__name__}: {error})") from None


class _ForbiddenGlobalError(Exception):
    pass


class _Bytes:
    """Stands in for ``numpy.dtype``, of which the batches need only bytes."""

    __slots__ = ()

    def __init__(self, code: object, *options: object) -> None:
        if code not in ("u1", b"u1"):
            raise ValueError(f"an array of {code!r} where bytes (u1) are expected")

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or state[1:] not in ((bar, None, None, None, -1, -1, 0) for bar in ("|", b"|")):
            raise ValueError("an array type that is not plain bytes")


class _Array:
    """Stands in for an array that is being rebuilt: NumPy's own way trusts what it is given."""

    __slots__ = ("array",)

    def __init__(self, kind: object, shape: object, code: object) -> None:
        if kind is not _NDARRAY or shape != (0,):
            raise ValueError("an array that is not rebuilt the usual way")

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if type(dtype) is not _Bytes or type(data) is not bytes or not all(type(size) is int for size in shape):
            raise ValueError("an array that is not rebuilt the usual way")
        self.array = np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")


def _plain(batch: Any) -> Any:
    """Take the arrays out of their stand-ins."""
    if not isinstance(batch, dict):
        return batch
    return {key: value.array if isinstance(value, _Array) else value for key, value in batch.items()}


def _latin1_bytes(text: object, encoding: object) -> bytes:
    """Stand in for ``_codecs.encode``, by which Python 3 writes bytes into old pickles."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise ValueError("bytes that are not written the usual way")
    return text.encode("latin1")


_NDARRAY = "the array type, named but never called"
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Bytes,
    ("_codecs", "encode"): _latin1_bytes,
}
_MUTABLE_BUFFERS = (pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER)


class _PlainUnpickler(pickle._Unpickler):
    """An unpickler that can build nothing but plain values and byte arrays.

    It is the one written in Python: the one in C takes memory for any number that a broken file names. So do
    the byte arrays of protocol 5, which the batches, older than it, do not have.
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
        if not isinstance(self.stack[-2], _Array | _Bytes):  # type: ignore[attr-defined]
            raise ValueError("a state for something that is no array")
        super().load_build()  # type: ignore[misc]

    dispatch[pickle.BUILD[0]] = load_build
