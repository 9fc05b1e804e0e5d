"""Sum up images per class on a GPU: the inner loop of `torch_device`, compiled by Triton.

What is computed
    For each class, byte p of a row and shift s = 0 … C - 1, over the rows x of the class::

        Σ x[p]    and    Σ x[p] · x[p + s]

    A row is an image, the C channels of a pixel side by side. The product of a pixel's channels i ≤ j is thus found at
    its channel i and the shift j - i; shifts that reach into the next pixel are summed too, and not used. Sums are
    of 32 bits in a program, and of 64 bits in the totals. `accumulate` describes the arrays.

How
    *A program* takes a tile of 4·BLOCK bytes of some consecutive rows of ``order``, class by class: it sums up in
    registers, and adds to the totals by atomic additions at the end of each class and of its rows.

    *A thread* reads bytes four at a time, as 32-bit words. A row's word and the word after it hold every byte that the
    shifts 0 to 3 need, so it takes the shifted bytes from registers, and no load is unaligned.

What it gains
    `torch_device.accumulate` does the same in plain torch. It is the reference in the tests, and takes over after the
    kernel's first failure. No figure exists yet, as no GPU has been available (2026-11-26): `make speed` prints the
    gain on a machine that has one. The tests check the result to the bit in Triton's interpreter, and the loads and
    additions of the code that is compiled for an H100.
"""

import torch
import triton
import triton.language as tl

# A word and the one after it hold the bytes of no more shifts.
MAX_CHANNELS = 4
# A product of two levels is at most 255² = 65,025: 66,051 of them fit 32 unsigned bits.
MAX_ROWS = 65_536
# Words of a row per program: two words, 8 bytes, per thread. The 1 + C sums of each byte are in registers: with more
# bytes too few threads fit, with fewer the row's address costs more than its bytes.
BLOCK = 256
WARPS = 4
# Rows whose loads a thread has in flight at once. Five programs of 128 threads with 8 times 8 bytes are 40 KiB on a
# multiprocessor; for 3.3 TB/s at a latency of 0.8 µs an H100 needs 20 KiB on each of its 132.
UNROLL = tl.constexpr(8)
# Programs per multiprocessor: as many as run at once with the 96 registers per thread that three channels take. More
# would cut classes into more pieces, and a piece ends with 1 + C 64-bit additions for each byte of a row.
PROGRAMS = 5
# Rows that a program takes at least, so that additions do not cost more than reading.
MIN_ROWS = 32


