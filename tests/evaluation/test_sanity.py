"""Networks that cheat in known ways: what the checks say of each."""

import json
import math

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.errors import InputError
from jcs_jax.evaluation.erased_lungs import ErasedLungs
from jcs_jax.evaluation.evaluate import evaluate
from jcs_jax.evaluation.sanity import run_sanity
from jcs_jax.models.output import ModelOutput
from jcs_jax.models.presets import Preset
from jcs_jax.preprocessing import Preprocessing

SIDE, CELL = 64, 8
PRESET = Preset("stub", "classifier", {}, Preprocessing((SIDE, SIDE), mean=(0.5,) * 3, std=(1, 1, 1)), source="test")
Y, X = np.mgrid[:SIDE, :SIDE]
LUNGS = (((np.abs(X - 31.5) - 13) / 9) ** 2 + ((Y - 31.5) / 16) ** 2) < 1
BODY = ((X - 31.5) / 30) ** 2 + ((Y - 31.5) / 25) ** 2 < 1
MARK = (slice(0, 4), slice(0, 8))  # in the corner of the picture
KERNEL = np.array([[0.0, 1.0]], np.float32)


class Reader(nn.Module):
    """Infected the brighter the picture is at given places; the map is that brightness, cell by cell."""

    reads: str = "lungs"
    segments: bool = False

    def __call__(self, images, *, train=False):
        place = np.zeros((SIDE, SIDE), np.float32)
        place[MARK if self.reads == "mark" else LUNGS] = 1.0
        seen = images[..., :1] * place[:, :, np.newaxis]
        features = nn.avg_pool(seen, (CELL, CELL), (CELL, CELL))
        if self.segments:
            return ModelOutput(None, jnp.repeat(images[..., :1], 5, axis=-1), {})
        logits = 100 * features.mean((1, 2)) @ KERNEL
        return ModelOutput(logits, None, {"class_features": features})


def _slice(label, seed, *, lungs=True):
    """Infected: brighter lungs, and a mark in the corner."""
    rng = np.random.default_rng(seed)
    image = np.where(BODY, 0.85, 0.05) + rng.normal(0, 0.01, BODY.shape)
    if lungs:
        image[LUNGS] = rng.normal(0.2 + 0.1 * (label == 1), 0.03, LUNGS.sum())
    if label == 1:
        image[MARK] += 0.3
    return Example(np.clip(image, 0, 1).astype(np.float32), label=label, patient=f"p{seed // 2}", name=f"{seed}")


