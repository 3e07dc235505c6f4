"""Open image segmentation: one call for semantic, instance and region models, from code, a browser or a Space."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seg_demo.inference.model import Model

__version__ = "0.1.0"
__all__ = ["load_model", "__version__"]


def load_model(id: str, device: str | None = None) -> Model:
    """Load a model for use from code.

    Args:
        id: a menu key (``unet-cells``), ``user/repo``, ``user/repo@revision``, or a checkpoint folder.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; None takes the best that is there.

    Returns:
        A model whose ``predict(image)`` takes a PIL image or uint8 (H, W, 3) and returns a ``Segmentation``.

    Raises:
        SegDemoError: one of its children, whose message says what came, what was expected and what to do.
    """
    # torch is heavy, and whoever only imports the package for its types should not wait for it.
    from seg_demo.serving.predictor import load_model as load

    return load(id, device=device)
