"""Pictures as textured as CT slices, in a millisecond each, and what is done to copies of them."""

from __future__ import annotations

import cv2
import numpy as np


def fake_slice(seed: int | tuple[int, ...], side: int = 128) -> np.ndarray:
    """(side, side) uint8: a bright body with two dark lungs, each with a texture of its own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    shape = rng.uniform(0.9, 1.1, 4)
    body = (x / (0.9 * shape[0])) ** 2 + (y / (0.7 * shape[1])) ** 2 < 1
    lungs = ((np.abs(x) - 0.42) / (0.3 * shape[2])) ** 2 + (y / (0.48 * shape[3])) ** 2 < 1
    picture = np.where(body, 170.0, 5.0) - np.where(lungs & body, 120.0, 0.0)
    for grain, strength in ((1.2, 70), (3, 110), (8, 160)):
        noise = rng.normal(size=(side, side)).astype(np.float32)
        picture += np.where(body, strength * cv2.GaussianBlur(noise, (0, 0), grain), 0)
    return np.clip(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 0.6), 0, 255).astype(np.uint8)


def encoded(picture: np.ndarray, quality: int = 80) -> np.ndarray:
    """The picture after JPEG."""
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def resized(picture: np.ndarray, factor: float = 0.9) -> np.ndarray:
    """The picture with sides of another length."""
    return cv2.resize(np.ascontiguousarray(picture), None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def cropped(picture: np.ndarray, share: float = 0.05) -> np.ndarray:
    """The picture without that share of its sides, off each side."""
    rows, columns = (int(share * side) for side in picture.shape)
    return picture[rows : picture.shape[0] - rows, columns : picture.shape[1] - columns]


def windowed(picture: np.ndarray) -> np.ndarray:
    """The picture in another window, which cuts off its darkest and brightest parts."""
    return np.clip((picture.astype(np.float32) - 20) * 1.3, 0, 255).astype(np.uint8)


CHANGES = {
    "exact": np.copy,
    "flipped": np.fliplr,
    "re-encoded": encoded,
    "resized": resized,
    "cropped": cropped,
}
