"""The processes of a run: one, or those that a launcher started together."""

from __future__ import annotations

import os
from datetime import timedelta

from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs

from train.config import Config, ConfigError
from train.device import best_device
from train.prepared import Prepared

# How long processes wait for each other, in hours: the main one evaluates while the others wait.
PATIENCE = 24


def launched(config: Config) -> PartialState | None:
    """The processes that ``accelerate launch`` or ``torchrun`` started together, as accelerate's state; None for one.

    Raises:
        ConfigError: they cannot work together.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return None
    cpu = config.device == "cpu" or (config.device == "auto" and best_device() == "cpu")
    team = PartialState(cpu=cpu, timeout=timedelta(hours=PATIENCE))
    if team.num_processes != count or team.distributed_type.value not in ("MULTI_CPU", "MULTI_GPU"):
        raise ConfigError(
            f"{count} processes were launched as {team.distributed_type.value}, but only CPUs and NVIDIA GPUs can work "
            "together here, without DeepSpeed or FSDP. Launch with --multi_gpu, or give --device cpu."
        )
    return team


def accelerator_of(prepared: Prepared, team: PartialState | None) -> Accelerator:
    """The run's accelerator, with its device and precision.

    Args:
        prepared: of :func:`train.prepare.prepare`.
        team: of :func:`launched`.
    """
    # Some of transformers' networks have layers that their logits do not depend on; SegFormer and all others use each.
    other = prepared.start.checkpoint.options.get("model_type", "segformer") != "segformer"
    # Running statistics are saved from the main process, so copying them to the others at each pass would change nothing,
    # and would overwrite what the backward pass of adversarial training still needs.
    handler = DistributedDataParallelKwargs(find_unused_parameters=other, broadcast_buffers=False)
    cpu, handlers = prepared.device.type == "cpu", [handler] if team else []
    if team is None:
        # A run earlier in this process may have had another precision or device, which accelerate would hold on to.
        AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=cpu, mixed_precision=prepared.precision, kwargs_handlers=handlers)
