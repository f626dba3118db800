"""Cross-validates the recipe for COVID-SemiSeg, each fold with the mean of several networks: one command, fixed seeds.

python experiments/covid_semiseg.py --source_dir COPIES --workdir runs/covid_semiseg

COPIES holds the folder covid_semiseg. One network learns to give back damaged slices of the volumes, which nobody
outlined. From it, for each of the five folds, networks of --seeds learn from the others (`configs/covid_semiseg.py`)
and are joined; the five ensembles are measured together, each on the fold that it never saw, averaged over every slice
and its mirror image. `--folds all` trains networks on all 50 slices instead, for a test set that is held out elsewhere.
The same command goes on where it was stopped. Once the first network is there, several processes may take some folds
each; the command without `--folds` then joins and measures what they left.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import chain
from absl import flags

NAME = "covid_semiseg/default"
FOLDS = ("0", "1", "2", "3", "4")


def define(values: flags.FlagValues) -> None:
    flags.DEFINE_list("folds", list(FOLDS), "Folds to hold out, or all to hold out none.", flag_values=values)
    flags.DEFINE_list("seeds", ["0", "1"], "A network a seed is trained.", flag_values=values)


def plan(values: flags.FlagValues) -> Iterator[chain.Command]:
    unknown = [fold for fold in values.folds if fold not in (*FOLDS, "all")]
    if unknown or not values.folds:
        raise ValueError(f"--folds={','.join(values.folds)}: give numbers of {FOLDS[0]} to {FOLDS[-1]}, or all")
    if not values.seeds or not all(seed.isdecimal() for seed in values.seeds):
        raise ValueError(f"--seeds={','.join(values.seeds)}: give whole numbers, joined by commas")
    workdir = Path(values.workdir)
    data_dir = workdir / "data"
    yield from chain.preparation(Path(values.source_dir) / "covid_semiseg", data_dir, NAME, "--folds", str(len(FOLDS)))
    restored = {"restored": "covid_semiseg.py:all,restoration"}
    yield from chain.training(restored, workdir, data_dir, values.options)[0]
    for fold in values.folds:
        folder, models = workdir / f"fold{fold}", []
        for seed in values.seeds:
            stages = {f"seed{seed}_{stage}": f"covid_semiseg.py:{fold},{stage}" for stage in ("coarse", "fine")}
            options = [f"seed={seed}", *values.options]
            commands, model = chain.training(stages, folder, data_dir, options, workdir / "restored")
            yield from commands
            models.append(str(model))
        if len(models) > 1:
            joined = str(folder / "ensemble")
            yield ["ensemble", "--checkpoint", ",".join(models), "--output", joined, "--overwrite"]
    if set(values.folds) == set(FOLDS):
        measured = "ensemble" if len(values.seeds) > 1 else f"seed{values.seeds[0]}_fine/model"
        on = ["--protocol", "covid_semiseg_folds", "--data_dir", str(data_dir), "--flip"]
        yield ["evaluate", "--checkpoint", f"{workdir}/{{fold}}/{measured}", *on, "--output", f"{workdir}/evaluation"]


def main(arguments: list[str]) -> int:
    return chain.run("covid_semiseg.py", arguments, plan, define)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
