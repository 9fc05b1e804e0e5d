"""Pass a reader one input after another; check that it reads each or refuses it with one of the package's errors."""

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

# Audit events that no reader may cause. (`pickle.find_class` is raised only for permitted names.)
NEVER = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "ctypes.dlopen")
WRITES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "shutil.rmtree")
MEMORY = 512 << 10  # KiB per input, at most
SECONDS = 20.0
ODD = (
    None, True, False, 0, -1, 1, 1.5, 1e308, float("nan"), float("inf"), 1 << 31, 1 << 63, 10**30, "", "0", "a\x1b[31m",
    "\ud800", "../../etc/passwd", "/etc/passwd", "é" * 300, [], {}, [[]], {"": None}, [0] * 100,
)  # fmt: skip


class HarmError(AssertionError):
    """A reader did something forbidden."""


class Watch:
    """An audit hook that records forbidden events while a reader reads: code, Internet, files outside some folders."""

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
    """A harness in a folder of its own, with the caches that it may write to; `check` passes it one input.

    Attributes
    ----------
    count
        Number of inputs so far.
    found
        The first input that made the reader fail, by the place in the package where it failed.
    """

    def __init__(self, harness: Harness, folder: Path, *caches: Path) -> None:
        self.read, self.folder, self.count = harness.read, folder, 0
        self.seeds = list(harness.seeds(folder))
        for seed in self.seeds:  # import now what is imported late
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
        """Pass the reader an input.

        Raises
        ------
        Exception
            If the reader raises anything other than the package's errors; `HarmError` if it does something forbidden.
        """
        self.count += 1
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        self.watch.harm, self.watch.reading = [], True
        # A codec that an input names is imported only now; its bytecode is not the reader's doing.
        unwritten, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            self._refused(data)
        finally:
            self.watch.reading, sys.dont_write_bytecode = False, unwritten
        taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if self.watch.harm:
            raise HarmError(f"it did {self.watch.harm[:3]}")
        if taken > MEMORY:
            raise HarmError(f"it took {taken} KiB")
        if time.monotonic() - start > SECONDS:
            raise HarmError(f"it took {time.monotonic() - start:.0f} seconds")

    def collect(self, data: bytes, keep: Path) -> None:
        """Pass the reader an input; if it fails in a new place, save it. Never raise."""
        try:
            self.check(data)
        except Exception as error:  # any error is a finding
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


def inputs(seeds: list[bytes], rng: random.Random) -> Iterator[bytes]:
    """Yield changed seeds without end."""
    while True:
        data = rng.choice(seeds)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            data = mutate(data, rng, lambda data: mutate_bytes(data, rng))
        yield data


def mutate(data: bytes, rng: random.Random, otherwise: Callable[[bytes], bytes]) -> bytes:
    """Change an input's bytes, or a value if they are JSON; rarely its line."""
    line, sign, content = data.partition(b"\n")
    if rng.random() < 0.02:
        return otherwise(data)
    changed = mutate_json(content, rng) if rng.random() < 0.7 else None
    return line + sign + (otherwise(content) if changed is None else changed)


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip a bit, cut, repeat or insert bytes, or replace them by a number that formats use."""
    at, length = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 8, 64))
    part = data[at : at + length]
    replacement = rng.choice(
        (
            bytes([part[0] ^ 1 << rng.randrange(8)]) + part[1:] if part else b"",
            rng.randbytes(length),
            b"",
            part * rng.randrange(1, 9),
            rng.choice((b"\xff", b"\0", b"\x7f")) * length,
            rng.choice((0, 1, 1 << 15, 1 << 31, (1 << 32) - 1, (1 << 63) - 1)).to_bytes(8, "little")[:length],
            data[(start := rng.randrange(len(data) + 1)) : start + length],
        )
    )
    return data[:at] + replacement + data[at + len(part) :]


def mutate_json(content: bytes, rng: random.Random) -> bytes | None:
    """Replace, remove or add one value; return None if the content is not JSON."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return None
    places = [(None, None), *_places(data)]
    holder, key = rng.choice(places)
    odd = rng.choice((*ODD, rng.choice(places)[1]))
    if holder is None:
        data = odd
    elif rng.random() < 0.2:
        del holder[key]
    elif rng.random() < 0.2 and isinstance(holder, dict):
        holder[str(odd)] = holder.pop(key)
    else:
        holder[key] = odd if rng.random() < 0.8 else rng.choice([h[k] for h, k in places[1:]])
    try:
        return json.dumps(data).encode()
    except (ValueError, RecursionError):  # it may contain itself now
        return b"["


def _places(data: object) -> Iterator[tuple[object, object]]:
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in list(pairs):
        yield data, key
        yield from _places(value)
