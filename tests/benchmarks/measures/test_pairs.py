"""All pairs in tiles: the numbers of all exact scores, bit for bit, in bounded memory."""

import tracemalloc

import numpy as np
import pytest

from benchmarks.measures import pair_blocks, pair_windows, pairs
from benchmarks.measures.detection_cost import Costs, min_dcf
from benchmarks.measures.pair_blocks import PairBlocks
from benchmarks.measures.pair_resamples import exact_statistics
from benchmarks.measures.pairs import level_counts, pair_counts, pair_scores, verify_pairs
from benchmarks.measures.rate_grid import rate_grid
from benchmarks.measures.resampling import Resamples, resample
from benchmarks.measures.roc import auc, eer, eer_midpoint, eer_threshold, roc, tar_at_far
from benchmarks.protocols import ProtocolError

FARS = (0.5, 0.1, 0.01, 0.001, 1e-4, 1e-6)
SCORES = ("cosine", "euclidean")


def clusters(classes, images=20, dim=64, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), images)
    centers = rng.standard_normal((classes, dim))
    return (centers[labels] + spread * rng.standard_normal((len(labels), dim))), labels


def materialised(embeddings, labels, score="cosine"):
    scores, same = pair_scores(embeddings, labels, score)
    return roc(scores[same], scores[~same])


def numbers(curve, fars=FARS):
    """Everything that is read from a curve at operating points."""
    points = [tar_at_far(curve, far) for far in fars]
    return eer(curve), eer_threshold(curve), eer_midpoint(curve), min_dcf(curve), points


def assert_equal_numbers(embeddings, labels, score="cosine", fars=FARS):
    streamed = verify_pairs(embeddings, labels, fars, score=score)
    whole = materialised(embeddings, labels, score)
    assert numbers(streamed.curve, fars) == numbers(whole, fars)
    assert abs(auc(streamed.curve) - auc(whole)) <= streamed.auc_error + 1e-12
    assert streamed.curve.genuine[-1] == whole.genuine[-1]
    assert streamed.curve.impostor[-1] == whole.impostor[-1]
    return streamed


def variants():
    """3,000 images of 150 classes, and what can be wrong with them."""
    embeddings, labels = clusters(150)
    for score in SCORES:
        yield pytest.param(embeddings.astype(np.float32), labels, score, id=f"noise-{score}")
        copies = embeddings.copy()
        copies[1::2] = copies[::2]
        copies[200:400] = copies[:200]  # across classes too
        yield pytest.param(copies, labels, score, id=f"duplicates-{score}")
    yield pytest.param(embeddings.astype(np.float16), labels, "cosine", id="half")
    yield pytest.param(embeddings[:, :2], labels, "cosine", id="plane")


@pytest.mark.slow
@pytest.mark.parametrize(("embeddings", "labels", "score"), variants())
def test_tiles_equal_all_scores_at_once(embeddings, labels, score, monkeypatch):
    whole = materialised(embeddings, labels, score)
    for rows, columns in ((256, 8192), (190, 1201)):
        monkeypatch.setattr(pair_blocks, "TILE_ROWS", rows)
        monkeypatch.setattr(pair_blocks, "TILE_COLUMNS", columns)
        streamed = verify_pairs(embeddings, labels, FARS, score=score)
        assert numbers(streamed.curve) == numbers(whole)
        assert abs(auc(streamed.curve) - auc(whole)) <= min(streamed.auc_error, 1e-6)
        assert streamed.auc_error < 1e-3


