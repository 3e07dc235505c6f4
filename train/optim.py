"""Optimizer, learning-rate schedule and moving average."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

# Heads that only train along with the main one in other people's recipes; no loss here asks for their output.
AUXILIARY = ("aux_classifier.", "auxiliary_head.", "classification_head.")


def freeze_auxiliary(module: nn.Module) -> None:
    """Take the heads that get no gradient out of the training: DistributedDataParallel would wait for theirs.

    Args:
        module: of torchvision (``aux_classifier``), transformers (``auxiliary_head``) or smp (``classification_head``).
    """
    for name, parameter in module.named_parameters():
        if name.startswith(AUXILIARY):
            parameter.requires_grad_(False)


def set_train(module: nn.Module, freeze_norm: bool) -> None:
    """Training mode, with or without batch normalisation's.

    Args:
        module: the network.
        freeze_norm: normalise by the running statistics, and leave them as they are.
    """
    module.train()
    if freeze_norm:
        for layer in module.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()


def parameter_groups(
    module: nn.Module, fresh: Sequence[str], lr: float, backbone_lr: float, weight_decay: float, pretrained: bool
) -> list[dict]:
    """Parameters in up to four groups: fresh or pretrained, with or without weight decay.

    Norms and biases (every parameter of one dimension) are not decayed, after Loshchilov and Hutter's AdamW as it is
    practised in timm and transformers.

    Args:
        module: the network.
        fresh: prefixes of the names of layers that start from random weights.
        lr: peak learning rate of fresh layers.
        backbone_lr: learning rate of the others, as a share of ``lr``.
        weight_decay: of the decayed groups.
        pretrained: False if everything is fresh.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            is_fresh = not pretrained or name.startswith(tuple(fresh))
            groups.setdefault((is_fresh, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "lr": lr if is_fresh else lr * backbone_lr, "weight_decay": weight_decay if decayed else 0.0}
        for (is_fresh, decayed), parameters in sorted(groups.items(), key=lambda item: item[0], reverse=True)
    ]


def lr_factor(step: int, total: int, warmup: float, schedule: str) -> float:
    """The learning rate of a step as a share of its peak: a linear rise, then a decay.

    >>> [round(lr_factor(step, 10, 0.2, "cosine"), 3) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]

    Args:
        step: from 0.
        total: steps of the whole run.
        warmup: share of the steps in which the rate rises.
        schedule: ``cosine`` (Loshchilov and Hutter 2017), ``poly`` (power 0.9, Chen et al. 2018) or ``constant``.
    """
    rising = round(total * warmup)
    if step < rising:
        return (step + 1) / rising
    share = (step - rising) / max(1, total - rising)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * share))
    if schedule == "poly":
        return (1 - share) ** 0.9
    return 1.0


class MovingAverage:
    """Exponential moving average of a module's parameters; buffers (running statistics) are copied.

    The decay rises with the number of updates, min(decay, (1 + n) / (10 + n)), as in TensorFlow's implementation, so that
    the random weights of the beginning are soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        """
        Args:
            module: what is averaged; its copy is ``self.module``.
            decay: in [0, 1); 0 makes the copy follow at once.
        """
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's present weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        mine = [parameter for parameter in self.module.parameters()]
        theirs = [parameter.detach() for parameter in module.parameters()]
        torch._foreach_lerp_(mine, theirs, 1 - decay)
        for own, other in zip(self.module.buffers(), module.buffers(), strict=True):
            own.copy_(other)


def restore(
    state: dict[str, Any], module: nn.Module, average: MovingAverage, optimizer: torch.optim.Optimizer, scaler: Any
) -> None:
    """Give the modules, the optimizer and the scaler of a run what was saved of them.

    Args:
        state: as the loop saves it.
        module: the network.
        average: of its weights.
        optimizer: of its parameters.
        scaler: of the gradients in fp16, or None.
    """
    module.load_state_dict(state["module"])
    average.module.load_state_dict(state["average"])
    average.updates = state["updates"]
    optimizer.load_state_dict(state["optimizer"])
    # The fused kernel goes through memory as it lies; a run from another device or precision has another layout.
    for weight, kept in optimizer.state.items():
        for key, value in kept.items():
            if isinstance(value, torch.Tensor) and value.shape == weight.shape:
                kept[key] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
    if scaler is not None and state.get("scaler"):
        scaler.load_state_dict(state["scaler"])
