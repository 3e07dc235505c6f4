"""A disk that fails one step of a write on purpose, for kill tests."""

import errno

from seg_demo.core.storage import Disk


class Killed(BaseException):
    """The process is gone: no except clause for ordinary errors sees it."""


class ControlDisk(Disk):
    """Counts the steps of a write and fails one of them, half done where it can be half done. Does not wait for the disk.

    A kill ends everything: the clean-up of the dying code cannot touch the disk either.
    """

    def __init__(self, fail_at: int | None, failure: type[BaseException] | None = None) -> None:
        self.fail_at, self.failure = fail_at, failure
        self.steps: list[str] = []
        self.dead = False

    def _step(self, name: str) -> bool:
        if self.dead:
            raise Killed
        self.steps.append(name)
        return len(self.steps) - 1 == self.fail_at

    def _fail(self) -> None:
        if self.failure is Killed:
            self.dead = True
            raise Killed
        raise OSError(errno.ENOSPC, "No space left on device")

    def create(self, path):
        if self._step("create"):
            self._fail()
        return super().create(path)

    def write(self, file, data):
        if self._step("write"):
            super().write(file, bytes(data)[: len(bytes(data)) // 2])
            file.flush()
            self._fail()
        return super().write(file, data)

    def sync(self, file):
        if self._step("sync"):
            self._fail()
        file.flush()

    def rename(self, source, target):
        if self._step("rename"):
            self._fail()
        super().rename(source, target)

    def sync_folder(self, folder):
        if self._step("sync_folder"):
            self._fail()

    def make_folder(self, folder):
        if self._step("make_folder"):
            self._fail()
        super().make_folder(folder)

    def remove(self, path):
        if self._step("remove"):
            if path.is_dir():
                next(each for each in sorted(path.rglob("*")) if each.is_file()).unlink()
            self._fail()
        super().remove(path)


def steps_of(action) -> list[str]:
    """The steps that an action, given a disk, takes when nothing fails."""
    disk = ControlDisk(None)
    action(disk)
    return disk.steps
