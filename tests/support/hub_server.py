"""A small Hub on localhost: the part of its API that a push, a download and `load_dataset` need; its state is on disk.

It checks requests as the Hub does (token, parent commit, SHA-256 of LFS files) and can be made to fail. After a kill,
it resumes from its folder, which has the effect of every request that was answered.
"""

import base64
import hashlib
import json
import os
import pickle
import re
import signal
import sys
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_a_secret_that_nobody_prints"
LFS_SUFFIXES = (".parquet", ".png")


def git_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass(frozen=True)
class File:
    """A file of a commit; an LFS file has its SHA-256."""

    data: bytes
    sha256: str | None = None

    @property
    def pointer(self):
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        return text.encode()

    def entry(self, path):
        entry = {"type": "file", "path": path, "size": len(self.data)}
        if self.sha256 is None:
            return {**entry, "oid": git_id(self.data)}
        lfs = {"oid": self.sha256, "size": len(self.data), "pointerSize": len(self.pointer)}
        return {**entry, "oid": git_id(self.pointer), "lfs": lfs}


@dataclass
class Repo:
    private: bool
    sdk: str | None = None  # of a Space
    commits: dict = field(default_factory=dict)  # name -> {path: File}
    messages: list = field(default_factory=list)
    branches: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)

    def commit(self, branch, files, message):
        name = hashlib.sha1(f"{len(self.commits)}{message}".encode()).hexdigest()
        self.commits[name], self.branches[branch] = files, name
        self.messages.append(message)
        return name

    def resolve(self, revision):
        found = {**self.tags, **self.branches}.get(revision, revision)
        return found if found in self.commits else None


@dataclass
class Fault:
    """A fault of the next requests of a kind.

    ``what`` is a status to answer; ``cut`` before the request is read, ``cut half-way`` through it, or ``cut after`` it
    was done; or ``stall``. With ``kill`` instead of ``cut``, the server dies by SIGKILL.
    """

    kind: str
    what: object
    times: int = 1
    headers: dict = field(default_factory=dict)
    message: str = "told to fail"


class Refusal(Exception):  # noqa: N818
    def __init__(self, status, message="", code=None, headers=None):
        self.status, self.message, self.code, self.headers = status, message, code, headers or {}


class Hub:
    """The server, a context manager; ``requests`` lists kinds in order, ``uploads`` the SHA-256 of received files."""

    def __init__(self, folder, port=0):
        self.state = Path(folder, "state")
        self.repos, self.objects = pickle.loads(self.state.read_bytes()) if self.state.is_file() else ({}, {})
        self.faults, self.lies = [], {}
        self.account = {"type": "user", "name": "me", "orgs": [], "auth": {"accessToken": {"role": "write"}}}
        self.requests, self.uploads = [], []
        self.lock, self.stalled = threading.RLock(), threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.endpoint, self.storage = (
            f"http://{host}:{self.server.server_port}" for host in ("127.0.0.1", "localhost")
        )

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def save(self):
        """Write the state atomically: a kill leaves the previous state."""
        self.state.parent.mkdir(exist_ok=True)
        partial = self.state.with_suffix(".partial")
        partial.write_bytes(pickle.dumps((self.repos, self.objects)))
        partial.replace(self.state)

    def fail(self, kind, what, **options):
        self.faults.append(Fault(kind, what, **options))

    def counts(self):
        return Counter(self.requests)

    def files(self, repo_id, revision="main"):
        repo = self.repos[repo_id]
        return {p: f.data for p, f in repo.commits[repo.resolve(revision)].items() if p != ".gitattributes"}


def route(method, pattern, kind, *, write=False):
    def mark(function):
        function.route = (method, re.compile(pattern), kind, write)
        return function

    return mark