def accumulate(
    rows: torch.Tensor,
    order: torch.Tensor,
    starts: torch.Tensor,
    sums: torch.Tensor,
    products: torch.Tensor,
    *,
    block: int = BLOCK,
    min_rows: int = MIN_ROWS,
    max_rows: int = MAX_ROWS,
) -> None:
    """Add every class's rows, and their products with themselves shifted by 0 … C-1, to the totals.

    This is one launch on the current stream, and does not wait for the device. If it raises, nothing was added.

    Parameters
    ----------
    rows : (N, D) uint8
        Read once. Rows may be padded: `stride(0)` bytes apart. They are copied first if they do not begin at multiples
        of 4 bytes.
    order : (N,) int32 or int64
        Indices of rows, sorted by class.
    starts : (K + 1,) int32 or int64
        Index into ``order`` at which each class begins, and N.
    sums : (K, D) int64
    products : (K, C, D) int64, C from 1 to 4
        Entry (k, s, p) is the sum of byte p times byte p + s; entries with p + s ≥ D are not changed.
    block
        Words of a row per program, a power of two.
    min_rows, max_rows
        Rows per program; 32-bit sums hold at most the default ``max_rows``.
    """
    classes, channels, size = products.shape
    if channels > MAX_CHANNELS:
        raise ValueError(f"the kernel takes 1 to {MAX_CHANNELS} channels, got {channels}")
    if not len(rows):
        return
    words = _as_words(rows)
    tiles = triton.cdiv(size, 4 * block)
    pieces = max(1, PROGRAMS * _multiprocessors(rows.device) // tiles)
    share = min(max_rows, max(min_rows, triton.cdiv(len(rows), pieces)))
    grid = (tiles * triton.cdiv(len(rows), share),)
    _accumulate[grid](
        words,
        order,
        starts,
        sums,
        products,
        len(rows),
        words.stride(0),
        words.shape[1],
        size,
        classes,
        share,
        CHANNELS=channels,
        BLOCK=block,
        num_warps=WARPS,
    )


def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _as_words(rows: torch.Tensor) -> torch.Tensor:
    """Return a view of the rows as 32-bit words, (N, ⌈D/4⌉), or a copy; bytes of the last word beyond D are padding."""
    count, size = rows.shape
    width = -(-size // 4) * 4
    if rows.data_ptr() % 4 or rows.stride(0) % 4 or rows.stride(0) < width or rows.stride(1) != 1:
        rows = torch.nn.functional.pad(rows, (0, width - size))
    return rows.as_strided((count, width), (rows.stride(0), 1)).view(torch.int32)


# These differ from batch to batch: the kernel is not compiled again when 16 divides one of them.
@triton.jit(do_not_specialize=["count", "classes", "share"])
def _accumulate(
    words,
    order,
    starts,
    sums,
    products,
    count,
    stride,
    width,
    size,
    classes,
    share,
    CHANNELS: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
):
    """Sum up one tile of columns of ``share`` consecutive rows of ``order``, class by class."""
    tiles = tl.cdiv(size, 4 * BLOCK)
    # Neighbouring programs take neighbouring columns of the same rows, so that together they read whole rows.
    tile = tl.program_id(0) % tiles
    column = tile * BLOCK + tl.arange(0, BLOCK)
    byte = tile * BLOCK * 4 + tl.arange(0, 4 * BLOCK)
    position = (tl.program_id(0) // tiles) * share
    stop = tl.minimum(position + share, count)
    while position < stop:
        label = _class_at(starts, classes, position)
        end = tl.minimum(stop, tl.load(starts + label + 1).to(tl.int32))
        total = tl.zeros((4 * BLOCK,), tl.uint32)
        product0 = tl.zeros((4 * BLOCK,), tl.uint32)
        product1 = tl.zeros((4 * BLOCK,), tl.uint32)
        product2 = tl.zeros((4 * BLOCK,), tl.uint32)
        product3 = tl.zeros((4 * BLOCK,), tl.uint32)
        for n in tl.range(position, end, loop_unroll_factor=UNROLL):
            row = words + tl.load(order + n).to(tl.int64) * stride
            low = tl.load(row + column, mask=column < width).to(tl.uint32, bitcast=True)
            x = _bytes(low)
            total += x
            product0 += x * x
            if CHANNELS > 1:
                high = tl.load(row + column + 1, mask=column + 1 < width).to(tl.uint32, bitcast=True)
                product1 += x * _bytes((low >> 8) | (high << 24))
                if CHANNELS > 2:
                    product2 += x * _bytes((low >> 16) | (high << 16))
                if CHANNELS > 3:
                    product3 += x * _bytes((low >> 24) | (high << 8))
        _add(sums + label.to(tl.int64) * size, byte, size, total)
        row_products = products + label.to(tl.int64) * CHANNELS * size
        _add(row_products, byte, size, product0)
        if CHANNELS > 1:
            _add(row_products + size, byte, size - 1, product1)
        if CHANNELS > 2:
            _add(row_products + 2 * size, byte, size - 2, product2)
        if CHANNELS > 3:
            _add(row_products + 3 * size, byte, size - 3, product3)
        position = end


@triton.jit
def _class_at(starts, classes, position):
    """Return the class of a position in ``order`` by bisection: the last one that begins at or before it."""
    low = position * 0
    high = low + classes
    while high - low > 1:
        middle = (low + high) // 2
        begun = tl.load(starts + middle) <= position
        low = tl.where(begun, middle, low)
        high = tl.where(begun, high, middle)
    return low


@triton.jit
def _bytes(words):
    """Split words into their bytes, lowest first; each stays in its thread."""
    even = tl.interleave(words & 255, (words >> 16) & 255)
    odd = tl.interleave((words >> 8) & 255, words >> 24)
    return tl.interleave(even, odd)


@triton.jit
def _add(totals, byte, limit, partial):
    tl.atomic_add(totals + byte, partial.to(tl.int64), mask=byte < limit, sem="relaxed")
