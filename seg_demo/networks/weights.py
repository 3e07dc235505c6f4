"""Weights of a checkpoint folder: strict, finite, and compared with the network before any memory is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seg_demo.errors import BadCheckpointError
from seg_demo.networks.files import CONFIG, WEIGHTS, said

MAX_PARAMETERS = 1_000_000_000


def check_finite(state: Iterable[tuple[str, Tensor]]) -> None:
    """Refuse weights that would only give NaN.

    Args:
        state: names and tensors.

    Raises:
        BadCheckpointError: names the first tensor with a NaN or an infinity.
    """
    for name, tensor in state:
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise BadCheckpointError(f"Weight {name!r} holds NaN or infinity; the file is damaged or the training diverged.")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of model.safetensors, floating ones as fp32, on the CPU.

    Args:
        folder: the checkpoint.

    Raises:
        BadCheckpointError: the file is missing, malformed, or holds a NaN.
    """
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise BadCheckpointError(f"The checkpoint has no {WEIGHTS}; weights of other kinds are not loaded.")
    try:
        state = load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise BadCheckpointError(f"{WEIGHTS} of the checkpoint cannot be read ({said(error, folder)}); download it again.") from error
    # Checked before the cast: a finite fp32 value never comes from a damaged half, but a damaged half may.
    check_finite(state.items())
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def write_weights(module: nn.Module, folder: Path, half: bool) -> None:
    """model.safetensors with the module's own parameter names.

    Args:
        module: any device.
        folder: exists.
        half: floating tensors as fp16, half the bytes.
    """
    state = {}
    for name, tensor in module.state_dict().items():
        tensor = tensor.detach().cpu()
        state[name] = (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous().clone()
    save_file(state, Path(folder) / WEIGHTS, metadata={"format": "pt"})


def construct(make: Callable[[], nn.Module], state: dict[str, Tensor], what: str) -> nn.Module:
    """Build a network and give it weights, both compared by name and shape before any memory is taken.

    Args:
        make: builds the module.
        state: weights by name.
        what: the network in words, for the message.

    Returns:
        The module in eval mode.

    Raises:
        BadCheckpointError: names the first tensor that is missing, unexpected or of another shape.
    """
    wanted = shapes_of(make, what)
    compare_shapes(wanted, {name: tensor.shape for name, tensor in state.items()}, what)
    module = make()
    module.load_state_dict(state, strict=True)
    return module.eval()


def shapes_of(make: Callable[[], nn.Module], what: str) -> dict[str, torch.Size]:
    """Names and shapes of a network's tensors, found without their memory.

    Args:
        make: builds the module.
        what: the network in words, for the message.

    Raises:
        BadCheckpointError: it cannot be built, or has more than a billion parameters.
    """
    try:
        try:
            with torch.device("meta"):
                module = make()
        except RuntimeError as error:
            if "meta tensors" not in str(error):
                raise
            # A few encoders compute with tensors while they are built; their size is fixed by their name.
            module = make()
        shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    except BadCheckpointError:
        raise
    except Exception as error:  # whatever a strange config makes a library raise, it is the config's fault
        raise BadCheckpointError(f"{CONFIG} does not describe a {what} that can be built ({error!r}).") from error
    if sum(shape.numel() for shape in shapes.values()) > MAX_PARAMETERS:
        raise BadCheckpointError(f"{CONFIG} asks for a {what} of more than {MAX_PARAMETERS} parameters; that is refused.")
    return shapes


def compare_shapes(wanted: dict[str, torch.Size], found: dict[str, torch.Size], what: str) -> None:
    """Refuse weights that are not exactly the network's.

    Args:
        wanted: shapes of the network's tensors.
        found: shapes in the file. A missing ``num_batches_tracked`` is allowed: it is a counter, not a weight.
        what: the network in words, for the message.

    Raises:
        BadCheckpointError: names the first tensor that is missing, unexpected or of another shape.
    """
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    if missing:
        raise BadCheckpointError(f"{WEIGHTS} lacks {len(missing)} weights of the {what}, the first is {missing[0]!r}.")
    if unexpected:
        raise BadCheckpointError(
            f"{WEIGHTS} has {len(unexpected)} weights too many for the {what}, the first is {unexpected[0]!r}."
        )
    for name, shape in wanted.items():
        if found[name] != shape:
            have, want = tuple(found[name]), tuple(shape)
            raise BadCheckpointError(f"Weight {name!r} has shape {have} in {WEIGHTS}, but {CONFIG} describes {want}.")


def class_dependent(make: Callable[[int], nn.Module], count: int) -> tuple[str, ...]:
    """Names of the tensors whose shape changes with the number of classes.

    Args:
        make: builds the network for a number of classes.
        count: that of the checkpoint.
    """
    shapes = shapes_of(lambda: make(count), "network")
    others = shapes_of(lambda: make(count + 1), "network")
    return tuple(name for name, shape in shapes.items() if others[name] != shape)
