"""The ``SEG_DEMO_*`` settings: one documented table, read from the environment once; wrong values are refused at start.

Which engine serves where, and which combinations are refused, stands here too: the page looks before it starts, the models when one
is built.
"""

from __future__ import annotations

import difflib
import importlib.util
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from seg_demo.core.errors import Message, SettingsError, lines

PREFIX = "SEG_DEMO_"
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


def _setting(
    default: Any,
    help: str,
    low: float | None = None,
    high: float | None = None,
    pattern: str | None = None,
    secret: bool = False,
) -> Any:
    """A row of the table: default value, what it does, the values that are accepted, and whether they may be shown."""
    metadata = {"help": help, "low": low, "high": high, "pattern": pattern, "secret": secret}
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True)
class Settings:
    """What an owner can set. Each field is read from ``SEG_DEMO_`` and its name in capitals.

    Attributes:
        max_pixels: largest upload in pixels (height times width).
        max_bytes: largest upload in bytes of its file.
        max_scientific_bytes: largest file of a microscope, scanner or satellite (TIFF stacks, DICOM, NIfTI, arrays) in bytes; 0 is ten times
            ``max_bytes``. A stack has many planes, of which one is decoded at a time, by a process of limited memory.
        max_side: longest side of an upload in pixels.
        raster_pixels: largest TIFF (GeoTIFF above all) beyond those limits that the API segments in full detail, in pixels: read and
            written window by window, by models that give classes of pixels; 0 for none. The command line does so whatever this says.
        device: ``auto`` (CUDA, then Apple MPS, then CPU), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``auto`` (fp16 on CUDA, else fp32), ``fp32``, ``fp16`` (on CUDA; other devices compute in fp32) or ``bf16``
            (on a CPU with OpenVINO: faster where the processor has it. The Models tab and the log say how many labels were
            those of fp32 on the first image).
        engine: what computes: ``auto`` (on a CPU OpenVINO, where it is installed and agrees with torch; else torch),
            ``eager`` (torch alone) or ``openvino`` (refused where it cannot serve).
        models: the owner's own menu in its order, ids separated by commas; empty for the built-in menu.
        cache_bytes: memory for loaded models in bytes; 0 takes a quarter of the machine's memory.
        hub_timeout: seconds in which the Hub must answer.
        concurrency: how many images are segmented at the same time; 0 is 2 on a CPU and 8 on a GPU, where requests for one
            model that come within 5 ms, with inputs of one size, are computed as one batch.
        queue_size: how many requests may wait; the next one is told that the server is busy.
        mcp: also serve the API as MCP tools.
        max_model_bytes: largest weight file that is fetched from the Hub, in bytes.
        pickles: what happens with Hub models and checkpoint folders whose weights are pickles (``pytorch_model.bin``):
            ``convert`` reads them in a process of its own that has no network and can write nothing but safetensors, which are
            loaded and kept; it needs torch 2.10 or newer. ``refuse`` does not.
        visitor_models_bytes: what Hub models that visitors typed may take on the disk together, in bytes; the least recently
            used ones are removed. The owner's menu, what else is in the cache, and what is in use stay.
        request_seconds: how long one request may take once its turn has come, the fetching of its model included. A stage
            that has begun (a forward pass above all) is not interrupted; a download goes on for whoever asks next.
        visitor_queue: how many requests of one visitor may wait while others wait too; alone, three quarters of the queue.
        quarantine: load a model of a visitor's choice in a process of its own first, so that what kills the loader does
            not kill the demo. Switch it off where no process can be started; on ZeroGPU it is off.
        quarantine_seconds: how long loading and one small forward pass may take there.
        quarantine_bytes: memory that loading and one small forward pass may take in that process.
        log: ``json`` writes one line per request to standard error (id, endpoint, model, size, seconds, outcome); ``off``.
        frame_ancestors: sites that may show the page in a frame beside this one, separated by spaces.
        data: folder in which visitors' datasets lie, relative to where the demo was started or absolute.
        data_bytes: what one visitor's datasets may take together, in bytes.
        collect: ``auto``, ``on`` or ``off``: whether visitors may store datasets; auto is on except on a public Space.
        max_batch_files: most files of one batch or archive.
        max_batch_bytes: most bytes of one batch or archive, unpacked.
        finetune: the Fine-tune tab: ``on``, ``off``, or ``auto`` (on, but for Spaces, where visitors would use the owner's
            machine).
        jobs: folder of the fine-tuning jobs and what came of them, relative to where the demo was started or absolute.
        auth: who may use the demo: ``name:password``, several separated by spaces or lines; or ``@`` and the path of a file
            with one per line. Empty lets everyone in. Keep it out of files that others read: on a Space it is a *secret*.
    """

    max_pixels: int = _setting(50_000_000, "largest upload in pixels", 1, 2**31)
    max_bytes: int = _setting(20_000_000, "largest upload in bytes", 1, 2**40)
    max_scientific_bytes: int = _setting(0, "largest file of a microscope, scanner or satellite in bytes, 0 for ten times max_bytes", 0, 2**40)
    max_side: int = _setting(20_000, "longest side of an upload in pixels", 1, 65_535)
    raster_pixels: int = _setting(0, "largest TIFF that the API reads window by window in full detail, in pixels, 0 for none", 0, 2**34)
    device: str = _setting("auto", "auto, cpu, cuda, cuda:N or mps", pattern=r"auto|cpu|mps|cuda(:\d+)?")
    precision: str = _setting("auto", "auto, fp32, fp16 (CUDA) or bf16 (CPU)", pattern=r"auto|fp32|fp16|bf16")
    engine: str = _setting("auto", "auto, eager or openvino", pattern=r"auto|eager|openvino")
    models: str = _setting("", "the owner's own menu: model ids, separated by commas")
    cache_bytes: int = _setting(0, "memory for loaded models in bytes, 0 for a quarter of the machine's", 0, 2**60)
    hub_timeout: float = _setting(8.0, "seconds in which the Hub must answer", 0.1, 600)
    concurrency: int = _setting(0, "images segmented at the same time, 0 for 2 on a CPU and 8 on a GPU", 0, 256)
    queue_size: int = _setting(32, "requests that may wait", 1, 100_000)
    mcp: bool = _setting(False, "also serve MCP tools: true or false")
    max_model_bytes: int = _setting(3_000_000_000, "largest weight file fetched from the Hub in bytes", 1, 2**50)
    pickles: str = _setting("convert", "convert or refuse: weights that are pickles", pattern=r"convert|refuse")
    visitor_models_bytes: int = _setting(20_000_000_000, "bytes on the disk for all models that visitors typed", 1, 2**50)
    request_seconds: float = _setting(300.0, "seconds that one request may take once its turn has come", 1, 86_400)
    visitor_queue: int = _setting(8, "requests of one visitor that may wait while others wait too", 1, 100_000)
    quarantine: bool = _setting(True, "load models of visitors' choice in a process of their own first: true or false")
    quarantine_seconds: float = _setting(120.0, "seconds that loading in that process may take", 1, 3600)
    quarantine_bytes: int = _setting(8_000_000_000, "memory that loading in that process may take, in bytes", 10**8, 2**50)
    log: str = _setting("json", "json or off: one line per request on standard error", pattern=r"json|off")
    frame_ancestors: str = _setting(
        "https://huggingface.co https://*.huggingface.co",
        "sites that may show the page in a frame, such as https://example.org, separated by spaces",
        pattern=r"(https?://[\w.*-]+(:\d+)?( +|$))*",
    )
    data: str = _setting("datasets", "folder of visitors' datasets")
    data_bytes: int = _setting(2_000_000_000, "what one visitor's datasets may take in bytes", 1, 2**50)
    collect: str = _setting("auto", "auto, on or off", pattern=r"auto|on|off")
    max_batch_files: int = _setting(200, "most files of one batch or archive", 1, 100_000)
    max_batch_bytes: int = _setting(500_000_000, "most bytes of one batch or archive, unpacked", 1, 2**45)
    finetune: str = _setting("auto", "auto, on or off", pattern=r"auto|on|off")
    jobs: str = _setting("jobs", "folder of the fine-tuning jobs")
    auth: str = _setting("", "name:password pairs separated by spaces, or @ and the path of a file with one per line", secret=True)


