#!/usr/bin/env bash
# Label Studio draws ellipses, and exports them as JSON. Its COCO and YOLO exports have outlines and boxes alone: an ellipse is in neither, the export ends
# without an error, and a picture on which everything is an ellipse is listed as one that shows nothing. Whoever trains on it teaches that such objects are background.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check label-studio-sdk==2.1.2
cd "$folder"
venv/bin/python - 2>/dev/null <<'PYTHON'
import json
import sys
from importlib.metadata import version
from pathlib import Path

from label_studio_sdk.converter import Converter
from label_studio_sdk.converter.converter import Format
from PIL import Image

print("label-studio-sdk", version("label-studio-sdk"))
config = """<View><Image name="image" value="$image"/>
<PolygonLabels name="outline" toName="image"><Label value="cell"/></PolygonLabels>
<EllipseLabels name="ellipse" toName="image"><Label value="cell"/></EllipseLabels></View>"""
size = {"original_width": 60, "original_height": 40, "image_rotation": 0, "to_name": "image"}
outline = {"id": "1", "type": "polygonlabels", "from_name": "outline", "value": {"points": [[10, 10], [50, 10], [50, 50]], "polygonlabels": ["cell"]}, **size}
ellipse = {"id": "2", "type": "ellipselabels", "from_name": "ellipse", "value": {"x": 50, "y": 50, "radiusX": 10, "radiusY": 20, "rotation": 30, "ellipselabels": ["cell"]}, **size}
tasks = []
for number, regions in enumerate(([outline, ellipse], [ellipse]), start=1):
    Image.new("RGB", (60, 40)).save(f"{number}.png")
    tasks.append({"id": number, "data": {"image": str(Path(f"{number}.png").resolve())}, "annotations": [{"id": number, "result": regions}]})
Path("tasks.json").write_text(json.dumps(tasks))
converter = Converter(config, ".", download_resources=False)
for kind in (Format.COCO, Format.YOLO):
    converter.convert("tasks.json", kind.name, kind, is_dir=False)
coco = json.loads(Path("COCO/result.json").read_text())
images = [image["id"] for image in coco["images"]]
in_coco = [sum(each["image_id"] == image for each in coco["annotations"]) for image in images]
in_yolo = [len(path.read_text().splitlines()) for path in sorted(Path("YOLO/labels").glob("*.txt"), key=lambda path: path.stem[-1])]
print("  drawn: an outline and an ellipse on one picture, an ellipse on the other")
print(f"  objects per picture in COCO: {in_coco}; lines per picture in YOLO: {in_yolo}")
sys.exit(0 if (in_coco, sum(in_yolo)) == ([1, 0], 1) else "It behaves otherwise now.")
PYTHON
