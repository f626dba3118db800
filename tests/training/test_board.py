"""What TensorBoard is given: read back from the event files."""

import errno
import io
import socket
import struct
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import tensorboardX
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from jcs_jax.errors import InputError
from jcs_jax.report.overlay import LESION_COLOR, REFERENCE_COLOR
from jcs_jax.training import board as module
from jcs_jax.training.board import Board, example_pictures

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))


def _events(file):
    """Every event of a file; each record is its length, that one's checksum, the message and its checksum."""
    with file.open("rb") as stream:
        while header := stream.read(8):
            assert stream.read(4) == struct.pack("<I", masked_crc32c(header))
            message = stream.read(struct.unpack("<Q", header)[0])
            assert stream.read(4) == struct.pack("<I", masked_crc32c(message))
            yield Event.FromString(message)


def _files(folder):
    """In the order in which TensorBoard reads them."""
    return sorted(folder.iterdir(), key=lambda path: path.name)


def _values(folder):
    return [(event.step, value) for file in _files(folder) for event in _events(file) for value in event.summary.value]


class TestEvents:
    def test_scalars_have_their_names_steps_and_values(self, tmp_path):
        before = time.time()
        with Board(tmp_path / "new" / "board") as board:
            board.scalars(20, {"train/loss": np.float32(0.5), "optimizer/learning_rate": 1e-3})
            board.scalars(40, {"train/loss": float("nan")})
        values = _values(tmp_path / "new" / "board")
        assert [(step, value.tag) for step, value in values] == [
            (20, "train/loss"),
            (20, "optimizer/learning_rate"),
            (40, "train/loss"),
        ]
        np.testing.assert_allclose([value.simple_value for _, value in values], [0.5, 1e-3, np.nan], rtol=1e-7)
        (file,) = (tmp_path / "new" / "board").iterdir()
        assert all(before <= event.wall_time <= time.time() for event in _events(file))

    def test_pictures_decode_to_the_same_pixels(self, tmp_path):
        with Board(tmp_path) as board:
            board.pictures(7, {"lesion/slice one": PICTURE})
        ((step, value),) = _values(tmp_path)
        assert (step, value.tag) == (7, "lesion/slice one")
        assert (value.image.height, value.image.width, value.image.colorspace) == (30, 40, 3)
        with Image.open(io.BytesIO(value.image.encoded_image_string)) as read:
            np.testing.assert_array_equal(np.asarray(read), np.asarray(PICTURE))

    def test_are_on_the_disk_before_the_board_is_closed(self, tmp_path):
        board = Board(tmp_path)
        board.scalars(1, {"loss": 2.0})
        assert [value.simple_value for _, value in _values(tmp_path)] == [2.0]
        board.close()
        board.close()
        board.scalars(2, {"loss": 2.0})
        assert len(_values(tmp_path)) == 1

    def test_need_no_thread(self, tmp_path):
        threads = threading.enumerate()
        with Board(tmp_path) as board:
            board.scalars(1, {"loss": 2.0})
            assert threading.enumerate() == threads

    def test_name_neither_the_machine_nor_its_folders(self, tmp_path):
        with Board(tmp_path) as board:
            board.scalars(1, {"loss": 2.0})
        (file,) = tmp_path.iterdir()
        assert file.name.startswith("events.out.tfevents.")
        assert file.name.rpartition(".")[2] == "jcs"
        assert socket.gethostname() not in file.name
        assert str(tmp_path).encode() not in file.read_bytes()

    def test_of_another_process_are_not_written(self, tmp_path):
        with Board(tmp_path / "board", silent=True) as board:
            board.scalars(1, {"loss": 2.0})
            board.pictures(1, {"lesion/a": PICTURE})
        assert list(tmp_path.iterdir()) == []


class TestResume:
    def _starts(self, folder):
        return [
            event.step
            for file in _files(folder)
            for event in _events(file)
            if event.session_log.status == SessionLog.START
        ]

    def test_hides_what_was_written_of_later_steps(self, tmp_path):
        # TensorBoard drops everything from a start's step on that stands in earlier files.
        for first_step in (0, 400, 300):
            with Board(tmp_path, first_step=first_step) as board:
                board.scalars(first_step + 20, {"loss": 1.0})
        assert self._starts(tmp_path) == [0, 401, 301]
        assert [step for step, _ in _values(tmp_path)] == [20, 420, 320]

    def test_starts_a_file_that_is_read_last(self, tmp_path, monkeypatch):
        for now in (1000.0, 1000.2, 500.0, 3000.0):  # twice within a second, put back, and on
            monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda seconds=now: seconds))
            known = set(_files(tmp_path))
            Board(tmp_path).close()
            assert _files(tmp_path)[-1] not in known
        assert [file.name.split(".")[3] for file in _files(tmp_path)] == [
            "0000001000",
            "0000001001",
            "0000001002",
            "0000003000",
        ]

    def test_leaves_other_files_in_peace(self, tmp_path):
        (tmp_path / "events.out.tfevents.notes").write_text("mine")
        Board(tmp_path).close()
        assert (tmp_path / "events.out.tfevents.notes").read_text() == "mine"


