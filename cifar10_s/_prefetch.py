"""One instruction that Python has no word for: asking the memory for bytes ahead of their use (numba)."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_item_pointer
from numba.extending import intrinsic

LINE = 64
# Of LLVM's `prefetch`: for reading; not worth the nearest cache, whose room is needed; data, not code.
READ, KEEP, DATA = 0, 1, 1


def _prefetch(typing: Any, row: Any, p: Any) -> Any:
    """Begin to bring the line with byte p of a row into the cache; nothing waits for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, arguments[0])
        address = get_item_pointer(context, builder, kind, array, [arguments[1]], wraparound=False)
        whole = ir.IntType(32)
        form = ir.FunctionType(ir.VoidType(), [address.type, whole, whole, whole])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], form)
        builder.call(function, [address, *(whole(hint) for hint in (READ, KEEP, DATA))])
        return context.get_dummy_value()

    return types.void(row, p), generate


prefetch: Any = intrinsic(_prefetch)
