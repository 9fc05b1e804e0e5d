"""The compiled inner loop of `moments` on the CPU (numba)."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from cifar10_s._compile import compiled, inlined, instruction

# Pixels summed at a time: what eight images' sums need stays in a core's cache.
STRIP = 1_056
# Pixels that an instruction takes; a strip has a multiple of them.
LANES = 8
# Bytes that a memory gives at a time.
LINE = 64
# Of LLVM's `prefetch`: for reading; not worth the nearest cache, whose room is needed; data, not code.
READ, KEEP, DATA = 0, 1, 1

# A processor's numbers, as code that is being written names them.
Value = Any


def vector(bits: int, count: int) -> ir.VectorType:
    """Give the type of so many whole numbers that one instruction takes."""
    return ir.VectorType(ir.IntType(bits), count)


def pointer(context: Any, builder: Any, kind: Any, array: Value, index: Value) -> Value:
    """Give the address of an array's element."""
    found: Value = context.make_array(kind)(context, builder, array)
    return builder.gep(found.data, [index])


def load_levels(context: Any, builder: Any, kind: Any, planes: Value, index: Value) -> Value:
    """Load bytes as numbers of 16 bits: of some pixels the levels of two images, side by side."""
    place = builder.bitcast(pointer(context, builder, kind, planes, index), vector(8, 2 * LANES).as_pointer())
    levels = builder.load(place, align=1)
    return builder.zext(levels, vector(16, 2 * LANES))


def multiply(context: Any, builder: Any, x: Value, y: Value) -> Value:
    """Multiply, and add each pixel's two products: one instruction where a processor has AVX2."""
    if "+avx2" in context.codegen().magic_tuple()[2]:
        form = ir.FunctionType(vector(32, LANES), [x.type, y.type])
        return builder.call(builder.module.declare_intrinsic("llvm.x86.avx2.pmadd.wd", (), form), [x, y])
    products = builder.mul(*(builder.zext(levels, vector(32, 2 * LANES)) for levels in (x, y)))
    halves = [ir.Constant(vector(32, LANES), list(range(start, 2 * LANES, 2))) for start in (0, 1)]
    return builder.add(*(builder.shuffle_vector(products, products, half) for half in halves))


def add_to(context: Any, builder: Any, kind: Any, totals: Value, index: Value, values: Value) -> None:
    """Add to an array's elements, from the index on."""
    place = builder.bitcast(pointer(context, builder, kind, totals, index), values.type.as_pointer())
    builder.store(builder.add(builder.load(place, align=4), values), place, align=4)


@instruction
def prefetch(typing: Any, row: Any, p: Any) -> Any:
    """Begin to bring the line with byte p of a row into the cache; nothing waits for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        address = pointer(context, builder, row, *arguments)
        whole = ir.IntType(32)
        form = ir.FunctionType(ir.VoidType(), [address.type, whole, whole, whole])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], form)
        builder.call(function, [address, *(whole(hint) for hint in (READ, KEEP, DATA))])
        return context.get_dummy_value()

    return types.void(row, p), generate


@instruction
def add_pixels(typing: Any, channels: Any, pairs: Any, planes: Any, totals: Any, p: Any) -> Any:
    """Add `LANES` pixels, from p on, of a number of pairs of images to the totals of a strip.

    Of four pairs at once, because reading and writing totals costs as much as the products.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        *_, bytes_, sums, p = arguments
        many = channels.literal_value
        added: list[Value] = []
        for pair in range(pairs.literal_value):
            rows = [builder.add(p, p.type((many * pair + channel) * STRIP)) for channel in range(many)]
            levels = [load_levels(context, builder, planes, bytes_, builder.mul(row, p.type(2))) for row in rows]
            new = levels + [multiply(context, builder, x, y) for i, x in enumerate(levels) for y in levels[i:]]
            added = [builder.add(x, y) for x, y in zip(added, new, strict=True)] if added else new
        one = added[0].type([1] * 2 * LANES)
        added[:many] = [multiply(context, builder, levels, one) for levels in added[:many]]
        for kind, values in enumerate(added):
            add_to(context, builder, totals, sums, builder.add(p, p.type(kind * STRIP)), values)
        return context.get_dummy_value()

    return types.void(channels, pairs, planes, totals, p), generate


