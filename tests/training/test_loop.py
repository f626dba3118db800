"""A run from plain arrays: what it leaves, that it repeats itself, and what it refuses before it starts."""

import json

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
import tiny

import jcs_jax
from jcs_jax.checkpoints import describe_model, load_model, save_model
from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.errors import InputError
from jcs_jax.evaluation.evaluate import evaluate
from jcs_jax.models.presets import build
from jcs_jax.training import loop, setup
from jcs_jax.training.config import default_config
from jcs_jax.training.loop import train
from jcs_jax.training.setup import preset_of

RNG = np.random.default_rng(0)


def _source(count: int = 5, **changes) -> ArraySource:
    examples = []
    for index in range(count):
        image = RNG.random((40, 36), np.float32)
        mask = (image > 0.5).astype(np.uint8)
        examples.append(Example(**{"image": image, "mask": mask, "label": index % 2, "name": str(index), **changes}))
    return ArraySource(examples, {"licence": "none", "warning": "noise"})


def _config(architecture: str = "segmenter", **changes) -> ml_collections.ConfigDict:
    config = default_config()
    config.model.name = f"{architecture}_tiny"
    config.model.options = {**tiny.OPTIONS[architecture], "norm": "none"}  # compiles in half the time
    config.model.input_size = 32
    config.steps, config.batch_size, config.log_every = 5, 2, 2
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def source():
    return _source()


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    """Folder, final state and preset of a short run of the segmenter."""
    workdir = tmp_path_factory.mktemp("runs") / "a/run"
    outcome = train(_config(), workdir, source)
    return workdir, outcome.state, outcome.preset


def test_a_run_leaves_its_config_its_metrics_and_a_model(run):
    assert sorted(path.name for path in run[0].iterdir()) == [
        *("checkpoints", "config.json", "metrics.jsonl", "model", "tensorboard")
    ]
    assert json.loads((run[0] / "config.json").read_text()) == json.loads(_config().to_json_best_effort())


