"""Foundations of every room.

Machine, allocator, threads, progress, randomness, files, checksums, transfers, typed JSON, records, extras, paths of
users' own, HTML.
"""

__all__ = [
    "allocator",
    "checksums",
    "extras",
    "files",
    "html",
    "jit",
    "machine",
    "options",
    "own",
    "progress",
    "records",
    "rng",
    "staging",
    "threads",
    "transfers",
    "typed_json",
]
