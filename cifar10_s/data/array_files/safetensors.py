"""Tensors in ``.safetensors``."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cifar10_s.data.array_files.base import MAX_OVERHEAD_BYTES, ArrayFile, choose

# NumPy's names of the format's types; other names stay as they are.
_DTYPES = {
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "U8": "uint8", "U16": "uint16", "U32": "uint32",
}  # fmt: skip


def open_safetensors(path: Path) -> ArrayFile:
    """Open a tensor of a ``.safetensors`` file; it is memory-mapped."""
    from safetensors import safe_open

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_OVERHEAD_BYTES:
        raise ValueError(f"expected a header of at most {MAX_OVERHEAD_BYTES} bytes, got {length}")
    tensors: Any = safe_open(path, framework="pt")
    name = choose(path, tensors.keys(), lambda name: len(tensors.get_slice(name).get_shape()))
    declared = tensors.get_slice(name)
    dtype = _DTYPES.get(declared.get_dtype(), declared.get_dtype())

    def read() -> NDArray[Any]:
        tensor = tensors.get_tensor(name)
        array: NDArray[Any] = (tensor.float() if dtype == "bfloat16" else tensor).numpy()
        return array

    return ArrayFile(path, tuple(declared.get_shape()), dtype, read)
