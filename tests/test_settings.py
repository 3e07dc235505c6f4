"""The table of settings: defaults, values from the environment, and every fault in one message."""

from __future__ import annotations

import dataclasses

import pytest

from seg_demo.errors import SettingsError
from seg_demo.settings import Settings, load_settings


def test_an_empty_environment_gives_the_documented_defaults():
    settings = load_settings({"PATH": "/bin", "SEG_DEMO_DEVICE": "", "SEG_DEMO_MCP": "  "})
    assert settings == Settings()
    assert (settings.max_pixels, settings.max_bytes, settings.max_side) == (50_000_000, 20_000_000, 20_000)
    assert (settings.hub_timeout, settings.concurrency, settings.queue_size) == (8.0, 0, 32)


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
    settings = load_settings(environ)
    assert settings.max_pixels == 1_000_000 and isinstance(settings.max_pixels, int)
    assert settings.hub_timeout == 2.5 and settings.device == "cuda:1" and settings.precision == "fp32"
    assert settings.models == "unet-cells, user/repo@v1" and settings.mcp is True and settings.cache_bytes == 0


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
