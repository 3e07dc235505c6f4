"""The one type that every training data source yields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sample:
    """An image with its labels, checked at construction.

    image: uint8 (H, W, 3), RGB.
    label_map: uint8 or uint16 (H, W), a class id per pixel.
    instance_map: uint16 (H, W), 0 where there is no object and 1, 2, ... one number per object; None where the data has
        no objects.
    name: where the sample comes from, for messages.
    instance_labels: uint16 (N + 1,), the class id of each object by its number (entry 0 is unused); None where the label
        map under an object tells its class.
    hidden: uint16 (L, H, W), where objects overlap the numbers of those below the topmost one, layer by layer, 0 for none; the
        whole mask of object k is where the instance map or a layer is k. None where nothing overlaps.
    """

    image: np.ndarray
    label_map: np.ndarray
    instance_map: np.ndarray | None = None
    name: str = ""
    instance_labels: np.ndarray | None = None
    hidden: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check(self.image, "image", (np.uint8,), "(H, W, 3)", self.name)
        if self.image.ndim != 3 or self.image.shape[2] != 3 or 0 in self.image.shape:
            raise ValueError(f"{self.name or 'sample'}: image has shape {self.image.shape}, expected (H, W, 3)")
        _check(self.label_map, "label_map", (np.uint8, np.uint16), "(H, W)", self.name)
        maps = {"label_map": self.label_map}
        if self.instance_map is not None:
            _check(self.instance_map, "instance_map", (np.uint16,), "(H, W)", self.name)
            maps["instance_map"] = self.instance_map
        for what, array in maps.items():
            if array.shape != self.image.shape[:2]:
                raise ValueError(
                    f"{self.name or 'sample'}: {what} has shape {array.shape}, the image is {self.image.shape[:2]}"
                )
        if self.hidden is not None:
            _check(self.hidden, "hidden", (np.uint16,), "(L, H, W)", self.name)
            if self.instance_map is None or self.hidden.ndim != 3 or self.hidden.shape[1:] != self.instance_map.shape:
                raise ValueError(f"{self.name or 'sample'}: hidden has shape {self.hidden.shape}, expected layers of an instance map")
        if self.instance_labels is not None:
            _check(self.instance_labels, "instance_labels", (np.uint16,), "(N + 1,)", self.name)
            highest = -1 if self.instance_map is None else int(max(layer.max() for layer in self.layers))
            if self.instance_labels.ndim != 1 or not 0 <= highest < len(self.instance_labels):
                raise ValueError(
                    f"{self.name or 'sample'}: instance_labels has shape {self.instance_labels.shape}, "
                    f"the instance map goes up to {highest}"
                )

    @property
    def layers(self) -> tuple[np.ndarray, ...]:
        """The instance map and what lies below it: uint16 (H, W) each; empty where the data has no objects."""
        below = () if self.hidden is None else tuple(self.hidden)
        return () if self.instance_map is None else (self.instance_map, *below)


def _check(array: object, what: str, dtypes: tuple[type, ...], shape: str, name: str) -> None:
    """Raises TypeError unless `array` is a numpy array of one of `dtypes`."""
    if not isinstance(array, np.ndarray) or array.dtype not in [np.dtype(d) for d in dtypes]:
        came = f"{type(array).__name__} {getattr(array, 'dtype', '')}".strip()
        wanted = " or ".join(np.dtype(d).name for d in dtypes)
        raise TypeError(f"{name or 'sample'}: {what} is {came}, expected a numpy array {wanted} {shape}")
