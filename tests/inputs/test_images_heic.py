"""Photos as phones save them: HEIC files made by pillow-heif itself, and such as lie about their size."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, ImageOps

from seg_demo.inputs import formats
from seg_demo.inputs.images import decode
from tests.heic_tiles import tiled
from tests.pictures import picture, refused, saved


def heic(image: Image.Image | pillow_heif.HeifFile, **options: object) -> bytes:
    file = io.BytesIO()
    made = image if isinstance(image, pillow_heif.HeifFile) else pillow_heif.from_pillow(image)
    made.save(file, quality=95, **options)
    return file.getvalue()


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_colours_and_size_are_kept() -> None:
    for height, width in ((37, 53), (64, 64), (200, 3), (1, 1)):
        image = picture(height, width) if min(height, width) >= 16 else np.full((height, width, 3), (200, 90, 30), np.uint8)
        got = decode(heic(Image.fromarray(image), chroma=444))
        assert got.shape == image.shape and got.flags.c_contiguous and apart(got, image) < 4


@pytest.mark.parametrize("turn", range(1, 9))
def test_what_the_file_turns_is_not_turned_again(turn: int) -> None:
    """The camera's turn stands twice in such a file: in a property of its own, which libheif applies, and in the EXIF data."""
    exif = Image.Exif()
    exif[0x0112] = turn
    data = heic(Image.fromarray(picture()), exif=exif.tobytes())
    assert b"Exif" in data and (turn == 1) == (b"irot" not in data and b"imir" not in data)
    upright = Image.fromarray(picture())
    upright.getexif()[0x0112] = turn
    wanted = np.asarray(ImageOps.exif_transpose(upright))
    got = decode(data)
    assert got.shape == wanted.shape == ((37, 53, 3) if turn < 5 else (53, 37, 3)) and apart(got, wanted) < 8


