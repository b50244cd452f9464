"""The page of a verdict: what stands on it, and what is refused."""

import json
import re

import numpy as np
import pytest

from reports.__main__ import main
from reports.verdict_figures import draw_all

METRICS = {
    "pairs/genuine_pairs": 3000.0,
    "pairs/impostor_pairs": 3000.0,
    "pairs/auc": 0.91234,
    "pairs/kfold_accuracy": 0.85,
    "pairs/tar_at_far_1e-03": None,
    "compatibility/accuracy_youden": 0.8512,
    "verification/impostor_pairs": 50000.0,
    "verification/auc": 0.95,
    "identification/mated_probes": 1508.4,
    "identification/non_mated_probes": 900.0,
    "open_set_recognition/unknown_images": 2000.0,
    "something_new/a_number": -2.5,
    "pairs/kfold_high": 1.0,
}
CONTENT = {
    "file": "dir/<b>e.npz",
    "sha256": "0" * 64,
    "images": 1200,
    "dimension": 64,
    "dtype": "float32",
    "classes": 40,
    "score": "cosine",
    "flip": "sum",
    "settings": {"resamples": 1000, "device": "cpu"},
    "versions": {"numpy": "2"},
    "pairs": {
        "file": "pairs.txt",
        "version": 1,
        "listed": 6001,
        "judged": 6000,
        "folds": 10,
        "skipped": ["line 585: no image X_0001"],
        "skipped_count": 1,
        "label_conflicts": 2,
    },
    "not_applicable": {"closed_set": "no image is marked as known_test by 'part'"},
    "seconds": 1.5,
    "intervals": {"pairs/auc": [0.9, 0.92]},
    "protocols": {"verification": 2},
    "metrics": METRICS,
    "notes": {"pairs/tar_at_far_1e-03": "too few <impostors>"},
}


def curves():
    far = np.concatenate([[0], np.geomspace(1e-4, 1, 50)])
    edges = np.linspace(-1, 1, 201)
    histogram = np.bincount(np.arange(60, 190), minlength=200)
    found = {
        "identification/rank": np.arange(1, 51),
        "identification/cmc": np.linspace(0.7, 1, 50),
        "identification/fpir": np.geomspace(1e-3, 1, 100),
        "identification/tpir": np.linspace(0, 0.7, 100),
        "open_set_recognition/max_logit_fpr": far,
        "open_set_recognition/max_logit_ccr": far**0.5,
    }
    for prefix in ("pairs", "verification"):
        found |= {
            f"{prefix}/far": far,
            f"{prefix}/tar": far**0.3,
            f"{prefix}/score_edges": edges,
            f"{prefix}/genuine_histogram": histogram,
            f"{prefix}/impostor_histogram": histogram[::-1],
        }
    return {f"test/{name}": curve for name, curve in found.items()}


def write(folder, content=CONTENT, arrays=None):
    folder.mkdir(exist_ok=True)
    (folder / "verdict.json").write_text(json.dumps(content))
    np.savez(folder / "curves.npz", **(curves() if arrays is None else arrays))
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("page") / "e.verdict")
    assert main(["verdict", str(folder)]) == 0
    return (folder / "index.html").read_text(encoding="utf-8")


def cells(page, name):
    """Value, interval and note of a metric's row."""
    (found,) = [part for part in page.split("<tr>") if f"<code>{name}</code>" in part]
    return [cell.strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", found, re.DOTALL)]


def test_every_metric_has_a_row_with_interval_or_reason(page):
    assert page.count('<th scope="row">') == len(METRICS)
    assert cells(page, "pairs/auc") == ["0.9123", "0.9000 – 0.9200", ""]
    assert cells(page, "pairs/genuine_pairs") == ["3,000", "", ""]
    assert cells(page, "pairs/tar_at_far_1e-03") == ["n/a", "", "too few &lt;impostors&gt;"]
    assert cells(page, "identification/mated_probes")[0] == "1,508.4"
    assert cells(page, "something_new/a_number")[0] == "-2.5000"
    assert cells(page, "pairs/kfold_high")[0] == "1.0000"  # a rate, no count
    assert "training runs. There is none" in " ".join(page.split())


def test_metrics_stand_under_their_protocol_in_a_fixed_order(page):
    headings = re.findall(r'<h2 id="[\w-]+">([^<]+)</h2>', page)
    assert headings == [
        "Curves",
        "Listed pairs",
        "Listed pairs, as other code bases judge them",
        "Verification",
        "Identification",
        "Open-set recognition",
        "something new",
        "Protocols left out",
        "How to read this",
    ]


def test_what_a_reader_must_know_stands_before_the_numbers(page):
    assert "1 of 6,001 listed pairs (line 585: no image X_0001)" in page
    assert "2 pairs; the list decided" in page
    assert "dir/&lt;b&gt;e.npz" in page
    assert "<b>e.npz" not in page
    assert "1,200 images × 64 dimensions, float32, 40 classes" in page
    assert "6,000 of 6,001 pairs judged, 10 folds" in page
    assert "under 1,000 resamples" in page


def test_figures_are_inside_the_page_and_described(page):
    images = re.findall(r'<img src="data:image/png;base64,[^"]+" alt="([^"]+)"', page)
    assert images == [
        "ROC curves: listed pairs AUC 0.912; all pairs AUC 0.950.",
        "Histogram of the scores of genuine and impostor pairs, listed pairs.",
        "Histogram of the scores of genuine and impostor pairs, all pairs.",
        "CMC: rank 1 0.700, last rank 1.000.",
        "TPIR over FPIR at rank 1.",
        "OSCR curves of max_logit.",
    ]
    assert not re.search(r'(src|href)="https?:', page)


def test_rates_are_drawn_where_the_data_carries_them():
    drawings = {drawing.title: drawing for drawing in draw_all(CONTENT, curves())}

    def lowest(title):
        return [line.get_xdata().min() for line in drawings[title].figure.axes[0].get_lines()]

    assert lowest("ROC") == pytest.approx([10 / 3000, 10 / 50000])
    assert 10 / 900 <= lowest("TPIR over FPIR")[0] < 1.1 * 10 / 900
    assert 10 / 2000 <= lowest("OSCR")[0] < 1.3 * 10 / 2000


def test_a_verdict_without_curves_pairs_or_labels_has_a_page(tmp_path):
    content = {key: item for key, item in CONTENT.items() if key != "pairs"}
    content |= {"classes": None, "flip": "none", "not_applicable": {}}
    content["settings"] = {"resamples": 0, "device": "cpu"}
    folder = write(tmp_path / "e.verdict", content, {})
    assert main(["verdict", str(folder)]) == 0
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert "<img" not in text
    assert "Protocols left out" not in text
    assert "without labels" in text
    assert "No intervals were asked for" in text


def test_folders_that_are_no_verdict_are_refused(tmp_path, caplog):
    def message(folder):
        caplog.clear()
        assert main(["verdict", str(folder)]) == 2
        return caplog.records[-1].getMessage()

    assert "is not a verdict (verdict.json is missing)" in message(tmp_path)
    folder = write(tmp_path / "e.verdict")
    (folder / "curves.npz").write_bytes(b"PK")
    assert "cannot be read" in message(folder)
    write(folder, {"file": "e.npz"})
    assert "lacks intervals, metrics" in message(folder)
    (folder / "verdict.json").write_text("{")
    assert "cannot be read" in message(folder)
