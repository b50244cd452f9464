"""Lists of pairs: reading, finding the images, judging."""

import os

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.measures.detection_cost import min_dcf
from benchmarks.measures.kfold import kfold_accuracy
from benchmarks.measures.listed_resamples import resampled_rates
from benchmarks.measures.pair_lists import find_images, read_pairs
from benchmarks.measures.roc import auc, eer, roc, tar_at_far
from benchmarks.protocols import ProtocolError, Settings
from benchmarks.protocols.listed_pairs import fuse, listed_pairs, pair_scores
from datasets.registry import data_root

VIEW_2 = "2\t1\nAnn\t1\t4\nAnn\t2\tBob\t1\nBob\t1\t2\nCid\t3\tAnn\t12\n"


def write(tmp_path, text, name="pairs.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(pairs):
    return list(zip(pairs.left, pairs.right, pairs.same.tolist(), strict=True))


def test_view_2_has_folds_of_genuine_and_impostor_pairs(tmp_path):
    pairs = read_pairs(write(tmp_path, VIEW_2))
    assert rows(pairs) == [
        ("Ann_0001", "Ann_0004", True),
        ("Ann_0002", "Bob_0001", False),
        ("Bob_0001", "Bob_0002", True),
        ("Cid_0003", "Ann_0012", False),
    ]
    assert pairs.folds.tolist() == [0, 0, 1, 1]
    assert pairs.lines.tolist() == [2, 3, 4, 5]


def test_view_1_has_no_folds(tmp_path):
    pairs = read_pairs(write(tmp_path, "1\nAnn 1 4\n\nAnn 2 Bob 1\n"))
    assert rows(pairs) == [("Ann_0001", "Ann_0004", True), ("Ann_0002", "Bob_0001", False)]
    assert pairs.folds is None
    assert pairs.lines.tolist() == [2, 4]


PLAIN = [("x.jpg", "y.jpg", True), ("x.jpg", "d/z.jpg", False)]


@pytest.mark.parametrize(
    "text",
    [
        "x.jpg y.jpg 1\nx.jpg d/z.jpg 0\n",
        "1  x.jpg   y.jpg\n0 x.jpg d/z.jpg",
        "x.jpg\ty.jpg\t1\r\nx.jpg\td/z.jpg\t0\r\n",
        "x.jpg,y.jpg,1\nx.jpg, d/z.jpg, 0\n",
        "a,b,same\nx.jpg,y.jpg,1\n\nx.jpg,d/z.jpg,0\n",
        "label,a,b\n1,x.jpg,y.jpg\n0,x.jpg,d/z.jpg\n",
        b"\xef\xbb\xbfa,b,same\nx.jpg,y.jpg,1\nx.jpg,d/z.jpg,0\n",
        '"x.jpg","y.jpg",1\n"x.jpg","d/z.jpg",0\n',
    ],
)
def test_plain_lists(tmp_path, text):
    pairs = read_pairs(write(tmp_path, text))
    assert rows(pairs) == PLAIN
    assert pairs.folds is None


def test_names_with_spaces_stand_between_tabs_or_commas(tmp_path):
    assert rows(read_pairs(write(tmp_path, "my cat\tyour cat\t0\n"))) == [
        ("my cat", "your cat", False)
    ]


def test_names_that_look_like_flags_leave_the_last_field_to_be_the_flag(tmp_path):
    assert rows(read_pairs(write(tmp_path, "0 1 1\n1 2 0\n"))) == [
        ("0", "1", True),
        ("1", "2", False),
    ]
    assert rows(read_pairs(write(tmp_path, "1 0 12\n0 3 1\n"))) == [
        ("0", "12", True),
        ("3", "1", False),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (b"\xff\xfe\x00", "not a text file"),
        ("2 1\nAnn 1 2\n", "line 1 promises 4 pairs, 1 lines follow"),
        ("1\nAnn 1 2\nAnn 1 2\n", "line 3: an impostor pair must read 'name i name j': 'Ann 1 2'"),
        ("1\nAnn 1 Bob 2\nAnn 1 Bob 2\n", "line 2: a genuine pair must read 'name i j'"),
        ("1\nAnn 1 x\nAnn 1 Bob 2\n", "line 2: 'x' is not an image number"),
        ("x y 1\nx y\n", "line 2: must be two names and 0 or 1"),
        ("x y 1\nx y 2\n", "line 2: the last field must be 0 or 1, not '2'"),
        ("1 x y\n3 x y\n", "line 2: the first field must be 0 or 1, not '3'"),
        ("a,b,same\n", "a header and no pairs"),
        ("x y yes\n", "line 1: the last field must be 0 or 1, not 'yes'"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ProtocolError) as caught:
        read_pairs(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ProtocolError, match=r"none\.txt: No such file"):
        read_pairs(tmp_path / "none.txt")


@pytest.mark.parametrize(
    "names",
    [
        ["Ann_0001", "Bob_0001", "Ann_0004"],
        ["Ann_0001.jpg", "Bob_0001.jpg", "Ann_0004.JPEG"],
        ["lfw/Ann/Ann_0001.jpg", "lfw/Bob/Bob_0001.jpg", "lfw\\Ann\\Ann_0004.png"],
    ],
)
def test_images_are_found_without_folder_and_extension(tmp_path, names):
    pairs = read_pairs(write(tmp_path, "1\nAnn 1 4\nAnn 4 Bob 1\n"))
    found = find_images(pairs, names, 3)
    assert (found.left.tolist(), found.right.tolist()) == ([0, 2], [2, 1])
    assert (found.listed, found.skipped) == (2, ())


def test_a_point_in_a_name_is_no_extension(tmp_path):
    pairs = read_pairs(write(tmp_path, "St.John_0001 St.Ann_0001 0"))
    assert find_images(pairs, ["St.Ann_0001.jpg", "St.John_0001.jpg"], 2).left.tolist() == [1]


def test_an_exact_name_comes_before_a_shortened_one(tmp_path):
    pairs = read_pairs(write(tmp_path, "a/1.jpg b/1.jpg 0"))
    assert find_images(pairs, ["b/1.jpg", "a/1.jpg"], 2).left.tolist() == [1]
    pairs = read_pairs(write(tmp_path, "1.jpg b/1.jpg 0"))
    with pytest.raises(ProtocolError, match=r"line 1: '1\.jpg' is the name of several images"):
        find_images(pairs, ["b/1.jpg", "a/1.jpg"], 2)


def test_missing_images_fail_or_are_skipped_and_counted(tmp_path):
    path = write(tmp_path, VIEW_2)
    names = ["Ann_0001", "Ann_0002", "Ann_0004", "Bob_0001"]
    with pytest.raises(ProtocolError) as caught:
        find_images(read_pairs(path), names, 4)
    assert str(caught.value) == (
        f"{path}: line 4: no image Bob_0002; line 5: no image Cid_0003 nor Ann_0012; "
        "--missing skip leaves such pairs out"
    )
    found = find_images(read_pairs(path), names, 4, missing="skip")
    assert found.skipped == (
        "line 4: no image Bob_0002",
        "line 5: no image Cid_0003 nor Ann_0012",
    )
    assert (found.listed, found.same.tolist(), found.folds.tolist()) == (4, [True, False], [0, 0])
    with pytest.raises(ProtocolError, match="none of its 4 pairs has both images"):
        find_images(read_pairs(path), ["Eve"], 1, missing="skip")
    with pytest.raises(ProtocolError, match="allowed: fail, skip"):
        find_images(read_pairs(path), names, 4, missing="ignore")


def test_without_names_positions_are_names(tmp_path):
    pairs = read_pairs(write(tmp_path, "0 2 1\n1 2 0\n"))
    assert find_images(pairs, None, 3).right.tolist() == [2, 2]
    with pytest.raises(ProtocolError, match="only positions 0 to 1 are found"):
        find_images(pairs, None, 2)


def test_scores_by_cosine_and_distance():
    embeddings = np.array([[3.0, 4.0], [4.0, 3.0], [0.0, 0.0], [-6.0, -8.0]])
    left, right = np.array([0, 0, 0, 1]), np.array([1, 2, 3, 1])
    np.testing.assert_allclose(pair_scores(embeddings, left, right), [0.96, 0, -1, 1], atol=1e-15)
    np.testing.assert_allclose(
        pair_scores(embeddings, left, right, "euclidean"), [-(2**0.5), -5, -15, 0]
    )
    with pytest.raises(ProtocolError, match="allowed: cosine, euclidean"):
        pair_scores(embeddings, left, right, "angle")


def test_float16_embeddings_do_not_overflow():
    embeddings = np.full((2, 300), 200, np.float16)
    assert pair_scores(embeddings, np.array([0]), np.array([1]))[0] == pytest.approx(1)


def test_mirror_images_are_added_or_put_beside():
    own, mirrored = np.array([[1.0, 2.0]]), np.array([[3.0, 5.0]])
    assert fuse(own, mirrored, "none") is own
    assert fuse(own, mirrored, "sum").tolist() == [[4, 7]]
    assert fuse(own, mirrored, "concat").tolist() == [[1, 2, 3, 5]]
    with pytest.raises(ProtocolError, match="needs the array 'flipped'"):
        fuse(own, None, "sum")
    with pytest.raises(ProtocolError, match=r"flipped is \(1, 1\)"):
        fuse(own, mirrored[:, :1], "concat")
    with pytest.raises(ProtocolError, match="allowed: none, sum, concat"):
        fuse(own, mirrored, "mean")


@pytest.fixture(scope="module")
def people():
    """60 images of 12 people, and a list of 300 pairs in 3 folds."""
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(12), 5)
    embeddings = rng.normal(0, 1, (12, 6))[labels] + 0.8 * rng.normal(0, 1, (60, 6))
    genuine = np.array([(a, b) for a in range(60) for b in range(a) if labels[a] == labels[b]])
    impostor = np.array([(a, b) for a in range(60) for b in range(a) if labels[a] != labels[b]])
    pairs = np.concatenate([genuine, rng.permutation(impostor)[:180]])
    text = "".join(f"{a} {b} {int(labels[a] == labels[b])}\n" for a, b in pairs)
    return embeddings, labels, text


def in_folds(people, tmp_path, folds=3):
    found = find_images(read_pairs(write(tmp_path, people[2])), None, 60)
    numbers = np.random.default_rng(0).permutation(300) % folds
    return type(found)(found.left, found.right, found.same, numbers, found.listed, found.skipped)


def test_metrics_of_a_list(people, tmp_path):
    embeddings, labels, _ = people
    pairs = in_folds(people, tmp_path)
    outcome = listed_pairs(embeddings, pairs, Settings(fars=(0.1, 0.01)), labels=labels)
    cosines = pair_scores(embeddings, pairs.left, pairs.right)
    assert outcome.metrics["pairs/genuine_pairs"] == 120
    assert outcome.metrics["pairs/impostor_pairs"] == 180
    assert outcome.metrics["pairs/auc"] == pytest.approx(
        roc_auc_score(pairs.same, cosines), abs=1e-12
    )
    folded = kfold_accuracy(cosines, pairs.same, pairs.folds)
    assert outcome.metrics["pairs/kfold_accuracy"] == folded.mean
    assert outcome.metrics["compatibility/accuracy_oracle_threshold"] >= folded.mean
    assert outcome.metrics["pairs/tar_at_far_1e-01"] is not None
    refused = {name for name, value in outcome.metrics.items() if value is None}
    assert refused == set(outcome.notes)
    assert refused == {
        "pairs/tar_at_far_1e-02",
        "pairs/achieved_far_1e-02",
        "compatibility/tar_at_interpolated_threshold_1e-03",
    }
    assert set(outcome.replicates) == set(outcome.left_out)
    assert {len(values) for values in outcome.replicates.values()} == {1000}
    assert {len(values) for values in outcome.left_out.values()} == {12}
    for name, values in outcome.replicates.items():
        low, high = np.nanpercentile(values, [2.5, 97.5])
        assert low < outcome.metrics[name] < high


def test_names_do_not_depend_on_the_data(people, tmp_path):
    embeddings, labels, _ = people
    pairs = in_folds(people, tmp_path)
    whole = listed_pairs(embeddings, pairs, Settings(resamples=0), labels=labels)
    assert whole.replicates == {}
    alone = type(pairs)(
        pairs.left[:5], pairs.right[:5], np.ones(5, bool), None, 5, ("line 7: no image x",)
    )
    broken = embeddings.copy()
    broken[pairs.left[0]] = np.inf
    for given, embedded, reason in (
        (alone, embeddings, "there are no impostor pairs"),
        (pairs, broken, "1 of 60 embeddings are not finite"),
    ):
        outcome = listed_pairs(embedded, given, Settings(resamples=0))
        assert outcome.metrics.keys() == whole.metrics.keys()
        assert set(outcome.notes.values()) == {reason}
    assert outcome.curves == {}


def test_a_list_without_folds_has_no_folded_accuracy(people, tmp_path):
    embeddings, labels, text = people
    found = find_images(read_pairs(write(tmp_path, text)), None, 60)
    outcome = listed_pairs(embeddings, found, Settings(resamples=10), labels=labels)
    assert outcome.notes["pairs/kfold_accuracy"] == "the list has no folds"
    assert outcome.notes["compatibility/accuracy_youden"] == "the list has no folds"
    assert outcome.metrics["compatibility/accuracy_oracle_threshold"] is not None
    assert "pairs/kfold_accuracy" not in outcome.replicates


@pytest.mark.parametrize("digits", [1, 6])
def test_replicates_are_the_metrics_of_repeated_pairs(people, tmp_path, digits):
    """Each pair physically repeated as often as its weight says."""
    embeddings, labels, _ = people
    pairs = in_folds(people, tmp_path)
    scores = np.round(pair_scores(embeddings, pairs.left, pairs.right), digits)
    counts = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), size=25)
    counts = np.concatenate([counts, 1 - np.eye(12, dtype=int)])
    fars = {"pairs/tar_at_far_1e-01": 0.1}
    units = labels[pairs.left], labels[pairs.right]
    got = resampled_rates(scores, pairs.same, pairs.folds, units, counts, fars)
    for row, weight in enumerate(counts):
        times = weight[units[0]] * np.where(pairs.same, 1, weight[units[1]])
        repeated = np.repeat(np.arange(len(scores)), times)
        own, same, folds = scores[repeated], pairs.same[repeated], pairs.folds[repeated]
        curve = roc(own[same], own[~same])
        assert got["pairs/auc"][row] == pytest.approx(auc(curve), abs=1e-12)
        assert got["pairs/eer"][row] == pytest.approx(eer(curve), abs=1e-12)
        assert got["pairs/min_dcf"][row] == pytest.approx(min_dcf(curve), abs=1e-12)
        assert got["pairs/tar_at_far_1e-01"][row] == tar_at_far(curve, 0.1).tar
        assert got["pairs/kfold_accuracy"][row] == pytest.approx(
            kfold_accuracy(own, same, folds).mean, abs=1e-12
        )