def _source(count=24, **options):
    return ArraySource([_slice(seed // 2 % 2, seed, **options) for seed in range(count)])


def _sanity(model, source=None, **options):
    variables = {"params": {"class_head": {"kernel": KERNEL}}}
    return run_sanity(model, variables, PRESET, _source() if source is None else source, **options)


class TestWhereTheAnswerComesFrom:
    def test_a_network_that_reads_a_mark_is_found_out(self):
        sanity = _sanity(Reader("mark"))
        assert sanity.auc.value == sanity.auc_erased.value == 1.0
        assert sanity.auc_erased.low > 0.55
        assert sanity.auc_lungs_only.value == 0.5
        (fault,) = [fault for fault in sanity.faults if "lungs" in fault]
        assert fault.startswith(
            "the answer doesn't come from the lungs alone: with the lungs erased the AUC is still 1.00"
        )

    def test_a_network_that_reads_the_lungs_passes(self):
        sanity = _sanity(Reader("lungs"))
        assert sanity.auc.value == sanity.auc_lungs_only.value == 1.0
        assert (sanity.auc_erased.value, sanity.auc_erased.n) == (0.5, 24)
        assert not [fault for fault in sanity.faults if "lungs" in fault]

    def test_the_auc_of_the_whole_slices_is_that_of_the_evaluation(self):
        source = ArraySource([_slice(seed % 2 if seed % 5 else 1 - seed % 2, seed) for seed in range(20)])
        variables = {"params": {"class_head": {"kernel": KERNEL}}}
        evaluated = evaluate(Reader(), variables, PRESET, source).summary["classification"]["auc"]
        measured = _sanity(Reader(), source).auc
        assert (measured.value, measured.n) == (evaluated.value, evaluated.n)

    def test_slices_without_lungs_are_left_out_and_counted(self):
        examples = [*(_slice(seed // 2 % 2, seed) for seed in range(24)), _slice(1, 24, lungs=False)]
        sanity = _sanity(Reader("mark"), ArraySource(examples))
        assert (sanity.auc.n, sanity.auc_erased.n, sanity.auc_erased.n_absent) == (25, 24, 1)
        assert "no lungs were found in 1 of the slices: they count in the AUC of the whole slices only" in sanity.notes

    def test_two_patients_are_too_few_to_judge(self):
        sanity = _sanity(Reader("mark"), _source(4))
        assert sanity.auc_erased.value == 1.0
        assert math.isnan(sanity.auc_erased.low)
        assert not [fault for fault in sanity.faults if "lungs" in fault]
        assert any("too few patients for an interval" in note for note in sanity.notes)

    def test_one_class_has_no_auc(self):
        sanity = _sanity(Reader(), ArraySource([_slice(1, seed) for seed in range(6)]))
        assert math.isnan(sanity.auc.value)
        assert "where the answer comes from was not checked: the data lacks labels of both classes" in sanity.notes


class TestTheMap:
    def test_a_map_that_ignores_the_weights_fails(self):
        # Only the head's two numbers can be redrawn: they are swapped or stay, and the map keeps its places.
        sanity = _sanity(Reader("lungs"))
        (row,) = sanity.randomisation
        assert (row.part, row.similarity.value, row.similarity.n) == ("class_head", pytest.approx(1), 24)
        assert any(fault.startswith("the activation map doesn't depend on the weights") for fault in sanity.faults)

    def test_weights_are_randomised_on_a_few_slices_from_all_over(self):
        sanity = _sanity(Reader("lungs"), most_slices=5)
        assert sanity.randomisation[-1].similarity.n == 5
        assert "weights were redrawn 3 times and compared on 5 slices" in sanity.notes
        assert sanity.auc.n == 24

    def test_the_similarity_by_chance_is_told(self):
        assert "unrelated maps of 64 positions have a similarity of 0.10 by chance" in _sanity(Reader()).notes
        rng = np.random.default_rng(0)
        ranks = np.array([rng.permutation(64) for _ in range(4000)])
        correlations = [np.corrcoef(ranks[i], ranks[i + 1])[0, 1] for i in range(0, 4000, 2)]
        assert np.abs(correlations).mean() == pytest.approx(0.10, abs=0.005)


class TestWhatApplies:
    def test_a_network_without_a_class_head_is_refused(self):
        with pytest.raises(InputError, match=r"^stub: has no class head, so nothing can be checked; .*$"):
            _sanity(Reader(segments=True))

    def test_no_slices_are_refused(self):
        with pytest.raises(InputError, match="no slices"):
            _sanity(Reader(), ArraySource([]))

    def test_a_prediction_that_is_no_number_is_refused_by_name(self):
        examples = [_slice(seed % 2, seed) for seed in range(6)]
        examples[4].image[LUNGS] = np.nan
        with pytest.raises(InputError, match=r"^4: the prediction is NaN or infinite"):
            _sanity(Reader(), ArraySource(examples), most_slices=2)

    def test_stored_features_keep_their_lungs_and_their_stem(self):
        class FromFeatures(nn.Module):
            @nn.compact
            def __call__(self, *, res2net_features, train=False):
                features = Stage(name="res2net")(res2net_features)
                logits = nn.Dense(2, use_bias=False, name="class_head")(features.mean((1, 2)))
                return ModelOutput(logits, None, {"class_features": features})

        rng = np.random.default_rng(0)
        stored = [rng.integers(0, 9, (SIDE // 2, SIDE // 2, 4)).astype(np.uint8) for _ in range(8)]
        source = ArraySource(
            [Example(None, label=i % 2, patient=f"{i}", name=f"{i}", res2net_features=f) for i, f in enumerate(stored)]
        )
        model = FromFeatures()
        variables = model.init(jnp.array([0, 0], jnp.uint32), res2net_features=np.zeros((1, 32, 32, 4), np.float32))
        variables["params"]["res2net"]["stem1_conv"] = {"kernel": np.ones((3, 3, 1, 4), np.float32)}
        sanity = run_sanity(model, variables, PRESET, source)
        assert [row.part for row in sanity.randomisation] == ["class_head", "res2net.stage1"]
        assert (sanity.auc.n, sanity.auc_erased.n, sanity.auc_lungs_only.n) == (8, 0, 0)
        assert "the lungs were not erased: the data has stored features instead of pictures" in sanity.notes


class Stage(nn.Module):
    """One convolution, named as a block of the first stage is."""

    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Conv(4, (3, 3), strides=2, name="stage1_block0")(x))


def test_the_json_is_strict_and_complete():
    told = json.loads(json.dumps(_sanity(Reader("mark")).to_json(), allow_nan=False))
    assert told.keys() == {"randomisation", "auc", "auc_erased", "auc_lungs_only", "notes", "faults"}
    assert told["randomisation"][0].keys() == {"part", "similarity", "signed", "infection_change"}
    assert told["auc_erased"].keys() == {"value", "interval", "n", "n_absent"}
    assert len(told["faults"]) == 2


def test_the_made_slices_lose_their_lungs():
    erased = ErasedLungs(_source(2), PRESET.preprocessing)[1].image
    assert (erased[LUNGS] == 0.5).all()
    assert (erased[MARK] != 0.5).all()
