"""Weights of a checkpoint folder: finite, and compared with the network by name and shape before any memory is taken.

Files of real repositories hold more than the network has (a trainer's loss, an auxiliary head, counters) or name it as a part of
something (``model.``, ``module.``). What is left out and taken off is said; what is missing is refused, unless the result
cannot depend on it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from seg_demo.core import BadCheckpointError, Message
from seg_demo.networks.checkpoint import WEIGHTS, library_message, not_weights, weight_paths

MAX_PARAMETERS = 1_000_000_000
# Of a config in characters: about larger ones nothing is remembered.
MAX_REMEMBERED = 20_000
_COMPILED = "._orig_mod."
# Names that PEFT gives to what it adds to a network.
_ADAPTED = re.compile(r"\.(lora_[AB]|base_layer|lora_embedding_[AB]|lora_magnitude_vector)\.")


def check_finite(state: Iterable[tuple[str, Tensor]]) -> None:
    """Refuse weights that would only give NaN.

    Args:
        state: names and tensors.

    Raises:
        BadCheckpointError: names the first tensor with a NaN or an infinity.
    """
    for name, tensor in state:
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise BadCheckpointError("weights.not_finite", name=name)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of model.safetensors, or of the shards that its index names; floating ones as fp32, on the CPU.

    Args:
        folder: the checkpoint.

    Raises:
        BadCheckpointError: a file is missing, malformed, or holds a NaN.
    """
    state: dict[str, Tensor] = {}
    for path in weight_paths(Path(folder), whole=True):
        try:
            part = load_file(path, device="cpu")
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise unreadable(path, error) from error
        # Numbers of 8 bits know no arithmetic.
        part = {key: tensor.float() if tensor.is_floating_point() and tensor.itemsize == 1 else tensor for key, tensor in part.items()}
        # Checked before the cast: a finite fp32 value never comes from a damaged half, but a damaged half may.
        check_finite(part.items())
        state |= {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in part.items()}
    return state


def stored_names(folder: Path) -> list[str]:
    """Names of all tensors of a checkpoint, without reading them.

    Args:
        folder: the checkpoint.

    Raises:
        BadCheckpointError: as :func:`read_weights`.
    """
    found: list[str] = []
    for path in weight_paths(Path(folder), whole=True):
        try:
            with safe_open(path, "pt") as file:
                found += file.keys()
        except (SafetensorError, OSError, ValueError) as error:
            raise unreadable(path, error) from error
    return found


def unreadable(path: Path, error: Exception) -> BadCheckpointError:
    """What a file is that should hold weights and does not, by its first bytes, and what to do about it.

    Args:
        path: a file.
        error: what the library says.
    """
    if (why := not_weights(path)) is not None:
        return BadCheckpointError(why)
    with open(path, "rb") as file:
        first, size = file.read(200), path.stat().st_size
    again = Message("weights.tell_owner")
    if first.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04")):
        return BadCheckpointError("weights.renamed_pickle", name=path.name)
    if "incomplete" in str(error).lower() or "too short" in str(error).lower():
        return BadCheckpointError("weights.cut_off", name=path.name, size=size, advice=again)
    return BadCheckpointError("weights.unreadable", name=path.name, why=library_message(error, path.parent))


def write_weights(module: nn.Module, folder: Path, half: bool) -> None:
    """model.safetensors with the module's own parameter names.

    Args:
        module: any device.
        folder: exists.
        half: floating tensors as fp16, half the bytes; those with values beyond its range as they are.
    """
    write_state(module.state_dict(), folder, half)


def write_state(state: Mapping[str, Tensor], folder: Path, half: bool) -> None:
    """model.safetensors with weights by name.

    Args:
        state: on any device.
        folder: exists.
        half: as for :func:`write_weights`.
    """
    written = {}
    for name, tensor in state.items():
        tensor = tensor.detach().cpu()
        written[name] = (halved(tensor) if half else tensor).contiguous().clone()
    save_file(written, Path(folder) / WEIGHTS, metadata={"format": "pt"})


def halved(tensor: Tensor) -> Tensor:
    """A floating tensor as fp16, if all of its values stay finite: a variance of large activations may exceed 65504."""
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    return half if bool(torch.isfinite(half).all()) or not bool(torch.isfinite(tensor).all()) else tensor


