"""The routes of the Hub that huggingface_hub 2.4 uses, with the Hub's own status codes and headers."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

import yaml

from tests.hub_stand_in_repos import Repo, User, entry, upload_mode

if TYPE_CHECKING:
    from tests.hub_stand_in import HubStandIn

_API = re.compile(
    r"/api/(?P<kind>model|dataset|space)s/(?P<id>[^/]+/[^/]+)(?:/(?P<verb>[\w-]+)(?:/(?P<revision>[^/]+))?(?:/(?P<path>.*))?)?"
)
_RESOLVE = re.compile(r"/(?P<prefix>datasets/)?(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
# What the real Hub puts behind the address of an upload: whoever knows it may write there.
SIGNED = "X-Amz-Credential=AKIAEXAMPLE&X-Amz-Signature=5166ed5166ed&x-id=PutObject"
_BATCH = re.compile(r"/(?:datasets/)?[^/]+/[^/]+\.git/info/lfs/objects/batch")


class Answer(Exception):
    """Ends a request with a status, as the Hub words it."""

    def __init__(
        self, status: int, message: str, code: str = "", headers: Mapping[str, str] = {}, body: Mapping[str, str] = {}
    ) -> None:
        super().__init__(message)
        named = {"X-Error-Message": message, "X-Error-Code": code, **headers}
        self.status, self.headers = status, {name: value for name, value in named.items() if value}
        self.body = json.dumps({"error": message, **body}).encode()


class Routes:
    """The routes as one user (None: not logged in) sees them."""

    def __init__(self, hub: HubStandIn, user: User | None) -> None:
        self.hub, self.user = hub, user

    def answer(self, path: str, query: dict[str, list[str]], body: bytes) -> tuple[bytes, dict[str, str]]:
        """Body and headers for a request; raises Answer for anything but 200."""
        if path == "/":
            return b"hub", {}
        if match := _RESOLVE.fullmatch(path):
            return self._resolve(match)
        if path == "/api/whoami-v2":
            return _json(self._whoami())
        if path == "/api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return _json(self._create(json.loads(body)))
        if _BATCH.fullmatch(path):
            return _json(self._batch(json.loads(body)))
        if path.startswith("/lfs/"):
            return self._store(path.removeprefix("/lfs/"), body)
        if match := _API.fullmatch(path):
            repo = self._repo(match["kind"], match["id"])
            revision = unquote(match["revision"] or "main")
            return _json(self._api(repo, match["verb"] or "revision", revision, unquote(match["path"] or ""), query, body))
        raise Answer(404, "Not Found")

    def _api(self, repo: Repo, verb: str, revision: str, path: str, query: dict[str, list[str]], body: bytes) -> Any:
        if verb == "auth-check":
            if revision == "write":
                self._may_write(repo.id)
            elif repo.gated:
                self._open_gate(repo)
            return {}
        if verb == "discussions":
            return self._discussions(repo, query)
        if verb == "preupload":
            self._may_write(repo.id)
            present = {name: entry(name, data) for name, data in repo.commits[repo.sha(revision)].items()}
            return {"files": [_wanted(row["path"], present.get(row["path"])) for row in json.loads(body)["files"]]}
        if verb == "commit":
            self._may_write(repo.id)
            sha = self._commit(repo, revision, body)
            return {"commitUrl": f"{self.hub.url}/{repo.id}/commit/{sha}", "commitOid": sha}
        if verb == "refs":
            branches = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha} for name, sha in repo.refs.items()]
            return {"branches": branches, "tags": [], "converts": []}
        sha = repo.sha(revision)
        if sha is None:
            raise Answer(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        entries = [entry(name, data) for name, data in sorted(repo.commits[sha].items()) if name.startswith(path)]
        if verb == "tree":
            if path and not any(row["path"].startswith(f"{path}/") for row in entries):
                raise Answer(404, f"{path} does not exist on {revision}", "EntryNotFound")
            return entries if query.get("recursive", ["false"])[0].lower() == "true" else _one_level(entries, path)
        if verb == "paths-info":
            wanted = parse_qs(body.decode()).get("paths", []) if not body.startswith(b"{") else json.loads(body)["paths"]
            return [row for row in entries if row["path"] in wanted]
        if verb != "revision":
            raise Answer(404, "Not Found")
        siblings = [{"rfilename": row["path"]} for row in entries]
        if "blobs" in query:
            for sibling, row in zip(siblings, entries, strict=True):
                sibling.update(size=row["size"], blobId=row["oid"])
                if "lfs" in row:
                    lfs = row["lfs"]
                    sibling["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": lfs["pointerSize"]}
        gated = "manual" if repo.gated else False
        readme = repo.commits[sha].get("README.md", b"").decode()
        card = yaml.safe_load(readme.split("---")[1]) if readme.startswith("---") else None
        about = {"id": repo.id, "sha": sha, "private": repo.private, "gated": gated, "siblings": siblings}
        return about | ({"cardData": card} if isinstance(card, dict) else {})

    def _discussions(self, repo: Repo, query: dict[str, list[str]]) -> dict[str, Any]:
        """Its pull requests, the newest first."""
        if not repo.discussions:
            raise Answer(403, "Discussions are disabled for this repo")
        numbers = sorted((int(name.split("/")[2]) for name in repo.refs if name.startswith("refs/pr/")), reverse=True)
        pulls = []
        for number in numbers:
            author, status = repo.pulls.get(number, ("SFconvertbot", "open"))
            pull = {"title": "Adding `safetensors` variant of this model", "num": number, "author": {"name": author}, "status": status}
            pulls.append({**pull, "isPullRequest": True, "repo": {"name": repo.id, "type": "model"}, "createdAt": "2024-01-01T00:00:00.000Z"})
        for key, wanted in (("author", lambda pull: pull["author"]["name"]), ("status", lambda pull: pull["status"])):
            if key in query and query[key][0] != "all":
                pulls = [pull for pull in pulls if wanted(pull) == query[key][0]]
        return {"discussions": pulls, "count": len(pulls), "start": 0, "numClosedDiscussions": 0}

    def _repo(self, kind: str, id: str) -> Repo:
        """The repository, or what the Hub answers to who may not see it."""
        repo = self.hub.repos.get((kind, unquote(id)))
        if repo is None or (repo.private and not self._owns(repo.id)):
            if self.user is None:
                raise Answer(401, "Invalid username or password.")
            raise Answer(404, "Repository not found", "RepoNotFound")
        return repo

    def _owns(self, id: str) -> bool:
        namespace = id.split("/")[0]
        return self.user is not None and (self.user.name == namespace or namespace in self.user.orgs)

    def _may_write(self, id: str) -> None:
        if self.user is None:
            raise Answer(401, "Invalid username or password.")
        namespace = id.split("/")[0]
        role = "admin" if self.user.name == namespace else self.user.orgs.get(namespace, "none")
        if self.user.role != "write" or role not in ("write", "admin", "contributor"):
            raise Answer(403, "You don't have the rights to write to this repository")

    def _open_gate(self, repo: Repo) -> None:
        if not self._owns(repo.id):
            text = f"Access to model {repo.id} is restricted and you are not in the authorized list."
            raise Answer(401 if self.user is None else 403, text, "GatedRepo")

    def _resolve(self, match: re.Match[str]) -> tuple[bytes, dict[str, str]]:
        repo = self._repo("dataset" if match["prefix"] else "model", match["id"])
        if repo.gated:
            self._open_gate(repo)
        sha = repo.sha(unquote(match["revision"]))
        if sha is None:
            raise Answer(404, "Invalid rev id", "RevisionNotFound")
        data = repo.commits[sha].get(unquote(match["path"]))
        if data is None:
            raise Answer(404, "Entry not found", "EntryNotFound", headers={"X-Repo-Commit": sha})
        row = entry(match["path"], data)
        etag = row["lfs"]["oid"] if "lfs" in row else row["oid"]
        return data, {"X-Repo-Commit": sha, "ETag": f'"{etag}"', "Content-Type": "application/octet-stream"}

    def _whoami(self) -> dict[str, Any]:
        user = self.user
        if user is None:
            raise Answer(401, "Invalid username or password.")
        orgs = [{"type": "org", "name": name, "roleInOrg": role} for name, role in user.orgs.items()]
        token = {"type": "access_token", "accessToken": {"displayName": "test", "role": user.role}}
        return {"type": "user", "name": user.name, "fullname": user.name, "orgs": orgs, "auth": token}

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self.user is None:
            raise Answer(401, "Invalid username or password.")
        id = f"{asked.get('organization') or self.user.name}/{asked['name']}"
        self._may_write(id)
        kind = asked.get("type") or "model"
        if (kind, id) in self.hub.repos:
            raise Answer(409, "You already created this model repo", body={"url": f"{self.hub.url}/{id}"})
        private = asked.get("visibility") == "private" or asked.get("private") is True
        repo = self.hub.repos[kind, id] = Repo(id, kind, private)
        repo.commit({".gitattributes": b""}, "main", "initial commit")
        return {"url": f"{self.hub.url}/{id}", "name": id}

    def _batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        hub, objects = self.hub, []
        for item in asked["objects"]:
            upload = {"upload": {"href": f"{hub.url}/lfs/{item['oid']}?{SIGNED}"}}
            objects.append({**item, **({} if item["oid"] in hub.lfs else {"actions": upload})})
        return {"transfer": "basic", "objects": objects}

    def _store(self, oid: str, body: bytes) -> tuple[bytes, dict[str, str]]:
        if hashlib.sha256(body).hexdigest() != oid:
            raise Answer(400, "sha256 of the upload differs from its name")
        self.hub.lfs[oid] = body
        return b"", {}

    def _commit(self, repo: Repo, revision: str, body: bytes) -> str:
        files, message = dict(repo.commits[repo.sha(revision) or repo.sha("main")]), ""
        for line in body.decode().splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                message = value["summary"]
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                if value["oid"] not in self.hub.lfs:
                    raise Answer(400, f"LFS object {value['oid']} was never uploaded")
                files[value["path"]] = self.hub.lfs[value["oid"]]
            elif key == "deletedFile":
                files.pop(value["path"])
        return repo.commit(files, revision, message)


def _one_level(rows: list[dict[str, Any]], folder: str) -> list[dict[str, Any]]:
    """What lies directly in a folder, folders included, as the Hub lists it unless asked for everything below."""
    start = f"{folder}/" if folder else ""
    inside = [row for row in rows if row["path"].startswith(start)]
    folders = {start + row["path"][len(start) :].partition("/")[0] for row in inside if "/" in row["path"][len(start) :]}
    listed = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": name} for name in sorted(folders)]
    return listed + [row for row in inside if "/" not in row["path"][len(start) :]]


def _wanted(path: str, present: dict[str, Any] | None) -> dict[str, Any]:
    """How a file is to be uploaded, and the id of the one that is there, by which the client skips unchanged files."""
    known = present and (present["lfs"]["oid"] if "lfs" in present else present["oid"])
    return {"path": path, "uploadMode": upload_mode(path), "shouldIgnore": False, "oid": known}


def _json(value: Any) -> tuple[bytes, dict[str, str]]:
    return json.dumps(value).encode(), {}