def test_metrics_are_one_line_a_report_and_one_for_the_last_step(run):
    lines = [json.loads(line) for line in (run[0] / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 5]
    for line in lines:
        assert line.keys() == {"step", "loss", "segmentation_loss", "gradient_norm", "learning_rate", "seconds"}
        assert np.isfinite(list(line.values())).all()
        assert line["loss"] > 0
    # Warm-up from 0 over half of the run, 2 steps; the rate is that of the step before: steps 1, 3 and 4 from 0.
    rates = [line["learning_rate"] for line in lines]
    assert rates[0] == pytest.approx(0.5e-3)
    assert 1e-3 > rates[1] > rates[2] > 0


def test_the_model_folder_gives_the_runs_logits(run):
    workdir, state, preset = run
    model, variables, loaded_preset = load_model(workdir / "model")
    assert loaded_preset == preset
    images = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    apply = tiny.quick_jit(lambda variables: model.apply(variables, images, train=False).side_logits)
    expected = apply(state.inference_variables())
    np.testing.assert_array_equal(apply(variables), expected)
    assert np.isfinite(expected).all()


def test_the_model_is_the_average_and_not_the_last_parameters(run):
    workdir, state, _ = run
    _, variables, _ = load_model(workdir / "model")
    jax.tree.map(np.testing.assert_array_equal, variables["params"], state.ema_params)
    kernel = variables["params"]["heads"]["side1"]["kernel"]
    assert not np.array_equal(kernel, state.params["heads"]["side1"]["kernel"])


def test_the_model_says_how_it_was_trained_and_no_path_of_the_machine(run):
    _, provenance = describe_model(run[0] / "model")
    assert provenance["examples"] == 5
    assert provenance["data"] == {"licence": "none", "warning": "noise"}
    assert provenance["config"]["steps"] == 5
    assert provenance["trained_by"] == f"jcs_jax {jcs_jax.__version__}"
    assert "data_dir" not in provenance["config"]["data"]


def test_the_preset_says_what_it_was_trained_on(run):
    assert run[2].name == "segmenter_tiny"
    assert run[2].preprocessing.size == (32, 32)
    assert "chest_phantom" in run[2].source


def test_the_same_seed_gives_the_same_parameters_bit_for_bit(run, source, tmp_path):
    state = train(_config(), tmp_path / "again", source).state
    assert state.step == 5
    for one, two in zip(jax.tree.leaves(state), jax.tree.leaves(run[1]), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(two).tobytes()


@pytest.fixture
def no_network(monkeypatch):
    """Steps that compute nothing, and a state that needs no initialiser to be compiled."""

    def make_train_step(model, optimizer, objective, **options):
        def step(state, batch):
            metrics = {"loss": jnp.float32(1.0), "gradient_norm": jnp.float32(1.0), "failed_step": state.failed_step}
            return state.replace(step=state.step + 1), metrics

        return step

    def initial_variables(model, *, seed, input_size):
        return tiny.random_variables(model, jnp.zeros((1, *input_size, 3)), seed=seed)

    monkeypatch.setattr(loop, "make_train_step", make_train_step)
    monkeypatch.setattr(setup, "initial_variables", initial_variables)


def test_a_finished_run_is_left_as_it_is(no_network, source, tmp_path):
    train(_config("classifier"), tmp_path / "run", source)
    before = (tmp_path / "run/metrics.jsonl").read_text()
    again = train(_config("classifier"), tmp_path / "run", source)
    assert again.finished
    assert again.state.step == 5
    assert (tmp_path / "run/metrics.jsonl").read_text() == before


def test_a_run_of_one_step_is_a_run(no_network, source, tmp_path):
    assert train(_config("classifier", steps=1), tmp_path / "run", source).state.step == 1


def test_a_run_starts_from_a_model_folder(no_network, source, tmp_path):
    preset = tiny.preset("classifier", norm="none")
    variables = tiny.random_variables(build(preset), jnp.zeros((1, 32, 32, 3)), seed=7)
    folder = save_model(tmp_path / "pretrained", variables, preset, provenance={})
    outcome = train(_config("classifier", init_from=str(folder)), tmp_path / "run", source)
    jax.tree.map(np.testing.assert_array_equal, outcome.state.params, variables["params"])
    assert "init_from" not in describe_model(tmp_path / "run/model")[1]["config"]


@pytest.mark.parametrize("label", [0, 1, -1])
def test_slices_without_anything_to_learn_are_refused(no_network, tmp_path, label):
    source = _source(mask=None, label=label)
    if label >= 0:
        train(_config("classifier"), tmp_path / "run", source)
        return
    for architecture, said in (("classifier", "no slice has a label"), ("segmenter", "no slice has a mask")):
        with pytest.raises(InputError, match=said):
            train(_config(architecture), tmp_path / "run", source)


def _stored_source(side: int = 32, channels: int = 4) -> ArraySource:
    shapes = {"vgg_features": (side, side, channels), "res2net_features": (side // 2, side // 2, channels)}
    examples = []
    for index in range(3):
        features = {name: RNG.integers(0, 255, shape, np.uint8) for name, shape in shapes.items()}
        mask = RNG.integers(0, 2, (64, 64), np.uint8)
        examples.append(Example(None, mask=mask, label=1, name=f"slice {index}", **features))
    return ArraySource(examples)


def test_a_network_is_trained_and_measured_on_stored_features(tmp_path):
    config = _config("joint", **{"steps": 2})
    config.model.options.classes = 2
    state, preset, _, _ = train(config, tmp_path / "run", _stored_source())
    evaluation = evaluate(
        build(preset), state.inference_variables(), preset, _stored_source(), train_source=_stored_source()
    )
    assert evaluation.counts["slices"] == evaluation.summary["segmentation"]["dice"].n == 3
    assert not any(group.startswith("baseline") for group in evaluation.summary)
    assert "stored features have no brightness" in " ".join(evaluation.notes)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"side": 64}, "set config.model.input_size=64"),
        ({"channels": 6}, "was not made for vgg_features of 6 channels"),
    ],
)
def test_stored_features_of_another_network_are_refused_and_nothing_is_written(tmp_path, given, said):
    with pytest.raises(InputError, match=said):
        train(_config(), tmp_path / "run", _stored_source(**given))
    assert not (tmp_path / "run").exists()


