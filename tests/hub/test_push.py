"""Pushing to the Hub over real HTTP: one commit, the right to it known before, what passes survived, what does not said."""

from __future__ import annotations

import os

import pytest

from seg_demo.core.errors import BadRequestError, HubUnavailableError
from seg_demo.hub import client

FILES = {
    "config.json": b'{"model_type": "segformer"}',
    "model.safetensors": os.urandom(200_000),
    "README.md": b"---\nlicense: mit\n---\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_a_push_is_one_commit_that_arrives_whole(hub, folder, monkeypatch):
    hub.add_user("ann", "hf_ann")
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    sha = client.push(folder, "ann/new", private=True, message="first")
    assert hub.commits("ann/new") == ["initial commit", "first"] and hub.repos["model", "ann/new"].private
    assert {name: data for name, data in hub.files("ann/new", sha).items() if name != ".gitattributes"} == FILES
    assert client.verify("ann/new", sha, folder) == []
    (folder / "config.json").write_bytes(b"{}")
    assert client.verify("ann/new", sha, folder) == ["config.json"]


def test_a_push_survives_what_passes(hub, folder, monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    hub.add_user("ann", "hf_ann")
    hub.fail("POST .*/commit/", status=503)
    hub.fail("POST .*/commit/", status=None)
    hub.fail("POST .*/commit/", status=429, headers={"Retry-After": "0"})
    said = []
    client.push(folder, "ann/new", token="hf_ann", message="once", say=said.append)
    assert hub.commits("ann/new") == ["initial commit", "once"] and len(said) == 3
    assert not any("hf_ann" in line for line in said)
    client.push(folder, "ann/new", token="hf_ann", message="again")
    assert hub.commits("ann/new") == ["initial commit", "once"], "unchanged files make no second commit"


def test_a_push_that_cannot_succeed_says_why(hub, folder, monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    hub.add_user("ann", "hf_ann")
    with pytest.raises(BadRequestError, match="You are not logged in"):
        client.whoami()
    with pytest.raises(BadRequestError, match="may not write to bob/new"):
        client.push(folder, "bob/new", token="hf_ann")
    hub.fail("POST .*/commit/", status=503, times=100)
    with pytest.raises(HubUnavailableError, match=r"\(503\), and ann/new was not pushed; the folder .* is kept"):
        client.push(folder, "ann/new", token="hf_ann")


def test_the_right_to_write_is_known_before(hub):
    hub.add_user("ann", "hf_ann", orgs={"lab": "write", "club": "read"})
    hub.add_user("ann", "hf_reader", role="read")
    assert client.whoami("hf_ann").name == "ann"
    assert client.can_write("ann/new", "hf_ann") and client.can_write("lab/new", "hf_ann")
    for repo, token, why in [
        ("club/new", "hf_ann", "only the role 'read' in club"),
        ("bob/new", "hf_ann", "not a member of bob"),
        ("ann/new", "hf_reader", "may only read"),
        ("ann/new", "hf_wrong", "does not accept the login token"),
    ]:
        with pytest.raises(BadRequestError, match=why):
            client.can_write(repo, token)


def test_the_scopes_of_a_fine_grained_token():
    fine = {"scoped": [{"entity": {"type": "user", "name": "ann"}, "permissions": ["repo.content.read", "repo.write"]}]}
    assert client._write_scopes(fine) == {"ann"}
    assert client._write_scopes({"scoped": [{"entity": {"name": "ann"}, "permissions": ["repo.content.read"]}]}) == set()
