"""What is said about models from the Hub, in Chinese: which files are taken, what is left out, and why one cannot be loaded."""

from __future__ import annotations

# English sentence with its {parts}: Chinese. Of two that fit, the first counts.
SENTENCES = {
    # Addresses and ids.
    "{name} is a dataset of the Hub, not a model.": "{name} 是 Hub 上的数据集，不是模型。",
    "{name} is a Space of the Hub, not a model.": "{name} 是 Hub 上的 Space，不是模型。",
    "{text} is a page of the Hub, but not that of a model.": "{text} 是 Hub 的页面，但不是模型页面。",
    "Type the id of a model, such as user/repo, or paste the address of its page.": "请输入模型 ID（如 user/repo），或粘贴模型页面的网址。",
    "Type the id of a model, such as one that its page names.": "请输入模型 ID，例如其页面上提到的模型。",
    # Folders.
    "{id} holds {n} models, each in a folder.": "{id} 有 {n} 个模型，各在一个文件夹中。",
    "Type the one that is meant: {listed}.": "请输入其中一个：{listed}。",
    "{id} has no folder {folder}.": "{id} 没有文件夹 {folder}。",
    "Its models are {listed}.": "其中的模型有 {listed}。",
    "Type {id}, or the id of another model.": "请输入 {id}，或其他模型的 ID。",
    # What cannot be loaded.
    "Choose a model for semantic segmentation in the form of transformers or segmentation_models_pytorch, with config.json and "
    "model.safetensors.": "请选择 transformers 或 segmentation_models_pytorch 格式的语义分割模型，须有 config.json 和 model.safetensors。",
    "Choose a model for semantic segmentation instead, such as {id}, or one of the menu.": "请改选语义分割模型，如 {id}，或菜单中的模型。",
    "{id} is an adapter (PEFT, LoRA): it changes another model, and is none without that.": "{id} 是适配器（PEFT、LoRA）：它只修改另一个模型，本身不是模型。",
    "Merge it into its base with merge_and_unload() and save_pretrained(), or choose the merged model.":
        "请用 merge_and_unload() 和 save_pretrained() 把它并入基础模型，或选择合并后的模型。",
    "{id} is a pipeline of diffusers, which makes pictures and does not segment them.": "{id} 是 diffusers 的生成流水线：它生成图片，不做分割。",
    "{id} has its weights as GGUF ({file}), the form of language models for llama.cpp.": "{id} 的权重是 GGUF（{file}），即 llama.cpp 语言模型的格式。",
    "{id} has {n} weight files ({files}) and no model.safetensors; nothing says which one is meant.":
        "{id} 有 {n} 个权重文件（{files}），没有 model.safetensors，无法判断用哪个。",
    "Choose another model, or ask its owner to call one of them model.safetensors.": "请选择其他模型，或请所有者把其中一个命名为 model.safetensors。",
    "{id} has no model.safetensors; what it has, {file}, {what}.": "{id} 没有 model.safetensors；它有的 {file} {what}。",
    "Load it with its own program and save the network inside with save_pretrained(), or choose another model.":
        "请用原程序加载，并用 save_pretrained() 保存其中的网络，或选择其他模型。",
    "Load it with its own program and save the network with save_pretrained(), or choose another model.":
        "请用原程序加载，并用 save_pretrained() 保存网络，或选择其他模型。",
    "YOLO models are not supported.": "不支持 YOLO 模型。",
    "Ask its owner for the form of transformers or segmentation_models_pytorch that it was made from, or choose another model.":
        "请向所有者索取转换前的 transformers 或 segmentation_models_pytorch 版本，或选择其他模型。",
    "Ask its owner for weights of PyTorch, or choose another model.": "请向所有者索取 PyTorch 权重，或选择其他模型。",
    "Ask its owner for the weights that it was made from, or choose another model.": "请向所有者索取原始权重，或选择其他模型。",
    "{id} has weights ({file}), but no config.json that says which network they are of.": "{id} 有权重（{file}），但没有说明网络的 config.json。",
    "Ask its owner to save it with save_pretrained(), or choose another model.": "请所有者用 save_pretrained() 保存，或选择其他模型。",
    "{id} has no config.json and no weights (it has {found}).": "{id} 没有 config.json，也没有权重（有 {found}）。",
    "{id} has no model.safetensors (it has {found}).": "{id} 没有 model.safetensors（有 {found}）。",
    "This model ({name}) names what a whole picture shows, and draws no masks.": "这个模型（{name}）只给整张图片分类，不输出掩膜。",
    "This model is an image classifier of timm ({name}): it names what a whole picture shows, and draws no masks.":
        "这是 timm 的图像分类模型（{name}）：只给整张图片分类，不输出掩膜。",
    "This model is an adapter (PEFT, LoRA): it changes another model, and is none without that.": "这是适配器（PEFT、LoRA）：它只修改另一个模型，本身不是模型。",
    "This model brings code of its own ({file}), and code of strangers is never run here.": "这个模型自带代码（{file}），而这里从不运行他人的代码。",
    "This model ({name}) finds objects and gives boxes, no masks.": "这个模型（{name}）检测物体并给出方框，不输出掩膜。",
    "This model ({name}) estimates depth or pose, not classes.": "这个模型（{name}）估计深度或姿态，不做分类。",
    "This model ({name}) does something else with pictures.": "这个模型（{name}）对图片做的是别的任务。",
    "This model ({name}) is a language model.": "这个模型（{name}）是语言模型。",
    "This model ({name}) is a model of speech or sound.": "这个模型（{name}）是语音或声音模型。",
    "This model ({name}) assembles masks from class queries, which is not supported yet.": "这个模型（{name}）用类别查询拼出掩膜，目前不支持。",
    "This model ({name}) needs clicks or words beside the picture, which is not supported yet.": "这个模型（{name}）除图片外还需要点击或文字，目前不支持。",
    "This model ({name}) compares pictures with texts and draws no masks.": "这个模型（{name}）比较图片和文字，不输出掩膜。",
    # Weights that do not fit.
    "model.safetensors holds the network {n} times, under {copies}, and nothing says which one is meant.":
        "model.safetensors 中有 {n} 份网络（{copies}），无法判断用哪一份。",
    "Save the one that is meant by itself, with save_pretrained.": "请用 save_pretrained 单独保存需要的那一份。",
    "model.safetensors lacks {n} weights of the {what}, the first is {name}.": "model.safetensors 缺少 {what} 的 {n} 个权重，第一个是 {name}。",
    "model.safetensors is of a larger network than the {what} that config.json describes: {name} has no place in it.":
        "model.safetensors 属于比 config.json 所描述的 {what} 更大的网络：其中没有 {name} 的位置。",
    "Correct config.json, or save the model again with save_pretrained.": "请更正 config.json，或用 save_pretrained 重新保存模型。",
    "model.safetensors.index.json of the checkpoint names {n} files, but {name} is not there.": "model.safetensors.index.json 列出 {n} 个文件，但缺少 {name}。",
    "Download it again.": "请重新下载。",
    "model.safetensors.index.json of the checkpoint must name 1 to {n} safetensors files beside it, but does not.":
        "model.safetensors.index.json 必须列出同目录下 1 到 {n} 个 safetensors 文件，但没有。",
    "config.json: {key} is {value}; a number from {low} to {high} is expected.": "config.json：{key} 为 {value}，应为 {low} 到 {high} 之间的数。",
    # Files that are something else.
    "{file} of this model begins with a byte order mark, which no library reads.": "该模型的 {file} 以字节顺序标记（BOM）开头，没有库能读取。",
    "Save it as UTF-8 without one.": "请保存为不带 BOM 的 UTF-8。",
    "{file} of this model is empty: its upload failed.": "该模型的 {file} 是空的：上传失败了。",
    "Tell its owner, or choose another model.": "请告知所有者，或选择其他模型。",
    "{file} of this model is a pointer of Git LFS, not the file itself: it was copied without it (git lfs pull fetches it).":
        "该模型的 {file} 只是 Git LFS 指针，不是文件本身：复制时缺少了文件（可用 git lfs pull 获取）。",
    "{file} of this model is a web page, not weights.": "该模型的 {file} 是网页，不是权重。",
    "{file} of this model is a pickle of torch under another name.": "该模型的 {file} 是改了名的 torch pickle。",
    "Its owner should save it with save_pretrained(), or call it pytorch_model.bin.": "所有者应使用 save_pretrained() 保存，或将其命名为 pytorch_model.bin。",
    "{file} of this model is cut off: it has {n} bytes, fewer than it says.": "该模型的 {file} 不完整：只有 {n} 字节，少于其声明的大小。",
    "{file} of the checkpoint cannot be read ({why}); download it again.": "无法读取该模型的 {file}（{why}）；请重新下载。",
    "{file} of the checkpoint is not readable JSON ({why}).": "该模型的 {file} 不是可读的 JSON（{why}）。",
    "preprocessor_config.json has a value of the wrong kind ({why}).": "preprocessor_config.json 中有类型错误的值（{why}）。",
    "preprocessor_config.json is not an image processor of transformers ({why}).": "preprocessor_config.json 不是 transformers 的图像处理器（{why}）。",
    "{name} assembles masks from class queries; models with logits per class are supported.": "{name} 用类别查询拼出掩膜；目前支持逐类别输出 logits 的模型。",
    "The checkpoint's image processor cannot be used ({why}); the plain library cannot either.": "该模型的图像处理器无法使用（{why}）；原库同样无法使用。",
    "Its owner should correct preprocessor_config.json.": "所有者应更正 preprocessor_config.json。",
    "The weights of this model are quantised ({by}), which only the program that did it reads.": "该模型的权重经过量化（{by}），只有量化它的程序才能读取。",
    "Choose the model that it was made from.": "请选择量化前的模型。",
    "config.json names a backbone that would be fetched from elsewhere ({name}); only checkpoints that describe their backbone and bring "
    "all its weights are loaded.": "config.json 指定了要从别处获取的骨干网络（{name}）；只加载自带骨干描述和全部权重的模型。",
    "Ask its owner to save it again with save_pretrained(), or choose another model.": "请所有者用 save_pretrained() 重新保存，或选择其他模型。",
    "model.safetensors holds an adapter (PEFT, LoRA) beside the network that it changes.": "model.safetensors 中除网络外还有未合并的适配器（PEFT、LoRA）。",
    "Its owner should merge them with merge_and_unload() and save_pretrained().": "所有者应使用 merge_and_unload() 和 save_pretrained() 合并。",
    "Choose another model until then.": "在此之前请选择其他模型。",
    "This looks like a model of segmentation_models_pytorch with the encoder {name}, but its config.json does not say which one "
    "(_model_class is missing, as in versions before 0.4).":
        "这看起来是 segmentation_models_pytorch 的模型（编码器 {name}），但 config.json 没有说明是哪一种（缺少 _model_class，0.4 之前的版本如此）。",
    "Its owner should save it again with save_pretrained(), or add the name of the class, such as Unet, to config.json.":
        "所有者应使用 save_pretrained() 重新保存，或在 config.json 中写明类名，如 Unet。",
    "{id} has its config.json in another folder than its weights ({file}), so libraries do not find them.":
        "{id} 的 config.json 与权重（{file}）不在同一文件夹，库找不到权重。",
    "Ask its owner to put them side by side, or choose another model.": "请所有者把它们放在一起，或选择其他模型。",
    "A commit is named by all its 40 letters; copy them from {page}.": "提交须写出全部 40 个字符；可从 {page} 复制。",
    "The network takes {n} channels; only RGB images can be served.": "该网络需要 {n} 个通道；这里只能提供 RGB 图片。",
    "Choose a model that takes three channels.": "请选择接受三个通道的模型。",
    "Its image processor cuts out the middle of every picture, and the plain library lays the mask of that over the whole picture, where "
    "it does not fit.": "它的图像处理器只取每张图片的中间部分，原库再把其掩膜铺到整张图片上，位置并不吻合。",
    "Its image processor pads every picture, and the plain library lays the mask of that over the whole picture, where it does not fit.":
        "它的图像处理器会填充每张图片，原库再把其掩膜铺到整张图片上，位置并不吻合。",
    "Here the network sees the whole picture, so labels differ from the library's.": "这里网络看到整张图片，因此结果与原库不同。",
    "Its image processor makes pictures of {size} pixels, which the network does not take: they are resized to its own {own}.":
        "它的图像处理器生成 {size} 像素的图片，网络不接受：改为网络自己的尺寸 {own}。",
    # Notes.
    "{n} weights that the network does not have were left out, such as {name}.": "忽略了网络没有的 {n} 个权重，如 {name}。",
    "The weights are saved as a part of something: {prefix} was taken off their names.": "权重被保存为某个整体的一部分：名称中的 {prefix} 已去掉。",
    "The class table has no name for {n} of the {count} classes; they are called by their number.":
        "类别表中 {count} 个类别里有 {n} 个没有名称，用编号称呼。",
    "The network has {count} classes, 0 to {last}: {n} names of the class table belong to none of them, such as {name} for {id}.":
        "网络有 {count} 个类别（0 到 {last}）：类别表中有 {n} 个名称不属于其中任何一个，如编号 {id} 的 {name}。",
}  # fmt: skip
# What stands in a sentence's parts.
PARTS = {
    "is a checkpoint of PyTorch Lightning": "是 PyTorch Lightning 的检查点",
    "is a file of ultralytics (YOLO): a pickle with a program in it": "是 ultralytics（YOLO）的文件，即含有程序的 pickle",
    "is the network in the form of ONNX": "是 ONNX 格式的网络",
    "is the network in the form of TensorFlow": "是 TensorFlow 格式的网络",
    "is the network in the form of Flax": "是 Flax 格式的网络",
    "is the network compiled for one kind of machine": "是为某种机器编译的网络",
    "is a pickle that no library loads by its name": "是没有库能按名称加载的 pickle",
}
