"""What `jcs` compiles is kept in a folder for this kind of processor, and found again by the next run."""

import os
import stat
import subprocess
import sys

import numpy as np
from PIL import Image
from ship import write_packed

from jcs_jax.compile_cache import cache_settings

_JCS = "from jcs_jax.cli import console_main; console_main()"


def test_the_folder_is_the_users_own(tmp_path):
    settings = cache_settings({"HOME": str(tmp_path)})
    (folder,) = (tmp_path / ".cache/jcs_jax").iterdir()
    assert settings["JAX_COMPILATION_CACHE_DIR"] == str(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert settings["JAX_COMPILATION_CACHE_MAX_SIZE"] == "2000000000"
    assert cache_settings({"HOME": "/nowhere", "XDG_CACHE_HOME": str(tmp_path / ".cache")}) == settings


def test_what_the_user_chose_stays(tmp_path):
    assert cache_settings({"HOME": str(tmp_path), "JAX_COMPILATION_CACHE_DIR": "/mine"}) == {}
    assert cache_settings({"HOME": str(tmp_path), "JAX_ENABLE_COMPILATION_CACHE": "false"}) == {}
    assert not list(tmp_path.iterdir())


def test_without_a_place_to_write_nothing_is_kept(tmp_path):
    (tmp_path / "file").write_text("")
    assert cache_settings({"XDG_CACHE_HOME": str(tmp_path / "file")}) == {}


def test_a_second_run_compiles_nothing(tmp_path):
    write_packed(tmp_path / "model", dtype="float32")
    grey = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "slice.png")
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_COMPILATION_CACHE"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    kept = []
    for number in range(2):
        command = ["diagnose", "slice.png", "--checkpoint=model", f"--output=out{number}", "--formats=json"]
        subprocess.run([sys.executable, "-c", _JCS, *command], cwd=tmp_path, env=environment, check=True, timeout=300)
        kept.append({file.name for file in (tmp_path / "cache/jcs_jax").rglob("*-cache")})
    assert kept[0] == kept[1]
    assert kept[0]
    first, second = ((tmp_path / f"out{number}/slice/diagnosis.json").read_bytes() for number in range(2))
    assert first == second
