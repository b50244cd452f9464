"""Retrieval against independent vectors, pytorch-metric-learning, scikit-learn and loops by the definition."""

import numpy as np
import pytest

from benchmarks.measures import neighbours
from benchmarks.measures.neighbours import key_blocks, nearest
from benchmarks.measures.ranking import relevant_counts, retrieve_by_cosine, retrieve_by_scores
from benchmarks.measures.resampling import resample
from benchmarks.protocols import Judged, ProtocolError, Settings, judge
from benchmarks.protocols.retrieval import KS, NAMES

UNKNOWN_TEST = 4
FIELDS = (
    "first",
    "r_precision",
    "average_precision_at_r",
    "average_precision",
    "inverse_penalty",
)


def judged(embeddings, labels, **more):
    part = np.full(len(labels), UNKNOWN_TEST, dtype=np.int8)
    return Judged(embeddings, labels, part, known_classes=np.array([0]), **more)


def verdict(run, resamples=0):
    return judge(run, ["retrieval"], Settings(resamples=resamples))


def clusters(images, classes, dimensions, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    centres = rng.standard_normal((classes, dimensions))
    return centres[labels] + noise * rng.standard_normal((images, dimensions)), labels


def by_definition(scores, query_labels, reference_labels, ties, allowed):
    """Each field of each query with plain loops; `allowed` (Q, R) tells who is in the list."""
    rows = []
    for q, label in enumerate(query_labels):
        listed = [r for r in range(len(reference_labels)) if allowed[q, r]]
        relevant = [r for r in listed if reference_labels[r] == label]
        if not relevant:
            rows.append([np.nan] * 5)
            continue
        tie = {
            "stable": lambda r: r,
            "pessimistic": lambda r, found=relevant: r in found,
            "optimistic": lambda r, found=relevant: r not in found,
        }[ties]
        order = sorted(listed, key=lambda r: (-scores[q, r], tie(r), r))
        hits = [r in relevant for r in order]
        m = len(relevant)
        precision = [sum(hits[: i + 1]) / (i + 1) for i in range(len(hits))]
        last = max(i for i, hit in enumerate(hits) if hit)
        rows.append(
            [
                hits.index(True) + 1,
                sum(hits[:m]) / m,
                sum(p for p, hit in zip(precision[:m], hits, strict=False) if hit) / m,
                sum(p for p, hit in zip(precision, hits, strict=True) if hit) / m,
                m / (last + 1),
            ]
        )
    return np.array(rows)


def table(found):
    return np.stack([getattr(found, name) for name in FIELDS], axis=1)


@pytest.mark.parametrize("ties", ["stable", "pessimistic", "optimistic"])
@pytest.mark.parametrize("same_set", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_the_definition_under_heavy_ties(ties, same_set, seed):
    rng = np.random.default_rng(seed)
    references = rng.integers(0, 6, 23)
    queries = references if same_set else rng.integers(0, 8, 9)  # 6 and 7 have no reference
    scores = rng.integers(0, 4, (len(queries), 23)).astype(float)
    allowed = np.ones(scores.shape, dtype=bool)
    if same_set:
        np.fill_diagonal(allowed, False)
    found = retrieve_by_scores(scores, queries, references, same_set=same_set, ties=ties)
    expected = by_definition(scores, queries, references, ties, allowed)
    np.testing.assert_allclose(table(found), expected, rtol=0, atol=1e-14)
    for k in (1, 3, 100):
        np.testing.assert_array_equal(
            found.recall(k), np.where(found.counted, expected[:, 0] <= k, np.nan)
        )


def test_cameras_remove_the_own_view():
    rng = np.random.default_rng(5)
    queries, references = rng.integers(0, 4, 12), rng.integers(0, 4, 30)
    query_cameras, cameras = rng.integers(0, 3, 12), rng.integers(0, 3, 30)
    references[:], cameras[references == 3] = references, 1
    query_cameras[queries == 3] = 1  # class 3 stands before one camera only: all junk
    assert (queries == 3).any()
    rows, others = rng.choice([-1.0, 1.0], (12, 16)), rng.choice([-1.0, 1.0], (30, 16))
    allowed = (queries[:, None] != references) | (query_cameras[:, None] != cameras)
    given = {"same_set": False, "query_cameras": query_cameras, "reference_cameras": cameras}
    expected = by_definition(rows @ others.T, queries, references, "stable", allowed)
    for found in (
        retrieve_by_scores(rows @ others.T, queries, references, **given),
        retrieve_by_cosine(rows, others, queries, references, **given),
    ):
        np.testing.assert_allclose(table(found), expected, rtol=0, atol=1e-14)
    assert not found.counted[queries == 3].any()
    counts = relevant_counts(queries, references, **given)
    np.testing.assert_array_equal(counts, (allowed & (queries[:, None] == references)).sum(1))


def test_embeddings_are_ranked_as_their_cosines_in_any_blocks(monkeypatch):
    # cosines are multiples of 1/8: exact, with many duplicates and ties
    rng = np.random.default_rng(1)
    rows, labels = rng.choice([-1.0, 1.0], (400, 16)), rng.integers(0, 30, 400)
    expected = table(retrieve_by_scores(rows @ rows.T, labels, labels, same_set=True))
    for size in (2**20, 400):
        monkeypatch.setattr(neighbours, "BLOCK_SCORES", size)
        monkeypatch.setattr(neighbours, "MIN_ROWS", 1 if size == 400 else 64)
        scaled = rows * rng.choice(
            [0.25, 1.0, 8.0], (400, 1)
        )  # the length of a row does not matter
        found = retrieve_by_cosine(scaled, scaled, labels, labels, same_set=True)
        np.testing.assert_array_equal(table(found), expected)


@pytest.mark.parametrize("step", [2.0**-44, 2.0**-41, 2.0**-40, 2.0**-38, 1e-6])
def test_cosines_that_nearly_tie_are_ranked_by_their_levels(step):
    # Unit rows in a plane, each a step further from the only query: cosines apart by about a step.
    rng = np.random.default_rng(4)
    angles = np.pi / 3 + step * rng.permutation(300)
    references = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    query, labels = np.array([[1.0, 0.0]]), rng.integers(0, 9, 300)
    levels = np.rint(references[:, 0] / np.linalg.norm(references, axis=1) * 2.0**40)
    expected = retrieve_by_scores(levels[None], labels[:1], labels, same_set=False)
    found = retrieve_by_cosine(query, references, labels[:1], labels, same_set=False)
    np.testing.assert_array_equal(table(found), table(expected))


def test_queries_of_a_block_have_the_bits_of_each_alone():
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(12), rng.integers(2, 40, 12))
    rows = rng.standard_normal((len(labels), 5)) + 2 * rng.standard_normal((12, 5))[labels]
    together = table(retrieve_by_cosine(rows, rows, labels, labels, same_set=True))
    for query, label in enumerate(labels):
        others = np.delete(np.arange(len(labels)), query)
        alone = retrieve_by_cosine(
            rows[[query]], rows[others], label[None], labels[others], same_set=False
        )
        np.testing.assert_array_equal(table(alone)[0], together[query])


def test_duplicates_tie_and_go_to_the_lowest_position():
    # Cosines of no special values, D = 37: a product may round duplicates differently by where they stand.
    rng = np.random.default_rng(2)
    distinct = rng.standard_normal((60, 37)).astype(np.float32)
    source = rng.integers(0, 60, 301)
    unit = distinct[source] / np.linalg.norm(distinct[source].astype(float), axis=1)[:, None]
    for _, keys in key_blocks(unit, unit):
        level = (keys + np.arange(301)) >> 22
        for each in range(60):
            assert (np.ptp(level[:, source == each], axis=1) == 0).all()
    position, levels = nearest(distinct[source], distinct[source], 3)
    first = [np.flatnonzero(source == each)[0] for each in source]
    np.testing.assert_array_equal(position[:, 0], first)
    np.testing.assert_array_equal(levels[:, 0], 2**40)
    only, _ = nearest(distinct[source], distinct[source], 1)
    np.testing.assert_array_equal(only[:, 0], first)


def test_nearest_agrees_with_sorting():
    rng = np.random.default_rng(3)
    queries, references = rng.standard_normal((70, 9)), rng.standard_normal((50, 9))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, references)]
    cosines = unit[0] @ unit[1].T
    for k in (1, 5, 50):
        position, levels = nearest(queries, references, k)
        np.testing.assert_array_equal(position, np.argsort(-cosines, axis=1)[:, :k])
        np.testing.assert_allclose(
            levels / 2**40, np.take_along_axis(cosines, position, 1), rtol=0, atol=1e-12
        )
    with pytest.raises(ProtocolError, match="51 nearest of 50 references"):
        nearest(queries, references, 51)
    with pytest.raises(ProtocolError, match="at most 4,194,304"):
        next(key_blocks(np.zeros((1, 1)), np.zeros((2**22 + 1, 1))))


