"""Makes the weights that come with the package, from copies of the public data sets: one command, fixed seeds.

python experiments/jcs_tiny.py --source_dir COPIES --workdir runs/jcs_tiny

COPIES holds the folders covid19_ct100, covid_semiseg, mosmed_slices and ucsd_covid_ct. The packed model is
WORKDIR/jcs_tiny, its scores are in WORKDIR/evaluation. The same command goes on where it was stopped.
"""

import sys
from pathlib import Path

from absl import flags

from jcs_jax import cli

CONFIGS = Path(__file__).parent / "configs"
STAGES = {"outlines": "covid_semiseg.py:all", "coarse": "jcs_tiny.py:coarse", "fine": "jcs_tiny.py:fine"}
PREPARED = {
    "covid19_ct100/clean": "covid19_ct100",
    "covid_semiseg/default": "covid_semiseg",
    "mosmed_slices/ct0_ct2": "mosmed_slices",
    "ucsd_covid_ct/default": "ucsd_covid_ct",
    "chest_phantom/small": "",  # made, not read
}
CALIBRATED_ON = (
    "mosmed_slices/ct0_ct2:validation",
    "ucsd_covid_ct/default:train[163:191]+train[196:217]+train[405:]",  # what configs/jcs_tiny.py leaves out
    "chest_phantom/small:validation",
)
MEASURED_ON = ("ucsd_covid_ct:validation", "mosmed_slices/ct0_ct2:test", "chest_phantom/small:test")


def main(arguments: list[str]) -> int:
    values = flags.FlagValues()
    flags.DEFINE_string("source_dir", None, "Folder of the copies.", flag_values=values)
    flags.DEFINE_string("workdir", "runs/jcs_tiny", "Folder for data, runs, model and scores.", flag_values=values)
    flags.DEFINE_list("options", [], "Options of all stages, such as steps=10.", flag_values=values)
    try:
        values(["jcs_tiny.py", *arguments])
        fault = "" if values.source_dir else "missing --source_dir; name the folder of your copies"
    except flags.Error as error:
        fault = str(error)
    if fault:
        sys.stderr.write(f"jcs_tiny.py: {fault}\n")
        return 2
    source_dir, workdir = Path(values.source_dir), Path(values.workdir)
    for command in [*preparation(source_dir, workdir), *training(workdir, values.options), *finish(workdir)]:
        if code := cli.main(command):
            return code
    return 0


def preparation(source_dir: Path, workdir: Path) -> list[list[str]]:
    """Commands that prepare what isn't prepared yet."""
    listed = []
    for name, folder in PREPARED.items():
        dataset, _, config = name.partition("/")
        source = ["--source", str(source_dir / folder)] if folder else []
        folds = ["--folds", "5"] if dataset == "covid_semiseg" else []
        if not (workdir / "data" / name).is_dir():
            data_dir = ["--data_dir", str(workdir / "data")]
            listed.append(["prepare", dataset, "--config", config, *data_dir, *source, *folds])
    return listed


def training(workdir: Path, options: list[str]) -> list[list[str]]:
    """A command a stage, each of which starts from the one before."""
    given = [f"--config.data.data_dir={workdir / 'data'}", *(f"--config.{option}" for option in options)]
    before, listed = "", []
    for stage, config in STAGES.items():
        start = [f"--config.init_from={before}"] if before else []
        listed.append(["train", f"--config={CONFIGS / config}", f"--workdir={workdir / stage}", *given, *start])
        before = str(workdir / stage)
    return listed


def finish(workdir: Path) -> list[list[str]]:
    """Commands that calibrate, pack and measure."""
    trained = workdir / next(reversed(STAGES)) / "model"
    calibrated, packed = workdir / "calibrated", workdir / "jcs_tiny"
    of = ["--data_dir", str(workdir / "data")]
    dataset, _, split = CALIBRATED_ON[0].partition(":")
    on = ["--dataset", dataset, "--split", split, "--also_on", ",".join(CALIBRATED_ON[1:])]
    listed = [
        ["calibrate", "--checkpoint", str(trained), *on, "--output", str(calibrated), *of, "--overwrite"],
        ["pack", "--checkpoint", str(calibrated), "--output", str(packed), "--dtype", "float16", "--overwrite"],
    ]
    for part in MEASURED_ON:
        dataset, _, split = part.partition(":")
        where = ["--data", dataset, "--split", split, "--train_split", "train", "--sanity"]
        output = workdir / "evaluation" / dataset.partition("/")[0]
        listed.append(["evaluate", "--checkpoint", str(packed), *where, "--output", str(output), *of])
    return listed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
