"""Whether a compiled form of a network says what eager torch says, and how much of what that decides."""

from __future__ import annotations

from torch import Tensor

# Largest difference from eager, relative to the largest value of the same output. A label can then only differ where the two
# best logits are closer than twice that. fp32 in another order of sums gives 1e-6 to 2e-5 (measured); bf16 gives 1e-2, of
# which the share of equal labels tells more.
TOLERANCE = {"fp32": 1e-4, "bf16": 0.1}


class DisagreementError(Exception):
    """The compiled form computes something else."""


def agree(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], tolerance: float) -> None:
    """Compare a compiled form's outputs with eager's.

    Args:
        found: of the form.
        expected: of eager, finite.
        tolerance: of each output, relative to its largest value.

    Raises:
        DisagreementError: other shapes, or a larger difference; the message has both.
    """
    shapes = [tuple(each.shape) for each in found], [tuple(each.shape) for each in expected]
    if shapes[0] != shapes[1]:
        raise DisagreementError(f"outputs of {shapes[0]} instead of {shapes[1]}")
    for mine, theirs in zip(found, expected, strict=True):
        scale = float(theirs.abs().max())
        apart = float((mine.float() - theirs.float()).abs().max())
        # Written so that NaN disagrees.
        if not apart <= tolerance * scale:
            raise DisagreementError(f"outputs differ by {apart:.3g} where the largest is {scale:.3g}")


def same_winners(expected: tuple[Tensor, ...], found: tuple[Tensor, ...]) -> float:
    """The share of places where the first outputs have the same largest channel; with one channel, the same sign.

    Args:
        expected: the first is (B, C, ...) logits.
        found: as ``expected``.
    """
    mine, theirs = (each[0] > 0 if each[0].shape[1] == 1 else each[0].argmax(1) for each in (found, expected))
    return float((mine == theirs).double().mean())


def same_signs(expected: tuple[Tensor, ...], found: tuple[Tensor, ...]) -> float:
    """The share of places where the first outputs have the same sign, which decides a mask whose logits they are."""
    return float(((found[0] > 0) == (expected[0] > 0)).double().mean())
