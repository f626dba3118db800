"""`jcs calibrate`, from prepared slices and a model folder to one with a patient's rule."""

import copy
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stub_network
import tiny
from PIL import Image
from prepared import build
from stub_network import SIDE, StubNetwork

from jcs_jax import checkpoints, cli
from jcs_jax.checkpoints import describe_model, load_model, save_model
from jcs_jax.data.sources import open_source
from jcs_jax.diagnosis.calibration import fit_temperature
from jcs_jax.diagnosis.decision import DEFAULT_RULE, suspicion
from jcs_jax.diagnosis.predictor import Predictor, picture_diagnosis
from jcs_jax.diagnosis.result.decision import INFECTED, UNINFECTED
from jcs_jax.models.presets import build as build_network
from jcs_jax.notice import RESEARCH_USE

DATA = "ct_manifest/pictures"
SLICES = 3
# Split and patient -> label and brightness; of an infected patient's slices one is labelled infected. `u3` is brighter
# than `i0`: whatever the threshold, one of eight is wrong.
PATIENTS = {
    **{("train", f"t{number}"): (number % 2, 0.3) for number in range(2)},
    **{("val", f"i{number}"): (1, brightness) for number, brightness in enumerate((0.60, 0.68, 0.76, 0.84))},
    **{("val", f"u{number}"): (0, brightness) for number, brightness in enumerate((0.45, 0.50, 0.55, 0.62))},
    ("val", "unread"): ("", 0.4),
    ("val", ""): (1, 0.4),
    ("test", ""): (0, 0.4),
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Noise, as bright as the patient's brightness."""
    folder = tmp_path_factory.mktemp("calibrate")
    rng = np.random.default_rng(0)
    rows = ["image,label,patient,split"]
    for (split, patient), (label, brightness) in PATIENTS.items():
        for index in range(SLICES):
            picture = f"{split}-{patient}-{index}.png"
            values = 255 * brightness + rng.integers(-20, 21, (SIDE, SIDE))
            Image.fromarray(np.round(values).astype(np.uint8)).save(folder / picture)
            rows.append(f"{picture},{label and int(index == 1)},{patient},{split}")
    (folder / "list.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    build(DATA, folder / "list.csv", folder / "data")
    return folder / "data"


def _trained(**changes):
    """The part of a model's provenance that tells its data."""
    return {"config": {"data": {"dataset": DATA, "train_split": "train", "also_train_on": "", **changes}}}


@pytest.fixture
def save(tmp_path_factory, monkeypatch):
    """Saves the stub network, whose log-odds are known by hand; `load_model` finds it again."""
    folder = tmp_path_factory.mktemp("models")
    networks: dict[str, Any] = {}

    def load(path):
        return networks[Path(path).name]

    def store(name: str, factor: float = 1.0, *, classifies: bool = True, **provenance: Any) -> Path:
        variables = copy.deepcopy(stub_network.VARIABLES)
        variables["params"]["class_head"]["kernel"] *= np.float32(factor)
        preset = stub_network.preset()
        networks[name] = (StubNetwork(classifies), variables if classifies else {"params": {}}, preset)
        return save_model(folder / name, variables, preset, provenance=provenance)

    monkeypatch.setattr(checkpoints, "load_model", load)
    return store


@pytest.fixture
def flags(data_dir, save, tmp_path, monkeypatch):
    """Flags of a run that works."""
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "results").mkdir()
    return {
        "checkpoint": save("good", minutes=1.5, **_trained(eval_split="test")),
        "data_dir": data_dir,
        "dataset": DATA,
        "split": "validation",
        "output": tmp_path / "results" / "calibrated",
    }


def _run(flags, *arguments):
    return cli.main(["calibrate", *(f"--{name}={value}" for name, value in flags.items()), *arguments])


def _refusal(flags, capsys, *parts):
    assert _run(flags) == 2
    said = capsys.readouterr()
    assert said.err.startswith("jcs calibrate: ") and said.err.count("\n") == 1
    for part in parts:
        assert part in said.err
    assert not list(flags["output"].parent.iterdir())


def _slices(data_dir):
    """The pictures of the patients that count, by patient."""
    patients: dict[str, list[stub_network.SliceImage]] = {}
    for example in open_source(data_dir, DATA, "validation"):
        if example.patient[:1] in ("i", "u") and example.patient != "unread":
            patients.setdefault(example.patient, []).append(stub_network.slice_of(example.image, example.name))
    return patients


def test_the_rule_is_that_of_the_patients_log_odds_by_hand(flags, data_dir, capsys):
    """Half of three slices is the first and half of the second; the stub's log-odds are 8 times the brightness - 5."""
    assert _run(flags | {"share": 0.5, "indecision": 0.01}) == 0
    rule = describe_model(flags["output"])[0].patient
    patients = _slices(data_dir)
    assert len(patients) == 8
    log_odds = {name: np.array([8 * one.intensity.mean() - 5 for one in own]) for name, own in patients.items()}
    scores = np.array([suspicion(own, np.ones(3), 0.5) for own in log_odds.values()])
    infected = np.array([name.startswith("i") for name in log_odds])
    assert rule.temperature == pytest.approx(fit_temperature(scores, infected), rel=1e-3)
    u3, i1 = (1 / (1 + np.exp(-scores[list(log_odds).index(name)] / rule.temperature)) for name in ("u3", "i1"))
    assert rule.threshold == pytest.approx((u3 + i1) / 2, rel=1e-3)
    assert (rule.share, rule.indecision) == (0.5, 0.01)
    assert rule.chosen_on == f"{DATA}:validation, 8 patients (4 infected); fewer than 20, so uncertain"


def test_the_slice_threshold_is_the_best_one_of_all(flags, data_dir):
    assert _run(flags) == 0
    preset, provenance = describe_model(flags["output"])
    examples = [one for one in open_source(data_dir, DATA, "validation") if one.patient not in ("", "unread")]
    probability = np.array([stub_network.probability(one.image) for one in examples])
    infected = np.array([one.label == 1 for one in examples])

    def rates(threshold):
        called = probability >= threshold
        return np.mean(called[infected]), np.mean(~called[~infected])

    sensitivity, specificity = rates(preset.class_threshold)
    assert sensitivity + specificity == max(sum(rates(threshold)) for threshold in probability)
    record = provenance["calibration"]
    assert (record["slice_sensitivity"], record["slice_specificity"]) == (sensitivity, specificity)
    predictor = Predictor.of(StubNetwork(), stub_network.VARIABLES, preset)
    slices = [stub_network.slice_of(one.image, one.name) for one in examples]
    called = [one.findings.positive for one in predictor.predict(slices)]
    assert called == (probability >= preset.class_threshold).tolist()


def test_a_slice_threshold_that_cannot_be_chosen_stays(flags, tmp_path, capsys):
    """Infected patients have the brightest slice of all and the darkest one, which alone is labelled infected."""
    rows = ["image,label,patient,split"]
    for number in range(8):
        infected = number % 2
        for index, brightness in enumerate((0.9, 0.1) if infected else (0.5, 0.5)):
            picture = f"{number}-{index}.png"
            Image.fromarray(np.full((SIDE, SIDE), round(255 * brightness) + number, np.uint8)).save(tmp_path / picture)
            rows.append(f"{picture},{infected * index},p{number},val")
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    build(DATA, tmp_path / "list.csv", tmp_path / "data")
    assert _run(flags | {"data_dir": tmp_path / "data"}) == 0
    preset, provenance = describe_model(flags["output"])
    assert preset.class_threshold == stub_network.preset().class_threshold
    assert preset.patient.chosen_on
    assert "slice_sensitivity" not in provenance["calibration"]
    assert "a slice still counts as infected from 0.5: no threshold" in capsys.readouterr().out


def test_the_provenance_is_kept_and_tells_what_was_done(flags, data_dir):
    assert _run(flags | {"dataset": "ct_manifest"}) == 0
    preset, provenance = describe_model(flags["output"])
    record = provenance.pop("calibration")
    old, kept = describe_model(flags["checkpoint"])
    assert provenance == kept
    chosen = {"patient", "class_threshold", "familiar"}
    assert {key: value for key, value in preset.to_json().items() if key not in chosen} == {
        key: value for key, value in old.to_json().items() if key not in chosen
    }
    assert (record["data"], record["patients"], record["infected"]) == (f"{DATA}:validation", 8, 4)
    assert (record["slices"], record["patients_without_label"], record["slices_without_patient"]) == (24, 1, 3)
    assert (record["auc"], record["sensitivity"], record["specificity"]) == (15 / 16, 0.75, 1)
    assert record["brier_after"] < record["brier_before"]
    assert any("optimistic" in note for note in record["notes"])
    text = json.dumps(record)
    assert str(data_dir) not in text and "unread" not in text and "u3" not in text


def test_more_data_are_chosen_on_together(flags, save):
    """The parts of a split together give what the whole split gives."""
    together = {"split": f"validation[:{4 * SLICES}]", "also_on": f"{DATA}:validation[{4 * SLICES}:]"}
    assert _run(flags) == 0
    whole, record = describe_model(flags["output"])[0], describe_model(flags["output"])[1]["calibration"]
    assert _run(flags | together, "--overwrite") == 0
    joined, provenance = describe_model(flags["output"])
    assert (joined.patient.threshold, joined.familiar) == (whole.patient.threshold, whole.familiar)
    assert provenance["calibration"]["data"] == f"{DATA}:{together['split']}, {together['also_on']}"
    assert provenance["calibration"]["notes"] == record["notes"]
    assert joined.patient.chosen_on.endswith("8 patients (4 infected); fewer than 20, so uncertain")


def test_more_data_that_the_model_was_trained_on_are_refused(flags, capsys):
    _refusal(flags | {"also_on": f"{DATA}:train"}, capsys, f"{DATA}:train: the model was trained on {DATA}:train")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (DATA, f"--also_on: {DATA} names no split"),
        ("ct_manifest:validation", f"--also_on: {DATA}:validation is named twice"),
        (f"{DATA}:fold7", "no such split"),
    ],
)
def test_more_data_that_make_no_sense_are_refused(flags, capsys, more, said):
    _refusal(flags | {"also_on": more}, capsys, said)