def scientific_bytes(chosen: Settings) -> int:
    """Bytes that a scientific file may have; never fewer than a photograph may."""
    return max(chosen.max_scientific_bytes or 10 * chosen.max_bytes, chosen.max_bytes)


def _read(text: str, row: Any) -> Any:
    """The value that a variable's text stands for; ValueError says what is accepted instead."""
    if isinstance(row.default, bool):
        if text.lower() not in _TRUE + _FALSE:
            raise ValueError(Message("settings.one_of", names=", ".join(_TRUE + _FALSE)))
        return text.lower() in _TRUE
    if isinstance(row.default, str):
        pattern = row.metadata["pattern"]
        if pattern and not re.fullmatch(pattern, text):
            raise ValueError(Message("settings.of_form", form=row.metadata["help"]))
        return text
    kind, key = (int, "settings.whole_number") if isinstance(row.default, int) else (float, "settings.number")
    accepted = Message(key, low=row.metadata["low"], high=row.metadata["high"], form=row.metadata["help"])
    low, high = row.metadata["low"], row.metadata["high"]
    try:
        value = kind(text.replace("_", ""))
    except ValueError:
        raise ValueError(accepted) from None
    if not math.isfinite(value) or not low <= value <= high:
        raise ValueError(accepted)
    return value


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings that an environment asks for.

    Args:
        environ: variables; those that do not begin with ``SEG_DEMO_`` are left alone, empty ones take the default.

    Raises:
        SettingsError: lists every variable with an unusable value and every ``SEG_DEMO_*`` name that is not a setting.
    """
    rows = {PREFIX + row.name.upper(): row for row in fields(Settings)}
    values: dict[str, Any] = {}
    problems = []
    for key in sorted(name for name in environ if name.startswith(PREFIX)):
        text = environ[key].strip()
        if key not in rows:
            near = difflib.get_close_matches(key, rows, n=1)
            if near:
                problems.append(Message("settings.misspelt", name=key, near=near[0]))
            else:
                problems.append(Message("settings.unknown", name=key, names=", ".join(rows)))
        elif text:
            try:
                values[rows[key].name] = _read(text, rows[key])
            except ValueError as error:
                problems.append(Message("settings.bad_value", name=key, value=text, wanted=error))
    if problems:
        raise SettingsError(lines(Message("settings.unusable"), *problems))
    return Settings(**values)


def accounts(auth: str) -> list[tuple[str, str]]:
    """Names and passwords of those who may use the demo; an empty list lets everyone in.

    Args:
        auth: as :attr:`Settings.auth`. A password begins after the first colon and may hold further ones.

    Raises:
        SettingsError: the file cannot be read, an entry has no name or no password, or a name comes twice. No message
            repeats a password.
    """
    name = PREFIX + "AUTH"
    if auth.startswith("@"):
        try:
            entries = [line.strip() for line in Path(auth[1:]).read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or Message("settings.no_utf8")
            raise SettingsError("settings.auth_file_unreadable", name=name, file=auth[1:], why=why) from error
        entries = [line for line in entries if line and not line.startswith("#")]
        if not entries:
            raise SettingsError("settings.auth_file_empty", name=name, file=auth[1:])
    else:
        entries = auth.split()
    pairs: dict[str, str] = {}
    for position, entry in enumerate(entries, 1):
        user, colon, password = entry.partition(":")
        if not (user and colon and password):
            key = "settings.auth_no_name" if colon and not user else "settings.auth_no_password"
            raise SettingsError(key, position=position, name=name)
        if user in pairs:
            raise SettingsError("settings.auth_name_twice", name=name, user=user)
        pairs[user] = password
    return list(pairs.items())


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read on first use (``settings.cache_clear()`` reads the environment again)."""
    return load_settings()


