"""Which files of a repository are a checkpoint's, by their names alone; and what to say where none can be."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from seg_demo.errors import BadCheckpointError
from seg_demo.models import pickles
from seg_demo.networks.files import CONFIG, INDEX, WEIGHTS

# A configuration is a few kilobytes; tokenizers and the like are not ours to fetch.
MAX_JSON_BYTES = 1_000_000
MAX_JSON_FILES = 32
# Weights that are no network: of an adapter, of the optimizer.
_NO_NETWORK = re.compile(r"(adapter|optimizer|scheduler|scaler|ema_state).*\.safetensors")
_DEEPEST = 4
CHOOSE = "Choose a model for semantic segmentation in the form of transformers or segmentation_models_pytorch, with config.json and model.safetensors."


def below(names: Collection[str], folder: str) -> list[str]:
    """The names of the files that lie directly in a folder, without it.

    Args:
        names: paths of files in a repository.
        folder: path of the folder, empty for the top.
    """
    start = f"{folder}/" if folder else ""
    return sorted(name[len(start) :] for name in names if name.startswith(start) and "/" not in name[len(start) :])


def path_of(folder: str, name: str) -> str:
    """The path of a file in a repository's folder."""
    return f"{folder}/{name}" if folder else name


def weights_in(names: Collection[str], folder: str) -> dict[str, str]:
    """The safetensors files that are a checkpoint's weights: path in the repository by the name that they get; empty if none are.

    ``model.safetensors``; the shards that an index names; or the only safetensors file there is, whatever it is called.

    Args:
        names: paths of files in a repository.
        folder: of the checkpoint in it, empty for the top.
    """
    here = below(names, folder)
    if WEIGHTS in here:
        return {WEIGHTS: path_of(folder, WEIGHTS)}
    tensors = [name for name in here if name.endswith(".safetensors") and not _NO_NETWORK.fullmatch(name)]
    indices = [name for name in here if name.endswith(".safetensors.index.json")]
    if INDEX in indices or len(indices) == 1:
        index = INDEX if INDEX in indices else indices[0]
        stem = index.removesuffix(".safetensors.index.json")
        shards = [name for name in tensors if re.fullmatch(rf"{re.escape(stem)}-\d+-of-\d+\.safetensors", name)]
        if shards:
            return {INDEX: path_of(folder, index), **{name: path_of(folder, name) for name in shards}}
    return {WEIGHTS: path_of(folder, tensors[0])} if len(tensors) == 1 else {}


def json_in(sizes: Mapping[str, int], folder: str) -> list[str]:
    """The small JSON files of a checkpoint's folder, config.json first.

    Args:
        sizes: bytes by path in the repository.
        folder: of the checkpoint in it, empty for the top.
    """
    small = [
        name
        for name in below(sizes, folder)
        if re.fullmatch(r"[\w.-]+\.json", name) and not name.endswith(".index.json") and sizes[path_of(folder, name)] <= MAX_JSON_BYTES
    ]
    return sorted(small, key=lambda name: (name != CONFIG, name))[:MAX_JSON_FILES]


def folders_in(names: Collection[str]) -> list[str]:
    """The folders of a repository that hold a whole checkpoint.

    Args:
        names: paths of files in it.
    """
    found = []
    for name in sorted(names):
        folder, _, file = name.rpartition("/")
        if file == CONFIG and folder and folder.count("/") < _DEEPEST:
            if weights_in(names, folder) or pickles.offered(below(names, folder)):
                found.append(folder)
    return found


def folder_of(id: str, names: Collection[str], asked: str) -> str:
    """The folder in a repository that holds the checkpoint that is meant, empty for the top.

    Args:
        id: ``user/repo``.
        names: paths of the files in it.
        asked: the folder that was typed, empty if none was.

    Raises:
        BadCheckpointError: there is no such folder, or there are several and none was typed.
    """
    offered = [] if "model_index.json" in names else folders_in(names)
    listed = ", ".join(f"{id}/{folder}" for folder in offered[:6]) + (" …" if len(offered) > 6 else "")
    if asked:
        if any(name.startswith(f"{asked}/") for name in names):
            return asked
        raise BadCheckpointError(
            f"{id} has no folder {asked!r}. " + (f"Its models are {listed}." if offered else f"Type {id}, or the id of another model.")
        )
    if CONFIG in names or not offered or "adapter_config.json" in names:
        return ""
    if len(offered) > 1:
        raise BadCheckpointError(f"{id} holds {len(offered)} models, each in a folder. Type the one that is meant: {listed}.")
    return offered[0]


