"""The errors that a person may meet. Each message says what came, what was expected, and what to do next.

Their sentences are in the tables of :mod:`seg_demo.core.messages`: ``raise BadRequestError("jobs.no_such_job")``.
"""

from __future__ import annotations

from typing import Any

from seg_demo.core.messages import Message, table


class SegDemoError(Exception):
    """Base of every error whose text is meant for the person in front of the screen. Its ``str`` is English."""

    def __init__(self, key: str, /, **values: Any) -> None:
        """Make an error.

        Args:
            key: of the tables; or a whole message, or what another program said.
            **values: that its text names; see :class:`seg_demo.core.messages.Message`.
        """
        named = not isinstance(key, Message) and (values or key in table("en"))
        super().__init__(Message(key, **values) if named else Message.of(key))

    @property
    def message(self) -> Message:
        """What it says, in every language."""
        return self.args[0]


class SettingsError(SegDemoError):
    """A ``SEG_DEMO_*`` environment variable has a value that cannot be used."""


class BadImageError(SegDemoError):
    """What was sent is not an image that can be read, or is larger than the limits allow."""


class BadRequestError(SegDemoError):
    """A parameter of a request (threshold, model id, option) is not one that can be served."""


class ModelNotFoundError(SegDemoError):
    """No model, repository, revision or folder of that name can be seen with the credentials at hand."""


class HubUnavailableError(SegDemoError):
    """The Hub did not answer in time, or answered with a failure that is not about this model."""


class BadCheckpointError(SegDemoError):
    """A checkpoint was found but is refused: unknown architecture, missing or non-finite weights, absurd sizes."""


class EncoderOnlyError(BadCheckpointError):
    """The checkpoint has no segmentation head; it can be trained, but segments nothing yet."""


class BusyError(SegDemoError):
    """The server has as much work as it accepts; the same request will do later."""


class StorageError(SegDemoError):
    """A file could not be written or read: the disk is full, read-only or failing."""


class DataError(SegDemoError):
    """Training data as a whole cannot be used: nothing is there, or a list of it (JSON, CSV, class names) cannot be read."""