def test_a_diagnosis_uses_the_rule(flags, data_dir):
    assert _run(flags | {"indecision": 0.01}) == 0
    preset, _ = describe_model(flags["output"])
    predictor = Predictor.of(StubNetwork(), stub_network.VARIABLES, preset)
    answers = {}
    for patient, pictures in _slices(data_dir).items():
        findings = tuple(one.findings for one in predictor.predict(pictures))
        diagnosis = picture_diagnosis(predictor, patient, findings)
        assert diagnosis.decision is not None
        assert diagnosis.decision.threshold == preset.patient.threshold
        assert diagnosis.decision.chosen_on.startswith(f"{DATA}:validation, 8 patients")
        assert DEFAULT_RULE not in diagnosis.case_notes
        answers[patient] = diagnosis.decision.answer
    infected = {"i1", "i2", "i3"}
    assert answers == {patient: INFECTED if patient in infected else UNINFECTED for patient in answers}


def test_known_slices_are_familiar_and_black_ones_are_not(flags, data_dir):
    assert _run(flags) == 0
    familiar = describe_model(flags["output"])[0].familiar
    assert familiar is not None
    values = np.array([2 * one.intensity.mean() - 1 for own in _slices(data_dir).values() for one in own])
    known = np.stack([values, np.ones_like(values)], axis=1)  # of the stub's two features one never moves
    np.testing.assert_allclose(familiar.mean, known.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(familiar.deviation, known[:, 0].std() * np.array([1, 0.1]), rtol=1e-4)
    assert np.mean(familiar.distance(known) <= familiar.limit) > 0.95
    assert familiar.distance(np.array([[-1.0, 1.0]]))[0] > familiar.limit


def test_the_weights_stay_the_same(flags, save, monkeypatch):
    monkeypatch.setattr(checkpoints, "load_model", load_model)
    preset = tiny.preset("classifier", norm="none")
    variables = tiny.random_variables(build_network(preset), jnp.zeros((1, tiny.SIDE, tiny.SIDE, 3)))
    checkpoint = save_model(flags["output"].parents[1] / "real", variables, preset, provenance=_trained())
    assert _run(flags | {"checkpoint": checkpoint}) == 0
    _, loaded, calibrated = load_model(flags["output"])
    jax.tree.map(np.testing.assert_array_equal, variables, loaded)
    assert calibrated.familiar is not None
    assert len(calibrated.familiar.mean) > len(variables["params"]["class_head"]["kernel"])  # of all stages


def test_what_was_chosen_is_shown(flags, capsys):
    assert _run(flags) == 0
    said = capsys.readouterr().out
    for part in ("8 patients (4 infected)", "temperature", "threshold", "sensitivity", "brier after", RESEARCH_USE):
        assert part in said
    assert "0.9375" in said
    assert "measured on the patients that the numbers were chosen on" in said
    assert f"Written: {flags['output']}" in said
    rule = describe_model(flags["output"])[0].patient
    assert (rule.share, rule.indecision) == (0.2, 0.05)


def test_a_folder_is_replaced_only_when_asked_to(flags, save, capsys):
    save_model(flags["output"], stub_network.VARIABLES, stub_network.preset(), provenance={})
    assert _run(flags) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert describe_model(flags["output"])[0].patient.chosen_on == ""
    assert _run(flags, "--overwrite") == 0
    assert describe_model(flags["output"])[0].patient.chosen_on


def test_bad_usage_is_one_line(flags, data_dir, capsys):
    for name in flags:
        assert _run({key: value for key, value in flags.items() if key != name}) == 2
        assert f"missing --{name}" in capsys.readouterr().err
    assert _run(flags, "extra") == 2
    assert "'extra' belongs to no flag" in capsys.readouterr().err
    for changes in ({"share": 0}, {"share": 1.5}, {"share": "nan"}, {"indecision": -0.1}, {"indecision": 1}):
        _refusal(flags | changes, capsys, f"--{next(iter(changes))}: is")
    _refusal(flags | {"split": "fold7"}, capsys, "no such split")
    _refusal(flags | {"checkpoint": data_dir}, capsys, "no model here")


def test_data_without_enough_patients_of_both_kinds_are_refused(flags, capsys):
    _refusal(flags | {"split": "test"}, capsys, "doesn't tell its patients")
    _refusal(flags | {"split": f"validation[:{4 * SLICES}]"}, capsys, "no uninfected patient among 4")
    _refusal(flags | {"split": f"validation[{4 * SLICES}:]"}, capsys, "no infected patient among 4")
    few = f"validation[{3 * SLICES}:{6 * SLICES}]"
    _refusal(flags | {"split": few}, capsys, "only 3 patients", "at least 4")


@pytest.mark.parametrize("part", [{"train_split": "validation[:1]"}, {"also_train_on": f"{DATA}:validation[6:]"}])
def test_data_that_the_model_was_trained_on_are_refused(flags, save, capsys, part):
    checkpoint = save("seen", **_trained(**part))
    _refusal(flags | {"checkpoint": checkpoint}, capsys, f"was trained on {DATA}:validation[", "never saw")


@pytest.mark.parametrize(
    ("network", "parts"),
    [
        ({"classifies": False}, ["silent: has no class head"]),
        ({"factor": np.nan}, ["not finite", "val-i0-0"]),
        ({"factor": -1.0}, [f"{DATA}:validation", "no better than chance"]),
    ],
)
def test_a_network_that_cannot_be_calibrated_is_refused(flags, save, capsys, network, parts):
    _refusal(flags | {"checkpoint": save("silent", **network)}, capsys, *parts)


@pytest.mark.parametrize(
    ("provenance", "note"),
    [
        ({"converted_from": "jcs.pth"}, "the weights don't tell what they were trained on"),
        (_trained(dataset="covid_cs/gone"), "wasn't checked for covid_cs/gone:train"),
        (_trained(eval_split="validation"), "which the model was to be measured on"),
    ],
)
def test_what_could_not_be_checked_or_is_unwise_is_noted(flags, save, provenance, note):
    assert _run(flags | {"checkpoint": save("noted", **provenance)}) == 0
    assert any(note in told for told in describe_model(flags["output"])[1]["calibration"]["notes"])
