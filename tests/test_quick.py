"""What `make test-quick` leaves out is found by what a test and its helpers use."""

import subprocess
from functools import wraps

import pytest
from support.quick import works


def started():
    return subprocess.run(["true"], check=True)


def in_turn(count):
    return in_turn(count - 1) if count else [started() for _ in "ab"]


def wrapped(function):
    return wraps(function)(lambda: None)


def folder():
    return started()


def of_a_helper():
    in_turn(3)


def of_a_fixture(folder):
    assert folder.returncode == 0


def of_the_release(release):
    assert release


def plain(tmp_path):
    assert not list(tmp_path.iterdir())


class Definition:
    def __init__(self, func):
        self.func = func


class Item:
    """A test as pytest collects it."""

    def __init__(self, function, **fixtures):
        self.function, self.fixturenames = function, list(fixtures)
        self._fixtureinfo = self
        self.name2fixturedefs = {name: [Definition(func)] for name, func in fixtures.items()}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (Item(of_a_helper), True),
        (Item(wrapped(of_a_helper)), True),
        (Item(of_a_fixture, folder=folder), True),
        (Item(of_the_release, release=plain), True),
        (Item(plain, tmp_path=plain), False),
        (Item(plain, _autouse=started), False),
    ],
    ids=["helper", "wrapped", "fixture", "release", "plain", "of every test"],
)
def test_work_is_found(item, expected):
    assert works(item) == expected
