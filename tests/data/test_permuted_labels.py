"""Labels shuffled between patients: whose they are, how many there are, and that nothing can be learned from them."""

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
import tiny
from scipy import stats

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.data.permuted_labels import PermutedLabels, permute_labels
from jcs_jax.data.pipeline import TrainingBatches, evaluation_batches
from jcs_jax.evaluation.clusters import Clusters
from jcs_jax.evaluation.intervals import bootstrap_interval
from jcs_jax.evaluation.randomisation import judge_all
from jcs_jax.metrics import SortedScores
from jcs_jax.models.output import ModelOutput
from jcs_jax.preprocessing import Preprocessing
from jcs_jax.training.objective import Objective

SIDE = 32
PREPROCESSING = Preprocessing((SIDE, SIDE))
OPTIMIZER = optax.adam(1e-2)


class SmallNetwork(nn.Module):
    """Two convolutions, average pooling and the class head."""

    @nn.compact
    def __call__(self, images, *, train=False):
        features = images
        for _ in range(2):
            features = nn.relu(nn.Conv(8, (3, 3), strides=2)(features))
        return ModelOutput(nn.Dense(2, use_bias=False, name="class_head")(features.mean((1, 2))), None, {})


MODEL = SmallNetwork()


def _example(label, patient, name, seed=0):
    """Noise of a strength and a place of its own, and in infected slices stripes."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.2, 0.6) + rng.normal(0, 0.05, (SIDE, SIDE))
    top, left = rng.integers(0, SIDE - 8, 2)
    image[top : top + 8, left : left + 8] += rng.uniform(-0.3, 0.3)
    if label == 1:
        image[::4] += 0.2
    return Example(np.clip(image, 0, 1).astype(np.float32), label=label, patient=patient, name=name)


def _source(patients, seed):
    """Two slices a patient, every other patient infected."""
    return ArraySource(
        [_example(p % 2, f"{seed}-{p}", f"{seed}-{p}-{s}", (seed, p, s)) for p in range(patients) for s in range(2)]
    )


def test_a_patients_slices_get_one_label_and_as_many_patients_are_infected_as_before():
    patients = [f"p{index // 3}" for index in range(60)]
    truth = [int(index // 3 < 8) for index in range(60)]  # 8 of 20 patients
    permuted = np.array(permute_labels(truth, patients, seed=0)).reshape(20, 3)
    assert (permuted == permuted[:, :1]).all()
    assert permuted[:, 0].sum() == 8


@pytest.mark.parametrize("seed", range(5))
def test_the_new_labels_have_nothing_to_do_with_the_true_ones(seed):
    truth = np.repeat([1, 0], 10)
    permuted = np.array(permute_labels(truth, [f"p{i}" for i in range(20)], seed))
    assert permuted[truth == 1].sum() == permuted[truth == 0].sum() == 5


def test_a_remainder_is_rounded_at_random():
    truth = np.repeat([1, 0], [3, 3])  # 1.5 of the infected stay infected
    kept = [sum(permute_labels(truth, list("abcdef"), seed)[:3]) for seed in range(200)]
    assert set(kept) == {1, 2}
    assert np.mean(kept) == pytest.approx(1.5, abs=0.15)  # standard error 0.035


def test_slices_of_unknown_patients_are_shuffled_one_by_one():
    permuted = permute_labels([1, 1, 0, 0], ["", "", "", ""], seed=0)
    assert sum(permuted) == 2
    assert sum(permuted[:2]) == 1


def test_unknown_labels_stay_unknown_and_a_patient_with_any_infected_slice_is_infected():
    permuted = permute_labels([-1, 0, 1, 0, 0], ["a", "b", "b", "c", "a"], seed=0)
    assert permuted[0] == -1
    assert permuted[1] == permuted[2]
    assert permuted[1] + permuted[3] + permuted[4] == 1  # b was the only one


def test_a_single_class_and_no_slices_are_left_as_they_are():
    assert permute_labels([1, 1], ["a", "b"], seed=0) == [1, 1]
    assert permute_labels([0, 0], ["a", "b"], seed=0) == [0, 0]
    assert permute_labels([], [], seed=0) == []


def test_the_same_seed_gives_the_same_labels_and_another_one_others():
    truth, patients = [0, 1] * 10, [f"p{i}" for i in range(20)]
    assert permute_labels(truth, patients, 0) == permute_labels(truth, patients, 0)
    assert permute_labels(truth, patients, 0) != permute_labels(truth, patients, 1)


def test_examples_and_records_tell_the_same_labels_and_the_source_stays_as_it_was():
    source = _source(10, 0)
    permuted = PermutedLabels(source, seed=1)
    labels = [record.label for record in permuted.records()]
    assert labels == [permuted[index].label for index in range(len(permuted))] != [e.label for e in source]
    np.testing.assert_array_equal(permuted[3].image, source[3].image)
    assert permuted[-1].label == labels[-1]
    assert "shuffled between patients (seed 1)" in permuted.info["warning"]


def test_the_warning_of_the_source_is_kept():
    source = ArraySource([_example(0, "a", "one")], {"warning": "slices of one hospital", "licence": "CC0"})
    info = PermutedLabels(source).info
    assert info["warning"].endswith(". slices of one hospital")
    assert info["licence"] == "CC0"


@pytest.fixture(scope="module")
def step():
    def loss(params, batch):
        return Objective()(MODEL.apply({"params": params}, batch["image"], train=True), batch)[0]

    def follow(params, opt_state, batch):
        updates, opt_state = OPTIMIZER.update(jax.grad(loss)(params, batch), opt_state)
        return optax.apply_updates(params, updates), opt_state

    return tiny.quick_jit(follow)


def _held_out_auc(step, train):
    """The AUC on 40 other patients with true labels, and its interval, after 60 steps."""
    params = tiny.random_variables(MODEL, np.zeros((1, SIDE, SIDE, 3), np.float32))["params"]
    opt_state = OPTIMIZER.init(params)
    for batch in TrainingBatches(train, PREPROCESSING, augment="none", batch_size=16, seed=0, steps=60):
        params, opt_state = step(params, opt_state, batch)
    held_out = _source(40, seed=1)
    batches = evaluation_batches(held_out, PREPROCESSING, batch_size=16)
    scores = judge_all(MODEL, {"params": params}, batches).infection
    records = list(held_out.records())
    ranks = SortedScores.from_scores(scores, np.array([record.label for record in records]))
    clusters = Clusters.from_patients([record.patient for record in records])
    value = float(ranks.auc())
    return value, bootstrap_interval(ranks.auc, clusters, value=value, bounds=(0, 1), support=20)


def test_a_network_learns_true_labels(step):
    value, (low, _) = _held_out_auc(step, _source(40, seed=0))
    assert value > 0.9
    assert low > 0.8


def test_of_shuffled_labels_it_learns_nothing_that_holds_for_other_patients(step):
    # One shuffle's AUC is anywhere: what little the network learns goes with the stripes or against them.
    values = [_held_out_auc(step, PermutedLabels(_source(40, seed=0), seed))[0] for seed in range(8)]
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert low < 0.5 < high
    assert high < 0.9
