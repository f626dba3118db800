"""Makes the weights that come with the package, from copies of the public data sets: one command, fixed seeds.

python experiments/jcs_tiny.py --source_dir COPIES --workdir runs/jcs_tiny

COPIES holds the folders covid19_ct100, covid_semiseg, mosmed_slices and ucsd_covid_ct. The packed model is
WORKDIR/jcs_tiny, its scores are in WORKDIR/evaluation. The same command goes on where it was stopped.
"""

import sys
from pathlib import Path

import chain
from absl import flags

STAGES = {
    "restored": "covid_semiseg.py:all,restoration",
    "outlines": "covid_semiseg.py:all",
    "coarse": "jcs_tiny.py:coarse",
    "fine": "jcs_tiny.py:fine",
}
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


def plan(values: flags.FlagValues) -> list[chain.Command]:
    source_dir, workdir = Path(values.source_dir), Path(values.workdir)
    trained = chain.training(STAGES, workdir, workdir / "data", values.options)
    return [*preparation(source_dir, workdir), *trained[0], *finish(workdir, trained[1])]


def preparation(source_dir: Path, workdir: Path) -> list[chain.Command]:
    """Commands that prepare what isn't prepared yet."""
    listed = []
    for name, folder in PREPARED.items():
        folds = ["--folds", "5"] if folder == "covid_semiseg" else []
        listed += chain.preparation(source_dir / folder if folder else None, workdir / "data", name, *folds)
    return listed


def finish(workdir: Path, trained: Path) -> list[chain.Command]:
    """Commands that calibrate, pack and measure the trained model."""
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


def main(arguments: list[str]) -> int:
    return chain.run("jcs_tiny.py", arguments, plan)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