def test_allowed_leakage_is_written_into_the_metrics_and_the_model(source, tmp_path):
    leakage = {"names": 0, "patients": 1, "pictures": 0}
    config = _config("classifier", **{"steps": 1})
    config.data.mixing.alpha = 0.5
    train(config, tmp_path / "run", source, leakage=leakage)
    assert json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0]) == {"step": 0, "leakage": leakage}
    assert describe_model(tmp_path / "run/model")[1]["leakage"] == leakage


REFUSED = {
    "steps": ({"steps": 0}, "config.steps is 0"),
    "network": ({"model.name": "segmenter_huge"}, "segmenter_huge.*choose one of"),
    "option": ({"model.options": {"colour": 1}}, "no option colour"),
    "norm": ({"model.options": {"norm": "layer"}}, "not 'layer'"),
    "size": ({"model.input_size": 8}, "at least 16 x 16"),
    "mixing": ({"data.mixing": {"alpha": -1.0, "label_rule": "soft"}}, "mixing.alpha is -1.0"),
    "augmentation": ({"data.augment": "strong"}, "'strong'; choose one of none, reference, modern"),
    "optimiser": ({"optimizer.name": "lion"}, "'lion'; it is one of reference, modern"),
    "loss": ({"loss.segmentation": "dice"}, "per_image, reference or restoration, not 'dice'"),
    "start": ({"init_from": "nowhere"}, "nowhere is neither a model folder nor a finished run"),
    "batch": ({"batch_size": 3, "accumulate": 2}, "can't be shared by 1 devices in 2 parts; choose a multiple of 2"),
    "fixed parts": ({"batch_size": 6, "fixed_parts": 4}, "can't be shared by 1 devices in 4 parts; .* multiple of 4"),
    "mesh": ({"mesh": {"data": 3, "fsdp": 1}}, "does not fit the 1 devices there are"),
    "part": ({"optimizer.learning_rate_factors": {"neck": 0.5}}, "segmenter_tiny has no part neck; it has decoder"),
    "precision": ({"dtype": "float16"}, "'float16'; it is one of auto, float32, bfloat16"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_run_is_refused_and_nothing_is_written(name, source, tmp_path, request):
    changes, message = REFUSED[name]
    if name not in ("norm", "size", "part"):  # those two come to light in the network itself
        request.getfixturevalue("no_network")
    config = _config()
    for key, value in changes.items():
        *part, last = key.split(".")
        setattr(config[part[0]] if part else config, last, value)
    with pytest.raises(InputError, match=message):
        train(config, tmp_path / "run", source)
    assert not (tmp_path / "run").exists()


def test_an_empty_source_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match="empty"):
        train(_config(), tmp_path / "run", ArraySource([]))
    assert not (tmp_path / "run").exists()


def test_weights_of_another_network_are_refused_and_nothing_is_written(no_network, source, tmp_path):
    preset = tiny.preset("classifier", stem=(4, 4, 6), norm="none")
    variables = tiny.random_variables(build(preset), jnp.zeros((1, 32, 32, 3)))
    folder = save_model(tmp_path / "other", variables, preset, provenance={})
    with pytest.raises(InputError, match=r"stem3_conv/kernel: \(3, 3, 4, 6\), expected \(3, 3, 4, 4\)"):
        train(_config("classifier", init_from=str(folder)), tmp_path / "run", source)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("inside", [(), ("deeper",)])
def test_a_file_in_the_way_of_the_run_is_refused_and_kept(no_network, source, tmp_path, inside):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file: is a file; name a folder"):
        train(_config("classifier"), (tmp_path / "file").joinpath(*inside), source)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_config_decides_options_and_size_of_the_preset():
    preset = preset_of(_config(**{"model.input_size": 0}))
    assert preset.preprocessing.size == (128, 128)
    assert preset.options["vgg_channels"] == (4, 4, 4, 4, 4)