def construct(
    make: Callable[[], nn.Module],
    state: dict[str, Tensor],
    what: str,
    run: Callable[[nn.Module], Tensor] | None = None,
    renamed: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict,
) -> tuple[nn.Module, tuple[str, ...]]:
    """Build a network and give it weights, both compared by name and shape before any memory is taken.

    Args:
        make: builds the module.
        state: weights by name.
        what: the network in words, for the message.
        run: computes the result of a module for some input, on the module's device; None where every weight is needed.
        renamed: gives weights that an earlier version of the library wrote their names of today.

    Returns:
        The module in eval mode, and what was left out, a sentence each.

    Raises:
        BadCheckpointError: names the first tensor that is missing or of another shape.
    """
    wanted = shapes_of(make, what)
    state, notes = own_names(state, wanted)
    state, more = fitting(renamed(state), wanted, what, lambda: without_effect(make, run))
    module = make()
    module.load_state_dict(state, strict=False)
    return module.eval(), (*notes, *more)


def own_names(state: Mapping[str, Tensor], wanted: Collection[str]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Weights under the network's own names, where a program saved them as a part of something: ``model.``, ``module.model.``.

    Args:
        state: weights by the name in the file.
        wanted: the network's names.

    Returns:
        The weights, and what was taken off, a sentence or none.

    Raises:
        BadCheckpointError: the file holds several copies of the network, and nothing says which one is meant.
    """
    if any(_COMPILED in f".{name}" for name in state):
        # torch.compile's wrapper, around the whole or around parts of it.
        state = {f".{name}".replace(_COMPILED, ".").removeprefix("."): tensor for name, tensor in state.items()}
    if any(_ADAPTED.search(f".{name}.") for name in state):
        raise BadCheckpointError("weights.adapter_inside")
    direct = sum(name in wanted for name in state)
    counts: Counter[str] = Counter()
    for name in state:
        for dot in re.finditer(r"\.", name):
            if name[dot.end() :] in wanted:
                counts[name[: dot.end()]] += 1
    prefix, most = max(counts.items(), key=lambda item: item[1], default=("", 0))
    if most <= direct:
        return dict(state), ()
    copies = sorted(other for other, count in counts.items() if count == most)
    if len(copies) > 1:
        raise BadCheckpointError("weights.several_networks", count=len(copies), copies=" and ".join(map(repr, copies[:4])))
    inside = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    outside = {name: tensor for name, tensor in state.items() if not name.startswith(prefix) and name not in inside}
    return inside | outside, (Message("weights.prefix_taken_off", prefix=prefix),)


def fitting(
    state: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], what: str, unused: Callable[[], Collection[str]]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The weights that a network has; the others are left out.

    Args:
        state: weights by the network's own names.
        wanted: shapes of the network's tensors.
        what: the network in words, for the message.
        unused: finds the names of the weights that the result cannot depend on; asked only if some are missing.

    Returns:
        The weights, and what was left out, a sentence or none.

    Raises:
        BadCheckpointError: names the first tensor that is missing or of another shape, or extra ones that belong to a larger network.
    """
    refuse_missing([name for name in wanted if name not in state], what, unused)
    extra = [name for name in state if name not in wanted]
    refuse_larger(extra, wanted, what)
    for name, shape in wanted.items():
        if name in state and state[name].shape != shape:
            have, want = tuple(state[name].shape), tuple(shape)
            raise BadCheckpointError("weights.other_shape", name=name, shape=have, wanted=want)
    return {name: tensor for name, tensor in state.items() if name in wanted}, left_out(extra)


def refuse_missing(missing: Collection[str], what: str, unused: Callable[[], Collection[str]]) -> None:
    """Refuse weights that lack some, unless they are counters, or the result cannot depend on them.

    Args:
        missing: names of the network's tensors that the file has not.
        what: the network in words.
        unused: as for :func:`fitting`.

    Raises:
        BadCheckpointError: names the first one.
    """
    needed = [name for name in missing if not name.endswith("num_batches_tracked")]
    if needed:
        known = unused()
        needed = [name for name in needed if name not in known]
    if needed:
        raise BadCheckpointError("weights.incomplete", count=len(needed), network=what, name=needed[0])


def refuse_larger(extra: Iterable[str], wanted: Collection[str], what: str) -> None:
    """Refuse weights of a network with more layers than the config describes: left out, they would give another result.

    Args:
        extra: names in the file that the network does not have.
        wanted: the network's names.
        what: the network in words.

    Raises:
        BadCheckpointError: one continues a numbered list of the network's layers.
    """
    numbered: dict[str, set[str]] = {}
    for name in wanted:
        parts = name.split(".")
        for index, part in enumerate(parts):
            if part.isdigit():
                numbered.setdefault(".".join(parts[:index]), set()).add(part)
    for name in extra:
        parts = name.split(".")
        for index, part in enumerate(parts):
            known = numbered.get(".".join(parts[:index])) if part.isdigit() else None
            if known and part not in known:
                raise BadCheckpointError("weights.larger_network", network=what, name=name)


def left_out(extra: Collection[str]) -> tuple[str, ...]:
    """What a person should know about weights that the network does not have: a sentence or none; counters are not worth one."""
    worth = sorted(name for name in extra if not name.endswith(("num_batches_tracked", "position_ids")))
    if not worth:
        return ()
    return (Message("weights.left_out", count=len(worth), name=worth[0][:80]),)


def without_effect(make: Callable[[], nn.Module], run: Callable[[nn.Module], Tensor] | None) -> set[str]:
    """Names of a network's tensors that its result cannot depend on, found without computing it.

    Parameters that the graph of the result does not reach; and whole numbers (tables of positions), which are made by the network
    itself and not learnt. On the meta device the graph is made without any arithmetic.

    Args:
        make: builds the module.
        run: computes its result for some input on the meta device; None finds no parameters.
    """
    try:
        with torch.device("meta"):
            module = make().eval().requires_grad_(True)
            names = {name for name, tensor in module.named_buffers() if not tensor.is_floating_point()}
            if run is None:
                return names
            with torch.enable_grad():
                reached = _leaves(run(module))
    except Exception:  # a network that cannot run without numbers: nothing is known, so every weight counts
        return set()
    for path, part in module.named_modules():
        own = dict(part.named_parameters(recurse=False))
        unreached = {name for name, tensor in own.items() if id(tensor) not in reached}
        # A buffer is in no graph: a statistic goes with the weights of its layer.
        if own and len(unreached) == len(own):
            unreached |= {name for name, _ in part.named_buffers(recurse=False)}
        names |= {f"{path}.{name}" if path else name for name in unreached}
    return names


def _leaves(result: Tensor) -> set[int]:
    """Identities of the parameters that a result was computed from."""
    found, seen, waiting = set(), set(), [result.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        waiting += [following for following, _ in node.next_functions]
    return found


class Sketch(TorchFunctionMode):
    """Within it, modules are made on the meta device, where they have shapes and no numbers, and none are drawn for them.

    Torch's own initialisers go through Python there, which takes twice as long as all the rest.
    """

    _INITIAL = {getattr(nn.init, name) for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")}
    _INITIAL |= {Tensor.uniform_, Tensor.normal_, Tensor.fill_, Tensor.zero_}

    def __enter__(self) -> Sketch:
        self._device = torch.device("meta")
        self._device.__enter__()
        return super().__enter__()

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        self._device.__exit__(*raised)

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """As torch says."""
        kwargs = kwargs or {}
        if func in self._INITIAL and (tensor := args[0] if args else kwargs["tensor"]).is_meta:
            return tensor
        return func(*args, **kwargs)


def remembered(make: Callable[..., nn.Module]) -> dict[Any, Any]:
    """What has been found out about a network without its weights, to be added to: a dictionary for each that is built.

    Args:
        make: builds it; only about a ``partial`` of a function and its arguments something is remembered.
    """
    if isinstance(make, partial):
        try:
            text = json.dumps([make.args, make.keywords], sort_keys=True)
        except (TypeError, ValueError, RecursionError):  # options that no JSON has
            return {}
        if len(text) <= MAX_REMEMBERED:
            return _remembered(make.func, text)
    return {}


@lru_cache(maxsize=64)
def _remembered(build: Callable[..., nn.Module], arguments: str) -> dict[Any, Any]:
    return {}


def shapes_of(make: Callable[[], nn.Module], what: str) -> dict[str, torch.Size]:
    """Names and shapes of a network's tensors, found without their memory.

    Args:
        make: builds the module; a ``partial`` of a function and its arguments is asked once (:func:`remembered`).
        what: the network in words, for the message.

    Raises:
        BadCheckpointError: it cannot be built, or has more than a billion parameters.
    """
    known = remembered(make)
    if "shapes" not in known:
        known["shapes"] = _shapes_of(make, what)
    return dict(known["shapes"])


def _shapes_of(make: Callable[[], nn.Module], what: str) -> dict[str, torch.Size]:
    try:
        try:
            with Sketch():
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
        raise BadCheckpointError("weights.not_built", network=what, why=repr(error)) from error
    if sum(shape.numel() for shape in shapes.values()) > MAX_PARAMETERS:
        raise BadCheckpointError("weights.too_many_parameters", network=what, most=MAX_PARAMETERS)
    return shapes


def class_dependent(make: Callable[[int], nn.Module], count: int) -> tuple[str, ...]:
    """Names of the tensors whose shape changes with the number of classes.

    Args:
        make: builds the network for a number of classes.
        count: that of the checkpoint.
    """
    shapes = shapes_of(partial(make, count), "network")
    others = shapes_of(partial(make, count + 1), "network")
    return tuple(name for name, shape in shapes.items() if others[name] != shape)


def inflated(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """Weights of a network that takes red, green and blue, for one that takes other channels.

    The kernels of the first layer are taken over in turn and scaled by 3 / channels, so that features keep their size; for one channel
    they are summed. As ``timm.models.adapt_input_conv`` and segmentation_models_pytorch's
    ``patch_first_conv`` do it; Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, inflate along time likewise.

    Args:
        state: weights by name.
        wanted: tensors of the network that takes ``channels``.
        channels: at least 1.

    Raises:
        BadCheckpointError: a layer depends on the number of channels otherwise than in its kernels.
    """
    from timm.models import adapt_input_conv  # a second to import, for a training run

    found = {}
    for name, tensor in wanted.items():
        given = state[name]
        if given.shape != tensor.shape:
            if tensor.dim() != 4 or given.shape[1] != 3 or tensor.shape != (given.shape[0], channels, *given.shape[2:]):
                raise BadCheckpointError("weights.not_inflated", name=name, shape=tuple(given.shape), wanted=tuple(tensor.shape))
            given = adapt_input_conv(channels, given)
        found[name] = given
    return found


class Takes:
    """Answers whether a network takes pictures of a height and a width in pixels: tried on shapes alone, without memory or arithmetic.

    Position tables, windows and patches fix the size for some networks, and configs say that in as many ways as there are families.

    Args:
        make: builds the network; what a ``partial`` of a function and its arguments takes is remembered.
        forward: module, batch (B, C, h, w) → logits.
        channels: of a batch.
    """

    def __init__(self, make: Callable[[], nn.Module], forward: Callable[[nn.Module, Tensor], Tensor], channels: int = 3) -> None:
        self._make, self._forward, self._channels = make, forward, channels
        self._module: nn.Module | None = None
        self._known: dict[tuple[int, int], bool] = remembered(make)

    def __call__(self, height: int, width: int) -> bool:
        """True as well where shapes alone cannot tell."""
        if (height, width) not in self._known:
            self._known[height, width] = self._try(height, width)
        return self._known[height, width]

    def _try(self, height: int, width: int) -> bool:
        try:
            if self._module is None:
                with Sketch():
                    self._module = self._make().eval()
            with torch.no_grad():
                self._forward(self._module, torch.zeros((1, self._channels, height, width), device="meta"))
        except NotImplementedError:
            return True
        except Exception as error:  # whatever a library raises at a size that it was not made for
            return "meta" in str(error)
        return True


def copy_matching(source: nn.Module, target: nn.Module, except_prefixes: tuple[str, ...]) -> None:
    """Copy every tensor but those of the head from one module to another of the same architecture.

    Args:
        source: has the weights.
        target: gets them, in place.
        except_prefixes: names that begin with one of these stay as they are.
    """
    kept = {name: tensor for name, tensor in source.state_dict().items() if not name.startswith(except_prefixes)}
    missing, unexpected = target.load_state_dict(kept, strict=False)
    left = [name for name in missing if not name.startswith(except_prefixes)]
    assert not left and not unexpected, (left, unexpected)
