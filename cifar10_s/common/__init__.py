"""Foundations of every room.

Machine, allocator, threads, progress, randomness, files, checksums, transfers, typed JSON, records, extras, paths of
users' own, HTML, grey, read-only arrays.
"""

__all__ = [
    "allocator", "checksums", "extras", "files", "grey", "html", "jit", "machine", "options", "own", "progress",
    "read_only", "records", "rng", "staging", "threads", "transfers", "typed_json",
]  # fmt: skip
