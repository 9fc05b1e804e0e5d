"""Loop: give a reader one input after another, and see that it reads it or refuses it in the package's own words."""

import hashlib
import json
import os
import random
import resource
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import cifar10_s
from fuzz.harnesses import Harness

# What no reader does, whatever it reads. (`pickle.find_class` is told only of names that were let pass.)
NEVER = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "ctypes.dlopen")
WRITES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "shutil.rmtree")
MEMORY = 512 << 10  # KiB that one input may take
SECONDS = 20.0
ODD = (
    None, True, False, 0, -1, 1, 1.5, 1e308, float("nan"), float("inf"), 1 << 31, 1 << 63, 10**30, "", "0", "a\x1b[31m",
    "\ud800", "../../etc/passwd", "/etc/passwd", "é" * 300, [], {}, [[]], {"": None}, [0] * 100,
)  # fmt: skip


class HarmError(AssertionError):
    """A reader did what none may do."""


class Watch:
    """Sees what Python does while a reader reads: no code, no network, no file outside some folders."""

    def __init__(self, *folders: Path) -> None:
        python = [*map(Path, sysconfig.get_paths().values()), *map(Path, sys.path), Path(sys.base_prefix)]
        self.own = tuple(str(folder.resolve()) for folder in folders)
        self.readable = (*self.own, *(str(path.resolve()) for path in python if str(path)), "/proc/", "/sys/", "/dev/")
        self.harm: list[str] = []
        self.reading = False
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.reading:
            return
        if event in NEVER:
            self.harm.append(f"{event}{arguments!r:.200}")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            writing = isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
            self._touch(event, arguments[0], writing=bool(writing))
        elif event in WRITES and not (type(arguments[-1]) is int and arguments[-1] >= 0):  # within a folder it opened
            self._touch(event, str(arguments[0]), writing=True)

    def _touch(self, event: str, path: str | bytes, *, writing: bool) -> None:
        where = os.path.realpath(os.fsdecode(path))
        if not where.startswith(self.own if writing else self.readable):
            self.harm.append(f"{event} {where}")


class Checked:
    """A harness in a folder of its own, and what else it may write to; `check` gives it one input.

    Attributes
    ----------
    count
        Inputs so far.
    found
        By where in the package it came from, the first input that made a reader fail.
    """

    def __init__(self, harness: Harness, folder: Path, *caches: Path) -> None:
        self.read, self.folder, self.count = harness.read, folder, 0
        self.seeds = list(harness.seeds(folder))
        for seed in self.seeds:  # what is imported late is imported now
            self._refused(seed)
        self.watch = Watch(folder, *caches)
        self.found: dict[str, bytes] = {}

    def _refused(self, data: bytes) -> bool:
        try:
            self.read(data, self.folder)
        except cifar10_s.Cifar10SError as error:
            str(error).encode("utf-8", "backslashreplace")
            for failure in getattr(error, "failures", ()):
                if len(failure.splitlines()) != 1:
                    raise HarmError(f"a failure is not one line: {failure!r}") from error
            return True
        return False

    def check(self, data: bytes) -> None:
        """Give the reader an input.

        Raises
        ------
        Exception
            Of any kind but the package's own errors, where the reader lets it pass; `HarmError` for what none may do.
        """
        self.count += 1
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        self.watch.harm, self.watch.reading = [], True
        try:
            self._refused(data)
        finally:
            self.watch.reading = False
        taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if self.watch.harm:
            raise HarmError(f"it did {self.watch.harm[:3]}")
        if taken > MEMORY:
            raise HarmError(f"it took {taken} KiB")
        if time.monotonic() - start > SECONDS:
            raise HarmError(f"it took {time.monotonic() - start:.0f} seconds")

    def collect(self, data: bytes, keep: Path) -> None:
        """Give the reader an input; keep the first that fails in each way, and go on."""
        try:
            self.check(data)
        except Exception as error:  # what came is what is looked for
            key = _where(error)
            if key not in self.found:
                self.found[key] = data
                keep.mkdir(parents=True, exist_ok=True)
                name = hashlib.sha256(data).hexdigest()[:12]
                (keep / name).write_bytes(data)
                (keep / f"{name}.txt").write_text(traceback.format_exc())
                print(f"{name}: {key}", flush=True)


def _where(error: Exception) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/cifar10_s/" in frame.filename]
    last = frames[-1] if frames else None
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}" if last else repr(error)[:80]


def inputs(seeds: list[bytes], chance: random.Random) -> Iterator[bytes]:
    """Give changed seeds without end."""
    while True:
        data = chance.choice(seeds)
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            data = mutate(data, chance, lambda data: mutate_bytes(data, chance))
        yield data


def mutate(data: bytes, chance: random.Random, otherwise: Callable[[bytes], bytes]) -> bytes:
    """Change an input's bytes, or a value where they are JSON; seldom its line."""
    line, sign, content = data.partition(b"\n")
    if chance.random() < 0.02:
        return otherwise(data)
    changed = mutate_json(content, chance) if chance.random() < 0.7 else None
    return line + sign + (otherwise(content) if changed is None else changed)


def mutate_bytes(data: bytes, chance: random.Random) -> bytes:
    """Flip, cut, repeat, insert, or exchange for a number of the kind that formats have."""
    at, length = chance.randrange(len(data) + 1), chance.choice((1, 1, 2, 4, 8, 64))
    part = data[at : at + length]
    replacement = chance.choice(
        (
            bytes([part[0] ^ 1 << chance.randrange(8)]) + part[1:] if part else b"",
            chance.randbytes(length),
            b"",
            part * chance.randrange(1, 9),
            chance.choice((b"\xff", b"\0", b"\x7f")) * length,
            chance.choice((0, 1, 1 << 15, 1 << 31, (1 << 32) - 1, (1 << 63) - 1)).to_bytes(8, "little")[:length],
            data[(start := chance.randrange(len(data) + 1)) : start + length],
        )
    )
    return data[:at] + replacement + data[at + len(part) :]


def mutate_json(content: bytes, chance: random.Random) -> bytes | None:
    """Exchange, remove or add one value somewhere; None where it is no JSON."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return None
    places = [(None, None), *_places(data)]
    holder, key = chance.choice(places)
    odd = chance.choice((*ODD, chance.choice(places)[1]))
    if holder is None:
        data = odd
    elif chance.random() < 0.2:
        del holder[key]
    elif chance.random() < 0.2 and isinstance(holder, dict):
        holder[str(odd)] = holder.pop(key)
    else:
        holder[key] = odd if chance.random() < 0.8 else chance.choice([h[k] for h, k in places[1:]])
    try:
        return json.dumps(data).encode()
    except (ValueError, RecursionError):  # it may hold itself now
        return b"["


def _places(data: object) -> Iterator[tuple[object, object]]:
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in list(pairs):
        yield data, key
        yield from _places(value)
