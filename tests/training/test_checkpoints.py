"""Checkpoints: what comes back is what was saved, and what is damaged is told, put aside and never used."""

import contextlib
import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mounts import close_disk, fill_up, small_disk

from jcs_jax.errors import InputError
from jcs_jax.training.checkpoints import RunCheckpoints
from jcs_jax.training.sharding import make_layout
from jcs_jax.training.state import TrainState

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(200, 100)).astype(np.float32)  # large enough for a file of its own
MARKS = ["_CHECKPOINT_METADATA", "commit_success.txt", "run/commit_success.txt", "state/commit_success.txt"]


def _state(step: int) -> TrainState:
    """One of every kind of array, all of them other ones at every step."""
    params = {"conv": {"kernel": jnp.asarray(KERNEL + step)}, "head": {"bias": jnp.arange(7.0) * step}}
    return TrainState(
        step=jnp.int32(step),
        params=params,
        batch_stats={},
        opt_state=({"mu": jnp.full((3, 5), step, jnp.bfloat16)}, ()),
        ema_params=None,
        rng=jnp.array([step, 2**32 - 1], jnp.uint32),
        failed_step=jnp.int32(-1),
    )


def _described(state: TrainState) -> TrainState:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state)


LIKE = _described(_state(0))


def _run(step: int) -> dict:
    return {"data": {"step": step, "seed": 0}, "seconds": 1.5, "validation": {}}


@contextlib.contextmanager
def _opened(folder: Path, keep: int = 2):
    with contextlib.closing(RunCheckpoints(folder / "checkpoints", keep=keep)) as checkpoints:
        yield checkpoints


def _save(checkpoints: RunCheckpoints, *steps: int, **scores: float) -> None:
    for step in steps:
        checkpoints.save(step, _state(step), _run(step), score=scores.get(f"at_{step}"))


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def _is(found, step: int) -> bool:
    """Whether a restored position is that of a step, to the last bit."""
    pairs = zip(jax.tree.leaves(found.state), jax.tree.leaves(_state(step)), strict=True)
    return found.run["step"] == step and all(
        one.dtype == two.dtype and np.asarray(one).tobytes() == np.asarray(two).tobytes() for one, two in pairs
    )


@pytest.fixture
def told():
    """What this project's code says aloud."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "jcs_jax" in Path(record.pathname).parts:
                lines.append(record.getMessage())

    listener = Listener(logging.WARNING)
    logging.getLogger("absl").addHandler(listener)
    yield lines
    logging.getLogger("absl").removeHandler(listener)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder with steps 4 and 8; not to be changed."""
    folder = tmp_path_factory.mktemp("saved")
    with _opened(folder) as checkpoints:
        _save(checkpoints, 4, 8)
    return folder


@pytest.fixture
def copied(saved, tmp_path) -> Path:
    """A copy of it, to be damaged."""
    return _copy(saved, tmp_path / "copy")


def _copy(saved: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return shutil.copytree(saved, folder)


def test_a_saved_position_comes_back_to_the_last_bit(saved):
    with _opened(saved) as checkpoints:
        found = checkpoints.restore_newest(LIKE)
        assert _is(found, 8)
        assert found.run["data"] == {"step": 8, "seed": 0}
        assert isinstance(found.state, TrainState)
        assert _is(checkpoints.restore(4, LIKE), 4)


def test_where_nothing_was_saved_nothing_comes_back(tmp_path, told):
    with _opened(tmp_path) as checkpoints:
        assert checkpoints.restore_newest(LIKE) is None
        assert checkpoints.best() is None
        assert checkpoints.unsaved(3) == 3
    assert told == []


def test_the_state_may_be_overwritten_as_soon_as_save_returns(tmp_path):
    overwrite = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 0, state), donate_argnums=0)
    with _opened(tmp_path) as checkpoints:
        for step in range(1, 6):
            state = _state(step)
            checkpoints.save(step, state, _run(step))
            for _ in range(3):
                state = overwrite(state)
            checkpoints.wait()
            assert _is(checkpoints.restore(step, LIKE), step)


def test_the_newest_and_the_best_are_kept(tmp_path):
    with _opened(tmp_path) as checkpoints:
        _save(checkpoints, 1, 2, 3, 4, 5, 6, at_1=0.5, at_2=0.9, at_3=0.1, at_5=0.8)
        checkpoints.wait()
        assert checkpoints.best() == 2
        assert {"2", "5", "6"} <= set(_folders(tmp_path)) <= {"2", "5", "6", "deleted"}
    assert _folders(tmp_path) == ["2", "5", "6"]


