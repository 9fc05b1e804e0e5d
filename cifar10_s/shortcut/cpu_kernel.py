"""Sum up images per class on the CPU: the inner loop of `moments`, compiled by numba.

What is computed
    For each class, pixel p and pair of channels i ≤ j, over the images x of the class, in 32-bit unsigned integers::

        Σ x[p, i]    and    Σ x[p, i] · x[p, j]

    With C channels these are C + C·(C + 1)/2 numbers per pixel, 9 for colour images: the *kinds* of sums below, the
    channels first, then the pairs in the order of `moments.channel_pairs`.

Arrays
    ``rows``    (N, P·C) uint8: one image per row, P pixels one after another, the channels of a pixel side by side.
    ``order``   (N,) int64: the numbers of the images, sorted by class.
    ``counts``  (K,) int64: the number of images per class.
    ``totals``  (K, ⌈P / STRIP⌉, kinds·STRIP) uint32: what the images are added to. Pixels come in strips; in a strip,
    entry ``kind·STRIP + p`` belongs to its pixel p. Entries beyond the image's last pixel are undefined.
    ``channels``  the tuple 0 … C - 1. Its length is part of its type, so numba compiles the kernel for each number of
    channels, as a constant.

How
    *A strip at a time*: its totals, 37 KiB in colour, stay in the core's cache while all images of the class are added.

    *A pair of images at a time*: `separate` writes their levels into planes, one per channel, in which the two levels
    of a pixel are neighbours. The sum of two neighbouring products is what x86 processors compute in one instruction
    (``pmaddwd``), without widening the products first.

    *Four pairs at a time*: reading and writing a total costs as much as a product, so `add_pixels` sums up eight
    images in registers before it touches the totals.

    *Eight images ahead*: the images of a class are scattered in memory, where hardware prefetching does not help, so
    `prefetch` requests the next ones.

    `add_pixels` and `prefetch` emit LLVM IR, as numba can express neither vectors nor prefetching. The IR is portable:
    LLVM selects the instructions, and others if there is no ``pmaddwd``.

What it gains
    `accumulate_plain` below does the same in plain loops, which LLVM vectorises. It is the reference in the tests, and
    `cpu.CompiledSums` uses it if the kernel does not compile.

    50,000 images of 32×32×3 in 10 classes, one core of an AMD EPYC (family 26, with AVX-512), 2026-11-26: 13 ms, in
    plain loops 29 to 32 ms; 2.2 to 2.4 times as fast. `make speed` prints these figures.
"""

from collections.abc import Iterable
from functools import reduce
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from cifar10_s.common.jit import compiled, inlined, intrinsic

# Pixels per strip, a multiple of LANES; at 1,056 a colour image of 32×32 is one strip.
STRIP = 1_056
# Pixels per vector: their totals, of 32 bits, fill a register of AVX-512, or two of AVX2.
LANES = 16
# Cache-line size in bytes.
CACHE_LINE = 64
# Arguments of LLVM's `prefetch`: for reading, low locality (the nearest cache is for the sums), data.
READ, LOW_LOCALITY, DATA = 0, 1, 1

# A value in LLVM IR: the result of an instruction.
Value = Any


def vector(bits: int, lanes: int) -> ir.VectorType:
    """Return the LLVM type of a vector of integers."""
    return ir.VectorType(ir.IntType(bits), lanes)


def element_pointer(context: Any, builder: Any, array_type: Any, array: Value, index: Value) -> Value:
    """Return the address of an array's element."""
    data: Value = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def load_levels(context: Any, builder: Any, array_type: Any, planes: Value, index: Value) -> Value:
    """Load the levels of `LANES` pixels of two images, widened to 16 bits: (2·LANES) x i16."""
    address = element_pointer(context, builder, array_type, planes, index)
    levels = builder.load(builder.bitcast(address, vector(8, 2 * LANES).as_pointer()), align=1)
    return builder.zext(levels, vector(16, 2 * LANES))


def add_neighbours(builder: Any, levels: Value) -> Value:
    """Add the two levels of each pixel: (2·LANES) x i16 to LANES x i32."""
    both = builder.bitcast(levels, vector(32, LANES))
    low = builder.and_(both, both.type([0xFFFF] * LANES))
    return builder.add(low, builder.lshr(both, both.type([16] * LANES)))


def multiply_and_add_neighbours(builder: Any, x: Value, y: Value) -> Value:
    """Multiply, and add the two products of each pixel; LLVM compiles this to ``pmaddwd`` on x86."""
    products = builder.mul(*(builder.zext(levels, vector(32, 2 * LANES)) for levels in (x, y)))
    even, odd = (vector(32, LANES)(list(range(first, 2 * LANES, 2))) for first in (0, 1))
    return builder.add(*(builder.shuffle_vector(products, products, lanes) for lanes in (even, odd)))


def add_to(context: Any, builder: Any, array_type: Any, totals: Value, index: Value, values: Value) -> None:
    """Add a vector to the elements of an array from ``index`` on."""
    address = element_pointer(context, builder, array_type, totals, index)
    address = builder.bitcast(address, values.type.as_pointer())
    builder.store(builder.add(builder.load(address, align=4), values), address, align=4)


@intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Start to load the cache line of an array's element, without waiting for it."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        address = element_pointer(context, builder, array, *arguments)
        i32 = ir.IntType(32)
        form = ir.FunctionType(ir.VoidType(), [address.type, i32, i32, i32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], form)
        builder.call(function, [address, *(i32(hint) for hint in (READ, LOW_LOCALITY, DATA))])
        return context.get_dummy_value()

    return types.void(array, index), emit


