"""Two processes of the demo beside each other, as docs/HOSTING.md describes: one cache of the Hub, sticky visitors."""

from __future__ import annotations

import os

import httpx
import pytest
from gradio_client import Client, handle_file

from tests.served import ROOT, served

COINS = str(ROOT / "seg_demo/ui/examples/coins.png")


@pytest.mark.soak
def test_two_processes_share_the_cache_of_the_hub_and_nothing_else(hub, folders):
    hub.add_repo("ann/model", folders / "tiny")
    common = {"HF_HOME": os.environ["HF_HOME"], "FORWARDED_ALLOW_IPS": "127.0.0.1"}
    with served(**common) as first, served(**common) as second:
        for address in (first, second):
            client = Client(address, verbose=False, httpx_kwargs={"timeout": 300})
            result, _, _ = client.predict(image=handle_file(COINS), model="ann/model", api_name="/segment")
            assert result["model"]["id"] == "ann/model"
        assert hub.count("GET .*model.safetensors") == 1, "the second process finds it in the cache"
        path = httpx.post(f"{first}/gradio_api/upload", files={"files": ("a.png", b"x")}).json()[0]
        assert httpx.get(f"{first}/gradio_api/file={path}").status_code == 200
        assert httpx.get(f"{second}/gradio_api/file={path}").status_code == 403, "visitors' files are one process's own"
        for address in (first, second):
            assert httpx.get(f"{address}/health").json()["status"] == "ok"
