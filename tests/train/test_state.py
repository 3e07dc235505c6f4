"""Nothing is lost: every step of every write is failed once, by a full disk and by a kill."""

import os

import numpy as np
import pytest
import torch

from seg_demo.core.errors import StorageError
from seg_demo.core.storage import Disk
from tests.control_disk import ControlDisk, Killed, steps_of
from train.run import BadStateError, load_state, save_state


def training_state(seed: int) -> dict:
    torch.manual_seed(seed)
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.randn(2, 3)).sum().backward()
    optimizer.step()
    return {
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": {"step": seed, "best": None, "lines": [{"step": seed, "mean_iou": 0.5}]},
    }


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_a_state_comes_back_equal_and_without_running_code(tmp_path):
    state = training_state(1)
    save_state(tmp_path / "last" / "state.pt", state)
    assert same(load_state(tmp_path / "last" / "state.pt"), state)
    assert [each.name for each in (tmp_path / "last").iterdir()] == ["state.pt"]


def test_what_could_not_be_read_back_is_refused_when_saving(tmp_path):
    with pytest.raises(TypeError, match=r"state\['history'\]\['lines'\]\[0\] is a numpy.float64"):
        save_state(tmp_path / "state.pt", {"history": {"lines": [np.float64(0.5)]}})


def test_the_order_of_a_durable_write(tmp_path):
    steps = steps_of(lambda disk: save_state(tmp_path / "state.pt", training_state(1), disk=disk))
    assert steps[0] == "create" and steps[-3:] == ["sync", "rename", "sync_folder"]
    assert len(steps) > 20 and set(steps[1:-3]) == {"write"}


@pytest.mark.parametrize("failure", [Killed, OSError])
def test_every_step_of_a_state_write_failed_once(tmp_path, failure):
    path = tmp_path / "state.pt"
    old, new = training_state(1), training_state(2)
    count = len(steps_of(lambda disk: save_state(tmp_path / "other.pt", new, disk=disk)))
    save_state(path, old)
    before = path.read_bytes()
    outcomes = set()
    for step in range(count):
        path.write_bytes(before)
        expected = Killed if failure is Killed else StorageError
        with pytest.raises(expected) as caught:
            save_state(path, new, disk=ControlDisk(step, failure))
        if failure is OSError:
            assert "disk is full" in str(caught.value)
            assert sorted(each.name for each in tmp_path.iterdir()) == ["other.pt", "state.pt"]
        found = load_state(path)["history"]["step"]
        outcomes.add((step == count - 1, found))
        # Whatever was left behind, the next write succeeds and leaves nothing else.
        save_state(path, new, disk=ControlDisk(None))
        assert same(load_state(path), new)
        assert sorted(each.name for each in tmp_path.iterdir()) == ["other.pt", "state.pt"]
    assert outcomes == {(False, 1), (True, 2)}, "only after the rename may the new state be found"


def test_half_a_file_and_flipped_bits_are_named(tmp_path):
    path = tmp_path / "last" / "state.pt"
    state = training_state(1)
    save_state(path, state)
    whole = path.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(BadStateError, match="incomplete or damaged"):
            load_state(path)
    for position in range(0, len(whole), 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        try:
            assert same(load_state(path), state), f"a flipped bit at {position} changed the state unnoticed"
        except BadStateError as error:
            assert "best" in str(error)
    with pytest.raises(BadStateError, match="nothing to resume"):
        load_state(tmp_path / "none" / "state.pt")


def test_a_real_full_device(tmp_path):
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("this system has no /dev/full")

    class FullDisk(Disk):
        def create(self, path):
            path.touch()
            return open("/dev/full", "wb")

    with pytest.raises(StorageError, match="the disk is full"):
        save_state(tmp_path / "state.pt", training_state(1), disk=FullDisk())
