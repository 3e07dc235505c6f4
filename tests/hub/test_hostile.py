"""Hostile model ids, and hostile repositories over real HTTP: nothing of theirs runs, nothing here is read for them."""

from __future__ import annotations

import time

import pytest

from seg_demo.core.errors import SegDemoError
from seg_demo.core.settings import Settings
from seg_demo.hub import cache, untrusted
from seg_demo.serving.predictor import Predictor
from tests.checkpoints import IMAGE, write_tiny
from tests.hostile_repos import refused, served

IDS = [
    "/etc/passwd", "/etc", "etc/passwd", "../etc/passwd", "../../etc", "./canary/model", "canary/model", "canary\\model",
    "canary",
    "~/.ssh/id_rsa", "~root/x", "file:///etc/passwd", "file://canary/model", "http://127.0.0.1/x",
    "https://evil.example/a/b",
    "ftp://a/b", "data:text/plain,x", "javascript:alert(1)", "//evil.example/x", "\\\\server\\share", "C:\\Windows\\x",
    "a/b/c",
    "a//b", "a/", "/a", "/", ".", "..", "...", "a/..", "a/../b", "..%2f..%2fetc", "%2e%2e/%2e%2e", "a/b@", "a/b@../x",
    "a/b@refs/../../x", "a/b@main\n", "a/b\0", "\0", "a/b\r\nHost: x", "a b/c", "a/b?x=1", "a/b#x", "a/b;ls", "$(id)/x",
    "`id`/x",
    "a/b|cat", "{{7*7}}/x", "${jndi:ldap://x}/y", "<script>alert(1)</script>", "<img src=x>/y", "'; DROP TABLE x;--",
    "a/b.git",
    "--help", "-rf/x", "a/--x", "datasets/a/b", "spaces/a/b", "models--a--b", "ａ/ｂ", "а/b", "\u202ea/b", "😀/x", "a" * 10_000,
    "a/" + "b" * 300, "x" * 97 + "/y", " ", "", "null", "undefined", "NaN", "__import__('os')/x", "con/nul",
    "a/b@" + "c" * 500,
    None, 7, 1.5, True, [], {}, ["unet-cells"], {"id": "unet-cells"}, b"unet-cells", float("nan"),
]  # fmt: skip


def test_no_id_reads_a_local_file_or_reaches_an_address(hub, tmp_path, monkeypatch, loads):
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "canary/model")
    write_tiny(tmp_path / "canary\\model")
    assert len(IDS) >= 60
    predictor = Predictor(Settings())
    for identity in IDS:
        with pytest.raises(SegDemoError) as caught:
            predictor.segment(IMAGE, identity)
        text = str(caught.value)
        assert len(text) > 30 and str(tmp_path) not in text and "Traceback" not in text, identity
    assert loads == []
    asked = ("/api/models/", "/api/datasets/", "/api/spaces/")
    assert all(path.startswith(asked) for _, path, _ in hub.requests), "nothing but the Hub was asked"
    assert predictor.segment(IMAGE, "otsu").height == IMAGE.shape[0]


def publish(hub, folders, changes) -> dict[str, str]:
    """Repositories on the stand-in, id by name."""
    sound = {path.name: path.read_bytes() for path in (folders / "tiny").iterdir()}
    ids = {}
    for number, (name, change) in enumerate(changes.items()):
        ids[name] = f"evil/model{number}"
        hub.add_repo(ids[name], change(sound))
    return ids


def attack(hub, folders, canary, only: slice) -> None:
    changes = refused(canary)
    changes = {name: changes[name] for name in sorted(changes)[only]}
    predictor = Predictor(Settings())
    predictor.segment(IMAGE, "unet-cells")
    usual = seconds(predictor)
    for name, identity in publish(hub, folders, changes).items():
        began = time.monotonic()
        try:
            result = predictor.segment(IMAGE, identity)
        except SegDemoError as error:
            assert len(str(error)) > 30 and "on the server's side" not in str(error), (name, error)
        else:
            raise AssertionError(f"{name} was served: {result.labels.names[:5]}")
        assert time.monotonic() - began < 60, name
        assert not canary.exists(), name
    assert seconds(predictor) < 2 * usual + 1.0


def seconds(predictor: Predictor) -> float:
    """Least of three times for a good image."""
    times = []
    for _ in range(3):
        began = time.monotonic()
        assert predictor.segment(IMAGE, "unet-cells").height == IMAGE.shape[0]
        times.append(time.monotonic() - began)
    return min(times)


def test_hostile_repositories_are_refused(hub, folders, tmp_path):
    assert len(refused(tmp_path / "fired")) + len(served(tmp_path / "fired")) >= 40
    attack(hub, folders, tmp_path / "fired", slice(None, None, 9))


@pytest.mark.soak
def test_all_hostile_repositories_are_refused(hub, folders, tmp_path):
    attack(hub, folders, tmp_path / "fired", slice(None))
    untrusted.close()


def test_what_is_not_the_model_is_not_touched(hub, folders, tmp_path):
    predictor = Predictor(Settings())
    ids = publish(hub, folders, served(tmp_path / "fired"))
    for name, identity in ids.items():
        assert predictor.segment(IMAGE, identity).height == IMAGE.shape[0], name
        fetched = cache.repo_folder(identity).glob("snapshots/*/*")
        assert {path.suffix for path in fetched} <= {".json", ".safetensors"}
    labels = predictor.get(ids["HTML as labels"]).labels.names
    assert labels[0] == "<script>document.title='fired'</script>", "a label is text"
    assert not (tmp_path / "fired").exists()
