"""What TensorBoard shows of a run: curves, and a few slices with what the network says of them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import Float, Shaped
from PIL import Image
from tensorboardX import RecordWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from jcs_jax.errors import InputError
from jcs_jax.files import require_folder
from jcs_jax.preprocessing import resize_array
from jcs_jax.report.colormap import shared_scale
from jcs_jax.report.overlay import activation_overlay, mask_overlay, png_bytes

_PREFIX = "events.out.tfevents."  # TensorBoard finds files by it and reads them in the order of their names


class Board:
    """Scalars and pictures of one run, as an event file of its own for each process that goes on with it.

    Everything is on the disk when a method returns. Only the messages and the record format are tensorboardX's: its
    SummaryWriter writes in a thread, which ends when the disk is full, whereupon the training waits for ever; and it
    puts the name of the machine into the file's name.

    Args:
      folder: TensorBoard's `--logdir`; created if need be.
      first_step: steps that were taken before this process began. TensorBoard then hides what an earlier process
        wrote of later steps.
      say: shows one line to the person at the terminal; called once, if writing fails later on.
      silent: write nothing, as every process but the first should: `jax.process_index() != 0`.

    Raises:
      InputError: the folder can't be written to.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        first_step: int = 0,
        say: Callable[[str], None] = logging.warning,
        silent: bool = False,
    ):
        self._folder, self._say = Path(folder), say
        self._records: RecordWriter | None = None
        if silent:
            return
        require_folder(self._folder, purpose="TensorBoard's events")
        file = _next_file(self._folder.absolute())
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._records = RecordWriter(str(file))
            self._append(Event(file_version="brain.Event:2"))
            # A start makes TensorBoard drop what earlier files hold from its step on.
            begin = SessionLog(status=SessionLog.START)
            self._append(Event(step=first_step + 1 if first_step else 0, session_log=begin))
        except OSError as error:
            self._abandon()
            with contextlib.suppress(OSError):
                file.unlink()
            raise InputError(
                f"{folder}: can't write TensorBoard's events ({error.strerror or error}); free space or name a folder "
                "that may be written to"
            ) from error

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to the curve of each name; one that isn't finite is shown as such."""
        self._add(step, (Summary.Value(tag=name, simple_value=float(value)) for name, value in values.items()))

    def pictures(self, step: int, pictures: Mapping[str, Image.Image]) -> None:
        """Shows pictures, RGB, of a step under their names; names with one part before a slash stand together."""
        self._add(step, (Summary.Value(tag=name, image=_image(picture)) for name, picture in pictures.items()))

    def close(self) -> None:
        """Ends the file; later calls do nothing."""
        self._abandon()

    def _add(self, step: int, values: Iterable[Any]) -> None:
        """Appends an event; the first failure is told once, then the run goes on without events."""
        if self._records is None:
            return
        try:
            self._append(Event(step=int(step), summary=Summary(value=values)))
        except OSError as error:
            self._abandon()
            self._say(
                f"{self._folder}: TensorBoard's events can't be written any more ({error.strerror or error}); the "
                "training goes on without them"
            )

    def _append(self, event: Event) -> None:
        if self._records is not None:
            event.wall_time = time.time()
            self._records.write(event.SerializeToString())
            self._records.flush()

    def _abandon(self) -> None:
        """Closes the file; what a full disk keeps from being written was told or is told by the caller."""
        records, self._records = self._records, None
        if records is not None:
            with contextlib.suppress(OSError):
                records.close()


def example_pictures(
    intensities: Sequence[Float[np.ndarray, "h w"]],
    *,
    names: Sequence[str],
    captions: Sequence[str] | None = None,
    masks: Sequence[Shaped[np.ndarray, "h w"] | None] | None = None,
    probabilities: Sequence[Float[np.ndarray, "h w"]] | None = None,
    activations: Sequence[Float[np.ndarray, "h2 w2"]] | None = None,
    mask_threshold: float = 0.5,
) -> dict[str, Image.Image]:
    """Draws a few slices with what the network says of them and, where it is known, what a reader drew.

    Args:
      intensities: the slices, each (H, W) in [0, 1].
      names: of the slices, all different; the same at every step, so that TensorBoard shows a slider.
      captions: a line below each slice; None for the names.
      masks: (H, W), from 0 to 1, of each slice, None for one that has none; None if none has.
      probabilities: (H, W) in [0, 1], of opacity; None for a network that doesn't segment.
      activations: (h, w) each, signed and finite, over the whole slice; None for a network without class features.
        All share one scale, which is that of this step.
      mask_threshold: a pixel of at least this probability is drawn as opacified.

    Returns:
      Pictures by name: `lesion/NAME` and `activation/NAME`, whichever the network has.

    Raises:
      ValueError: if the sequences aren't of one length.
    """
    columns = [masks, probabilities, activations]
    rows = zip(
        intensities, names, captions or names, *([None] * len(names) if c is None else c for c in columns), strict=True
    )
    scale = 0.0 if activations is None else shared_scale(activations)
    pictures = {}
    for intensity, name, caption, mask, probability, activation in rows:
        shown: dict[str, Any] = {"caption": caption, "reference": None if mask is None else np.asarray(mask) >= 0.5}
        if probability is not None:
            pictures[f"lesion/{name}"] = mask_overlay(intensity, probability >= mask_threshold, **shown)
        if activation is not None:
            on_slice = resize_array(activation, intensity.shape)
            pictures[f"activation/{name}"] = activation_overlay(intensity, on_slice, scale=scale, **shown)
    return pictures


def _image(picture: Image.Image) -> Any:
    return Summary.Image(
        height=picture.height, width=picture.width, colorspace=3, encoded_image_string=png_bytes(picture)
    )


def _next_file(folder: Path) -> Path:
    """A new name after all others there, even within a second or with a clock that was put back."""
    stamps = [path.name.removeprefix(_PREFIX).partition(".")[0] for path in folder.glob(f"{_PREFIX}*")]
    latest = max((int(stamp) for stamp in stamps if stamp.isdecimal()), default=0)
    return folder / f"{_PREFIX}{max(int(time.time()), latest + 1):010d}.jcs"