def test_scores_survive_and_the_last_of_equal_ones_is_best(tmp_path):
    with _opened(tmp_path) as checkpoints:
        _save(checkpoints, 1, 2, 3, at_1=0.5, at_2=0.9)
    with _opened(tmp_path) as checkpoints:
        checkpoints.restore_newest(LIKE)
        assert checkpoints.best() == 2
        _save(checkpoints, 4, 5, at_4=0.9)
        assert checkpoints.best() == 4
        _save(checkpoints, 6, at_6=float("nan"))
        assert checkpoints.best() == 4
    assert _folders(tmp_path) == ["4", "5", "6"]


def test_a_run_that_is_not_validated_has_no_best(saved):
    with _opened(saved) as checkpoints:
        assert checkpoints.best() is None


def test_steps_at_risk_are_those_since_what_is_written_and_not_since_what_is_being_written(tmp_path, monkeypatch):
    with _opened(tmp_path) as checkpoints:
        _save(checkpoints, 4)
        checkpoints.wait()
        assert checkpoints.unsaved(5) == 1
        with monkeypatch.context() as patched:
            patched.setattr(checkpoints._manager, "is_saving_in_progress", lambda: True)
            _save(checkpoints, 8)
            assert checkpoints.unsaved(9) == 5
        checkpoints.wait()
        assert checkpoints.unsaved(9) == 1
    with _opened(tmp_path) as checkpoints:
        checkpoints.restore_newest(LIKE)
        assert checkpoints.unsaved(9) == 1