def test_a_draw_without_impostors_or_with_an_empty_fold_is_not_a_number():
    scores, same = np.array([0.9, 0.1, 0.8, 0.2]), np.array([True, False, True, False])
    units = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2])
    counts = np.array([[3, 0, 0], [2, 1, 0], [1, 1, 1]])
    got = resampled_rates(scores, same, np.array([0, 0, 1, 1]), units, counts, {})
    np.testing.assert_array_equal(got["pairs/auc"], [np.nan, 1, 1])
    # in the middle row the second fold has a genuine pair alone: its best threshold accepts all
    np.testing.assert_array_equal(got["pairs/kfold_accuracy"], [np.nan, (0.5 + 1) / 2, 1])


LFW = data_root() / "lfw-py"


@pytest.mark.skipif(
    not (LFW / "pairs.txt").is_file() or "MARGINBENCH_DATA" not in os.environ,
    reason="MARGINBENCH_DATA names no folder with LFW",
)
def test_the_lists_of_labeled_faces_in_the_wild():
    images = sorted((LFW / "lfw-deepfunneled-crop160").glob("*/*.jpg"))
    names = [f"{path.parent.name}/{path.name}" for path in images]
    found = find_images(read_pairs(LFW / "pairs.txt"), names, len(names))
    assert (found.listed, found.skipped) == (6000, ())
    assert np.bincount(found.folds).tolist() == [600] * 10
    assert [int(found.same[found.folds == fold].sum()) for fold in range(10)] == [300] * 10
    people = np.array([path.parent.name for path in images])
    np.testing.assert_array_equal(people[found.left] == people[found.right], found.same)
    train = find_images(read_pairs(LFW / "pairsDevTrain.txt"), names, len(names))
    assert (train.listed, train.folds) == (2200, None)
    test = read_pairs(LFW / "pairsDevTest.txt")
    with pytest.raises(ProtocolError, match="line 585: no image Betsy_Coffin_0001; --missing"):
        find_images(test, names, len(names))
    skipped = find_images(test, names, len(names), missing="skip")
    assert skipped.skipped == ("line 585: no image Betsy_Coffin_0001",)
    assert (skipped.listed, len(skipped.same)) == (1000, 999)
