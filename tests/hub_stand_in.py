"""A small Hugging Face Hub on loopback, over real HTTP, for tests.

    with HubStandIn() as hub:                                   # serves HF_ENDPOINT, which tests/conftest.py sets
        sha = hub.add_repo("user/name", folder_or_files, private=False, revision="main")
        hub.add_user("ann", token="hf_ann", orgs={"lab": "write"}, role="write")
        hub.files("ann/model")["config.json"]                   # what was pushed, as bytes
        hub.commits("ann/model")                                # one commit message per commit, oldest first
        hub.count("resolve")                                    # requests whose "METHOD /path" matches; hub.reset_counts()
        hub.fail("POST .*/commit/", status=503, times=2)        # also status=None: drop the connection without an answer
        hub.fail("GET .*/resolve/.*safetensors", status=None, after=1000)  # drop it after so many bytes
        hub.fail("PUT /lfs/", status=None, after=1000)              # large files are put under their sha256, not their name
        hub.hanging = True                                      # accept every connection and never answer

huggingface_hub reads HF_ENDPOINT when it is imported, so the port is fixed per process and inherited by its children. Tests
enter and leave stand-ins at the same address; while none is entered, connections to it are refused, as when offline (the
``hub`` fixture of conftest.py also empties the local cache). Datasets work the same with ``kind="dataset"``. Branches, tags
and full shas resolve as on the Hub; private and gated repositories answer as it does to nobody, to a stranger and to an
owner; a revision named ``refs/pr/N`` is a pull request of the Hub's safetensors conversion bot, unless ``add_pull`` says
otherwise.
``python -m tests.hub_stand_in --port 8080`` serves one by hand, with user ``ann`` and token ``hf_ann``.
"""

from __future__ import annotations

import argparse
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tests.hub_stand_in_http import Server
from tests.hub_stand_in_repos import Failure, Repo, User


class HubStandIn:
    """The Hub; see the module's docstring.

    Attributes:
        url: its address, without a slash at the end.
        moved: today's id by the id that a repository had before: the Hub redirects (307) to it, and to the usual spelling.
        hanging: while true, every request is accepted and never answered.
        requests: (method, path, user name or None) of every request since the start or ``reset_counts``.
        lfs: uploaded large files, bytes by sha256.
        dropped: (method, path, bytes received, bytes of the whole body) of requests whose connection was dropped on demand.
    """

    def __init__(self, port: int | None = None) -> None:
        if port is None:
            port = urlsplit(os.environ.get("HF_ENDPOINT", "")).port or 0
        self._port = port
        self.url = f"http://127.0.0.1:{port}"
        self.moved: dict[str, str] = {}
        self.hanging = False
        self.requests: list[tuple[str, str, str | None]] = []
        self.repos: dict[tuple[str, str], Repo] = {}
        self.users: dict[str, User] = {}
        self.lfs: dict[str, bytes] = {}
        self.dropped: list[tuple[str, str, int, int]] = []
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self._failures: list[Failure] = []

    def __enter__(self) -> HubStandIn:
        self._server = Server(("127.0.0.1", self._port), self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.drop_all()
        self._thread.join()

    def add_user(self, name: str, token: str, orgs: Mapping[str, str] | None = None, role: str = "write") -> None:
        """Make a token valid.

        Args:
            name: the user's name.
            token: what they log in with.
            orgs: organisation name to role within it (``read``, ``contributor``, ``write``, ``admin``).
            role: of the token: ``read`` or ``write``.
        """
        self.users[token] = User(name, role, dict(orgs or {}))

    def add_repo(
        self,
        id: str,
        content: Path | Mapping[str, bytes],
        private: bool = False,
        gated: bool = False,
        revision: str = "main",
        kind: str = "model",
    ) -> str:
        """Publish a folder or files as a new commit on a branch (created with the repository if needed).

        Args:
            id: ``user/name``.
            content: a folder, or bytes by path.
            private: nobody but the owner sees it.
            gated: nobody but the owner may download it.
            revision: branch or tag that the commit is put on.
            kind: ``model`` or ``dataset``.

        Returns:
            The commit's sha.
        """
        if isinstance(content, Path):
            found = [path for path in content.rglob("*") if path.is_file()]
            content = {path.relative_to(content).as_posix(): path.read_bytes() for path in found}
        with self.lock:
            repo = self.repos.setdefault((kind, id), Repo(id, kind))
            repo.private, repo.gated = private, gated
            sha = repo.commit(dict(content), revision, f"add {revision}")
            repo.refs.setdefault("main", sha)
            return sha

    def add_pull(self, id: str, number: int, content: Path | Mapping[str, bytes], author: str, status: str = "open") -> str:
        """Publish files as a pull request; a larger number is a newer one.

        Args:
            id: ``user/name`` of a repository that is there.
            number: of the pull request.
            content: as for :meth:`add_repo`.
            author: who made it.
            status: ``open``, ``closed`` or ``merged``.

        Returns:
            The commit's sha.
        """
        sha = self.add_repo(id, content, revision=f"refs/pr/{number}")
        self.repos["model", id].pulls[number] = (author, status)
        return sha

    def files(self, id: str, revision: str = "main", kind: str = "model") -> dict[str, bytes]:
        """The files of a repository at a revision, bytes by path."""
        repo = self.repos[kind, id]
        return repo.commits[repo.sha(revision)]

    def commits(self, id: str, kind: str = "model") -> list[str]:
        """The messages of a repository's commits, oldest first."""
        return self.repos[kind, id].messages

    def count(self, pattern: str = "") -> int:
        """How many requests had a ``METHOD /path`` that matches the regular expression."""
        return sum(bool(re.search(pattern, f"{method} {path}")) for method, path, _ in self.requests)

    def reset_counts(self) -> None:
        """Forget the requests seen so far."""
        self.requests.clear()

    def fail(
        self,
        pattern: str,
        status: int | None = 503,
        times: int = 1,
        after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Make the next matching requests fail.

        Args:
            pattern: regular expression on ``METHOD /path``.
            status: HTTP status to answer with, or None to drop the connection.
            times: how many requests fail.
            after: with status None: drop after so many bytes of the body were received (uploads) or sent (downloads).
            headers: to send with the status, such as ``Retry-After``.
        """
        self._failures.append(Failure(pattern, status, times, after, dict(headers or {})))

    def next_failure(self, method: str, path: str) -> Failure | None:
        """Count the request against the injected faults, and return the one that hits it."""
        with self.lock:
            for failure in self._failures:
                if failure.times > 0 and re.search(failure.pattern, f"{method} {path}"):
                    failure.times -= 1
                    return failure
        return None


def main() -> None:
    """Serve an empty Hub until interrupted."""
    parser = argparse.ArgumentParser(description="A Hugging Face Hub on loopback, for tests.")
    parser.add_argument("--port", type=int, default=8080)
    with HubStandIn(parser.parse_args().port) as hub:
        hub.add_user("ann", "hf_ann")
        print(f"HF_ENDPOINT={hub.url} HF_TOKEN=hf_ann", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
