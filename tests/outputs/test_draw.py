"""Overlays and id maps as pictures, against Pillow and a per-pixel definition."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import threading
import time

import numpy as np
import pytest
from PIL import Image

from seg_demo.core.types import LabelSet, Segment, Segmentation, paint, semantic_segmentation
from seg_demo.outputs import draw

RNG = np.random.default_rng(0)


def opened(data: bytes) -> Image.Image:
    """A PNG as Pillow reads it; every checksum is verified."""
    Image.open(io.BytesIO(data)).verify()
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def objects(count: int, height: int = 41, width: int = 67) -> Segmentation:
    """Overlapping random rectangles as an instance result."""
    segments = []
    for _ in range(count):
        y0, x0 = RNG.integers(height - 4), RNG.integers(width - 4)
        y1, x1 = RNG.integers(y0 + 1, min(height, y0 + 20) + 1), RNG.integers(x0 + 1, min(width, x0 + 20) + 1)
        mask = RNG.random((y1 - y0, x1 - x0)) < 0.9
        segments.append(Segment(1, float(RNG.random()), (int(x0), int(y0), int(x1), int(y1)), mask))
    labels = LabelSet.from_names(("background", "thing"), background=0)
    return Segmentation("instance", height, width, labels, paint(segments, height, width), tuple(segments))


def classes(count: int, background: int | None = 0, height: int = 41, width: int = 67) -> Segmentation:
    """A semantic result of blocks of 5 x 5 pixels."""
    blocks = RNG.integers(0, count, (height // 5 + 1, width // 5 + 1)).astype(np.uint8 if count <= 255 else np.uint16)
    id_map = np.repeat(np.repeat(blocks, 5, axis=0), 5, axis=1)[:height, :width].copy()
    return semantic_segmentation(id_map, LabelSet.from_names([f"class {index}" for index in range(count)], background))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (33, 65)])
def test_png_round_trip(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "_STRIP_BYTES", 500)  # several strips
    grey = RNG.integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(opened(draw.encode_png(grey)), grey)
    deep = RNG.integers(0, 65_536, shape, dtype=np.uint16)
    image = opened(draw.encode_png(deep))
    assert image.mode == "I;16"
    np.testing.assert_array_equal(image, deep)
    color = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    np.testing.assert_array_equal(opened(draw.encode_png(color)), color)
    np.testing.assert_array_equal(opened(draw.encode_png(color[::-1, ::-1])), color[::-1, ::-1])
    palette = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
    image = opened(draw.encode_png(grey, palette))
    assert image.mode == "P"
    np.testing.assert_array_equal(image, grey)
    np.testing.assert_array_equal(image.convert("RGB"), palette[grey])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_png_of_a_picture_in_many_strips_is_written_in_a_forked_process_too() -> None:
    image = np.random.default_rng(0).integers(0, 256, (900, 1300, 3), dtype=np.uint8)
    expected = draw.encode_png(image)
    np.testing.assert_array_equal(opened(expected), image)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, b"same" if draw.encode_png(image) == expected else b"else")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 4) == b"same"


def test_png_refuses_what_it_cannot_write() -> None:
    for shape, dtype in (((2, 2), np.float32), ((2, 2, 5), np.uint8), ((2, 2, 4), np.uint16), ((0, 2), np.uint8), ((3,), np.uint8)):
        pixels = np.zeros(shape, dtype)
        with pytest.raises(ValueError, match="pixels must be"):
            draw.encode_png(pixels)
    with pytest.raises(ValueError, match="palette"):
        draw.encode_png(np.zeros((2, 2), np.uint16), np.zeros((4, 3), np.uint8))


def test_id_map_png_is_exact() -> None:
    for result in (objects(0), objects(3), objects(255), classes(1), classes(150), classes(256)):
        image = opened(draw.id_map_png(result))
        assert image.mode == "P"
        np.testing.assert_array_equal(image, result.id_map)
        shown = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(shown, draw.colors_of(result)[result.id_map])
    for result in (objects(256), objects(700), classes(300)):
        image = opened(draw.id_map_png(result))
        assert image.mode == "I;16"
        np.testing.assert_array_equal(image, result.id_map)


def test_ids_without_a_colour_are_kept() -> None:
    result = classes(3)
    result.id_map[:4] = 255
    np.testing.assert_array_equal(opened(draw.id_map_png(result)), result.id_map)
    image = np.full((41, 67, 3), 99, np.uint8)
    assert (draw.overlay(image, result)[:4] == 99).all()


def test_viewer_png() -> None:
    for result in (objects(0), objects(20), objects(700), classes(5)):
        image = opened(draw.viewer_id_png(result))
        assert image.mode == "RGB"
        red, green, blue = np.moveaxis(np.asarray(image).astype(int), -1, 0)
        np.testing.assert_array_equal(red + 256 * green, result.id_map)
        assert not blue.any()


def test_colours() -> None:
    colors = draw.colors_of(objects(40))
    assert colors.shape == (41, 3) and colors.dtype == np.uint8 and not colors[0].any()
    assert len(np.unique(colors, axis=0)) == 41
    result = classes(7)
    np.testing.assert_array_equal(draw.colors_of(result), result.labels.colors)


@pytest.mark.parametrize(("opacity", "outlines"), itertools.product((0.0, 0.3, 0.5, 1.0), (False, True)))
def test_overlay_equals_its_definition(opacity: float, outlines: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "_STRIP_PIXELS", 67 * 6)  # several strips, whose seams must not show
    image = RNG.integers(0, 256, (41, 67, 3), dtype=np.uint8)
    for result in (objects(0), objects(12), objects(300), classes(6), classes(6, None), classes(300)):
        ids = result.id_map.astype(int)
        nothing = 0 if result.task == "instance" else result.labels.background
        painted = np.ones(ids.shape, bool) if nothing is None else ids != nothing
        colors = draw.colors_of(result)[ids]
        wanted = np.where(painted[..., None], image * (1 - opacity) + colors * opacity, image)
        if outlines:
            padded = np.pad(ids, 1, mode="edge")
            around = [padded[dy : dy + 41, dx : dx + 67] for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2))]
            edge = painted & np.any([other != ids for other in around], axis=0)
            wanted[edge] = colors[edge]
        before = image.copy()
        got = draw.overlay(image, result, opacity, outlines)
        assert got.dtype == np.uint8 and got.flags.c_contiguous
        assert np.abs(got - wanted).max() <= 1.01
        np.testing.assert_array_equal(got[~painted], image[~painted])
        np.testing.assert_array_equal(image, before)


def test_overlay_refuses_other_sizes_and_opacities() -> None:
    with pytest.raises(ValueError, match="shape"):
        draw.overlay(np.zeros((4, 5, 3), np.uint8), objects(1))
    for opacity in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="opacity"):
            draw.overlay(np.zeros((41, 67, 3), np.uint8), objects(1), opacity)


@pytest.mark.parametrize("files", [{}, {"mask": b""}, {"mask": b"PNG", "overlay": bytes(range(256)) * 2000}])
@pytest.mark.parametrize("data", [{}, {"segments": []}, {"notes": ["\ud800", "ü"], "seconds": {"total": 0.25}, "segments": [{"id": n, "score": n / 7} for n in range(49)], "crs": None}])
def test_json_in_parts_is_json(data, files):
    written = {**data, "files": {name: base64.b64encode(content).decode() for name, content in files.items()}} if files else data
    assert b"".join(draw.json_parts(data, files)) == json.dumps(written, separators=(",", ":")).encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        list(draw.json_parts({**data, "score": float("nan")}))


def test_json_in_parts_lets_others_run_between_them():
    """Python's own encoder, in one call, keeps the interpreter for as long as all of it takes."""
    data, ran = {"segments": [{"id": number, "bbox": [1, 2, 3, 4], "counts": "abc" * 40} for number in range(30_000)]}, []
    ends = threading.Event()

    def other() -> None:
        while not ends.is_set():
            ran.append(1)
            time.sleep(0.001)

    thread = threading.Thread(target=other)
    thread.start()
    parts = [len(ran) for _ in draw.json_parts(data)]
    ends.set()
    thread.join()
    assert parts[-1] - parts[0] >= 3 and len(parts) > 1000
