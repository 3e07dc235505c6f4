"""What everything stands on: types, errors, settings, storage. Imports numpy and the standard library only.

Here is the vocabulary of the house, by one name for each thing: other parts import these names from here, whichever file they stand in. What is
a subject of its own is asked for by its file: ``settings``, ``sandbox``, and what a request does (``requests.begin``, ``requests.pool``).
"""

from __future__ import annotations

from seg_demo.core.errors import (
    LANGUAGES, BadCheckpointError, BadImageError, BadRequestError, BusyError, Damaged, DataError, EncoderOnlyError, HubUnavailableError, Message,
    ModelNotFoundError, PixelError, SegDemoError, SettingsError, StorageError, TiffError, in_language, lines, listed, messages_in, paragraphs, phrase,
    redacted, restored, sentences, table,
)
from seg_demo.core.picture import ALL, AXES, MOST_CHANNELS, MOST_SHOWN, Calibration, Distribution, Georeference, Grid, Picture, Stack, View
from seg_demo.core.requests import (
    AUTO, DETAILS, JOB_OWNER, LOOKS, THRESHOLDS, VISITOR_KEY, Admission, LeftError, Limiter, Options, Prompt, Report, Request, SingleFlight,
    TooLongError, Viewer, check_threshold, check_thresholds, owner_of, read_prompt, smoothed,
)
from seg_demo.core.rle import Box, PackedRuns, Painter, Runs, decode, encode_crop
from seg_demo.core.storage import (
    DISK, Disk, abandoned, disk_full, locked, recover_folder, replacing, save_file, save_folder, storage_errors, write_atomically, write_once,
)
from seg_demo.core.types import (
    BACKGROUND, IGNORE, IGNORE_16, INSTANCE, MAX_IDS, OBJECT, PANOPTIC, REGION, SEMANTIC, TASKS, LabelSet, Limit, ModelSpec, RunsSegment, Segment,
    Segmentation, SoftMask, Task, background_of, count_ids, distinct_colors, extents, ignore_id, is_background, learnt_tasks, mean_scores, paint,
    paint_confidence, plain_name, semantic_segmentation, tight_box,
)

__all__ = [
    "ALL", "AUTO", "AXES", "Admission", "BACKGROUND", "BadCheckpointError", "BadImageError", "BadRequestError", "Box", "BusyError", "Calibration",
    "DETAILS", "DISK", "Damaged", "DataError", "Disk", "Distribution", "EncoderOnlyError", "Georeference", "Grid", "HubUnavailableError", "IGNORE",
    "IGNORE_16", "INSTANCE", "JOB_OWNER", "LANGUAGES", "LOOKS", "LabelSet", "LeftError", "Limit", "Limiter", "MAX_IDS", "MOST_CHANNELS", "MOST_SHOWN",
    "Message", "ModelNotFoundError", "ModelSpec", "OBJECT", "Options", "PANOPTIC", "PackedRuns", "Painter", "Picture", "PixelError", "Prompt",
    "REGION", "Report", "Request", "Runs", "RunsSegment", "SEMANTIC", "SegDemoError", "Segment", "Segmentation", "SettingsError", "SingleFlight",
    "SoftMask", "Stack", "StorageError", "TASKS", "THRESHOLDS", "Task", "TiffError", "TooLongError", "VISITOR_KEY", "View", "Viewer", "abandoned",
    "background_of", "check_threshold", "check_thresholds", "count_ids", "decode", "disk_full", "distinct_colors", "encode_crop", "extents", "ignore_id",
    "in_language", "is_background", "learnt_tasks", "lines", "listed", "locked", "mean_scores", "messages_in", "owner_of", "paint",
    "paint_confidence", "paragraphs", "phrase", "plain_name", "read_prompt", "recover_folder", "redacted", "replacing", "restored", "save_file",
    "save_folder", "semantic_segmentation", "sentences", "smoothed", "storage_errors", "table", "tight_box", "write_atomically", "write_once",
]