@inlined
def separate(channels: int, one: Any, other: Any, planes: Any) -> None:
    """Write each channel of two rows of pixels into a strip of its own, the two levels of a pixel side by side."""
    for p in range(one.size // channels):
        for channel in range(channels):
            planes[2 * (channel * STRIP + p)] = one[channels * p + channel]
            planes[2 * (channel * STRIP + p) + 1] = other[channels * p + channel]


@inlined
def take(channels: int, rows: Any, columns: slice, order: Any, n: int, other: Any, planes: Any) -> None:
    """Separate the channels of image n of the order and of another; ask for those eight later."""
    # No processor foresees where the next image of a class lies.
    for following in order[n + 8 : n + 10]:
        row = rows[following, columns]
        for byte in range(0, row.size, LINE):
            prefetch(row, byte)
    separate(channels, rows[order[n], columns], other, planes)


@inlined
def add_pairs(channels: int, pairs: int, planes: Any, totals: Any, size: int) -> None:
    """Add so many pairs of images to the totals of a strip; what lies beyond its size is of no account."""
    for p in range(0, size, LANES):
        add_pixels(channels, pairs, planes, totals, p)


@inlined
def accumulate_by(channels: int, rows: Any, order: Any, counts: Any, totals: Any) -> None:
    """Do what `accumulate` does, with a number of channels that is known as this is compiled."""
    of_pair = 2 * channels * STRIP
    planes, nothing = np.zeros(4 * of_pair, np.uint8), np.zeros(rows.shape[1], np.uint8)
    first = 0
    for label in range(counts.size):
        end = first + counts[label]
        for strip in range(totals.shape[1]):
            columns = slice(channels * STRIP * strip, min(channels * STRIP * (strip + 1), rows.shape[1]))
            size = (columns.stop - columns.start) // channels
            for n in range(first, end, 8):
                pairs = min(4, (end - n + 1) // 2)
                for pair in range(pairs):
                    k = n + 2 * pair
                    other = rows[order[k + 1], columns] if k + 1 < end else nothing[columns]
                    take(channels, rows, columns, order, k, other, planes[of_pair * pair :])
                if pairs == 4:
                    add_pairs(channels, 4, planes, totals[label, strip], size)
                else:
                    for pair in range(pairs):
                        add_pairs(channels, 1, planes[of_pair * pair :], totals[label, strip], size)
        first = end


@compiled
def accumulate(
    rows: NDArray[np.uint8],
    order: NDArray[np.int64],
    counts: NDArray[np.int64],
    channels: int,
    totals: NDArray[np.uint32],
) -> None:
    """Add images to the totals of their classes.

    With those before, at most `compiled_sums.FLUSH` of a class. ``rows`` is (N, P·C), an image's P pixels a row;
    ``order`` (N,) their numbers, class by class, of which class k has ``counts[k]``. ``totals`` is
    (K, P / STRIP, (C + C·(C + 1) / 2)·STRIP): for some pixels at a time the sums of each channel, then of the products
    of each two, in the order of `moments.channel_pairs`.
    """
    if channels == 1:
        accumulate_by(1, rows, order, counts, totals)
    elif channels == 2:
        accumulate_by(2, rows, order, counts, totals)
    elif channels == 3:
        accumulate_by(3, rows, order, counts, totals)
    else:
        accumulate_by(4, rows, order, counts, totals)


@compiled
def gather(totals: NDArray[Any], sums: NDArray[np.int64], products: NDArray[np.int64]) -> None:
    """Add totals of `accumulate` to sums, (K, P, C), and products, (K, P, C·(C + 1) / 2)."""
    channels = sums.shape[2]
    for label in range(totals.shape[0]):
        for strip in range(totals.shape[1]):
            of_strip, start = totals[label, strip], strip * STRIP
            for p in range(min(STRIP, sums.shape[1] - start)):
                for channel in range(channels):
                    sums[label, start + p, channel] += of_strip[channel * STRIP + p]
                for pair in range(products.shape[2]):
                    products[label, start + p, pair] += of_strip[(channels + pair) * STRIP + p]
