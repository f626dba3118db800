"""COVID-19-CT100 from its public home: the repository of the JCS release at one commit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jcs_datasets.common.downloads import PublicFile, check_base_url, fetch_files, read_published_files, write_whole
from jcs_datasets.covid19_ct100.layout import ALL_LIST

COMMIT = "fa4bb6ae452c6aa042db8c762822e72df65d9519"
BASE_URL = f"https://raw.githubusercontent.com/yuhuan-wu/JCS/{COMMIT}/data/COVID-19-CT100/"
PUBLISHED_FILES = Path(__file__).with_name("published_files.tsv")  # TFDS keeps the name checksums.tsv for itself
_IMAGE, _MASK = "tr_im/tr_im_", "tr_mask_new/tr_mask_"


def download_copy(downloads: Path, mirror: str | None = None) -> Path:
    """Fetches the published lists and pictures, as far as they are not there yet.

    The published lists name 79 of the 100 slices. So that config clean finds all of them, `all.txt`, made from
    the table of published files, pairs every image with the mask of its number.

    Args:
      downloads: what is fetched goes into its folder covid19_ct100/COMMIT and stays there.
      mirror: URL of a web folder with the same files; None for the public repository.

    Returns:
      The folder, in the form that a local copy has.

    Raises:
      SourceError: as `fetch_files`; or a mirror that is no web folder's URL.
    """
    base_url = BASE_URL if mirror is None else check_base_url(mirror)
    folder = downloads / "covid19_ct100" / COMMIT
    files = read_published_files(PUBLISHED_FILES)
    fetch_files(files, base_url=base_url, folder=folder)
    write_whole(folder / ALL_LIST, _every_pair(files))
    return folder


def _every_pair(files: Sequence[PublicFile]) -> str:
    """A list of all images in order, each with the mask of its number."""
    images = sorted(file.path for file in files if file.path.startswith(_IMAGE))
    return "".join(f"{image} {image.replace(_IMAGE, _MASK)}\n" for image in images)
