"""Which engine serves where: the combinations that are refused, and the sentences that say so. Imports no torch.

The page looks here before it starts, the models when one is built.
"""

from __future__ import annotations

import importlib.util


def has_openvino() -> bool:
    """Whether openvino can be imported; it is not imported for that."""
    return importlib.util.find_spec("openvino") is not None


def refusals(engine: str, precision: str, device: str) -> list[str]:
    """A sentence for everything that was asked for and cannot be served; none if all of it can.

    Args:
        engine: ``auto``, ``eager`` or ``openvino``.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.
        device: where it would be served: ``cpu``, ``cuda`` or ``mps``.
    """
    found, there = [], has_openvino()
    if engine == "openvino" and device != "cpu":
        found.append(f"SEG_DEMO_ENGINE is openvino, which is for CPUs, but the device is {device}. Set it to auto.")
    if engine == "openvino" and not there:
        found.append("SEG_DEMO_ENGINE is openvino, but it is not installed. Run pip install openvino, or set it to auto.")
    if precision == "bf16" and (device != "cpu" or engine == "eager" or not there):
        found.append(
            f"SEG_DEMO_PRECISION is bf16, which is for CPUs and needs OpenVINO, but the device is {device}, SEG_DEMO_ENGINE is "
            f"{engine}, and openvino is {'installed' if there else 'not installed'}. Install openvino, set SEG_DEMO_ENGINE to "
            "auto and SEG_DEMO_DEVICE to cpu, or set SEG_DEMO_PRECISION to auto."
        )
    return found
