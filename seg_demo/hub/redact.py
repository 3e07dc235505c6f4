"""Nothing signed in any log: addresses without their query, tokens without their letters.

The Hub answers with addresses that whoever holds them may use (an upload's, a download's), and the client library writes them
into its warnings when it tries again. Every record of the libraries that talk to the Hub, and every trace, passes through here
before any handler sees it, whatever its level.
"""

from __future__ import annotations

import logging
import re
import threading
import traceback
from typing import Any

# Loggers whose records are looked at; of the others only traces are.
_LOGGERS = (
    "huggingface_hub", "hf_xet", "httpx2", "httpx", "httpcore2", "httpcore", "urllib3", "fsspec", "datasets", "transformers",
    "seg_demo", "train",
)  # fmt: skip
_RULES = (
    # Who logs in by an address, and what signs it; what follows a # names a chapter, unless it is a list of values.
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#@'\"<>]+@"), r"\1***@"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s?#'\"<>]*)(?:\?|#[^\s'\"<>]*=)[^\s'\"<>]*"), r"\1?***"),
    # Names of functions and packages (hf_hub_download, hf_transfer) are words in small letters.
    (re.compile(r"\bhf_(?!(?:[a-z]+_)+[a-z]+\b|transfer\b)[A-Za-z0-9_-]{8,}"), "hf_***"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+(\.[\w-]*)?"), "***"),
    # Words in a sentence have no digits.
    (re.compile(r"(?i)\b(bearer|basic)\s+(?:(?=[\w.~+/-]*[\d=])[\w.~+/=-]{8,}|[\w.~+/=-]{24,})"), r"\1 ***"),
    # Of cookies there may be several.
    (re.compile(r"(?i)(\b(?:set-)?cookie(?:['\"]?\s*:\s*(?:b?['\"])?|['\"]\s*,\s*b?['\"]))(?!\s*\*\*\*)[^'\"\n]+"), r"\1***"),
    # The names of headers and parameters that carry a right, however they are written down.
    (
        re.compile(
            r"(?i)((?:authorization|x-xet-access-token|access_?token|x-amz-\w+(?:-\w+)*|signature|key-pair-id|casurl_?token)"
            r"(?:['\"]?\s*[:=]\s*(?:b?['\"])?|['\"]\s*,\s*b?['\"])(?:(?:bearer|basic|token)\s+)?)"
            r"(?!\*\*\*|hf_\*\*\*|(?:bearer|basic|token)\s)[^\s'\",;&()]+"
        ),
        r"\1***",
    ),
)

_lock = threading.Lock()


def redacted(text: str) -> str:
    """A text without what gives anybody a right: queries of addresses, logins in them, tokens, signatures.

    Args:
        text: a message, or a trace.

    >>> redacted("PUT https://s3.example/lfs/ab?X-Amz-Signature=12 failed for Bearer hf_abcdefghij")
    'PUT https://s3.example/lfs/ab?*** failed for Bearer hf_***'
    """
    for pattern, put in _RULES:
        text = pattern.sub(put, text)
    return text


def install() -> None:
    """Look at every record of this process from now on. Idempotent."""
    with _lock:
        make = logging.getLogRecordFactory()
        if getattr(make, "redacts", False):
            return

        def record(*arguments: Any, **named: Any) -> logging.LogRecord:
            made = make(*arguments, **named)
            if made.name.split(".")[0] in _LOGGERS:
                try:
                    text = made.getMessage()
                except Exception:  # a message that does not fit its arguments; its handler will complain
                    text = f"{made.msg} {made.args}"
                made.msg, made.args = redacted(text), None
            if made.exc_info and made.exc_info[0] is not None:
                # What formatters take in place of writing the trace themselves.
                made.exc_text = redacted("".join(traceback.format_exception(*made.exc_info)).rstrip("\n"))
            return made

        record.redacts = True
        logging.setLogRecordFactory(record)