def test_a_turn_that_stands_in_the_exif_data_alone_does_not_count() -> None:
    """As ISO 23008-12 has it, and as browsers show it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.fromarray(picture()), "HEIF", exif=exif, quality=95)
    assert b"irot" not in data and decode(data).shape == (37, 53, 3)


def test_alpha_depth_grey_and_profiles() -> None:
    image = picture(40, 48)
    clear = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    clear[:20, :, 3] = 0
    got = decode(heic(Image.fromarray(clear)))
    assert got[:18].min() > 240 and apart(got[22:], image[22:]) < 8
    deep = pillow_heif.from_bytes("RGB;16", (48, 40), (image.astype(np.uint16) * 257).tobytes())
    assert apart(decode(heic(deep)), image) < 8
    grey = decode(heic(Image.fromarray(image[..., 0])))
    assert grey.shape == image.shape and apart(grey, image[..., :1].repeat(3, 2)) < 4
    plain, swapped = heic(Image.fromarray(image)), ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    assert apart(decode(heic(Image.fromarray(image), icc_profile=b"no profile")), decode(plain)) < 1
    assert decode(heic(Image.fromarray(image), icc_profile=swapped.tobytes())).shape == image.shape


def test_the_first_picture_counts_and_not_its_thumbnail() -> None:
    several = pillow_heif.from_pillow(Image.new("RGB", (64, 48), "red"))
    several.add_from_pillow(Image.new("RGB", (320, 320), "blue"))
    got = decode(heic(several, primary_index=0))
    assert got.shape == (48, 64, 3) and apart(got, np.array([255, 0, 0])) < 12


def test_limits_count_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(Image.new("RGB", (640, 480)), chroma=444)
    monkeypatch.setattr(pillow_heif.HeifImage, "data", property(lambda self: pytest.fail("it was decoded")))
    assert "more than is accepted" in refused(data, max_pixels=100_000)
    assert "more than is accepted" in refused(data, max_side=600)
    assert "needs a lot of memory" in refused(data, max_pixels=320_000)


@pytest.mark.parametrize("promised", [(64, 64), (640, 480), (1900, 1900)])
def test_a_header_that_lies_is_found_out(promised: tuple[int, int]) -> None:
    """Fewer pixels promised than are inside: libheif decodes no more than what the header says."""
    data = heic(Image.new("RGB", (2000, 2000)))
    at = data.index(b"ispe") + 8
    lying = data[:at] + struct.pack(">II", *promised) + data[at + 8 :]
    try:
        assert decode(lying).size <= 3 * 2000 * 2000 * 1.2
    except Exception as error:
        assert type(error).__name__ == "BadImageError" and "damaged" in str(error)
    else:
        assert promised == (1900, 1900)
    assert "far more pixels than are accepted" in refused(data[:at] + struct.pack(">II", 30_000, 30_000) + data[at + 8 :])


def test_without_the_library_a_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_reads_heic", lambda: False)
    said = refused(heic(Image.new("RGB", (8, 8))))
    assert "This is a HEIC photo, which cannot be opened as a picture" in said and "most compatible" in said
    assert "AVIF, DICOM, NIfTI and NumPy arrays up to" in said and said.text("zh").count("HEIC") == 1 and "AVIF、DICOM" in said.text("zh")


@pytest.mark.parametrize(
    ("mode", "chroma", "cost"),
    [
        ("RGB", 420, 8), ("RGB", 422, 9), ("RGB", 444, 10), ("RGBA", 420, 9), ("RGBA", 444, 12.5),
        ("RGB;16", 420, 8), ("RGB;16", 422, 13.5), ("RGB;16", 444, 16), ("RGBA;16", 420, 12), ("RGBA;16", 444, 21), ("L", 420, 8),
    ],
)  # fmt: skip
def test_its_cost_is_known(mode: str, chroma: int, cost: float) -> None:
    """More bits and more colour are decoded as such and then made eight bits."""
    channels, deep = len(mode.partition(";")[0]), mode.endswith("16")
    made = pillow_heif.from_bytes(mode, (8, 8), bytes(64 * channels * (1 + deep)))
    data = heic(made) if mode == "L" else heic(made, chroma=chroma)
    assert formats.decoding_cost(Image.open(io.BytesIO(data), formats=["HEIF"])) == cost


def test_a_picture_of_tiles_as_phones_save_it() -> None:
    """Whole, turned and cut at the edge; more cells than tiles are damage."""
    tile = picture(64, 64)
    data = heic(Image.fromarray(tile))
    wanted = np.tile(decode(data), (3, 4, 1))[:170, :250]
    got = decode(tiled(data, 64, 3, 4, 250, 170))
    assert got.shape == wanted.shape and apart(got, wanted) < 2
    turned = decode(tiled(data, 64, 3, 4, 250, 170, turn=1))
    assert turned.shape == (250, 170, 3) and apart(turned, np.rot90(wanted)) < 2
    assert "damaged" in refused(tiled(data, 64, 3, 4, 250, 170, given=7))
    assert "damaged" in refused(tiled(data, 64, 3, 4, 2500, 1700))


@pytest.mark.soak
def test_a_photo_of_48_megapixels_is_accepted_and_takes_what_is_promised(tmp_path: Path) -> None:
    """In a process of its own, whose peak is measured: what the newest phones save by default."""
    data = heic(Image.fromarray(picture(512, 512)))
    (tmp_path / "large.heic").write_bytes(tiled(data, 512, 12, 16, 8064, 6048))
    code = (
        "import sys; from pathlib import Path; from seg_demo.inputs.images import decode\n"
        "def kilobytes(name): return int(next(l for l in open('/proc/self/status') if l.startswith(name)).split()[1])\n"
        "small = decode(Path(sys.argv[1])); idle = kilobytes('VmRSS'); image = decode(Path(sys.argv[2]))\n"
        "print(image.shape, (kilobytes('VmHWM') - idle) / 1000)"
    )
    (tmp_path / "small.heic").write_bytes(data)
    words = [sys.executable, "-c", code, str(tmp_path / "small.heic"), str(tmp_path / "large.heic")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    shape, megabytes = done.stdout.rsplit(maxsplit=1)
    print(f"measured: {float(megabytes):.0f} MB for a HEIC of 48 megapixels")
    assert shape == "(6048, 8064, 3)" and float(megabytes) < 400


def test_the_door_itself_makes_pillow_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests do so too, to write files; without that it must go as well."""
    data = heic(Image.new("RGB", (8, 8)))
    monkeypatch.delitem(Image.OPEN, "HEIF")
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    formats._reads_heic.cache_clear()
    assert decode(data).shape == (8, 8, 3)