@pytest.mark.parametrize("kept", [2**20, 300])
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("classes", [2, 40, 700])
def test_few_distinct_scores_and_narrow_windows(kept, score, classes, monkeypatch):
    """Rows of ±1, and embeddings so near to each other that one level holds all pairs."""
    monkeypatch.setattr(pairs, "KEPT_SCORES", kept)
    monkeypatch.setattr(pair_windows, "FINE_CELLS", kept)
    monkeypatch.setattr(pair_blocks, "TILE_ROWS", 97)
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 700)
    assert_equal_numbers(rng.choice([-1.0, 1.0], (700, 16)), labels, score)
    near = verify_pairs(*(embeddings := 1 + 1e-4 * clusters(70, 10)[0], np.arange(700) // 10), FARS)
    whole = materialised(embeddings, np.arange(700) // 10)
    assert numbers(near.curve) == numbers(whole)
    assert auc(whole) > 0.99  # the one level would have said ½
    assert abs(auc(near.curve) - auc(whole)) <= near.auc_error <= 1e-3


def test_the_auc_of_scores_that_fine_cells_do_not_tell_apart():
    """Two points with float32 noise: one window between them, far from all operating points."""
    rng = np.random.default_rng(1)
    points = np.array([[1.0, 0.0, 0.0, 0.0], [0.5, 0.75**0.5, 0.0, 0.0]])
    embeddings = points[np.arange(1500) % 2] + 1e-7 * rng.standard_normal((1500, 4))
    streamed = assert_equal_numbers(embeddings.astype(np.float32), rng.integers(0, 20, 1500))
    assert streamed.auc_error <= pair_windows.AUC_ERROR


def test_tiles_without_a_pair_in_the_last_windows(monkeypatch):
    monkeypatch.setattr(pairs, "KEPT_SCORES", 50)
    monkeypatch.setattr(pair_windows, "FINE_CELLS", 16)
    monkeypatch.setattr(pair_blocks, "TILE_ROWS", 3)
    rng = np.random.default_rng(0)
    embeddings = 1 + 1e-4 * rng.standard_normal((90, 3))
    embeddings[30:] = 1
    assert_equal_numbers(embeddings, np.arange(90) // 5)


@pytest.mark.parametrize("kept", [2**20, 10])
def test_small_random_sets(kept, monkeypatch):
    monkeypatch.setattr(pairs, "KEPT_SCORES", kept)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        images = int(rng.integers(3, 30))
        labels = np.append(rng.integers(0, rng.integers(2, 8), images - 3), [0, 0, 1])
        embeddings = rng.integers(-2, 3, (images, int(rng.integers(1, 5)))).astype(float)
        for score in SCORES:
            streamed = assert_equal_numbers(embeddings, labels, score, fars=(0.9, 0.3, 0.05))
            assert kept < 2**20 or streamed.auc_error == 0  # all scores fit: the curve is exact


@pytest.mark.parametrize("score", SCORES)
def test_levels_are_as_near_as_promised(score):
    for scale, offset in ((1.0, 0.0), (1e4, 1e6), (1e-6, 0.0)):
        embeddings, labels = clusters(20, dim=100)
        embeddings = embeddings * scale + offset
        blocks = PairBlocks(embeddings, labels, score=score)
        for tile in blocks.tiles():
            rows, columns = np.divmod(np.arange(len(tile.levels)), tile.right - tile.left)
            exact = blocks.exact(rows + tile.start, columns + tile.left)
            levels = tile.levels.numpy()
            assert ((blocks.value(levels - blocks.spread) < exact) | (exact == 0)).all()
            assert (blocks.value(levels + blocks.spread) >= exact).all()
            order = np.argsort(exact)
            highest = np.maximum.accumulate(levels[order])
            assert (highest - levels[order]).max() < blocks.spread


def test_scores_are_cosines_and_distances():
    embeddings, labels = clusters(9, images=3, dim=7)
    first, second = np.triu_indices(27, 1)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    scores, same = pair_scores(embeddings, labels)
    np.testing.assert_allclose(scores, (unit @ unit.T)[first, second], rtol=0, atol=1e-13)
    np.testing.assert_array_equal(same, labels[first] == labels[second])
    distances = np.linalg.norm(embeddings[first] - embeddings[second], axis=1)
    np.testing.assert_allclose(pair_scores(embeddings, labels, "euclidean")[0], -distances, 1e-14)


@pytest.mark.parametrize("score", SCORES)
def test_a_score_depends_on_its_two_embeddings_alone(score):
    embeddings, labels = clusters(40, images=2, dim=13)
    scores, _ = pair_scores(embeddings, labels, score)
    table = np.zeros((80, 80))
    table[np.triu_indices(80, 1)] = scores
    table += table.T
    order = np.random.default_rng(1).permutation(80)[:31]
    part, _ = pair_scores(embeddings[order], labels[order], score)
    np.testing.assert_array_equal(part, table[np.ix_(order, order)][np.triu_indices(31, 1)])
    blocks = PairBlocks(embeddings, labels, score=score)
    rows, columns = np.nonzero(np.ones((80, 80)))
    off = rows != columns
    exact = blocks.exact(rows[off], columns[off])
    np.testing.assert_array_equal(exact, table[rows[off], columns[off]])


def test_every_pair_is_counted_once(monkeypatch):
    monkeypatch.setattr(pair_blocks, "TILE_ROWS", 7)
    monkeypatch.setattr(pair_blocks, "TILE_COLUMNS", 19)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 12, 101)
    blocks = PairBlocks(rng.standard_normal((101, 3)), labels)
    seen = np.zeros((101, 101), dtype=int)
    for tile in blocks.tiles():
        block = np.ones(len(tile.levels)) if tile.pairs is None else tile.pairs.numpy()
        place = seen[tile.start : tile.stop, tile.left : tile.right]
        place += block.reshape(place.shape).astype(int)
    np.testing.assert_array_equal(seen, np.triu(np.ones((101, 101), dtype=int), 1))
    genuine, impostor = level_counts(blocks)
    assert (genuine.sum(), impostor.sum()) == pair_counts(labels)


def test_the_order_of_the_images_does_not_matter():
    embeddings, labels = clusters(40)
    order = np.random.default_rng(5).permutation(len(labels))
    first = verify_pairs(embeddings, labels, FARS)
    second = verify_pairs(embeddings[order], labels[order] * 3 - 7, FARS)
    assert numbers(first.curve) == numbers(second.curve)


@pytest.mark.parametrize("drop", [1.0, 0.3])
def test_collapsed_embeddings_are_all_ties(drop):
    direction = np.random.default_rng(2).standard_normal(64)
    embeddings = np.linspace(0.5, 40, 800)[:, None] * direction
    embeddings[int(drop * 800) :] = 0.0  # a zero vector has cosine 0 with everything
    curve = verify_pairs(embeddings, np.arange(800) % 7, FARS).curve
    assert curve.thresholds.tolist() == ([np.inf, 1.0] if drop == 1 else [np.inf, 1.0, 0.0])
    assert eer(curve) == pytest.approx(0.5, abs=0.02)


def test_pairs_are_counted():
    labels = np.array([4, 4, 4, 9, 9, 1])
    assert pair_counts(labels) == (3 + 1, 15 - 4)
    assert pair_counts(labels[:0]) == (0, 0)
    assert pair_counts(np.repeat(np.arange(2), 100_000))[1] == 10**10


@pytest.mark.parametrize(
    ("embeddings", "labels", "score", "message"),
    [
        (np.ones((3, 2)), [0, 0, 0], "cosine", "no impostor pairs"),
        (np.ones((3, 2)), [0, 1, 2], "cosine", "no genuine pairs"),
        (np.ones((3, 2)), [0, 1], "cosine", "2 labels for"),
        (np.full((3, 2), np.nan), [0, 0, 1], "cosine", "not finite"),
        (np.ones((3, 2)), [0, 0, 1], "dot", "unknown score 'dot'; allowed: cosine, euclidean"),
    ],
)
def test_bad_input(embeddings, labels, score, message):
    with pytest.raises(ProtocolError, match=message):
        verify_pairs(embeddings, np.array(labels), FARS, score=score)
    if "pairs" not in message:
        with pytest.raises(ProtocolError, match=message):
            pair_scores(embeddings, labels, score)


def test_memory_does_not_grow_with_the_number_of_pairs():
    embeddings, labels = clusters(400, images=30, dim=8)
    tracemalloc.start()
    verify_pairs(embeddings, labels, FARS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000**2 * 4 / 8


def brute_force(embeddings, labels, units, weights, fars, score="cosine"):
    """The statistics with every unit's weight, from all scores: (3 + F,)."""
    scores, same = pair_scores(embeddings, labels, score)
    first, second = np.triu_indices(len(labels), 1)
    one, other = units[first], units[second]
    weight = np.where(one == other, weights[one], weights[one] * weights[other])
    genuine = np.repeat(scores[same], weight[same])
    impostor = np.repeat(scores[~same], weight[~same])
    if not (len(genuine) and len(impostor)):
        return np.full(3 + len(fars), np.nan)
    return exact_statistics(roc(genuine, impostor), fars)


def compare(embeddings, labels, drawn, fars, curve_fars=()):
    verified = verify_pairs(embeddings, labels, fars, drawn=drawn, curve_fars=curve_fars)
    units = drawn.counts.shape[1]
    fars = (*fars, *curve_fars)
    wanted = [brute_force(embeddings, labels, drawn.units, row, fars) for row in drawn.counts]
    without = 1 - np.eye(units, dtype=int)
    left = [brute_force(embeddings, labels, drawn.units, row, fars) for row in without]
    return verified, np.array(wanted), np.array(left)


@pytest.mark.parametrize("grouped", [False, True])
def test_resamples_of_few_scores_are_those_of_repeated_identities(grouped):
    """Every level is a threshold: nothing is lost."""
    rng = np.random.default_rng(3)
    embeddings = rng.choice([-1.0, 1.0], (90, 12)) + rng.choice([-1.0, 1.0], (18, 12)).repeat(5, 0)
    labels = np.repeat(np.arange(18), 5)
    embeddings = np.sign(embeddings)
    units = labels // 3 if grouped else labels
    drawn = Resamples(
        units, rng.multinomial(units.max() + 1, np.full(units.max() + 1, 1 / (units.max() + 1)), 40)
    )
    curve_fars = rate_grid(18 * 17 // 2 * 25)  # down to ten of the impostor pairs, and up to 1
    verified, wanted, left = compare(embeddings, labels, drawn, (0.3, 0.05), curve_fars)
    assert verified.replicates.shape == (40, 3 + 2 + 13)
    np.testing.assert_allclose(verified.replicates, wanted, atol=1e-5)  # sums in float32
    np.testing.assert_allclose(verified.left_out, left, atol=1e-5)


def test_resamples_follow_repeated_identities(monkeypatch):
    monkeypatch.setattr(pair_blocks, "TILE_ROWS", 110)
    monkeypatch.setattr(pair_blocks, "TILE_COLUMNS", 333)
    embeddings, labels = clusters(50, images=12, dim=32)
    drawn = resample(labels, 25)
    verified, wanted, left = compare(embeddings, labels, drawn, (0.1, 0.01, 0.001))
    deviation = wanted.std(axis=0)
    error = np.median(np.abs(verified.replicates - wanted) / deviation, axis=0)
    assert error.max() < 0.05, error
    assert error.mean() < 0.02, error
    bias = (verified.replicates - wanted).mean(axis=0) / deviation
    assert np.abs(bias).max() < 0.05, bias
    np.testing.assert_allclose(verified.replicates.std(axis=0), deviation, rtol=0.05)
    # A left-out value moves by a hundredth of the deviation; its sum of squares makes the jackknife.
    spread = np.sqrt(((left - left.mean(0)) ** 2).sum(0))
    ours = np.sqrt(((verified.left_out - verified.left_out.mean(0)) ** 2).sum(0))
    np.testing.assert_allclose(ours, spread, rtol=0.05)


def test_the_curve_between_the_operating_points_follows_repeated_identities():
    """Of the grid only 0.1 and 0.01 have thresholds crowded around them."""
    embeddings, labels = clusters(40, images=8, dim=32)
    drawn = resample(labels, 20)
    grid = [far for far in rate_grid(pair_counts(labels)[1]) if far >= 5e-4]
    verified, wanted, _ = compare(embeddings, labels, drawn, (0.1, 0.01), grid)
    got, wanted = verified.replicates[:, 5:], wanted[:, 5:]
    spread = wanted.std(axis=0)
    moving = spread > 1e-4  # near FAR = 1 nothing moves
    assert moving.sum() >= 12
    error = np.median(np.abs(got - wanted), axis=0)
    assert (error[moving] / spread[moving]).max() < 0.1
    assert error[~moving].max(initial=0) < 1e-4
    np.testing.assert_allclose(got.std(axis=0)[moving], spread[moving], rtol=0.1)
    # The same numbers as at an operating point, which is in both.
    for column, far in ((3, 0.1), (4, 0.01)):
        same = verified.replicates[:, 5 + grid.index(far)]
        np.testing.assert_array_equal(same, verified.replicates[:, column])


def test_rate_grid():
    grid = rate_grid(123_456)
    assert grid[-1] == 1.0
    assert {1e-1, 1e-2, 1e-3, 1e-4} <= set(grid.tolist())
    assert len(grid) == 1 + int(5 * np.log10(12_345.6))
    assert grid[0] * 123_456 >= 10 > grid[0] * 10**-0.2 * 123_456
    np.testing.assert_allclose(grid[1:] / grid[:-1], 10**0.2, rtol=1e-5)
    assert rate_grid(10).tolist() == [1.0]
    assert rate_grid(1000)[0] == 0.01  # ten of a thousand
    assert rate_grid(9).tolist() == rate_grid(0).tolist() == []


@pytest.mark.parametrize(("spread", "seed"), [(1.0, 5), (0.8, 3)])
def test_a_least_cost_without_false_accepts_has_replicates(spread, seed):
    embeddings, labels = clusters(12, images=5, dim=32, spread=spread, seed=seed)
    verified, wanted, _ = compare(embeddings, labels, resample(labels, 25), ())
    curve = verified.curve
    assert curve.far[Costs().of(curve.far, curve.tar).argmin()] == 0
    np.testing.assert_allclose(verified.replicates[:, 2], wanted[:, 2], rtol=0, atol=1e-6)


def test_a_resample_without_pairs_is_not_a_number():
    embeddings, labels = clusters(3, images=2, dim=4)
    counts = np.array([[3, 0, 0], [1, 1, 1], [0, 1, 2]])
    verified = verify_pairs(embeddings, labels, (0.5,), drawn=Resamples(labels, counts))
    assert np.isnan(verified.replicates).all(axis=1).tolist() == [True, False, False]
    exact = exact_statistics(verified.curve, (0.5,))
    np.testing.assert_allclose(verified.replicates[1], exact, atol=1e-12)
    two, labels = clusters(2, images=2, dim=4)
    alone = verify_pairs(two, labels, (0.5,), drawn=resample(labels, 3)).left_out
    assert np.isnan(alone).all()


@pytest.mark.parametrize("scale", [1e-4, 1e-2])
def test_scores_within_few_levels_have_no_replicates(scale):
    embeddings, labels = clusters(30, 5)
    near = 1 + scale * embeddings
    verified = verify_pairs(near, labels, (0.1,), drawn=resample(labels, 5))
    assert auc(verified.curve) > 0.99
    assert np.isnan(verified.replicates).all()
    assert np.isnan(verified.left_out).all()