KIND = "(?:datasets|spaces)"
REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Otherwise each answer waits 40 ms for its head to be acknowledged.
    disable_nagle_algorithm = True
    hub: Hub

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    # One request ----------------------------------------------------------------------------------------------

    def answer(self):
        parts = urlsplit(self.path)
        self.query = parse_qs(parts.query)
        self.body = None
        for function in ROUTES:
            method, pattern, kind, write = function.route
            match = pattern.fullmatch(parts.path)
            if match and self.command in (method, "HEAD" if method == "GET" else method):
                break
        else:
            self.read()
            return self.send(404, {"error": f"no such route: {self.command} {self.path}"})
        with self.hub.lock:
            self.hub.requests.append(kind)
            fault = next((fault for fault in self.hub.faults if fault.kind == kind and fault.times > 0), None)
            if fault:
                fault.times -= 1
        if fault and fault.what == "stall":
            self.hub.stalled.set()
            self.rfile.read()
            return self.hang_up(fault)
        if fault and fault.what in ("cut", "cut half-way", "kill", "kill half-way"):
            self.rfile.read(int(self.headers.get("content-length", 0)) // 2 if "half-way" in fault.what else 0)
            return self.hang_up(fault)
        self.read()
        if fault and isinstance(fault.what, int):
            return self.send(fault.what, {"error": fault.message}, fault.headers)
        try:
            with self.hub.lock:
                self.allow(write)
                status, data, headers = function(self, **{k: unquote(v) for k, v in match.groupdict().items() if v})
                if method != "GET":
                    self.hub.save()
        except Refusal as refusal:
            headers = {"X-Error-Message": refusal.message, **refusal.headers}
            headers |= {"X-Error-Code": refusal.code} if refusal.code else {}
            status, data = refusal.status, {"error": refusal.message}
        if fault:
            return self.hang_up(fault)
        return self.send(status, data, headers)

    def hang_up(self, fault):
        if fault.what.startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(2)

    def read(self):
        if self.body is None and self.headers.get("transfer-encoding", "").lower() == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            self.body = b"".join(chunks)
        elif self.body is None:
            self.body = self.rfile.read(int(self.headers.get("content-length", 0)))
        return self.body

    def send(self, status, data, headers=None):
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(raw)), **(headers or {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def allow(self, write):
        """Refuse a wrong token, and a missing one if the request writes."""
        given = self.headers.get("authorization")
        if given not in (None, f"Bearer {TOKEN}"):
            raise Refusal(401, "Invalid credentials in Authorization header")
        if write and given is None:
            raise Refusal(401, "Invalid username or password.")

    def repo(self, repo):
        found = self.hub.repos.get(repo)
        if found is None or (found.private and not self.headers.get("authorization")):
            known = self.headers.get("authorization")
            raise Refusal(404 if known else 401, "Repository not found", "RepoNotFound")
        return found

    def at(self, repo, revision):
        repo = self.repo(repo)
        commit = repo.resolve(revision)
        if commit is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return repo, commit

    @route("GET", r"/api/whoami-v2", "whoami", write=True)
    def whoami(self):
        return 200, self.hub.account, {}

    # Reading --------------------------------------------------------------------------------------------------

    @route("GET", rf"/api/{KIND}/{REPO}(?:/revision/(?P<revision>[^/]+))?", "info")
    def info(self, repo, revision="main"):
        found, commit = self.at(repo, revision)
        siblings = [{"rfilename": path} for path in found.commits[commit]]
        info = {"id": repo, "sha": commit, "private": found.private, "siblings": siblings, "tags": [], "downloads": 0}
        return 200, info, {}

    @route("GET", rf"/api/{KIND}/{REPO}/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?", "tree")
    def tree(self, repo, revision, path=None):
        found, commit = self.at(repo, revision)
        files, prefix = found.commits[commit], f"{path}/" if path else ""
        inside = {name: file for name, file in files.items() if name.startswith(prefix)}
        if prefix and not inside:
            raise Refusal(404, f"{path} does not exist", "EntryNotFound")
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries = [
            {**file.entry(name), **self.hub.lies.get(name, {})}
            for name, file in inside.items()
            if recursive or "/" not in name[len(prefix) :]
        ]
        folders = {
            prefix + "/".join(parts[:depth])
            for name in inside
            for parts in [name[len(prefix) :].split("/")]
            for depth in range(1, len(parts) if recursive else min(2, len(parts)))
        }
        entries += [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in sorted(folders)]
        return 200, entries, {}

    @route("POST", rf"/api/{KIND}/{REPO}/paths-info/(?P<revision>[^/]+)", "paths")
    def paths(self, repo, revision):
        found, commit = self.at(repo, revision)
        if self.headers.get("content-type", "").startswith("application/json"):
            paths = json.loads(self.body)["paths"]
        else:
            paths = parse_qs(self.body.decode()).get("paths", [])
        entries = []
        for path in paths:
            if path in found.commits[commit]:
                entries.append(found.commits[commit][path].entry(path))
            elif any(name.startswith(f"{path}/") for name in found.commits[commit]):
                entries.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
        return 200, entries, {}

    @route("GET", rf"/api/{KIND}/{REPO}/refs", "refs")
    def refs(self, repo):
        found = self.repo(repo)
        refs = {
            kind: [{"name": name, "ref": f"refs/{where}/{name}", "targetCommit": commit} for name, commit in of.items()]
            for kind, where, of in (("branches", "heads", found.branches), ("tags", "tags", found.tags))
        }
        return 200, {**refs, "converts": []}, {}

    @route("GET", rf"/{KIND}/{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve")
    def resolve(self, repo, revision, path):
        found, commit = self.at(repo, revision)
        file = found.commits[commit].get(path)
        if file is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": commit})
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if file.sha256 is None:
            return self.part(file.data, {**headers, "ETag": f'"{git_id(file.data)}"'})
        linked = {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.data))}
        # As on the Hub, large files come from another host, which must not get the token.
        return 302, b"", {**headers, **linked, "Location": f"{self.hub.storage}/cdn/{file.sha256}"}

    @route("GET", r"/cdn/(?P<oid>\w+)", "cdn")
    def cdn(self, oid):
        assert "authorization" not in self.headers
        return self.part(self.hub.objects[oid], {"ETag": f'"{oid}"', "Content-Type": "application/octet-stream"})

    def part(self, data, headers):
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if not wanted:
            return 200, data, headers
        start, stop = int(wanted[1]), min(int(wanted[2] or len(data) - 1) + 1, len(data))
        return 206, data[start:stop], {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}

    # Writing --------------------------------------------------------------------------------------------------

    @route("POST", r"/api/repos/create", "create", write=True)
    def create(self):
        wanted = json.loads(self.body)
        if wanted["organization"] != "me":
            raise Refusal(403, "You don't have the rights to create a dataset under this namespace")
        repo_id = f"{wanted['organization']}/{wanted['name']}"
        if repo_id in self.hub.repos:
            raise Refusal(409, "You already created this dataset repo")
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.hub.repos[repo_id] = Repo(private, wanted.get("sdk"))
        self.hub.repos[repo_id].commit("main", {".gitattributes": File(b"*.parquet filter=lfs\n")}, "initial commit")
        return 200, {"url": f"{self.hub.endpoint}/datasets/{repo_id}"}, {}

    @route("POST", r"/api/validate-yaml", "yaml")
    def yaml(self):
        return 200, {"errors": [], "warnings": []}, {}

    @route("POST", rf"/api/{KIND}/{REPO}/preupload/(?P<revision>[^/]+)", "preupload", write=True)
    def preupload(self, repo, revision):
        found, commit = self.at(repo, revision)
        files = []
        for file in json.loads(self.body)["files"]:
            there = found.commits[commit].get(file["path"])
            mode = "lfs" if file["path"].endswith(LFS_SUFFIXES) or file["size"] > 10 << 20 else "regular"
            entry = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
            files.append(entry | ({"oid": there.sha256 or git_id(there.data)} if there else {}))
        return 200, {"files": files}, {}

    @route("POST", rf"/datasets/{REPO}\.git/info/lfs/objects/batch", "batch", write=True)
    def batch(self, repo):
        self.repo(repo)
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            oid = wanted["oid"]
            upload = {"href": f"{self.hub.endpoint}/lfs/{oid}", "header": {}}
            verify = {"href": f"{self.hub.endpoint}/lfs/verify/{oid}"}
            new = {"actions": {"upload": upload, "verify": verify}}
            objects.append({"oid": oid, "size": wanted["size"]} | ({} if oid in self.hub.objects else new))
        return 200, {"transfer": "basic", "objects": objects}, {}

    @route("PUT", r"/lfs/(?P<oid>\w+)", "upload")
    def upload(self, oid):
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refusal(400, "The content's SHA-256 is another")
        self.hub.uploads.append(oid)
        self.hub.objects[oid] = self.body
        return 200, {}, {}

    @route("POST", r"/lfs/verify/(?P<oid>\w+)", "check", write=True)
    def check(self, oid):
        if len(self.hub.objects.get(oid, b"")) != json.loads(self.body)["size"]:
            raise Refusal(400, "The object is not there")
        return 200, {}, {}

    @route("POST", rf"/api/{KIND}/{REPO}/commit/(?P<revision>[^/]+)", "commit", write=True)
    def commit(self, repo, revision):
        found = self.repo(repo)
        if revision not in found.branches:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        head, message = found.branches[revision], ""
        files = dict(found.commits[head])
        for line in self.body.decode().splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "header":
                message = value["summary"]
                if value.get("parentCommit", head) != head:
                    raise Refusal(412, "A commit has happened since. Please refresh and try again.")
            elif operation["key"] == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]))
            elif operation["key"] == "lfsFile":
                files[value["path"]] = File(self.hub.objects[value["oid"]], value["oid"])
            else:
                del files[value["path"]]
        name = found.commit(revision, files, message)
        return 200, {"commitUrl": f"{self.hub.endpoint}/datasets/{repo}/commit/{name}", "commitOid": name}, {}

    @route("POST", rf"/api/{KIND}/{REPO}/tag/(?P<revision>[^/]+)", "tag", write=True)
    def tag(self, repo, revision):
        found, commit = self.at(repo, revision)
        tag = json.loads(self.body)["tag"]
        if tag in found.tags:
            raise Refusal(409, "Tag reference exists already")
        found.tags[tag] = commit
        return 200, {}, {}

    @route("POST", rf"/api/{KIND}/{REPO}/branch/(?P<branch>[^/]+)", "branch", write=True)
    def branch(self, repo, branch):
        found = self.repo(repo)
        if branch in found.branches:
            raise Refusal(409, "Reference already exists")
        found.branches[branch] = found.branches["main"]
        return 200, {}, {}


ROUTES = [function for function in vars(_Handler).values() if hasattr(function, "route")]


def serve():
    """Serve in a process of its own, print the port, and fail if asked: ``FOLDER PORT [KIND WHAT]``."""
    folder, port, *fault = sys.argv[1:]
    with Hub(folder, int(port)) as hub:
        if fault:
            hub.fail(*fault)
        print(hub.server.server_port, flush=True)
        threading.Event().wait()
