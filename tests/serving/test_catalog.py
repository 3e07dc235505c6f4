"""The menu, the owner's menu, and what a typed id may mean."""

from __future__ import annotations

import json
import os
import sys

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from seg_demo import networks
from seg_demo.core.errors import BadCheckpointError, BadRequestError, ModelNotFoundError, SegDemoError, SettingsError
from seg_demo.core.settings import Settings, settings
from seg_demo.hub import lookup
from seg_demo.serving import catalog

ADE = "nvidia/segformer-b0-finetuned-ade-512-512"


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """Two of the three bundled checkpoints, as files without weights."""
    for key, data in [
        ("unet-cells", {"_model_class": "Unet"}),
        ("maskrcnn-cells", {"architecture": "maskrcnn", "id2label": {"0": "background", "1": "cell"}}),
    ]:
        (tmp_path / key).mkdir()
        (tmp_path / key / "config.json").write_text(json.dumps(data))
    names = {str(index): name for index, name in enumerate(["background", *map("class {}".format, range(1, 11))])}
    (tmp_path / "unet-cells" / "preprocessor_config.json").write_text(json.dumps({"id2label": names}))
    monkeypatch.setattr(catalog, "BUNDLED_FOLDER", tmp_path)


@pytest.fixture
def owner(monkeypatch):
    """Sets the owner's menu."""

    def choose(models: str) -> None:
        monkeypatch.setenv("SEG_DEMO_MODELS", models)
        settings.cache_clear()

    yield choose
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def offline(monkeypatch):
    """No server answers; nothing is asked."""
    monkeypatch.setattr(lookup, "reachable", lambda address=None: False)


def test_the_menu_has_what_is_bundled_what_can_be_fetched_and_the_methods(bundled):
    menu = {spec.id: spec for spec in catalog.menu(Settings())}
    assert list(menu)[:2] == ["unet-cells", "maskrcnn-cells"] and "segformer-cells" not in menu
    assert menu["unet-cells"].labels[-1] == "class 10" and menu["maskrcnn-cells"].labels == ("background", "cell")
    assert menu[ADE].licence == "NVIDIA Source Code License (non-commercial)"
    assert [key for key, spec in menu.items() if spec.task == "region"] == ["otsu", "watershed", "slic", "felzenszwalb"]
    assert len(menu["nvidia/segformer-b0-finetuned-cityscapes-1024-1024"].labels) == 19
    assert all(spec.title and spec.about for spec in menu.values())


def test_a_checkpoint_that_is_written_anew_has_its_new_names(bundled, tmp_path):
    def names() -> tuple[str, ...]:
        return {spec.id: spec for spec in catalog.menu(Settings())}["maskrcnn-cells"].labels

    assert names() == names() == ("background", "cell")
    file = tmp_path / "maskrcnn-cells" / "config.json"
    new = tmp_path / "new.json"
    new.write_text(file.read_text().replace("cell", "coin"))
    new.replace(file)
    assert names() == ("background", "coin")
    (tmp_path / "maskrcnn-cells" / "preprocessor_config.json").write_text(json.dumps({"id2label": {"0": "b"}}))
    file.write_text(json.dumps({"architecture": "maskrcnn"}))
    assert names() == ("b",)



@pytest.mark.parametrize(
    ("text", "id", "revision"),
    [
        ("ann/cells", "ann/cells", None),
        ("  ann/cells ", "ann/cells", None),
        ("Ann-1/my.model_v2@v1.0", "Ann-1/my.model_v2", "v1.0"),
        ("ann/cells@refs/pr/3", "ann/cells", "refs/pr/3"),
        ("ann/cells@" + "a" * 40, "ann/cells", "a" * 40),
    ],
)
def test_a_typed_hub_id(text, id, revision):
    spec = catalog.resolve(text, local_folders=False)
    assert (spec.id, spec.revision, spec.source) == (id, revision, "hub")


BAD = [
    "/etc", "../etc", "./ann/cells", "~/models", "ann/../cells", "ann/cells/../deep", "ann/cells//deep", "https://evil.example/ann/cells",
    "https://huggingface.co/ann", "https://huggingface.co/models?search=x", "https://hf.co/datasets/ann/cells", "spaces/ann/cells",
    "https://huggingface.co/ann/%2e%2e/cells", "https://huggingface.co/ann/cells/tree/..%2f..%2fx", "https://huggingface.co@evil.example/a/b",
    "file:///etc", "C:\\models", "ann\\cells", "ann/cells@", "ann/cells@../x", "ann/cells@/x", "ann/ce lls", "ann/cells\n/x",
    "ann/cells\x00", "", "ann--b/cells", "ann/cells.git", "-ann/cells", "x" * 300, "a/" + "b" * 300, "аnn/cells",
    "<script>/x", None, 5, ["ann/cells"],
]  # fmt: skip


