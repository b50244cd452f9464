"""The page of one verdict: a folder that ``python -m benchmarks judge`` wrote becomes ``index.html``."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.backends.backend_agg import FigureCanvasAgg

from reports.errors import ReportError
from reports.figures.style import styled
from reports.metrics import metric
from reports.verdict_figures import draw_all

_TEMPLATES = Path(__file__).resolve().parent / "templates"
VERDICT = "verdict.json"

# In the order of the page: prefix of the metrics, heading, what it asks.
PROTOCOLS = (
    ("pairs", "Listed pairs", "Are the two images of a listed pair of one class?"),
    (
        "compatibility",
        "Listed pairs, as other code bases judge them",
        "The same pairs under other protocols, to place tables made with them.",
    ),
    ("verification", "Verification", "Are two images of one class? All pairs of images."),
    ("identification", "Identification", "Who of the gallery is this, or nobody?"),
    ("retrieval", "Retrieval", "Does an image find the others of its class?"),
    ("closed_set", "Closed set", "Which known class is this?"),
    ("open_set_recognition", "Open-set recognition", "Is this of a known class, and of which?"),
    ("geometry", "Geometry", "How do classes and images lie?"),
)


# Words of metric names that are written otherwise.
_WORDS = {
    **{word: word.upper() for word in ("auc", "auroc", "ccr", "dcf", "ece", "eer", "far", "fpir")},
    **{word: word.upper() for word in ("fpr", "ncm", "oscr", "tar", "tpir")},
    "kfold": "k-fold",
    "knn": "k-NN",
    "map": "mAP",
    "minp": "mINP",
    "sd": "SD",
    "sem": "standard error of the mean",
    "std": "standard deviation",
    "youden": "Youden",
}
_COUNT = re.compile("(pairs|probes|images|identities|queries|left_out)$")
_RATE = re.compile(r"e([+-])0*(\d)")


@dataclass(frozen=True)
class Row:
    """One metric as shown."""

    title: str
    name: str
    value: str
    interval: str
    note: str


def write_verdict_page(folder: Path) -> Path:
    """Write ``index.html``, with its figures inside, into the folder of a verdict; returns the page.

    Raises
    ------
    ReportError : the folder is no verdict, or a damaged one.
    """
    content, curves = read_verdict(folder)
    figures = []
    with styled():
        for drawing in draw_all(content, curves):
            FigureCanvasAgg(drawing.figure)
            image = io.BytesIO()
            drawing.figure.savefig(image, dpi=200, metadata={"Software": None})
            encoded = base64.b64encode(image.getvalue()).decode("ascii")
            figures.append({"drawing": drawing, "image": f"data:image/png;base64,{encoded}"})
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("verdict.html.j2").render(
        title=Path(content["file"]).name,
        facts=facts(content),
        warnings=warnings(content),
        groups=groups(content),
        resamples=content["settings"]["resamples"],
        left_out=content["not_applicable"],
        figures=figures,
    )
    path = folder / "index.html"
    path.write_text(html, encoding="utf-8", newline="\n")
    return path


def read_verdict(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The content of ``verdict.json`` and the arrays of ``curves.npz``.

    Raises
    ------
    ReportError : one is missing or damaged.
    """
    try:
        content = json.loads((folder / VERDICT).read_text(encoding="utf-8"))
        with np.load(folder / "curves.npz", allow_pickle=False) as stored:
            curves = {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise ReportError(
            f"{folder}: is not a verdict ({Path(error.filename).name} is missing); "
            "write one with: python -m benchmarks judge FILE"
        ) from error
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ReportError(f"{folder}: the verdict cannot be read: {error}") from error
    needed = {"file", "metrics", "intervals", "notes", "settings", "not_applicable", "protocols"}
    if lacking := needed - content.keys():
        raise ReportError(f"{folder / VERDICT}: lacks {', '.join(sorted(lacking))}")
    return content, curves


def facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was judged, as (term, text)."""
    classes = content["classes"]
    rows = [
        ("File", content["file"]),
        ("SHA-256", content["sha256"]),
        (
            "Embeddings",
            f"{content['images']:,} images × {content['dimension']} dimensions, {content['dtype']}"
            + (f", {classes:,} classes" if classes is not None else ", without labels"),
        ),
        ("Mirror images", {"none": "not used"}.get(content["flip"], f"fused: {content['flip']}")),
    ]
    if pairs := content.get("pairs"):
        folds = f", {pairs['folds']} folds" if pairs["folds"] else ", no folds"
        rows += [
            (
                "Pair list",
                f"{pairs['file']}: {pairs['judged']:,} of {pairs['listed']:,} pairs judged{folds}",
            ),
            ("Score of the listed pairs", content["score"]),
        ]
    protocols = {**content["protocols"], **({"pairs": pairs["version"]} if pairs else {})}
    used = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    rows += [
        ("Versions of the protocols", ", ".join(f"{k} {v}" for k, v in protocols.items())),
        ("Time", f"{content['seconds']:,.1f} s on {content['settings']['device']}; {used}"),
    ]
    return rows


def warnings(content: Mapping[str, Any]) -> list[str]:
    """What a reader must know before the numbers."""
    pairs = content.get("pairs")
    found = []
    if pairs and pairs["skipped_count"]:
        shown = "; ".join(pairs["skipped"][:3])
        more = " …" if pairs["skipped_count"] > 3 else ""
        found.append(
            f"Left out, since images are missing: {pairs['skipped_count']:,} of {pairs['listed']:,} "
            f"listed pairs ({shown}{more})."
        )
    if pairs and pairs["label_conflicts"]:
        found.append(
            "Listed as genuine with labels that differ, or as impostor with equal ones: "
            f"{pairs['label_conflicts']:,} pairs; the list decided."
        )
    return found


def groups(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of each protocol that has any."""
    known = [prefix for prefix, _, _ in PROTOCOLS]
    names = list(content["metrics"])
    others = sorted({name.partition("/")[0] for name in names} - set(known))
    headings = [*PROTOCOLS, *((prefix, prefix.replace("_", " "), "") for prefix in others)]
    found = []
    for prefix, heading, question in headings:
        rows = [_row(content, name) for name in names if name.startswith(f"{prefix}/")]
        if rows:
            found.append({"id": prefix, "heading": heading, "question": question, "rows": rows})
    return found


def _row(content: Mapping[str, Any], name: str) -> Row:
    value, bounds = content["metrics"][name], content["intervals"].get(name)
    title = metric(name).title
    if title == name:
        title = _spelled(name.partition("/")[2])
    return Row(
        title,
        name,
        "n/a" if value is None else _number(value, counted=bool(_COUNT.search(name))),
        f"{bounds[0]:.4f} – {bounds[1]:.4f}" if bounds else "",
        content["notes"].get(name, ""),
    )


def _spelled(name: str) -> str:
    """
    >>> _spelled("tar_at_far_1e-03")
    'TAR at FAR 1e-3'
    """
    words = [_WORDS.get(word, word) for word in _RATE.sub(_short_rate, name).split("_")]
    return " ".join(
        [words[0][:1].upper() + words[0][1:] if words[0].islower() else words[0], *words[1:]]
    )


def _short_rate(found: re.Match[str]) -> str:
    return f"e{'-' if found[1] == '-' else ''}{found[2]}"


def _number(value: float, counted: bool) -> str:
    if value == int(value) and (counted or abs(value) > 1):
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4f}"