DAMAGES = {
    "missing": None,
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "changed at its start": lambda content: _changed(content, 0),
    "changed in its middle": lambda content: _changed(content, len(content) // 2),
}


def _changed(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :]


def _damage(file: Path, how: str) -> None:
    change = DAMAGES[how]
    if change is None:
        file.unlink()
    else:
        file.write_bytes(change(file.read_bytes()))


def _needed(file: Path, step: Path, how: str) -> bool:
    """Whether that damage must be noticed: it hits arrays, their index or the description, or a mark is missing."""
    name = file.relative_to(step).as_posix()
    if name in MARKS:
        return how == "missing"
    if name.startswith("state/ocdbt.process_0/d/"):  # the small ones there are left over from saving
        return file.stat().st_size > KERNEL.nbytes // 2
    return name.startswith(("state/d/", "state/manifest.ocdbt", "run/metadata"))


@pytest.mark.parametrize("how", DAMAGES)
def test_whichever_file_is_damaged_the_position_is_exact_or_the_one_before(how, saved, tmp_path, told, capfd):
    step = saved / "checkpoints/8"
    files = sorted(path for path in step.rglob("*") if path.is_file())
    assert len(files) >= 12
    for file in files:
        copied = _copy(saved, tmp_path / "copy")
        _damage(copied / file.relative_to(saved), how)
        told.clear()
        with _opened(copied) as checkpoints:
            found = checkpoints.restore_newest(LIKE)
        name = file.relative_to(step).as_posix()
        if _is(found, 8):
            assert not _needed(file, step, how), name
            assert told == []
            continue
        assert _is(found, 4), name
        assert told[0].startswith(f"{copied}/checkpoints/8 is damaged (")
        assert told[0].endswith(f"it was moved to {copied}/checkpoints-damaged/8")
        assert told[1] == "going on from step 4"
        assert _folders(copied) == ["4"]
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("mark", MARKS)
def test_a_step_without_a_mark_of_completeness_is_not_trusted(mark, copied, told):
    (copied / "checkpoints/8" / mark).unlink()
    with _opened(copied) as checkpoints:
        assert _is(checkpoints.restore_newest(LIKE), 4)
    assert f"({mark} is missing)" in told[0]


def test_a_step_is_not_taken_for_another_one(copied, told):
    shutil.copytree(copied / "checkpoints/8", copied / "checkpoints/12")
    with _opened(copied) as checkpoints:
        assert _is(checkpoints.restore_newest(LIKE), 8)
    assert "checkpoints/12 is damaged (its description is not what was saved)" in told[0]


def test_a_changed_description_is_noticed(copied, told):
    file = copied / "checkpoints/8/run/metadata"
    document = json.loads(file.read_text())
    document["content"]["data"]["step"] = 7
    file.write_text(json.dumps(document))
    with _opened(copied) as checkpoints:
        assert _is(checkpoints.restore_newest(LIKE), 4)
    assert "its description is not what was saved" in told[0]


def test_arrays_of_another_step_are_noticed(copied, told):
    shutil.rmtree(copied / "checkpoints/8/state")
    shutil.copytree(copied / "checkpoints/4/state", copied / "checkpoints/8/state")
    with _opened(copied) as checkpoints:
        assert _is(checkpoints.restore_newest(LIKE), 4)
    assert "its arrays are not those that were saved" in told[0]


def test_after_a_damage_the_same_step_is_saved_again_and_may_be_damaged_again(copied, told):
    for aside in (["8"], ["8", "8.1"]):
        (copied / "checkpoints/8/state/manifest.ocdbt").write_bytes(b"")
        with _opened(copied) as checkpoints:
            assert _is(checkpoints.restore_newest(LIKE), 4)
            assert checkpoints.unsaved(6) == 2
            _save(checkpoints, 8)
        assert sorted(path.name for path in (copied / "checkpoints-damaged").iterdir()) == aside
    told.clear()
    with _opened(copied) as checkpoints:
        assert _is(checkpoints.restore_newest(LIKE), 8)
    assert told == []


def test_a_damaged_newest_step_that_was_the_best_is_not_the_best_any_more(tmp_path, told):
    with _opened(tmp_path) as checkpoints:
        _save(checkpoints, 4, 8, at_4=0.5, at_8=0.9)
    (tmp_path / "checkpoints/8/state/manifest.ocdbt").write_bytes(b"")
    with _opened(tmp_path) as checkpoints:
        assert _is(checkpoints.restore_newest(LIKE), 4)
        assert checkpoints.best() == 4
        _save(checkpoints, 8, at_8=0.9)
        assert checkpoints.best() == 8


def test_an_older_step_whose_description_is_damaged_is_told_too_and_is_not_the_best(tmp_path, told):
    with _opened(tmp_path) as checkpoints:
        _save(checkpoints, 4, 8, 12, at_4=0.9, at_8=0.5)
    (tmp_path / "checkpoints/4/run/metadata").write_bytes(b"{")
    with _opened(tmp_path) as checkpoints:
        assert _is(checkpoints.restore_newest(LIKE), 12)
        assert checkpoints.best() == 8
    assert "checkpoints/4 is damaged" in told[0]
    assert _folders(tmp_path) == ["12", "8"]


def test_the_best_step_can_be_found_damaged_only_when_it_is_read(tmp_path, told):
    with _opened(tmp_path) as checkpoints:
        _save(checkpoints, 4, 8, at_4=0.9)
    (tmp_path / "checkpoints/4/state/manifest.ocdbt").write_bytes(b"")
    with _opened(tmp_path) as checkpoints:
        assert _is(checkpoints.restore_newest(LIKE), 8)
        assert told == []
        assert checkpoints.restore(checkpoints.best(), LIKE) is None
    assert "checkpoints/4 is damaged (" in told[0]


def test_where_all_are_damaged_it_is_an_error_and_they_stay(copied):
    for step in ("4", "8"):
        (copied / "checkpoints" / step / "state/manifest.ocdbt").write_bytes(b"")
    for _ in range(2):
        with _opened(copied) as checkpoints, pytest.raises(InputError) as caught:
            checkpoints.restore_newest(LIKE)
        said = str(caught.value)
        assert said.startswith(f"{copied}/checkpoints: none of its checkpoints can be read (8: ")
        assert "; 4: " in said
        assert "start in another --workdir, or delete that folder" in said
        assert "\n" not in said
        assert _folders(copied) == ["4", "8"]


def test_a_state_of_another_network_is_an_error_and_nothing_is_moved(copied):
    other = LIKE.replace(params={"conv": {"kernel": LIKE.params["conv"]["kernel"]}})
    with _opened(copied) as checkpoints, pytest.raises(InputError, match="none of its checkpoints can be read"):
        checkpoints.restore_newest(other)
    assert not (copied / "checkpoints-damaged").exists()
    with _opened(copied) as checkpoints:
        assert _is(checkpoints.restore_newest(LIKE), 8)


def test_what_a_killed_process_was_writing_or_deleting_is_removed_in_silence(copied, told):
    shutil.copytree(copied / "checkpoints/8", copied / "checkpoints/12.orbax-checkpoint-tmp")
    shutil.copytree(copied / "checkpoints/4", copied / "checkpoints/deleted/2")
    (copied / "checkpoints/deleted/2/commit_success.txt").unlink()
    with _opened(copied) as checkpoints:
        assert _folders(copied) == ["4", "8"]
        assert _is(checkpoints.restore_newest(LIKE), 8)
        _save(checkpoints, 12)
    assert _folders(copied) == ["12", "8"]
    assert told == []


def test_a_step_that_is_not_kept_loses_its_name_in_one_move(tmp_path, monkeypatch):
    """What is deleted is taken apart under another name: a kill in the middle of it leaves no half of a step."""
    with _opened(tmp_path) as checkpoints:
        _save(checkpoints, 4, 8)
        monkeypatch.setattr(shutil, "rmtree", lambda *_: pytest.fail("nothing is to be deleted yet"))
        _save(checkpoints, 12)
        checkpoints.wait()
        assert _folders(tmp_path) == ["12", "8", "deleted"]
        assert (tmp_path / "checkpoints/deleted/4/commit_success.txt").is_file()
        monkeypatch.undo()
    assert _folders(tmp_path) == ["12", "8"]


def test_an_error_in_the_background_is_told_without_another_save(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with _opened(tmp_path) as checkpoints:
        _save(checkpoints, 4)
        checkpoints.wait()
        monkeypatch.setattr(checkpoints._manager._checkpoint_deleter, "delete_steps", fail)
        _save(checkpoints, 8)
        with pytest.raises(InputError, match=r"checkpoints: can't be written \(No space left on device\); make room"):
            while checkpoints.unsaved(9) >= 0:
                time.sleep(0.01)


@pytest.mark.parametrize("room", [0.05, 0.3, 0.5, 0.7])
def test_a_full_disk_is_one_line_and_what_was_saved_stays(room, tmp_path, capfd, told):
    with small_disk(tmp_path / "disk", "2m") as disk:
        with _opened(disk) as checkpoints:
            _save(checkpoints, 4)
        needed = sum(path.stat().st_blocks * 512 for path in (disk / "checkpoints/4").rglob("*"))
        ballast = fill_up(disk, left=int(room * needed))
        with pytest.raises(InputError) as caught, _opened(disk) as checkpoints:
            assert _is(checkpoints.restore_newest(LIKE), 4)
            _save(checkpoints, 8)
            checkpoints.wait()
        assert str(caught.value) == (
            f"{disk}/checkpoints: can't be written (No space left on device); "
            "make room and run the same command again: it goes on from the last saved step"
        )
        assert _folders(disk) == ["4"]
        assert told == []
        assert "Traceback" not in capfd.readouterr().err
        ballast.unlink()
        with _opened(disk) as checkpoints:
            assert _is(checkpoints.restore_newest(LIKE), 4)
            _save(checkpoints, 8)
        with _opened(disk) as checkpoints:
            assert _is(checkpoints.restore_newest(LIKE), 8)


def test_a_disk_that_can_only_be_read_is_one_line(tmp_path, capfd):
    with small_disk(tmp_path / "disk", "2m") as disk:
        with _opened(disk) as checkpoints:
            _save(checkpoints, 4)
        close_disk(disk)
        with pytest.raises(InputError) as caught, _opened(disk) as checkpoints:
            _save(checkpoints, 8)
        assert str(caught.value) == (
            f"{disk}/checkpoints: can't be written (Read-only file system); "
            "name another --workdir or change its permissions"
        )
        assert "Traceback" not in capfd.readouterr().err
        with _opened(disk) as checkpoints:
            assert _is(checkpoints.restore_newest(LIKE), 4)


def _on_four_devices(folder: Path) -> None:
    """Saves a state laid out one way and reads it in two others."""
    layouts = [make_layout(*mesh) for mesh in ((2, 2), (4, 1), (1, 4))]
    with _opened(folder) as checkpoints:
        checkpoints.save(4, layouts[0].place_state(_state(4)), _run(4))
    for layout in layouts:
        with _opened(folder) as checkpoints:
            found = checkpoints.restore_newest(layout.described(LIKE))
        assert _is(found, 4)
        wanted = layout.state_shardings(LIKE)
        assert all(jax.tree.leaves(jax.tree.map(lambda leaf, given: leaf.sharding == given, found.state, wanted)))


def test_a_run_goes_on_with_another_number_of_devices(tmp_path):
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    support = Path(__file__).parents[1] / "support"
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        env={**environment, "PYTHONPATH": str(support)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with _opened(tmp_path) as checkpoints:
        assert _is(checkpoints.restore_newest(LIKE), 4)


if __name__ == "__main__":
    _on_four_devices(Path(sys.argv[1]))
