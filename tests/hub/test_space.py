"""The site of a release is published as a Space beside it, in one commit, and over nothing else."""

import json
from functools import partial

import pytest
from support.hub_server import File, Repo
from support.synthetic_records import record

import cifar10_s
from cifar10_s.cli import app as cli
from cifar10_s.errors import HubError, UsageError
from cifar10_s.hub.space import Space
from cifar10_s.release.layout import RESULTS
from cifar10_s.release.reader import Release

SITE, MARKER = "me/results", "records.jsonl"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    for name, text in {"README.md": "---\nsdk: static\n---\n", "index.html": "<p>", MARKER: "{}\n"}.items():
        (folder / name).write_text(text)
    return folder


def publish(hub, folder, repo_id=SITE, **options):
    return Space(repo_id, MARKER, endpoint=hub.endpoint).publish(folder, **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_site_is_published_and_replaced(hub, folder):
    done = publish(hub, folder)
    assert (done.status, done.url) == ("published", f"{hub.endpoint}/spaces/{SITE}")
    assert hub.repos[SITE].sdk == "static"
    assert hub.files(SITE) == contents(folder)
    assert publish(hub, folder).status == "unchanged"
    (folder / MARKER).write_text("{}\n{}\n")
    (folder / "index.html").rename(folder / "galleries.html")
    changed = publish(hub, folder).difference
    assert (changed.new, changed.changed, changed.removed) == (("galleries.html",), (MARKER,), ("index.html",))
    assert hub.files(SITE) == contents(folder)
    assert len(hub.repos[SITE].messages) == 3


def test_a_dry_run_writes_nothing(hub, folder):
    done = publish(hub, folder, dry_run=True)
    assert (done.status, done.commit) == ("dry run", None)
    assert done.difference.new == ("README.md", "index.html", MARKER)
    assert SITE not in hub.repos


def test_something_else_is_not_overwritten(hub, folder):
    hub.repos[SITE] = Repo(False)
    hub.repos[SITE].commit("main", {"app.py": File(b"years of work")}, "mine")
    with pytest.raises(HubError, match=r"holds something else \(app.py …\)"):
        publish(hub, folder)
    # What the Hub puts into a new static Space is nobody's work.
    hub.repos[SITE].commit("main", {"index.html": File(b"hello"), "style.css": File(b"p {}")}, "initial commit")
    assert publish(hub, folder).difference.removed == ("style.css",)


def test_a_lost_connection_is_tried_again(hub, folder, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.fail("commit", "cut after")
    assert publish(hub, folder).status in ("published", "unchanged")
    assert hub.files(SITE) == contents(folder)


@pytest.mark.parametrize("name", ["results", "me/../results", ""])
def test_a_name_that_is_none_is_refused_before_anything_is_sent(hub, name):
    with pytest.raises(UsageError, match=r"^space: expected <namespace>/<name>"):
        Space(name, MARKER, endpoint=hub.endpoint)
    assert not hub.requests


def test_push_publishes_the_site_beside_the_dataset(hub, tmp_path, capfd):
    build = partial(cifar10_s.build, "sample", name="digits-s", configurations=["ops"], device="cpu")
    plain = build(tmp_path / "plain")
    opened = Release(plain.folder)
    lines = [
        record(name, curve=(20, 60), pixels=opened.digest(name), test=opened.test_digest, source=opened.title)
        for name in ("clean", "ops")
    ]
    (tmp_path / "bench.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    folder = tmp_path / "digits-s"
    build(folder, records=[tmp_path / "bench.jsonl"])
    recipe = build(tmp_path / "recipe", records=[tmp_path / "bench.jsonl"], recipe_only=True)
    arguments = ["push", str(folder), "--repo-id", "me/digits-s", "--space", SITE, "--endpoint", hub.endpoint]
    assert cli.run(["push", str(plain.folder), *arguments[2:]]) == 2
    assert f"has no {RESULTS}" in capfd.readouterr().err
    assert cli.run(["push", str(recipe.folder), *arguments[2:]]) == 2
    assert "has recipes and no images" in capfd.readouterr().err
    assert not hub.repos
    assert cli.run(arguments) == 0
    assert f"/spaces/{SITE}: the site: published: 4 new" in capfd.readouterr().out
    assert hub.files(SITE).keys() == {"README.md", "index.html", "galleries.html", MARKER}
    assert hub.files("me/digits-s").keys() >= {"manifest.json", RESULTS}
    assert cli.run([*arguments, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["space"]["status"] == "unchanged"


def test_what_shall_be_private_is_not_put_where_everyone_sees_it(hub, folder):
    hub.repos[SITE] = Repo(False)
    hub.repos[SITE].commit("main", {MARKER: File(b"{}")}, "mine")
    with pytest.raises(HubError, match="is public, but --private was given"):
        publish(hub, folder, private=True)
    assert len(hub.repos[SITE].messages) == 1
