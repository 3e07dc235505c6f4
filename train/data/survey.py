"""Reads every file of a dataset once, in parallel, and keeps only numbers: sizes, hashes, and which values masks hold.

Everything that follows (what the masks mean, the split, the doctor) works on these numbers without reading again.

Whether a mask's file was compressed with loss, so that its numbers are not those that were drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from seg_demo.core.errors import SegDemoError
from seg_demo.core.messages import Message, phrase
from seg_demo.inputs.formats import identify
from seg_demo.inputs.images import decode
from seg_demo.inputs.mask_files import read_mask, read_object_map, settled
from train.data.coco import MOST_LAYERS, BadAnnotation, draw_item
from train.data.histogram import MaskScan, clusters, digest_of_pixels, histogram, objects_in, scan_of
from train.data.listing import NOTE, Fault, Item, leads_out, relative, sideways, unconfirmed
from train.data.masks import hex_color


@dataclass(frozen=True)
class Scan:
    """What reading one item found.

    Attributes:
        digest: sha256 of the upright decoded image; empty if it cannot be read.
        height: pixels of the upright image, 0 if unknown.
        width: pixels.
        mask: of the mask file, or None.
        instances: of the instance map, or None.
        object_pixels: COCO: label id → visible pixels, 65535 for crowds; else None.
        truth: sha256 of everything that says what the image shows.
        faults: what is wrong with its files, each with the item's name.
    """

    digest: str
    height: int
    width: int
    mask: MaskScan | None
    instances: MaskScan | None
    object_pixels: dict[int, int] | None
    truth: str
    faults: tuple[Fault, ...]


def survey(
    items: Sequence[Item], root: Path, *, workers: int, progress: bool, decided: str | None = None
) -> dict[str, Scan]:
    """Reads all the items.

    Threads, because decoding and hashing release the interpreter's lock and a process that already runs torch is not safe
    to fork. At most ``workers`` images are in memory at a time.

    Args:
        items: with unique names.
        root: folder to which messages name files.
        workers: threads; 0 counts as 1.
        progress: whether to draw a progress bar on stderr.
        decided: which reading of the masks a person has chosen, or None.

    Returns:
        The scan of each item by its name.
    """
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        found = pool.map(lambda item: scan(item, root, decided), items)
        bar = tqdm(found, total=len(items), desc="Reading the data", unit="image", disable=None if progress else True, leave=False)
        return {item.name: result for item, result in zip(items, bar, strict=True)}
    finally:
        # Ctrl-C should not have to wait for the rest of the images.
        pool.shutdown(cancel_futures=True)


def scan(item: Item, root: Path, decided: str | None = None) -> Scan:
    """Reads one item: never raises for bad data, but returns it as faults."""
    faults: list[Fault] = []
    digest, height, width = "", 0, 0
    try:
        image = decode(item.image)
        height, width = image.shape[:2]
        digest = digest_of_pixels(image)
    except (SegDemoError, OSError) as error:
        faults.append(_unreadable("image", item.image, error, item, root))
    files = {}
    for which, path in (("mask", item.mask), ("instances", item.instances)):
        if path is not None:
            files[which] = _scan_mask(path, item, (height, width), root, faults, which == "instances", decided)
    drawn = None
    truth = [found.digest for found in files.values() if found]
    if item.annotations is not None:
        said = [(thing.label_id, thing.crowd, thing.segmentation) for thing in item.annotations]
        truth.append(hashlib.sha256(repr(said).encode()).hexdigest())
        drawn = _scan_objects(item, (height, width), faults) if digest else None
    if digest and (value := unconfirmed(item.image, item.mask or item.instances, (height, width))) is not None:
        what = Message("findings.is_turned_by_its_exif_orientation", value=value)
        remedy = Message("findings.look_at_one_with_its_mask")
        faults.append(Fault("photo turned by EXIF", relative(item.image, root), what, remedy, NOTE))
    faults += [_linked(path, root) for path in (item.image, item.mask, item.instances) if path is not None and leads_out(path, root)]
    joined = hashlib.sha256(" ".join(truth).encode()).hexdigest()
    return Scan(digest, height, width, files.get("mask"), files.get("instances"), drawn, joined, tuple(faults))


def _scan_objects(item: Item, size: tuple[int, int], faults: list[Fault]) -> dict[int, int]:
    """Visible pixels per label of a COCO item, its faults appended to ``faults``."""
    try:
        drawn, turned = draw_item(item, *size)
        problems = drawn.problems
    except BadAnnotation as problem:
        drawn, turned, problems = None, None, (problem,)
    faults += [Fault(p.kind, p.file, p.what, p.remedy, item=item.name) for p in problems]
    if drawn is not None and drawn.buried:
        what = Message("findings.has_pixels_where_more_than_objects", buried=drawn.buried, most_layers=MOST_LAYERS)
        faults.append(Fault("overlapping objects", item.name, what, Message("findings.check_whether_objects_are_annotated_more"), NOTE))
    if turned is not None:
        faults.append(_turned_fault(item.name, item, size, turned))
    return {} if drawn is None else histogram(drawn.label_map, None, False).counts


def _scan_mask(
    path: Path, item: Item, size: tuple[int, int], root: Path, faults: list[Fault], objects: bool, decided: str | None
) -> MaskScan | None:
    """Numbers of one mask or instance map, its faults appended to ``faults``."""
    file = relative(path, root)
    try:
        mask = settled(read_object_map(path) if objects else read_mask(path), decided)
        lossy = lossy_form(path)
    except (SegDemoError, OSError) as error:
        faults.append(_unreadable("mask", path, error, item, root))
        return None
    shape = mask.size
    if size[0] and shape != size:
        turned = sideways(item.image, size, shape)
        faults.append(_size_fault(file, shape, size, item) if turned is None else _turned_fault(file, item, size, turned))
    scanned = (objects_in if objects else scan_of)(mask, lossy is not None)
    if lossy is not None:
        faults.append(_lossy_objects(file, lossy, scanned, item) if objects else _lossy_fault(file, lossy, scanned, item))
    elif mask.others:
        faults.append(_several_pages(file, mask.pages, objects, item))
    return scanned


def _linked(path: Path, root: Path) -> Fault:
    what = Message("findings.is_a_link_to_outside", path=path.resolve())
    remedy = Message("findings.nothing_to_do_if_you_made")
    return Fault("links out of the dataset", relative(path, root), what, remedy, NOTE)


def _size_fault(file: str, shape: tuple[int, int], size: tuple[int, int], item: Item) -> Fault:
    what = Message("findings.has_x_pixels_but_has_x", shape=shape[1], shape_2=shape[0], name=item.image.name, size=size[1], size_2=size[0])
    remedy = Message("findings.make_the_mask_again")
    return Fault("size mismatch", file, what, remedy, item=item.name)


def _turned_fault(file: str, item: Item, size: tuple[int, int], orientation: int) -> Fault:
    what = Message("findings.was_drawn_on_as_the_camera", name=item.image.name, orientation=orientation, size=size[1], size_2=size[0])
    return Fault("photo turned by EXIF", file, what, Message("findings.check_whether_that_fits_otherwise_save"), NOTE)


def _lossy_fault(file: str, form: str, found: MaskScan, item: Item) -> Fault:
    levels = clusters(found.by_color if found.mode == "color" else found.counts, found.mode == "color")
    named = ", ".join(hex_color(v) if found.mode == "color" else str(v) for v in levels)
    what = Message("findings.is_compressed_with_loss_which_blurs", form=form, count=len(found.counts), named=named)
    remedy = Message("findings.save_the_mask_as_png_from", named=named)
    return Fault("JPEG mask", file, what, remedy, item=item.name)


def _lossy_objects(file: str, form: str, found: MaskScan, item: Item) -> Fault:
    what = Message("findings.is_compressed_with_loss_which_invents", form=form, count=len(found.counts))
    remedy = Message("findings.save_the_instance_map_as_png")
    return Fault("JPEG mask", file, what, remedy, item=item.name)


def _several_pages(file: str, pages: int, objects: bool, item: Item) -> Fault:
    what = Message("findings.holds_pages_that_differ", pages=pages)
    alone = Message("findings.save_the_page_that_belongs")
    remedy = alone if objects else Message("findings.save_the_page_that_belongs_to_the_image")
    return Fault("several pages", file, what, remedy, item=item.name)


# Refusals of what is only too large.
_TOO_LARGE = ("images.too_many_bytes", "images.too_many_pixels", "images.far_too_many_pixels")


def _unreadable(which: str, path: Path, error: Exception, item: Item, root: Path) -> Fault:
    reason = _reason(error)
    mask, image, instances = (Message(f"findings.{word}") for word in ("mask", "image", "instances"))
    replaced, other = {"image": (image, mask), "mask": (mask, image)}.get(which, (instances, image))
    remedy = Message("findings.replace_the_or_remove", replaced=replaced, other=other)
    if reason.key in _TOO_LARGE:
        remedy = Message("findings.scale_image_and_mask_down_cut")
    return Fault(f"unreadable {which}", relative(path, root), phrase(reason), remedy, item=item.name)


def _reason(error: Exception) -> Message:
    """Why a picture cannot be read; what goes on with what is accepted, and what a visitor can do, is left out."""
    message = error.message if isinstance(error, SegDemoError) else Message.of(str(error) or type(error).__name__)
    if message.key == "images.refused":
        message = message.values["what"]
    return message


# Pillow's names of TIFF compressions that lose.
_LOSING = ("jpeg", "tiff_jpeg", "webp", "jpeg2000")


def lossy_form(path: Path) -> str | None:
    """How a file is compressed with loss, such as ``a JPEG``; None if it is not.

    JPEG, HEIC and AVIF always count: the latter two can be without loss, but nobody can tell from their values.

    Args:
        path: of an image that can be decoded.
    """
    with path.open("rb") as file:
        head = file.read(64)
        kind = identify(head)
        if kind.format in ("JPEG", "HEIF", "AVIF"):
            return kind.name
        if kind.format == "WEBP" and _lossy_webp(file.seek(0) or file.read()):
            return "a lossy WebP"
    if kind.format == "TIFF":
        try:
            with Image.open(path, formats=["TIFF"]) as image:
                return "a TIFF with JPEG or WebP inside" if image.info.get("compression") in _LOSING else None
        except UnidentifiedImageError:
            return None  # of a depth that Pillow does not know, which no lossy compression has
    return None


def _lossy_webp(data: bytes) -> bool:
    """Whether the first frame is of the lossy kind: the first ``VP8`` chunk, whatever stands before it (RFC 9649)."""
    at = 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8 "
        # A frame of an animation holds chunks of its own after 16 bytes.
        at += 8 + 16 if kind == b"ANMF" else 8 + size + size % 2
    return False
