"""Identification against loops over its definition, and its protocol against physically repeated identities."""

import numpy as np
import pytest

from benchmarks.errors import ProtocolError
from benchmarks.measures import detection_grid
from benchmarks.measures.detection import UnitScores, accepted
from benchmarks.measures.detection_grid import accepted_along
from benchmarks.measures.resampling import resample
from benchmarks.measures.search import cmc, dir_curve, point_at, searches, tpir_at_fpir
from benchmarks.protocols.galleries import Gallery, draw_gallery, search_gallery, templates
from benchmarks.protocols.identification import identification
from benchmarks.protocols.judged import Judged, Settings
from datasets.splits import PART_CODES

PREFIX = "identification/"


def by_loops(scores, probe_ids, gallery_ids, ties):
    """(rank, own score) of mated probes, best score of the others, one probe at a time."""
    mated, others = [], []
    for row, own in zip(scores.tolist(), probe_ids.tolist(), strict=True):
        best = {}
        for score, identity in zip(row, gallery_ids.tolist(), strict=True):
            best[identity] = max(best.get(identity, -np.inf), score)
        if own not in best:
            others.append(max(best.values()))
            continue
        rank = 1
        for identity, score in best.items():
            ahead = score > best[own] or (ties == "pessimistic" and score == best[own])
            rank += identity != own and ahead
        mated.append((rank, best[own]))
    return mated, others


def point_by_loops(mated, others, target, rank):
    hits = [score for place, score in mated if place <= rank]
    threshold, achieved = np.inf, 0.0
    for candidate in sorted({*hits, *others}, reverse=True):
        fpir = sum(score >= candidate for score in others) / len(others)
        if fpir <= target:
            threshold, achieved = candidate, fpir
    return threshold, sum(score >= threshold for score in hits) / len(mated), achieved


def random_scores(rng):
    """Few levels: heavy ties; several gallery items an identity; some probes not in the gallery."""
    gallery_ids = rng.integers(0, rng.integers(1, 7), rng.integers(1, 12)) * 3
    probe_ids = rng.choice([*np.unique(gallery_ids), 1, 100], rng.integers(1, 30))
    levels = rng.integers(1, 12)
    scores = rng.integers(0, levels, (len(probe_ids), len(gallery_ids))) / levels
    return scores, probe_ids, gallery_ids


@pytest.mark.parametrize("ties", ["pessimistic", "optimistic"])
def test_agrees_with_loops(ties):
    rng = np.random.default_rng(0)
    undefined = unreached = 0
    for _ in range(300):
        case = random_scores(rng)
        mated, others = by_loops(*case, ties)
        ranks = [1, 2, 3, 50]
        got = cmc(*case, ranks, ties)
        if mated:
            expected = [np.mean([place <= rank for place, _ in mated]) for rank in ranks]
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
        else:
            assert np.isnan(got).all()
        for target in (0.0, 0.1, 1 / 3, 0.5, 1.0):
            rank = int(rng.integers(1, 4))
            point = tpir_at_fpir(*case, target, rank, ties)
            if not mated or not others:
                assert np.isnan(point).all()
                undefined += 1
                continue
            expected = point_by_loops(mated, others, target, rank)
            np.testing.assert_allclose(point, expected, rtol=0, atol=1e-12)
            unreached += np.isinf(point.threshold)
    assert undefined
    assert unreached


def test_ties_decide_the_rank():
    scores, gallery_ids = np.full((1, 4), 0.5), np.arange(4)
    rates = {
        ties: cmc(scores, [2], gallery_ids, [1, 3, 4], ties)
        for ties in ("pessimistic", "optimistic")
    }
    assert rates["pessimistic"].tolist() == [0, 0, 1]
    assert rates["optimistic"].tolist() == [1, 1, 1]


def test_the_dir_curve_holds_every_operating_point():
    rng = np.random.default_rng(4)
    scores, probes, gallery = rng.random((200, 6)), rng.integers(0, 9, 200), np.arange(6)
    curve = dir_curve(searches(scores, probes, gallery))
    assert (np.diff(curve.alarm_rate) >= 0).all()
    assert (np.diff(curve.hit_rate) >= 0).all()
    assert curve.alarm_rate[-1] == 1
    assert curve.hit_rate[-1] == cmc(scores, probes, gallery, [1])[0]
    for index, target in enumerate(curve.alarm_rate):
        later = np.flatnonzero(curve.alarm_rate == target)[-1]
        assert tpir_at_fpir(scores, probes, gallery, target).threshold == curve.thresholds[later]
        assert later >= index


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.array([[0.5, np.nan]])}, "1 scores are not a number"),
        ({"scores": np.ones((2, 2))}, "1 probes and 2 gallery items"),
        ({"scores": np.ones((1, 0)), "gallery_ids": np.arange(0)}, "the gallery is empty"),
        ({"ties": "random"}, "ties 'random'"),
        ({"target": 1.5}, "FPIR 1.5"),
        ({"rank": 0}, "rank 0"),
    ],
)
def test_bad_scores_are_named(change, message):
    good = {
        "scores": np.ones((1, 2)),
        "probe_ids": np.array([7]),
        "gallery_ids": np.array([0, 1]),
        "target": 0.1,
    }
    assert np.isnan(tpir_at_fpir(**good)).all()  # no mated probe: undefined, not an error
    with pytest.raises(ProtocolError, match=message):
        tpir_at_fpir(**(good | change))