def test_agrees_with_pytorch_metric_learning():
    torch = pytest.importorskip("torch")
    accuracy = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    inference = pytest.importorskip("pytorch_metric_learning.utils.inference")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    embeddings, labels = clusters(400, 25, 12)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    names = {
        "precision_at_1": "recall_at_1",
        "r_precision": "r_precision",
        "mean_average_precision_at_r": "map_at_r",
        "mean_average_precision": "map",
    }
    peer = accuracy.AccuracyCalculator(
        include=tuple(names),
        k=None,
        device=torch.device("cpu"),
        knn_func=inference.CustomKNN(distances.CosineSimilarity()),
    ).get_accuracy(torch.tensor(embeddings), torch.tensor(labels))
    metrics = verdict(judged(embeddings, labels)).metrics
    for theirs, ours in names.items():
        assert metrics[f"retrieval/{ours}"] == pytest.approx(peer[theirs], abs=1e-12)


def test_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    embeddings, labels = clusters(120, 9, 5)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = retrieve_by_cosine(embeddings, embeddings, labels, labels, same_set=True)
    for query in range(120):
        others = np.delete(np.arange(120), query)
        expected = metrics.average_precision_score(
            labels[others] == labels[query], unit[others] @ unit[query]
        )
        assert found.average_precision[query] == pytest.approx(expected, abs=1e-12)