def refusal(id: str, names: Collection[str], folder: str) -> str:
    """Why a repository whose weights or config.json are missing cannot be loaded, and what to choose instead.

    Args:
        id: ``user/repo``.
        names: paths of the files in it.
        folder: of the checkpoint in it, empty for the top.
    """
    here = below(names, folder)

    def with_end(*ends: str) -> list[str]:
        return [name for name in here if name.lower().endswith(ends)]

    def anywhere(*ends: str) -> list[str]:
        """Here, else in folders; a folder may have such a name itself."""
        paths = (["/".join(name.split("/")[:depth]) for depth in range(1, name.count("/") + 2)] for name in sorted(names))
        return with_end(*ends) or sorted({path for each in paths for path in each if path.lower().endswith(ends)})

    tensors, config = [name for name in with_end(".safetensors") if not _NO_NETWORK.fullmatch(name)], CONFIG in here
    if "adapter_config.json" in here:
        return (
            f"{id} is an adapter (PEFT, LoRA): it changes another model, and is none without that. Merge it into its base with "
            "merge_and_unload() and save_pretrained(), or choose the merged model."
        )
    if "model_index.json" in names:
        return f"{id} is a pipeline of diffusers, which makes pictures and does not segment them. {CHOOSE}"
    if with_end(".gguf") and not tensors:
        return f"{id} has its weights as GGUF ({with_end('.gguf')[0]}), the form of language models for llama.cpp. {CHOOSE}"
    if len(tensors) > 1:
        return (
            f"{id} has {len(tensors)} weight files ({', '.join(tensors[:4])}) and no model.safetensors; nothing says which one is meant. "
            "Choose another model, or ask its owner to call one of them model.safetensors."
        )
    below_here = [name for name in sorted(names) if name.endswith(".safetensors") and "/" in name and not _NO_NETWORK.fullmatch(name.rsplit("/")[-1])]
    if config and not tensors and below_here:
        return (
            f"{id} has its config.json in another folder than its weights ({below_here[0]}), so libraries do not find them. Ask its owner to "
            "put them side by side, or choose another model."
        )
    other = (
        (anywhere(".ckpt"), "is a checkpoint of PyTorch Lightning", "Load it with its own program and save the network inside with save_pretrained()"),
        (_ultralytics(here), "is a file of ultralytics (YOLO): a pickle with a program in it", ""),
        (anywhere(".onnx"), "is the network in the form of ONNX", "Ask its owner for the form of transformers or segmentation_models_pytorch that it was made from"),
        (anywhere(".h5", ".keras", ".pb", ".tflite", "ckpt.index"), "is the network in the form of TensorFlow", "Ask its owner for weights of PyTorch"),
        (anywhere(".msgpack"), "is the network in the form of Flax", "Ask its owner for weights of PyTorch"),
        (anywhere(".mlmodel", ".mlpackage", ".engine", ".xml", ".torchscript", ".ts", ".pte"), "is the network compiled for one kind of machine", "Ask its owner for the weights that it was made from"),
        (anywhere(".pth", ".pt", ".pkl", ".pickle", ".joblib", ".bin"), "is a pickle that no library loads by its name", "Load it with its own program and save the network with save_pretrained()"),
    )  # fmt: skip
    if not tensors:
        for files, what, instead in other:
            if files:
                advice = f"{instead}, or choose another model." if instead else f"YOLO models are not supported. {CHOOSE}"
                return f"{id} has no model.safetensors; what it has, {files[0]}, {what}. {advice}"
    if not config and tensors:
        return (
            f"{id} has weights ({tensors[0]}), but no config.json that says which network they are of. Ask its owner to save it with "
            "save_pretrained(), or choose another model."
        )
    found = ", ".join(name for name in here if not name.startswith("."))[:120] or "nothing"
    return f"{id} has no {'model.safetensors' if config else 'config.json and no weights'} (it has {found}). {CHOOSE}"


def _ultralytics(here: Collection[str]) -> list[str]:
    """Weights as ultralytics saves and names them."""
    known = re.compile(r"(yolo|yolov\d|best|last|sam|fastsam|mobile_sam|rtdetr)[\w.-]*\.pt", re.IGNORECASE)
    return [name for name in here if known.fullmatch(name)]
