"""The command that cross-validates the recipe for COVID-SemiSeg: what it runs, and that no fold is learnt from."""

import importlib
import importlib.util
from pathlib import Path

import pytest
from absl import flags

ROOT = Path(__file__).parents[1]


def _load(path: Path):
    spec = importlib.util.spec_from_file_location("loaded", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    return _load(ROOT / "experiments/covid_semiseg.py")


@pytest.fixture
def ran(script, monkeypatch) -> list[list[str]]:
    """The commands that the script ran, none of which did anything."""
    commands: list[list[str]] = []
    monkeypatch.setattr("jcs_jax.cli.main", lambda command: commands.append(command) or 0)
    return commands


def _flags(command: list[str]) -> dict[str, str]:
    arguments = [argument for argument in command[1:] if argument not in ("--overwrite", "--flip")]
    return {name.lstrip("-"): value for name, value in zip(arguments[::2], arguments[1::2], strict=True)}


def _train_flags(arguments: list[str]) -> dict[str, str]:
    return dict(argument.lstrip("-").split("=", 1) for argument in arguments)


def test_every_fold_is_held_out_by_two_stages_of_each_seed_and_their_mean_is_measured_on_it(script, ran, tmp_path):
    assert script.main(["--source_dir=copies", f"--workdir={tmp_path}"]) == 0
    verbs = [command[0] for command in ran]
    assert verbs == ["prepare", "train", *(["train"] * 4 + ["ensemble"]) * 5, "evaluate"]
    restored = _train_flags(ran[1][1:])
    assert restored["config"].endswith("covid_semiseg.py:all,restoration")
    assert "config.init_from" not in restored and "config.seed" not in restored
    for number in range(5):
        *trained, joined = ran[2 + 5 * number : 7 + 5 * number]
        told = [_train_flags(command[1:]) for command in trained]
        assert [one["config"].rpartition(":")[2] for one in told] == [f"{number},coarse", f"{number},fine"] * 2
        assert [one["config.seed"] for one in told] == ["0", "0", "1", "1"]
        first = restored["workdir"]
        assert [one["config.init_from"] for one in told] == [first, told[0]["workdir"], first, told[2]["workdir"]]
        models = [f"{told[1]['workdir']}/model", f"{told[3]['workdir']}/model"]
        assert _flags(joined)["checkpoint"].split(",") == models
        assert _flags(joined)["output"] == f"{tmp_path}/fold{number}/ensemble"
        for one in told:
            file, _, argument = one["config"].rpartition(":")
            config = _load(Path(file)).get_config(argument)
            assert f"fold{number}" not in config.data.train_split.split("+")
            assert config.data.eval_split == f"fold{number}"
    assert _flags(ran[-1])["checkpoint"] == f"{tmp_path}/{{fold}}/ensemble"
    assert _flags(ran[-1])["protocol"] == "covid_semiseg_folds"
    assert ran[-1].count("--flip") == 1


def test_every_command_but_training_is_understood_by_its_verb(script, ran, tmp_path):
    assert script.main(["--source_dir=copies", f"--workdir={tmp_path}"]) == 0
    for verb, *arguments in (command for command in ran if command[0] != "train"):
        values = flags.FlagValues()
        importlib.import_module(f"jcs_jax.commands.{verb}").define_flags(values)
        assert len(values([verb, *arguments])[1:]) == (verb == "prepare")


def test_a_part_of_the_folds_and_one_network_each_are_neither_joined_nor_measured(script, ran, tmp_path):
    (tmp_path / "data/covid_semiseg/default").mkdir(parents=True)
    options = ["--folds=3,1", "--seeds=7", "--options=steps=4,batch_size=2"]
    assert script.main(["--source_dir=copies", f"--workdir={tmp_path}", *options]) == 0
    assert [command[0] for command in ran] == ["train"] * 5
    told = [_train_flags(command[1:]) for command in ran[1:]]
    assert [one["config"].rpartition(":")[2] for one in told] == ["3,coarse", "3,fine", "1,coarse", "1,fine"]
    assert {(one["config.seed"], one["config.steps"], one["config.batch_size"]) for one in told} == {("7", "4", "2")}


def test_single_networks_of_all_folds_are_measured_as_they_are(script, ran, tmp_path):
    assert script.main(["--source_dir=copies", f"--workdir={tmp_path}", "--seeds=7"]) == 0
    assert _flags(ran[-1])["checkpoint"] == f"{tmp_path}/{{fold}}/seed7_fine/model"


def test_networks_of_all_slices_are_joined_and_not_measured(script, ran, tmp_path):
    assert script.main(["--source_dir=copies", f"--workdir={tmp_path}", "--folds=all"]) == 0
    assert [command[0] for command in ran] == ["prepare", *["train"] * 5, "ensemble"]
    assert _flags(ran[-1])["output"] == f"{tmp_path}/foldall/ensemble"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "missing --source_dir; name the folder of your copies"),
        (["--source_dir=x", "--folds=5"], "--folds=5: give numbers of 0 to 4, or all"),
        (["--source_dir=x", "--folds="], "--folds=: give numbers"),
        (["--source_dir=x", "--seeds=a"], "--seeds=a: give whole numbers"),
        (["--nothing=1"], "nothing"),
    ],
)
def test_bad_usage_is_one_line_and_nothing_runs(script, ran, capsys, arguments, said):
    assert script.main(arguments) == 2
    line = capsys.readouterr().err
    assert line.startswith("covid_semiseg.py: ")
    assert said in line
    assert line.count("\n") == 1
    assert not ran


def test_a_command_that_fails_ends_it(script, monkeypatch, tmp_path):
    codes = iter([0, 3])
    monkeypatch.setattr("jcs_jax.cli.main", lambda command: next(codes))
    assert script.main(["--source_dir=copies", f"--workdir={tmp_path}"]) == 3
