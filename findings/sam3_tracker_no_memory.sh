#!/usr/bin/env bash
# transformers' SAM 3 tracker on single pictures: "no_memory_embedding", which stands for the frames that a picture has none of, is added to the last
# map of its encoder, as in SAM 2. But with the published config the encoder gives four maps, and the decoder looks at the first three: the
# embedding has no effect on any mask or score. With three scale factors it has, and in SAM 2 as well.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.11.0 torchvision==0.26.0 transformers==5.23.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from transformers import Sam2Config, Sam2Model, Sam3TrackerConfig, Sam3TrackerModel

print("transformers", version("transformers"))
decoder = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
prompts = {"hidden_size": 32, "image_size": 128, "patch_size": 16}
levels = {"fpn_hidden_size": 32, "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]]}
vit = {
    "model_type": "sam3_vit_model", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "global_attn_indexes": [0], "image_size": 128, "patch_size": 16, "window_size": 4, "pretrain_image_size": 128,
}
hiera = {
    "model_type": "sam2_hiera_det_model", "hidden_size": 8, "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 32, 64],
    "num_attention_heads_per_stage": [1, 1, 2, 2], "global_attention_blocks": [3], "image_size": [128, 128],
}
sam3 = {"model_type": "sam3_vision_model", "backbone_config": vit, **levels}
sam2 = {"model_type": "sam2_vision_model", "backbone_config": hiera, "backbone_channel_list": [64, 32, 16, 8], **levels}
default = Sam3TrackerConfig().vision_config.scale_factors
print("scale factors of the default config:", default)
rows = {
    "SAM 2": (Sam2Model, Sam2Config, sam2),
    "SAM 3 tracker": (Sam3TrackerModel, Sam3TrackerConfig, sam3),
    "SAM 3 tracker of three scale factors": (Sam3TrackerModel, Sam3TrackerConfig, {**sam3, "scale_factors": default[:3]}),
}
moved = {}
for title, (network, config, vision) in rows.items():
    torch.manual_seed(0)
    module = network(config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)).eval()
    asked = {"pixel_values": torch.rand(1, 3, 128, 128), "input_points": torch.tensor([[[[40.0, 60.0]]]]), "input_labels": torch.ones(1, 1, 1, dtype=torch.int64)}
    with torch.no_grad():
        before = module(**asked).pred_masks
        module.no_memory_embedding.add_(torch.randn_like(module.no_memory_embedding))
        after = module(**asked).pred_masks
    moved[title] = float((after - before).abs().max())
    print(f"{title}: another no_memory_embedding moves the logits by up to {moved[title]:.2g}")
sys.exit(0 if moved["SAM 3 tracker"] == 0 < min(moved["SAM 2"], moved["SAM 3 tracker of three scale factors"]) else 1)
PYTHON