class FullDisk(tensorboardX.RecordWriter):
    """Takes `room` records, then fails as a full disk does, also when it is closed."""

    room = 0

    def flush(self):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= 1
        super().flush()

    def close(self):
        super().close()
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")


class TestFailure:
    def test_a_file_in_the_way_is_named(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match=r"file: is a file; name a folder for TensorBoard's events"):
            Board(tmp_path / "file" / "board")

    @pytest.mark.parametrize("room", [0, 1])
    def test_a_full_disk_is_one_line_and_leaves_nothing(self, tmp_path, monkeypatch, room):
        monkeypatch.setattr(FullDisk, "room", room)
        monkeypatch.setattr(module, "RecordWriter", FullDisk)
        with pytest.raises(InputError, match=r"TensorBoard's events \(No space left on device\); free space") as caught:
            Board(tmp_path)
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be_made_is_one_line(self, tmp_path, monkeypatch):
        def refuse(self, **options):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(module.Path, "mkdir", refuse)
        with pytest.raises(InputError, match=r"board: can't write TensorBoard's events \(Permission denied\)"):
            Board(tmp_path / "board")

    def test_a_disk_that_fills_up_later_is_told_once_and_stops_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(FullDisk, "room", 3)
        monkeypatch.setattr(module, "RecordWriter", FullDisk)
        told = []
        with Board(tmp_path, say=told.append) as board:
            for step in (1, 2, 3):
                board.scalars(step, {"loss": 1.0})
            board.pictures(3, {"lesion/a": PICTURE})
        assert len(told) == 1
        assert told[0].endswith(
            "events can't be written any more (No space left on device); the training goes on without them"
        )
        assert (1, 1.0) in [(step, value.simple_value) for step, value in _values(tmp_path)]


SLICE = np.full((64, 64), 0.5, np.float32)
LESION, REFERENCE = np.zeros((2, 64, 64), np.float32)
LESION[8:24, 8:24] = 0.9
REFERENCE[40:56, 40:56] = 1
HOT = np.array([[4.0, -1.0], [-1.0, -1.0]], np.float32)  # the upper left quarter


def _colours(picture):
    """Those above the strip."""
    return {color for _, color in picture.crop((0, 0, 512, 512)).getcolors(2**20)}


class TestExamplePictures:
    def test_show_prediction_reference_and_activation(self):
        pictures = example_pictures(
            [SLICE, SLICE],
            names=["a", "b"],
            masks=[REFERENCE, None],
            probabilities=[LESION, LESION],
            activations=[HOT, HOT / 2],
        )
        assert list(pictures) == ["lesion/a", "activation/a", "lesion/b", "activation/b"]
        drawn = {name: _colours(picture) for name, picture in pictures.items()}
        assert LESION_COLOR in drawn["lesion/a"] & drawn["lesion/b"]
        assert REFERENCE_COLOR in drawn["lesion/a"] & drawn["activation/a"]
        assert REFERENCE_COLOR not in drawn["lesion/b"] | drawn["activation/b"]

    def test_draw_the_lesion_from_the_presets_threshold_on(self):
        (picture,) = example_pictures([SLICE], names=["a"], probabilities=[LESION], mask_threshold=0.95).values()
        assert LESION_COLOR not in _colours(picture)

    def test_share_one_scale_and_cover_the_whole_slice(self):
        pictures = example_pictures([SLICE, SLICE], names=["a", "b"], activations=[HOT, HOT / 2])
        strong, weak = (np.asarray(picture)[:512].astype(int) for picture in pictures.values())
        assert np.ptp(strong[:128, :128], axis=-1).min() > 60  # coloured
        assert (strong[384:, 384:] == 128).all()
        assert strong[0, 0].sum() > weak[0, 0].sum()  # the hotter, the brighter

    @pytest.mark.parametrize("given", [{"probabilities": [LESION]}, {"activations": [HOT]}])
    def test_are_those_that_the_network_has(self, given):
        pictures = example_pictures([SLICE], names=["a"], masks=None, **given)
        assert list(pictures) == [{"probabilities": "lesion/a", "activations": "activation/a"}[name] for name in given]

    def test_take_batches_as_arrays(self):
        pictures = example_pictures(
            np.stack([SLICE, SLICE]), names=["a", "b"], masks=np.stack([REFERENCE] * 2), activations=np.stack([HOT] * 2)
        )
        assert list(pictures) == ["activation/a", "activation/b"]

    @pytest.mark.parametrize("missing", ["names", "captions", "masks", "probabilities", "activations"])
    def test_of_other_lengths_are_refused(self, missing):
        given = {"names": ["a", "b"], "captions": ["a", "b"], "masks": [None, None]}
        given |= {"probabilities": [LESION] * 2, "activations": [HOT] * 2}
        given[missing] = given[missing][:1]
        with pytest.raises(ValueError, match="zip"):
            example_pictures([SLICE, SLICE], **given)

    def test_captions_stand_below(self):
        plain, longer = (
            example_pictures([SLICE], names=["a"], captions=[text], probabilities=[LESION])["lesion/a"]
            for text in ("a", "a, infected, probability 0.93")
        )
        np.testing.assert_array_equal(np.asarray(plain)[:512], np.asarray(longer)[:512])
        assert not np.array_equal(np.asarray(plain), np.asarray(longer))
