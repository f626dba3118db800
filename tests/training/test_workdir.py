"""The folder of a run: it is not mixed up with another run's, and its log holds each step once."""

import errno
import json
import os
from pathlib import Path

import ml_collections
import pytest

from jcs_jax.errors import InputError
from jcs_jax.training.config import default_config
from jcs_jax.training.workdir import Workdir, explain_storage


def _config(**changes) -> ml_collections.ConfigDict:
    config = default_config()
    config.model.options = {"stem": (4, 4, 4), "norm": "none"}
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    return config


@pytest.fixture
def workdir(tmp_path) -> Workdir:
    """One that holds a run."""
    found = Workdir(tmp_path / "runs/a")
    with found.claim(_config()):
        pass
    return found


def test_a_folder_that_cannot_be_made_is_refused():
    with (
        pytest.raises(InputError, match=r"/proc/run: can't be made .*; name another --workdir"),
        Workdir(Path("/proc/run")).claim(_config()),
    ):
        pass


def test_the_same_config_may_go_on(workdir):
    workdir.check(_config())
    with workdir.claim(_config()):
        assert json.loads((workdir.folder / "config.json").read_text())["model"]["options"]["stem"] == [4, 4, 4]


@pytest.mark.parametrize(
    "free",
    [
        {"checkpoint__every": 7, "checkpoint__keep": 5},
        {"mesh__data": 4, "mesh__fsdp": 2},
        {"log_every": 1, "tensorboard": False, "pictures_every": 0, "remat": True},
        {"data__data_dir": "/elsewhere", "data__threads": 8},
    ],
    ids=lambda free: next(iter(free)),
)
def test_what_does_not_change_the_result_may_change(workdir, free):
    workdir.check(_config(**free))


def test_another_config_is_refused_with_the_options_that_differ(workdir):
    with pytest.raises(InputError) as caught:
        workdir.check(_config(steps=7, loss__label_smoothing=0.5, checkpoint__every=3))
    said = str(caught.value)
    assert said.startswith(f"{workdir.folder}: holds a run of another config: ")
    assert "loss.label_smoothing was 0.0 and is 0.5, steps was 1000 and is 7;" in said
    assert "checkpoint" not in said
    assert "name another --workdir" in said


def test_of_many_options_that_differ_three_are_named(workdir):
    with pytest.raises(InputError, match=r"batch_size .*, model\.name .*, seed .* and 1 more;"):
        workdir.check(_config(batch_size=1, seed=7, steps=9, model__name="segmenter_tiny"))


def test_an_option_that_one_of_the_versions_lacks_counts_as_another_config(workdir):
    file = workdir.folder / "config.json"
    before = json.loads(file.read_text())
    del before["loss"]["map_offset"]
    file.write_text(json.dumps(before))
    with pytest.raises(InputError, match=r"loss\.map_offset was None and is 2\.0"):
        workdir.check(_config())


