"""The compiled inner loop of `device_sums` on a GPU (Triton).

Bytes are read four at a time, as 32-bit words: a row's word and the word after it hold every byte that the
shifts 0 to 3 ask for, so a thread cuts the shifted bytes out of registers, and no load is unaligned.
"""

import torch
import triton
import triton.language as tl

# A word and the one after it reach no further.
MAX_CHANNELS = 4
# A product of two levels is at most 255² = 65,025: 66,051 of them fit 32 unsigned bits.
MAX_ROWS = 65_536
# Words of a row that a program takes: two words, 8 bytes, a thread. The 1 + C sums of each byte are registers: with
# more bytes too few threads fit, with fewer the row's address costs more than its bytes.
BLOCK = 256
WARPS = 4
# Rows whose loads a thread has under way at once. Five programs of 128 threads with 8 times 8 bytes are 40 KiB on a
# multiprocessor; for 3.3 TB/s at a delay of 0.8 µs an H100 needs 20 KiB on each of its 132.
UNROLL = tl.constexpr(8)
# Programs on a multiprocessor: as many as run at once with the 96 registers a thread that three channels take. More
# would cut classes into more pieces, and a piece ends with 1 + C 64-bit additions for each byte of a row.
PROGRAMS = 5
# A program does not take fewer rows than these, lest the additions cost more than the reading.
MIN_ROWS = 32


def accumulate(
    rows: torch.Tensor, order: torch.Tensor, starts: torch.Tensor, sums: torch.Tensor, products: torch.Tensor
) -> None:
    """Add every class's rows, and their products with themselves shifted by 0 … C-1, to the totals.

    One launch on the current stream: it adds all or, where it raises, nothing. Nothing waits for the device.

    Parameters
    ----------
    rows : (N, D) uint8
        Read once. Rows may be padded: `stride(0)` bytes apart. Where they begin at no multiple of 4 bytes they are
        copied first.
    order : (N,) int32 or int64
        Indices of rows, sorted by class.
    starts : (K + 1,) int32 or int64
        Where each class begins in ``order``, and N.
    sums : (K, D) int64
    products : (K, C, D) int64, C from 1 to 4
        Entry (k, s, p) is the sum of byte p times byte p + s; those with p + s ≥ D are left as they are.
    """
    classes, channels, size = products.shape
    if channels > MAX_CHANNELS:
        raise ValueError(f"the kernel takes 1 to {MAX_CHANNELS} channels, got {channels}")
    if not len(rows):
        return
    words = _as_words(rows)
    tiles = triton.cdiv(size, 4 * BLOCK)
    pieces = max(1, PROGRAMS * _multiprocessors(rows.device) // tiles)
    share = min(MAX_ROWS, max(MIN_ROWS, triton.cdiv(len(rows), pieces)))
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
        BLOCK=BLOCK,
        num_warps=WARPS,
    )


def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _as_words(rows: torch.Tensor) -> torch.Tensor:
    """See rows as 32-bit words, (N, ⌈D/4⌉); the last word's bytes beyond D may be anything."""
    count, size = rows.shape
    width = -(-size // 4) * 4
    if rows.data_ptr() % 4 or rows.stride(0) % 4 or rows.stride(0) < width or rows.stride(1) != 1:
        rows = torch.nn.functional.pad(rows, (0, width - size))
    return rows.as_strided((count, width), (rows.stride(0), 1)).view(torch.int32)


# Numbers that differ from batch to batch: the kernel is not compiled again for one that 16 divides.
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
    # Neighbours take the same rows' next columns, so that those that run together read whole rows.
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
    """Find the class of a position of ``order`` by bisection: the last one that begins at or before it."""
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
    """Cut words into their bytes, lowest first; they stay in the thread."""
    even = tl.interleave(words & 255, (words >> 16) & 255)
    odd = tl.interleave((words >> 8) & 255, words >> 24)
    return tl.interleave(even, odd)


@triton.jit
def _add(totals, byte, limit, partial):
    tl.atomic_add(totals + byte, partial.to(tl.int64), mask=byte < limit, sem="relaxed")