def test_a_title_as_the_menu_shows_it_is_understood_and_a_sentence_lists_few_ids():
    for text in ("Mask R-CNN, cells", "mask r-cnn, CELLS", "Mask R-CNN 细胞"):
        assert catalog.resolve(text, local_folders=False).id == "maskrcnn-cells"
    assert catalog.resolve("u-net WITH", local_folders=False).id == "unet-instance-cells"
    for ambiguous in ("U-Net", "Mas", "Fe", "Felzenszwalbs"):  # of two titles, of too few letters, of none
        with pytest.raises(ModelNotFoundError):
            catalog.resolve(ambiguous, local_folders=False)
    with pytest.raises(ModelNotFoundError, match=r"has unet-instance-cells, .*, …; a Hub id") as caught:
        catalog.resolve("unet-instance-cell", local_folders=False)
    assert str(caught.value).count("cells") < 6


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_id_is_refused_in_a_sentence_without_touching_the_disk(text, monkeypatch):
    monkeypatch.setattr(catalog, "_exists", lambda *path: pytest.fail("a visitor's text reached the file system"))
    with pytest.raises((BadRequestError, ModelNotFoundError)) as caught:
        catalog.resolve(text, local_folders=False)
    assert "user/repo" in str(caught.value) and len(str(caught.value)) < 900


@hypothesis_settings(max_examples=40, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_an_id_or_refused(text):
    try:
        spec = catalog.resolve(text, local_folders=False)
    except SegDemoError:
        return
    assert spec.source != "folder" and ".." not in spec.id and not spec.id.startswith("/")


def test_folders_are_for_python_only(tmp_path, monkeypatch):
    folder = tmp_path / "runs" / "best"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert catalog.resolve(str(folder), local_folders=True).source == "folder"
    assert catalog.resolve("runs/best", local_folders=True).source == "folder"
    folder.rename(tmp_path / "Mask R-CNN, cells")
    assert catalog.resolve("Mask R-CNN, cells", local_folders=True).source == "folder", "the title of another model"
    (tmp_path / "Mask R-CNN, cells").rename(folder)
    assert catalog.resolve("runs/best", local_folders=False).source == "hub"
    assert catalog.resolve("runs/best@main", local_folders=True).source == "hub"
    with pytest.raises(ModelNotFoundError, match="no checkpoint folder"):
        catalog.resolve(str(tmp_path), local_folders=True)
    with pytest.raises(BadRequestError):
        catalog.resolve(str(folder), local_folders=False)


def test_the_owners_menu_replaces_the_networks(bundled, owner, offline):
    owner(f"ann/cells@v2, unet-cells,, {ADE}, bob/coins=instance")
    menu = catalog.menu()
    assert [spec.id for spec in menu[:4]] == ["ann/cells", "unet-cells", ADE, "bob/coins"]
    assert [spec.id for spec in menu[4:]] == ["otsu", "watershed", "slic", "felzenszwalb"]
    assert menu[0].revision == "v2" and menu[3].task == "instance"
    assert [row["id"] for row in catalog.describe()][:2] == ["ann/cells@v2", "unet-cells"]
    pinned = catalog.resolve("ann/cells", local_folders=False)
    assert pinned.revision == "v2" and catalog.on_menu(pinned)
    assert not catalog.on_menu(catalog.resolve("ann/cells@main", local_folders=False))
    assert not catalog.on_menu(catalog.resolve("ann/other", local_folders=False))


def test_the_owners_menu_may_order_the_methods(bundled, owner):
    owner("slic, unet-cells, otsu")
    assert [spec.id for spec in catalog.menu()] == ["slic", "unet-cells", "otsu", "watershed", "felzenszwalb"]


@pytest.mark.parametrize("models", ["unet", "/etc", "ann/cells, ann/cells@v2", "ann/cells=region"])
def test_a_wrong_owners_menu_is_refused(owner, models):
    owner(models)
    with pytest.raises(SettingsError, match="SEG_DEMO_MODELS has"):
        catalog.menu()


def test_what_the_page_opens_with(bundled, offline, monkeypatch, owner):
    assert catalog.default_model("semantic") == "unet-cells" and catalog.default_model("instance") == "maskrcnn-cells"
    assert catalog.default_model("region") == "otsu"
    monkeypatch.setattr(lookup, "reachable", lambda address=None: True)
    assert catalog.default_model("semantic") == ADE and catalog.default_model("instance") == "maskrcnn-v2-coco"
    owner("unet-cells, ann/other")
    assert catalog.default_model("semantic") == "unet-cells"
    with pytest.raises(ModelNotFoundError, match="no instance model"):
        catalog.default_model("instance")


def test_a_fetched_model_is_available_offline_and_its_task_and_classes_are_known(hub, owner, monkeypatch):
    config = {"architecture": "maskrcnn", "id2label": {"0": "background", "1": "coin"}}
    hub.add_repo("bob/coins", {"config.json": json.dumps(config).encode(), "model.safetensors": os.urandom(100)})
    owner("bob/coins")
    assert catalog.menu()[0].task == "semantic" and catalog.available(catalog.menu()[0])
    from seg_demo.hub import lookup

    lookup.fetch(catalog.menu()[0], token=True)
    hub.__exit__()
    lookup.forget()
    row = catalog.describe()[0]
    assert (row["task"], row["architecture"], row["labels"]) == ("instance", "maskrcnn", ["background", "coin"])
    assert row["available"] is True
    assert not catalog.available(catalog.resolve("ann/other", local_folders=False))
    hub.__enter__()


def test_a_weight_file_is_known_by_its_hash(tmp_path, monkeypatch, hub):
    import hashlib

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    data = os.urandom(100_000)
    name = f"net-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    row = catalog.TorchvisionWeights("fcn", "fcn_resnet50", f"{hub.url}/ann/files/resolve/main/{name}", "voc")
    hub.add_repo("ann/files", {name: data[:-1] + bytes([data[-1] ^ 1])})
    with pytest.raises(SegDemoError, match="arrived damaged"):
        catalog.fetch_weights(row)
    assert catalog.local_weights(row) is None
    hub.add_repo("ann/files", {name: data})
    fractions = []
    path = catalog.fetch_weights(row, lambda fraction, text: fractions.append(fraction))
    assert path.read_bytes() == data and fractions[-1] == 1.0
    hub.reset_counts()
    assert catalog.fetch_weights(row) == path and hub.count() == 0
    missing = catalog.TorchvisionWeights("fcn", "fcn_resnet50", f"{hub.url}/ann/files/resolve/main/none-00000000.pth", "voc")
    with pytest.raises(SegDemoError, match="cannot be downloaded"):
        catalog.fetch_weights(missing)
    assert list(path.parent.iterdir()) == [path]


def test_the_menu_needs_no_torch():
    import subprocess

    code = "import sys; from seg_demo.serving import catalog; catalog.menu(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("pasted", "id", "revision"),
    [
        ("https://huggingface.co/ann/cells", "ann/cells", None),
        ("http://www.huggingface.co/ann/cells/", "ann/cells", None),
        ("huggingface.co/ann/cells", "ann/cells", None),
        ("hf.co/ann/cells", "ann/cells", None),
        ("  'https://hf.co/ann/cells?library=transformers#files'  ", "ann/cells", None),
        ("https://huggingface.co/ann/cells/tree/main", "ann/cells", None),
        ("https://huggingface.co/ann/cells/tree/v2", "ann/cells", "v2"),
        ("https://huggingface.co/ann/cells/tree/refs%2Fpr%2F1", "ann/cells", "refs/pr/1"),
        ("https://huggingface.co/ann/cells/tree/refs/pr/1", "ann/cells", "refs/pr/1"),
        ("https://huggingface.co/ann/cells/blob/main/config.json", "ann/cells", None),
        ("https://huggingface.co/ann/cells/resolve/main/model.safetensors?download=true", "ann/cells", None),
        ("https://huggingface.co/ann/zoo/tree/main/b0", "ann/zoo/b0", None),
        ("https://huggingface.co/ann/zoo/blob/v2/sizes/b0/config.json", "ann/zoo/sizes/b0", "v2"),
        ("https://huggingface.co/ann/cells/commit/" + "a" * 40, "ann/cells", "a" * 40),
        ("https://huggingface.co/ann/cells/discussions/3", "ann/cells", None),
        ("https://huggingface.co/ann/cells.git", "ann/cells", None),
        ("https://huggingface.co/api/models/ann/cells", "ann/cells", None),
        ("hf://ann/cells", "ann/cells", None),
        ("ann/zoo/b0@v2", "ann/zoo/b0", "v2"),
    ],
)
def test_the_address_of_a_page_is_an_id(pasted, id, revision):
    for local_folders in (False, True):
        spec = catalog.resolve(pasted, local_folders=local_folders)
        assert (spec.id, spec.revision, spec.source) == (id, revision, "hub")


