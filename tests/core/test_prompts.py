"""What a prompt is refused for, in words, and that nothing else is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from seg_demo.core.errors import BadRequestError
from seg_demo.core.requests import MOST_OBJECTS, MOST_POINTS, Prompt, read_prompt
from seg_demo.core.rle import encode_crop

HEIGHT, WIDTH = 40, 60
POINT = {"points": [[3, 4]], "labels": [1]}
MASK = encode_crop(np.ones((5, 6), bool), (10, 20, 16, 25), HEIGHT, WIDTH)

BAD = {
    "no json": ("{", "not JSON"),
    "a list": ("[]", "keys 'objects' and 'text'"),
    "another key": ({"object": []}, "has \\['object'\\]"),
    "objects that are none": ({"objects": "3,4"}, "'objects' must be a list"),
    "an object that is none": ({"objects": [3]}, "An object has the keys"),
    "an object with another key": ({"objects": [{**POINT, "size": 3}]}, "'size'"),
    "words that are none": ({"objects": [{"box": [1, 2, 3, 4], "text": 5}]}, "1 to 200 letters"),
    "many words of objects": ({"objects": [{"box": [1, 2, 3, 4], "text": "cat"}] * 20, "text": ["dog"]}, "21 of 'text'"),
    "a point to the right": ({"objects": [{"points": [[60, 4]], "labels": [1]}]}, "\\(60, 4\\) lies outside the picture of 60 x 40"),
    "a point above": ({"objects": [{"points": [[3, -0.5]], "labels": [1]}]}, "lies outside"),
    "NaN": ('{"objects": [{"points": [[NaN, 4]], "labels": [1]}]}', "two finite numbers"),
    "infinity": ('{"objects": [{"points": [[1e999, 4]], "labels": [1]}]}', "two finite numbers"),
    "a number that no float holds": ({"objects": [{"points": [[10**400, 4]], "labels": [1]}]}, "two finite numbers"),
    "three numbers": ({"objects": [{"points": [[1, 2, 3]], "labels": [1]}]}, "two finite numbers"),
    "true": ({"objects": [{"points": [[True, 2]], "labels": [1]}]}, "two finite numbers"),
    "words for numbers": ({"objects": [{"points": ["12"], "labels": [1]}]}, "two finite numbers"),
    "one label too few": ({"objects": [{"points": [[1, 2], [3, 4]], "labels": [1]}]}, "2 points but 1 labels"),
    "a label of two": ({"objects": [{"points": [[1, 2]], "labels": [2]}]}, "must be 1 .* or 0"),
    "no positive point": ({"objects": [{"points": [[1, 2]], "labels": [0]}]}, "at least one point inside it"),
    "nothing at all": ({"objects": [{}]}, "at least one point inside it"),
    "a box of no area": ({"objects": [{"box": [5, 5, 5, 9]}]}, "has no area"),
    "a box from right to left": ({"objects": [{"box": [9, 5, 5, 9]}]}, "has no area"),
    "a box of NaN": ('{"objects": [{"box": [1, 2, NaN, 9]}]}', "four finite numbers"),
    "a box of a number that no float holds": ({"objects": [{"box": [1, 2, 10**400, 9]}]}, "four finite numbers"),
    "a box beyond the edge": ({"objects": [{"box": [5, 5, 61, 9]}]}, "reaches beyond the picture of 60 x 40"),
    "ten thousand points": ({"objects": [{"points": [[1, 2]] * 10_000, "labels": [1] * 10_000}]}, f"10000 points were sent, .* {MOST_POINTS} at most"),
    "many points in many objects": ({"objects": [{"points": [[1, 2]] * 50, "labels": [1] * 50}] * 30}, "1500 points"),
    "many objects": ({"objects": [POINT] * (MOST_OBJECTS + 1)}, "101 of 'objects'"),
    "many words": ({"text": ["cat"] * 21}, "21 of 'text'"),
    "an empty word": ({"text": ["  "]}, "1 to 200 letters"),
    "a novel": ({"text": ["x" * 201]}, "1 to 200 letters"),
    "a mask of another size": ({"objects": [{"mask": {**MASK, "size": [60, 40]}}]}, "has the size \\[60, 40\\] .* the picture has \\[40, 60\\]"),
    "a mask of a text": ({"objects": [{"mask": "counts"}]}, "earlier mask cannot be read"),
    "a mask without runs": ({"objects": [{"mask": {"size": [40, 60]}}]}, "earlier mask cannot be read"),
    "runs of half a picture": ({"objects": [{"mask": {"size": [40, 60], "counts": [0, 1200]}}]}, "earlier mask cannot be read"),
    "runs that wrap around": ({"objects": [{"mask": {"size": [40, 60], "counts": [2**62, 2**62, 2**62, 2**62, 2400]}}]}, "earlier mask cannot be read"),
    "runs that are compressed wrong": ({"objects": [{"mask": {"size": [40, 60], "counts": "\u00e9"}}]}, "earlier mask cannot be read"),
    "compressed runs that are cut off": ({"objects": [{"mask": {"size": [40, 60], "counts": "ooo"}}]}, "earlier mask cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_prompt_is_a_sentence(name: str) -> None:
    text, says = BAD[name]
    with pytest.raises(BadRequestError, match=says) as caught:
        for prompt in read_prompt(text if isinstance(text, str) else json.dumps(text)):
            prompt.check(HEIGHT, WIDTH)
            prompt.earlier()
    assert len(str(caught.value)) < 400 and caught.value.message.text("zh") != str(caught.value)


def test_what_is_right_is_read_as_it_is_meant() -> None:
    text = {"objects": [POINT, {"points": [[0, 0], [59.9, 39.9]]}, {"box": [0, 0, 60, 40]}, {"mask": MASK, "points": [[1, 1]], "labels": [0]}], "text": ["cat", " red dog "]}
    for given in (text, json.dumps(text)):
        read = read_prompt(given)
        for prompt in read:
            prompt.check(HEIGHT, WIDTH)
        assert [prompt.text for prompt in read] == ["", "", "", "", "cat", "red dog"]
        assert read[0].points == ((3.0, 4.0),) and read[1].labels == (1, 1) and read[2].box == (0, 0, 60, 40)
        mask = read[3].earlier()
        assert mask.shape == (HEIGHT, WIDTH) and mask.sum() == 30 and mask[20:25, 10:16].all()
    assert read_prompt("") == read_prompt("{}") == read_prompt({"objects": [], "text": None}) == ()
    assert read_prompt({"text": "cat"})[0].text == "cat"
    example, words = read_prompt({"objects": [{"box": [1, 2, 3, 4], "text": " cat "}], "text": ["dog"]})
    assert (example.box, example.text) == ((1.0, 2.0, 3.0, 4.0), "cat") and (words.box, words.text) == (None, "dog")


def test_numpy_is_as_good_as_lists() -> None:
    prompt = Prompt(np.array([[3, 4], [5.5, 6]]), np.array([1, 0]), np.array([1, 2, 3, 4]))
    assert prompt.points == ((3.0, 4.0), (5.5, 6.0)) and prompt.labels == (1, 0) and prompt.box == (1, 2, 3, 4)