@pytest.mark.parametrize("content", ["", "[]", "{", '"words"', "\x00"])
def test_a_config_that_cannot_be_read_is_refused(workdir, content):
    (workdir.folder / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json: can't be read as a run's config"):
        workdir.check(_config())


def test_checkpoints_without_their_config_are_refused(workdir):
    (workdir.folder / "config.json").unlink()
    workdir.check(_config())
    (workdir.checkpoints / "8").mkdir(parents=True)
    with pytest.raises(InputError, match=r"config\.json: is missing beside checkpoints"):
        workdir.check(_config())


def test_a_new_folder_is_fine_and_checking_it_writes_nothing(tmp_path):
    Workdir(tmp_path / "new").check(_config())
    assert not (tmp_path / "new").exists()


def test_a_folder_of_unfinished_checkpoints_has_none(workdir):
    (workdir.checkpoints / "8.orbax-checkpoint-tmp").mkdir(parents=True)
    (workdir.checkpoints / "deleted/4").mkdir(parents=True)
    assert not workdir.has_checkpoints()


def test_two_processes_cannot_be_at_one_run(workdir):
    other = Workdir(workdir.folder)
    with workdir.claim(_config()):
        (workdir.folder / ".model.0123abcd.tmp").mkdir()
        with pytest.raises(InputError, match="another process is at this run"), other.claim(_config(seed=1)):
            pass
        assert (workdir.folder / ".model.0123abcd.tmp").exists()
        assert json.loads((workdir.folder / "config.json").read_text())["seed"] == 0
        with Workdir(workdir.folder, writes=False).claim(_config()):  # the others of a run of many processes
            pass
    with other.claim(_config()):
        pass


def test_what_a_killed_process_was_writing_is_removed_and_nothing_else(workdir):
    for name in (".model.0123abcd.tmp", ".model.89abcdef.old"):
        (workdir.folder / name / "variables").mkdir(parents=True)
    for name in (".metrics.jsonl.01234567.tmp", "metrics.jsonl", ".mine.tmp", "notes.0123abcd.tmp"):
        (workdir.folder / name).write_text("")
    with workdir.claim(_config()):
        assert sorted(path.name for path in workdir.folder.iterdir()) == [
            *(".mine.tmp", "config.json", "metrics.jsonl", "notes.0123abcd.tmp")
        ]


def _logged(workdir: Workdir) -> list[dict]:
    return [json.loads(line) for line in (workdir.folder / "metrics.jsonl").read_text().splitlines()]


def test_the_log_is_rewound_to_the_step_that_the_run_goes_on_from(workdir):
    workdir.log(0, {"leakage": {"names": 1}})
    for step in (1, 2, 3):
        workdir.log(step, {"loss": step})
    workdir.log(3, {"validation_dice": 0.5})
    workdir.rewind_log(2)
    assert _logged(workdir) == [{"step": 0, "leakage": {"names": 1}}, {"step": 1, "loss": 1}, {"step": 2, "loss": 2}]
    workdir.rewind_log(-1)
    assert _logged(workdir) == []


@pytest.mark.parametrize(
    "cut_off", ['{"step": 2, "lo', '{"step": 2, "loss": 2}', "", "\x00\x00", "[]\n", "nonsense\n", '{"step": null}\n']
)
def test_a_line_that_was_cut_off_is_dropped(workdir, cut_off):
    workdir.log(1, {"loss": 1})
    with (workdir.folder / "metrics.jsonl").open("a") as file:
        file.write(cut_off)
    workdir.rewind_log(5)
    workdir.log(2, {"loss": 2})
    assert _logged(workdir) == [{"step": 1, "loss": 1}, {"step": 2, "loss": 2}]


def test_a_run_without_a_log_has_nothing_to_rewind(workdir):
    workdir.rewind_log(0)
    assert not (workdir.folder / "metrics.jsonl").exists()


def test_only_the_first_process_writes(workdir):
    workdir.log(1, {})
    other = Workdir(workdir.folder, writes=False)
    other.log(2, {})
    other.rewind_log(-1)
    other.write("finished.json", {})
    assert _logged(workdir) == [{"step": 1}]
    assert other.finished() is None


def test_a_run_is_finished_when_it_says_so(workdir):
    assert workdir.finished() is None
    workdir.write("finished.json", {"steps": 3})
    assert workdir.finished() == {"steps": 3}
    (workdir.folder / "finished.json").write_text("{")
    with pytest.raises(InputError, match=r"finished\.json: can't be read; delete it"):
        workdir.finished()


FULL = "make room and run the same command again: it goes on from the last saved step"
CLOSED = "name another --workdir or change its permissions"
TENSORSTORE = (
    'RESOURCE_EXHAUSTED: Error writing "a/.zarray" in OCDBT database at local file "x/": Failed to write 18319 bytes '
    "to file 8: {} [os_error_code='28']"
)


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, FULL),
        (errno.EDQUOT, FULL),
        (errno.EROFS, CLOSED),
        (errno.EACCES, CLOSED),
        (errno.EPERM, CLOSED),
    ],
)
@pytest.mark.parametrize("reported_by", ["the system", "TensorStore", "a thread"])
def test_a_full_or_closed_disk_is_one_line_however_it_is_reported(number, cure, reported_by, tmp_path):
    def fail() -> None:
        if reported_by == "TensorStore":
            raise ValueError(TENSORSTORE.format(os.strerror(number)))
        try:
            raise OSError(number, os.strerror(number), "file")
        except OSError as error:
            if reported_by == "a thread":
                raise RuntimeError("a save failed") from error
            raise

    with pytest.raises(InputError) as caught, explain_storage(tmp_path):
        fail()
    assert str(caught.value) == f"{tmp_path}: can't be written ({os.strerror(number)}); {cure}"


@pytest.mark.parametrize("error", [ValueError("shape"), KeyboardInterrupt(), InputError("a"), OSError(errno.EIO, "io")])
def test_other_errors_pass(error, tmp_path):
    with pytest.raises(type(error)) as caught, explain_storage(tmp_path):
        raise error
    assert caught.value is error
