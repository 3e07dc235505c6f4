"""Files that answers name, in gradio's cache folder: stored once under the hash of their content.

Two visitors with the same picture, or with equal masks, are given the same file. gradio's ``save_bytes_to_cache`` would write it
anew in place while the first of them is fetching it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from gradio import processing_utils, utils

from seg_demo.storage import write_once


def store_bytes(data: bytes, name: str, folder: str | None = None) -> str:
    """Store what will be fetched.

    Args:
        data: the content.
        name: of the file in the browser.
        folder: gradio's cache; None takes that of uploads.

    Returns:
        Its path, whose folder nobody can guess who does not know the content and this server's seed.

    Raises:
        OSError: the disk is full or fails.
    """
    path = Path(folder or utils.get_upload_folder(), processing_utils.hash_bytes(data), Path(name).name)
    write_once(path, data, len(data))
    return str(path.resolve())


def store_file(source: Path, folder: str | None = None) -> str:
    """Store a copy of a file under its name; see :func:`store_bytes`.

    Args:
        source: written by nobody meanwhile.
        folder: gradio's cache; None takes that of uploads.

    Raises:
        OSError: it cannot be read, or the disk is full or fails.
    """
    path = Path(folder or utils.get_upload_folder(), processing_utils.hash_file(source), source.name)
    with source.open("rb") as content:
        write_once(path, lambda file: shutil.copyfileobj(content, file, 1 << 20), source.stat().st_size)
    return str(path.resolve())