def test_an_image_alone_in_its_class_is_left_out_but_can_be_found():
    # image 2 is alone in class 5, and nearest to image 1; images 0, 1 and 3 are of one class
    embeddings = np.array([[1, 0], [0.5, 1], [0.4, 1], [0.9, 0.1]])
    outcome = verdict(judged(embeddings, np.array([8, 8, 5, 8])))
    assert outcome.notes == {}
    # relevant ranks: 1 and 2; 2 and 3; 1 and 2
    exact = {
        "retrieval/queries": 3.0,
        "retrieval/left_out": 1.0,
        "retrieval/recall_at_1": 2 / 3,
        "retrieval/r_precision": (1 + 1 / 2 + 1) / 3,
        "retrieval/map_at_r": (1 + 1 / 4 + 1) / 3,
        "retrieval/map": (1 + (1 / 2 + 2 / 3) / 2 + 1) / 3,
        "retrieval/minp": (1 + 2 / 3 + 1) / 3,
    } | {f"retrieval/recall_at_{k}": 1.0 for k in KS[1:]}
    assert outcome.metrics == pytest.approx(exact)
    assert outcome.curves["test/retrieval/k"].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(outcome.curves["test/retrieval/recall"], [2 / 3, 1, 1, 1])


def test_collapsed_embeddings_are_ranked_by_position():
    labels = np.arange(30) % 3
    outcome = verdict(judged(np.full((30, 4), 0.3, dtype=np.float32), labels))
    expected = retrieve_by_scores(np.ones((30, 30)), labels, labels, same_set=True)
    for name, values in expected.values(KS).items():
        assert outcome.metrics[f"retrieval/{name}"] == pytest.approx(values.mean())