def test_the_address_of_what_is_on_the_menu_is_that():
    spec = catalog.resolve("https://huggingface.co/nvidia/segformer-b0-finetuned-ade-512-512/tree/main", local_folders=False)
    assert spec in catalog.menu()
    asked = Settings(models="https://hf.co/ann/cells, https://huggingface.co/ann/zoo/tree/v2/b0 = instance")
    assert [(spec.id, spec.revision, spec.task) for spec in catalog.menu(asked)][:2] == [("ann/cells", None, "semantic"), ("ann/zoo/b0", "v2", "instance")]


@pytest.mark.parametrize("path", ["/nowhere/checkpoint", "./nowhere", "../nowhere/best", "~/nowhere"])
def test_a_folder_that_is_not_there_is_said_to_the_owner_alone(path):
    """That paths are not accepted is true of visitors."""
    with pytest.raises(ModelNotFoundError, match="it is not there"):
        catalog.resolve(path, local_folders=True)
    with pytest.raises(BadRequestError, match="paths are not accepted"):
        catalog.resolve(path, local_folders=False)


def test_the_folder_of_a_run_says_where_its_checkpoint_is(tmp_path):
    (tmp_path / "best").mkdir()
    for folder, content in ((tmp_path, {"command": [], "config": {}}), (tmp_path / "best", {})):
        (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(BadCheckpointError, match="in the folder best within it"):
        networks.identify(tmp_path)
    with pytest.raises(BadCheckpointError, match="not a segmentation checkpoint"):
        networks.identify(tmp_path / "best")
