"""Foundations of every room.

The machine, its threads, allocator and compiled kernels; files, checksums, staging folders and transfers; records,
options, typed JSON and random numbers; users' own modules, HTML, grey images and arrays; extras and progress bars.
"""

__all__ = [
    "allocator", "arrays", "checksums", "extras", "files", "grey", "html", "jit", "machine", "options", "own",
    "progress", "read_only", "records", "rng", "staging", "threads", "transfers", "typed_json",
]  # fmt: skip