def test_queries_against_a_gallery():
    embeddings, labels = clusters(80, 6, 5, noise=2.0)
    query = np.arange(80) % 4 == 0
    cameras = np.arange(80) // 4 % 3
    labels[0] = 77  # a query without anyone in the gallery
    run = judged(embeddings, labels, query=query, cameras=cameras)
    outcome = verdict(run, 50)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    allowed = (labels[query][:, None] != labels[~query]) | (
        cameras[query][:, None] != cameras[~query]
    )
    expected = by_definition(
        unit[query] @ unit[~query].T, labels[query], labels[~query], "stable", allowed
    )
    assert outcome.metrics["retrieval/left_out"] == np.isnan(expected[:, 0]).sum() >= 1
    assert outcome.metrics["retrieval/queries"] == 20 - outcome.metrics["retrieval/left_out"]
    for column, name in enumerate(NAMES[-4:], 1):
        mean = np.nanmean(expected[:, column])
        assert outcome.metrics[f"retrieval/{name}"] == pytest.approx(mean, abs=1e-12)
    # cameras say nothing without a gallery of its own
    alone = verdict(judged(embeddings, labels))
    assert verdict(judged(embeddings, labels, cameras=cameras)).metrics == alone.metrics

    # a resample repeats the queries of an identity; the gallery stays
    drawn = resample(labels, 50)
    for r in (0, 17):
        again = np.repeat(np.arange(80), np.where(query, drawn.counts[r][drawn.units], 0))
        found = retrieve_by_cosine(
            embeddings[again],
            embeddings[~query],
            labels[again],
            labels[~query],
            same_set=False,
            query_cameras=cameras[again],
            reference_cameras=cameras[~query],
        )
        for name, values in found.values(KS).items():
            replicate = outcome.replicates[f"retrieval/{name}"][r]
            assert replicate == pytest.approx(np.nanmean(values), abs=1e-12)
    values = expected[:, 3]
    for unit_, without in enumerate(outcome.left_out["retrieval/map"]):
        rest = drawn.units[query] != unit_
        assert without == pytest.approx(np.nanmean(values[rest]), abs=1e-12)


def test_the_field_of_one_side_only():
    ones = np.ones((4, 2))
    every = np.ones(4, dtype=bool)
    for query in (every, ~every):
        outcome = verdict(judged(ones, np.zeros(4, int), query=query), 10)
        assert outcome.metrics["retrieval/map"] is None
        assert outcome.notes["retrieval/map"] == "no query has a relevant image"
        assert outcome.metrics["retrieval/left_out"] == query.sum()


@pytest.mark.parametrize(
    ("embeddings", "labels", "reason", "counts"),
    [
        (np.ones((3, 2)), np.arange(3), "no class has two images", (0, 3)),
        (np.ones((0, 2)), np.arange(0), "the split has no such images", (0, 0)),
        (
            np.array([[1, np.inf], [1, 1]]),
            np.zeros(2, int),
            "1 of 2 embeddings are not finite",
            (2, 0),
        ),
    ],
)
def test_undefined_numbers_have_a_reason(embeddings, labels, reason, counts):
    outcome = verdict(judged(embeddings, labels), 10)
    assert outcome.notes == {f"retrieval/{name}": reason for name in NAMES}
    assert all(outcome.metrics[name] is None for name in outcome.notes)
    assert (outcome.metrics["retrieval/queries"], outcome.metrics["retrieval/left_out"]) == counts
    assert outcome.replicates == outcome.left_out == {}


def test_no_relevant_reference_and_bad_input():
    scores, queries, references = np.ones((1, 2)), np.array([0]), np.array([1, 2])
    found = retrieve_by_scores(scores, queries, references, same_set=False)
    assert not found.counted.any()
    assert np.isnan(found.recall(1)).all()
    bad = [
        ((np.full((1, 2), np.nan), queries, references), {}, "2 scores are not a number"),
        ((np.ones((2, 2)), queries, references), {}, r"\(2, 2\) for 1 queries and 2 references"),
        ((np.ones((0, 2)), queries[:0], references), {}, "no queries or no references"),
        ((scores, queries, references), {"ties": "random"}, "'random'; allowed: stable"),
        ((scores, queries, references), {"query_cameras": queries}, "or of neither"),
        ((np.ones((2, 2)), references, references[::-1]), {"same_set": True}, "different labels"),
        (
            (scores, queries, references),
            {"query_cameras": queries, "reference_cameras": queries},
            "1 cameras of 2 references",
        ),
    ]
    for given, more, message in bad:
        with pytest.raises(ProtocolError, match=message):
            retrieve_by_scores(*given, **{"same_set": False} | more)
    with pytest.raises(ProtocolError, match="2 labels for 1 references"):
        retrieve_by_cosine(scores, scores, queries, references, same_set=False)
    for k in (0, 1.5):
        with pytest.raises(ProtocolError, match="whole number above 0"):
            found.recall(k)