# Images worked on at a time where the owner has not said it: on a GPU as many as are computed together; on a CPU two, so that
# one is decoded or drawn while the network runs for another, and a short request need not wait for a long one.
SLOTS, GPU_SLOTS = 2, 8
# Made by the drivers of NVIDIA on Linux, and on Windows below WSL.
GPU_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


def slots(chosen: Settings, gpu: bool) -> int:
    """How many images are worked on at a time.

    Args:
        chosen: the settings.
        gpu: whether a CUDA device computes.
    """
    return chosen.concurrency or (GPU_SLOTS if gpu else SLOTS)


def gpu_expected(chosen: Settings) -> bool:
    """Whether a CUDA device will compute, as far as can be told before torch is imported."""
    return chosen.device.startswith("cuda") or (chosen.device == "auto" and any(path.exists() for path in GPU_FILES))


def has_openvino() -> bool:
    """Whether openvino can be imported; it is not imported for that."""
    return importlib.util.find_spec("openvino") is not None


def engine_refusals(engine: str, precision: str, device: str) -> list[str]:
    """A sentence for everything that was asked for and cannot be served; none if all of it can.

    Args:
        engine: ``auto``, ``eager`` or ``openvino``.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.
        device: where it would be served: ``cpu``, ``cuda`` or ``mps``.
    """
    found, there = [], has_openvino()
    if engine == "openvino" and device != "cpu":
        found.append(Message("settings.openvino_is_for_cpus", device=device))
    if engine == "openvino" and not there:
        found.append(Message("settings.openvino_not_installed"))
    if precision == "bf16" and (device != "cpu" or engine == "eager" or not there):
        openvino = Message("settings.installed" if there else "settings.not_installed")
        found.append(Message("settings.bf16_needs_openvino", device=device, engine=engine, openvino=openvino))
    return found