# --- galleries


def test_a_gallery_enrols_half_and_searches_the_rest():
    sizes = np.array([1, 2, 3, 9, 10, 40, 1, 2])
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(8) * 7, sizes))
    seen = set()
    for number in range(30):
        gallery = draw_gallery(labels, number)
        together = np.sort(np.concatenate([gallery.images, gallery.probes]))
        np.testing.assert_array_equal(together, np.arange(len(labels)))
        enrolled, counts = np.unique(labels[gallery.images], return_counts=True)
        assert len(enrolled) == 4
        np.testing.assert_array_equal(counts, np.minimum(5, sizes[enrolled // 7] // 2))
        assert not {0, 42} & set(enrolled.tolist())  # identities with one image
        assert set(enrolled.tolist()) <= set(
            labels[gallery.probes].tolist()
        )  # all have mated probes
        seen.add(tuple(gallery.images.tolist()))
        np.testing.assert_array_equal(gallery.images, draw_gallery(labels, number).images)
    assert len(seen) == 30


def test_every_image_and_identity_can_be_drawn():
    labels = np.repeat(np.arange(4), 6)
    drawn = np.concatenate([draw_gallery(labels, number).images for number in range(200)])
    share = np.bincount(drawn, minlength=24) / 200
    np.testing.assert_allclose(share, 0.25, atol=0.12)  # half the identities, half of their images


def test_a_template_is_the_mean_direction():
    embeddings = np.array([[3.0, 0.0], [0.0, 0.1], [5.0, 5.0], [-2.0, 0.0], [1.0, 0.0]])
    identities, vectors = templates(embeddings, np.array([4, 4, 2, 3, 3]))
    assert identities.tolist() == [2, 3, 4]
    half = np.sqrt(0.5)
    np.testing.assert_allclose(vectors, [[half, half], [0, 0], [half, half]], atol=1e-15)


def test_blocks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(20), 9)
    embeddings = rng.standard_normal((180, 5)).astype(np.float32)
    gallery = draw_gallery(labels, 0)
    found = search_gallery(embeddings, labels, gallery)
    enrolled, vectors = templates(embeddings[gallery.images], labels[gallery.images])
    unit = embeddings.astype(float) / np.linalg.norm(embeddings.astype(float), axis=1)[:, None]
    whole = searches(unit[gallery.probes] @ vectors.T, labels[gallery.probes], enrolled)
    np.testing.assert_array_equal(found.ranks, whole.ranks)
    np.testing.assert_allclose(found.scores, whole.scores, atol=1e-11)
    monkeypatch.setattr("benchmarks.protocols.galleries.BLOCK_SCORES", 30)
    blocked = search_gallery(embeddings, labels, gallery)
    np.testing.assert_array_equal(blocked.ranks, found.ranks)
    np.testing.assert_array_equal(blocked.scores, found.scores)


def test_collapsed_embeddings_find_nobody():
    labels = np.repeat(np.arange(6), 5)
    one = np.random.default_rng(2).standard_normal(33).astype(np.float32)
    found = search_gallery(np.tile(one, (30, 1)), labels, draw_gallery(labels, 0))
    assert set(found.ranks.tolist()) == {0, 3}  # all equal: last of the three identities
    assert (found.scores == 1.0).all()


# --- the protocol


def judged(embeddings, labels, side="test"):
    part = np.full(len(labels), PART_CODES[f"unknown_{side}"], dtype=np.int8)
    return Judged(np.asarray(embeddings), np.asarray(labels), part, known_classes=np.array([0]))


def clustered(rng, sizes, dim=6, noise=1.0):
    labels = np.repeat(np.arange(len(sizes)) * 2 + 5, sizes)
    centres = rng.standard_normal((len(sizes), dim))
    images = np.repeat(centres, sizes, axis=0) + noise * rng.standard_normal((len(labels), dim))
    return images.astype(np.float32), labels


def weighted(run, weights, fpirs, galleries):
    """The metrics with every probe repeated as often as its identity counts, mean over the draws."""
    identities = np.unique(run.labels)
    values = []
    for number in range(galleries):
        gallery = draw_gallery(run.labels, number)
        times = weights[np.searchsorted(identities, run.labels[gallery.probes])]
        again = Gallery(gallery.images, np.repeat(gallery.probes, times))
        found = search_gallery(run.embeddings, run.labels, again)
        rates = [found.hits(rank).sum() / max(1, found.mated.sum()) for rank in (1, 5, 10)]
        curve = dir_curve(found)
        points = [np.nan if curve is None else point_at(curve, fpir).tpir for fpir in fpirs]
        values.append(
            np.array(rates + points) if found.mated.any() else np.full(3 + len(fpirs), np.nan)
        )
    return np.nanmean(values, axis=0)


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("quantised", [False, True])
def test_replicates_are_metrics_of_repeated_identities(quantised):
    rng = np.random.default_rng(3)
    embeddings, labels = clustered(rng, rng.integers(1, 30, 14))
    if quantised:  # many equal scores
        embeddings = np.sign(embeddings)[:, :4]
    run = judged(embeddings, labels)
    fpirs = (0.3, 0.2)
    outcome = identification(run, "test", Settings(fpirs=fpirs, galleries=3, resamples=25))
    names = [PREFIX + name for name in ("rank_1", "rank_5", "rank_10")]
    names += [PREFIX + name for name in ("tpir_at_fpir_3e-01", "tpir_at_fpir_2e-01")]
    assert set(outcome.replicates) == set(outcome.left_out) == set(names)

    whole = weighted(run, np.ones(14, int), fpirs, 3)
    np.testing.assert_allclose([outcome.metrics[name] for name in names], whole, atol=1e-12)
    counts = resample(labels, 25).counts
    for draw in range(25):
        got = [outcome.replicates[name][draw] for name in names]
        np.testing.assert_allclose(got, weighted(run, counts[draw], fpirs, 3), atol=1e-12)
    for unit in range(14):
        got = [outcome.left_out[name][unit] for name in names]
        left = weighted(run, (np.arange(14) != unit).astype(int), fpirs, 3)
        np.testing.assert_allclose(got, left, atol=1e-12)


def test_curves_are_those_of_repeated_identities():
    rng = np.random.default_rng(8)
    embeddings, labels = clustered(rng, rng.integers(15, 30, 14), noise=0.7)
    run = judged(embeddings, labels)
    outcome = identification(run, "test", Settings(fpirs=(0.1,), galleries=3, resamples=12))
    curves = {key.removeprefix(PREFIX): item for key, item in outcome.curves.items()}
    fpirs, ranks = curves["replicate_fpir"], curves["replicate_rank"]
    assert fpirs[-1] == 1.0
    assert len(fpirs) >= 5
    assert ranks.tolist() == [1, 2, 3, 5, 7]  # of seven enrolled
    counts = resample(labels, 12).counts
    weightings = {
        "replicate": counts,
        "left_out": (1 - np.eye(14)).astype(int),
        "grid": np.ones((1, 14), int),
    }
    for kind, rows in weightings.items():
        cmc, tpir = (np.atleast_2d(curves[f"{kind}_{name}"]) for name in ("cmc", "tpir"))
        assert cmc.shape == (len(rows), 5)
        for row, weights in enumerate(rows):
            wanted = weighted(run, weights, fpirs, 3)
            np.testing.assert_allclose(cmc[row][[0, 3]], wanted[:2], atol=1e-6)
            np.testing.assert_allclose(tpir[row], wanted[3:], atol=1e-6)
    found = ranks <= curves["rank"][-1]  # at the last rank that occurs everybody is found
    np.testing.assert_allclose(curves["grid_cmc"][found], curves["cmc"][ranks[found] - 1])
    assert (curves["grid_cmc"][~found] == 1).all()
    column = fpirs.tolist().index(0.1)
    name = PREFIX + "tpir_at_fpir_1e-01"
    assert curves["grid_tpir"][column] == pytest.approx(outcome.metrics[name], abs=1e-12)


def accepted_case(rng):
    """Scores with ties, units without weight, more units than images have."""
    units, others = rng.integers(2, 6, 2)
    levels = rng.integers(2, 12)
    hits, negatives = (
        UnitScores(rng.integers(0, levels, count) / levels, rng.integers(0, size, count))
        for count, size in ((rng.integers(0, 20), units), (rng.integers(1, 40), others))
    )
    rows = rng.integers(1, 6)
    hit_weights = rng.integers(0, 3, (rng.choice([1, rows]), units))
    return hits, negatives, hit_weights, rng.integers(0, 3, (rows, others))


def test_a_whole_curve_is_its_points(monkeypatch):
    rng = np.random.default_rng(9)
    targets = [0.0, 0.05, 0.1, 1 / 3, 0.5, 0.9, 1.0]
    undefined = 0
    for block in (1, 100, 2**21):  # one row at a time, some, all
        monkeypatch.setattr(detection_grid, "BLOCK", block)
        for _ in range(60):
            case = accepted_case(rng)
            wanted, got = accepted(*case, targets), accepted_along(*case, targets)
            rows = (len(case[3]), len(targets))
            for one, other in zip(wanted, got, strict=True):
                np.testing.assert_array_equal(np.broadcast_to(one, rows), other)
            undefined += np.isnan(got[1]).any()
    assert undefined


def test_metrics_and_curves():
    rng = np.random.default_rng(5)
    embeddings, labels = clustered(rng, np.full(40, 10), noise=0.6)
    outcome = identification(judged(embeddings, labels), "test", Settings(resamples=0))
    metrics = outcome.metrics
    assert metrics[PREFIX + "gallery_identities"] == 20
    assert metrics[PREFIX + "mated_probes"] == 100
    assert metrics[PREFIX + "non_mated_probes"] == 200
    assert metrics[PREFIX + "rank_1"] < metrics[PREFIX + "rank_5"] <= metrics[PREFIX + "rank_10"]
    assert metrics[PREFIX + "achieved_fpir_1e-01"] <= 0.1
    assert metrics[PREFIX + "tpir_at_fpir_1e-02"] is None
    assert "FPIR 0.01 of 200 non-mated probes" in outcome.notes[PREFIX + "tpir_at_fpir_1e-02"]
    assert not outcome.replicates
    assert not outcome.left_out

    found = [search_gallery(embeddings, labels, draw_gallery(labels, k)) for k in range(5)]
    firsts = [each.hits(1).sum() / each.mated.sum() for each in found]
    assert metrics[PREFIX + "rank_1"] == pytest.approx(np.mean(firsts), abs=1e-12)
    assert metrics[PREFIX + "rank_1_gallery_sd"] == pytest.approx(np.std(firsts, ddof=1), abs=1e-12)

    ranks, rates = outcome.curves[PREFIX + "rank"], outcome.curves[PREFIX + "cmc"]
    assert rates[ranks == 5] == pytest.approx(metrics[PREFIX + "rank_5"])
    fpir, tpir = outcome.curves[PREFIX + "fpir"], outcome.curves[PREFIX + "tpir"]
    assert len(fpir) == len(tpir) <= 400
    assert (np.diff(tpir) >= 0).all()
    assert tpir[-1] == pytest.approx(metrics[PREFIX + "rank_1"])


def test_losses_share_the_galleries():
    rng = np.random.default_rng(6)
    embeddings, labels = clustered(rng, np.full(12, 6), noise=0.01)
    first = identification(judged(embeddings, labels), "test", Settings(resamples=3))
    second = identification(judged(embeddings * 3, labels), "test", Settings(resamples=3))
    assert first.metrics == second.metrics
    assert first.metrics[PREFIX + "rank_1"] == 1.0


@pytest.mark.parametrize(
    ("embeddings", "labels", "reason"),
    [
        (np.ones((0, 2)), np.arange(0), "the split has no such images"),
        (np.ones((5, 2)), np.arange(5), "no identity has two images"),
        (np.array([[1, np.nan]] * 4), np.array([1, 1, 2, 2]), "4 of 4 embeddings are not finite"),
    ],
)
def test_undefined_metrics_have_a_reason(embeddings, labels, reason):
    settings = Settings(fpirs=(0.1,), resamples=5)
    outcome = identification(judged(embeddings, labels), "test", settings)
    full = identification(judged(*clustered(np.random.default_rng(0), [40] * 9)), "test", settings)
    assert set(outcome.metrics) == set(full.metrics)
    assert all(value is not None for value in full.metrics.values())
    refused = {name for name, value in outcome.metrics.items() if value is None}
    assert refused == set(outcome.notes)
    assert len(refused) == 7
    assert all(reason in note for note in outcome.notes.values())
    assert not outcome.replicates


def test_one_identity_has_no_non_mated_probe():
    outcome = identification(judged(np.eye(4), np.zeros(4, int)), "test", Settings(resamples=4))
    assert outcome.metrics[PREFIX + "rank_1"] == 1.0
    assert outcome.metrics[PREFIX + "non_mated_probes"] == 0.0
    assert "of 0 non-mated probes" in outcome.notes[PREFIX + "tpir_at_fpir_1e-01"]
    assert np.isnan(outcome.left_out[PREFIX + "rank_1"]).all()


def test_one_gallery_has_no_spread():
    run = judged(*clustered(np.random.default_rng(0), [30] * 8))
    outcome = identification(run, "test", Settings(fpirs=(0.1,), galleries=1, resamples=0))
    assert outcome.metrics[PREFIX + "tpir_at_fpir_1e-01"] is not None
    note = "one gallery draw has no spread"
    spread = {PREFIX + "rank_1_gallery_sd": note, PREFIX + "tpir_at_fpir_1e-01_gallery_sd": note}
    assert outcome.notes == spread
