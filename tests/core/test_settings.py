"""The table of settings: defaults, values from the environment, and every fault in one message."""

from __future__ import annotations

import dataclasses

import pytest

from seg_demo.core import settings as engine_rules
from seg_demo.core.errors import SettingsError
from seg_demo.core.settings import Settings, load_settings, settings
from seg_demo.ui import demo


def test_an_empty_environment_gives_the_documented_defaults():
    found = load_settings({"PATH": "/bin", "SEG_DEMO_DEVICE": "", "SEG_DEMO_MCP": "  "})
    assert found == Settings()
    assert (found.max_pixels, found.max_bytes, found.max_side) == (50_000_000, 20_000_000, 20_000)
    assert (found.hub_timeout, found.concurrency, found.queue_size) == (8.0, 0, 32)


def test_values_are_read_in_their_type():
    environ = {
        "SEG_DEMO_MAX_PIXELS": "1_000_000",
        "SEG_DEMO_HUB_TIMEOUT": "2.5",
        "SEG_DEMO_DEVICE": "cuda:1",
        "SEG_DEMO_PRECISION": " fp32 ",
        "SEG_DEMO_MODELS": "unet-cells, user/repo@v1",
        "SEG_DEMO_MCP": "True",
        "SEG_DEMO_CACHE_BYTES": "0",
    }
    found = load_settings(environ)
    assert found.max_pixels == 1_000_000 and isinstance(found.max_pixels, int)
    assert found.hub_timeout == 2.5 and found.device == "cuda:1" and found.precision == "fp32"
    assert found.models == "unet-cells, user/repo@v1" and found.mcp is True and found.cache_bytes == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_PIXELS", "many"),
        ("MAX_PIXELS", "0"),
        ("MAX_PIXELS", "1.5"),
        ("HUB_TIMEOUT", "nan"),
        ("HUB_TIMEOUT", "inf"),
        ("HUB_TIMEOUT", "-1"),
        ("DEVICE", "gpu"),
        ("DEVICE", "cuda:x"),
        ("PRECISION", "int8"),
        ("ENGINE", "inductor"),
        ("MCP", "maybe"),
        ("CONCURRENCY", "-1"),
        ("MAX_SIDE", "70000"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_accepted(name, value):
    with pytest.raises(SettingsError, match=rf"SEG_DEMO_{name} is '{value}', but must be "):
        load_settings({f"SEG_DEMO_{name}": value})


def test_all_faults_come_in_one_message_and_a_misspelt_name_is_told_its_neighbour():
    with pytest.raises(SettingsError) as caught:
        load_settings({"SEG_DEMO_MCP": "x", "SEG_DEMO_QUEUE_SIZE": "-3", "SEG_DEMO_MAX_PIXEL": "5"})
    text = str(caught.value)
    assert "SEG_DEMO_MCP" in text and "SEG_DEMO_QUEUE_SIZE" in text
    assert "SEG_DEMO_MAX_PIXEL is not a setting; did you mean SEG_DEMO_MAX_PIXELS" in text


def test_every_setting_is_documented():
    for row in dataclasses.fields(Settings):
        assert row.metadata["help"]
        assert f"        {row.name}: " in Settings.__doc__


@pytest.mark.parametrize("place", ["file", "file/x"])
def test_what_this_machine_cannot_serve_is_refused_at_start_all_together(place, tmp_path, monkeypatch):
    """As one list, before anything is loaded; what was not asked for does not count."""
    (tmp_path / "file").write_text("")
    wanted = {"DEVICE": "cuda:99", "ENGINE": "openvino", "DATA": str(tmp_path / place), "JOBS": str(tmp_path / place)}
    for name, value in wanted.items():
        monkeypatch.setenv(f"SEG_DEMO_{name}", value)
    monkeypatch.setattr(engine_rules, "has_openvino", lambda: False)
    monkeypatch.setattr(demo, "offered", lambda: True)
    settings.cache_clear()
    try:
        with pytest.raises(SettingsError) as caught:
            demo.check_machine()
        said = str(caught.value)
        assert "SEG_DEMO_DEVICE" in said and "cuda:99" in said and "pip install openvino" in said
        assert said.count("where no folder can be made or written to") == 2
        monkeypatch.setenv("SEG_DEMO_COLLECT", "off")
        monkeypatch.setattr(demo, "offered", lambda: False)
        settings.cache_clear()
        with pytest.raises(SettingsError) as caught:
            demo.check_machine()
        assert "folder" not in str(caught.value), "a folder that nothing is written to may lie anywhere"
        fine = {"DEVICE": "cpu", "ENGINE": "auto", "DATA": str(tmp_path / "new" / "data"), "JOBS": str(tmp_path), "COLLECT": "on"}
        for name, value in fine.items():
            monkeypatch.setenv(f"SEG_DEMO_{name}", value)
        settings.cache_clear()
        demo.check_machine()
        assert not (tmp_path / "new").exists(), "nothing is made before it is needed"
    finally:
        settings.cache_clear()