@intrinsic
def add_pixels(typing: Any, channels: Any, pairs: Any, planes: Any, totals: Any, p: Any) -> Any:
    """Add `LANES` pixels from ``p`` on, of several pairs of images, to the totals of a strip."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Value:
        *_, levels, sums, start = arguments
        many = channels.count

        def load(pair: int, channel: int) -> Value:
            offset = builder.add(start, start.type((many * pair + channel) * STRIP))
            return load_levels(context, builder, planes, levels, builder.mul(offset, offset.type(2)))

        def total(values: Iterable[Value]) -> Value:
            return reduce(builder.add, values)

        x = [[load(pair, channel) for pair in range(pairs.literal_value)] for channel in range(many)]
        # The sum of eight levels fits 16 bits.
        kinds = [add_neighbours(builder, total(of_channel)) for of_channel in x]
        for i, j in combinations_with_replacement(range(many), 2):
            kinds.append(total(multiply_and_add_neighbours(builder, *both) for both in zip(x[i], x[j], strict=True)))
        for kind, values in enumerate(kinds):
            add_to(context, builder, totals, sums, builder.add(start, start.type(kind * STRIP)), values)
        return context.get_dummy_value()

    return types.void(channels, pairs, planes, totals, p), emit


@inlined
def separate(channels: int, one: Any, other: Any, planes: Any) -> None:
    """Write each channel of two images into a plane of its own, the two levels of a pixel side by side."""
    for p in range(one.size // channels):
        for channel in range(channels):
            planes[2 * (channel * STRIP + p)] = one[channels * p + channel]
            planes[2 * (channel * STRIP + p) + 1] = other[channels * p + channel]


@inlined
def prefetch_row(row: Any) -> None:
    """Start to load a part of an image."""
    for byte in range(0, row.size, CACHE_LINE):
        prefetch(row, byte)


@compiled
def accumulate(
    rows: NDArray[np.uint8],
    order: NDArray[np.int64],
    counts: NDArray[np.int64],
    channels: tuple[int, ...],
    totals: NDArray[np.uint32],
) -> None:
    """Add images to the totals of their classes; the head of this file describes the arrays.

    A class's totals hold 65,536 images, those added before included; more could overflow.
    """
    many = len(channels)
    of_pair = 2 * many * STRIP
    planes, blank = np.zeros(4 * of_pair, np.uint8), np.zeros(rows.shape[1], np.uint8)
    first = 0
    for label in range(counts.size):
        end = first + counts[label]
        for strip in range(totals.shape[1]):
            columns = slice(many * STRIP * strip, min(many * STRIP * (strip + 1), rows.shape[1]))
            size, sums = (columns.stop - columns.start) // many, totals[label, strip]
            for n in range(first, end, 8):
                pairs = min(4, (end - n + 1) // 2)
                for pair in range(pairs):
                    k = n + 2 * pair
                    for following in order[k + 8 : k + 10]:
                        prefetch_row(rows[following, columns])
                    other = rows[order[k + 1], columns] if k + 1 < end else blank[columns]
                    separate(many, rows[order[k], columns], other, planes[of_pair * pair :])
                if pairs == 4:
                    for p in range(0, size, LANES):
                        add_pixels(channels, 4, planes, sums, p)
                else:
                    for pair in range(pairs):
                        for p in range(0, size, LANES):
                            add_pixels(channels, 1, planes[of_pair * pair :], sums, p)
        first = end


@compiled
def accumulate_plain(
    rows: NDArray[np.uint8],
    order: NDArray[np.int64],
    counts: NDArray[np.int64],
    channels: tuple[int, ...],
    totals: NDArray[np.uint32],
) -> None:
    """Do what `accumulate` does in plain loops."""
    many = len(channels)
    planes = np.zeros((many, STRIP), np.uint8)
    first = 0
    for label in range(counts.size):
        for strip in range(totals.shape[1]):
            sums = totals[label, strip].reshape(-1, STRIP)
            size = min(STRIP, rows.shape[1] // many - STRIP * strip)
            for image in order[first : first + counts[label]]:
                row = rows[image, many * STRIP * strip :]
                for p in range(size):
                    for channel in range(many):
                        planes[channel, p] = row[many * p + channel]
                kind = many
                for i in range(many):
                    for p in range(size):
                        sums[i, p] += planes[i, p]
                    for j in range(i, many):
                        for p in range(size):
                            sums[kind, p] += np.uint32(planes[i, p]) * np.uint32(planes[j, p])
                        kind += 1
        first += counts[label]


@compiled
def gather(totals: NDArray[Any], sums: NDArray[np.int64], products: NDArray[np.int64]) -> None:
    """Add the totals of `accumulate` to sums, (K, P, C), and products, (K, P, C·(C + 1)/2)."""
    channels = sums.shape[2]
    for label in range(totals.shape[0]):
        for strip in range(totals.shape[1]):
            of_strip, start = totals[label, strip], strip * STRIP
            for p in range(min(STRIP, sums.shape[1] - start)):
                for channel in range(channels):
                    sums[label, start + p, channel] += of_strip[channel * STRIP + p]
                for pair in range(products.shape[2]):
                    products[label, start + p, pair] += of_strip[(channels + pair) * STRIP + p]
