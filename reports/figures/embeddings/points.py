"""Stored embeddings of two or three dimensions to the rows that their figures are drawn from.

A row is an image (kind ``train``, ``test`` or ``unknown``: test images of classes never seen in
training), the direction of a class (``weight``, ``center`` or ``mean``), or a cell without any
result (``lost``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import safe_open

from reports.collect import Study
from reports.selection import Selection
from reports.summary import loss_title, setting_text

PARTS = {"train": 0, "test": 2, "unknown": 4}  # codes of ``part`` in a run's embeddings
DIRECTIONS = ("weight", "center", "mean")
COORDINATES = ("x", "y", "z")
CLASSES = 10  # drawn; more could not be told apart
POINTS = 150  # per class and kind, at most
ROWS = 3000  # of a frame, about: keeps the CSV small
_DIGITS = 5  # significant; more than any eye can see


def dimensions(study: Study) -> dict[str, int]:
    """The embedding's dimension of each cell."""
    own = {item["id"]: item["backbone"]["embedding_dim"] for item in study.plan["experiments"]}
    first = study.frame.drop_duplicates("cell")
    return {cell: own[run] for cell, run in zip(first["cell"], first["id"], strict=True)}


def cells_of(study: Study, selection: Selection, dimension: int) -> list[str]:
    """The compared cells of a dimension; where the dimension varies and none has it, the cells that
    differ from a compared one in nothing else.
    """
    found = dimensions(study)
    own = [cell for cell in selection.cells if found[cell] == dimension]
    if own or "embedding_dim" not in study.settings:
        return own
    cells = study.cells.set_index("cell").drop(columns="embedding_dim")
    compared = [cells.loc[cell] for cell in selection.cells]
    return [
        cell
        for cell, row in cells.iterrows()
        if found[str(cell)] == dimension and any(row.equals(each) for each in compared)
    ]


def run_of(study: Study, cell: str) -> tuple[str, int] | None:
    """Id and seed of a cell's first finished run whose embeddings are kept; None: there is none."""
    runs = study.frame[(study.frame["cell"] == cell) & (study.frame["status"] == "finished")]
    for row in runs.sort_values("seed").to_dict("records"):
        if (study.runs / row["id"] / "embeddings.npz").exists():
            return str(row["id"]), int(row["seed"])
    return None


def stored(study: Study, experiment: str, *names: str) -> dict[str, NDArray[Any]]:
    """These arrays of a run's ``embeddings.npz``, as far as it has them; others are not read."""
    path = study.runs / experiment / "embeddings.npz"
    if not path.exists():
        return {}
    with np.load(path) as archive:
        return {name: archive[name] for name in names if name in archive.files}


def facts(study: Study, cell: str, seed: int | None = None) -> dict[str, Any]:
    """What each row says of its cell: cell, loss, label, seed (-1: no run), runs that were lost."""
    runs = study.frame[study.frame["cell"] == cell]
    loss = str(runs["loss"].iloc[0])
    fates = runs.loc[runs["status"] != "finished", "status"].value_counts()
    return {
        "cell": cell,
        "loss": loss,
        "label": f"{loss_title(loss)} {setting_text(study, cell)}".strip(),
        "seed": -1 if seed is None else seed,
        "lost": "; ".join(f"{n} {str(fate).replace('_', ' ')}" for fate, n in fates.items()),
    }


def cell_rows(
    study: Study, cell: str, parts: Sequence[str] | None, per_class: int | None
) -> pd.DataFrame:
    """All rows of one cell: its points, thinned evenly, and the directions of its classes.

    Parameters
    ----------
    parts : kinds of images; None: test images of known classes, training images without any.
    per_class : points per class and kind; None: none but the directions.

    Returns
    -------
    frame : see `facts`, and kind, class, x, y (z), known_classes; one row of kind ``lost`` for a
        cell without stored embeddings.
    """
    run = run_of(study, cell)
    if run is None:
        return pd.DataFrame([{**facts(study, cell), "kind": "lost", "class": -1}])
    names = ("embeddings", "labels", "part", "known_classes", "class_weights")
    arrays = stored(study, run[0], *names)
    known = arrays["known_classes"]
    if parts is None:
        parts = ["test" if (arrays["part"] == PARTS["test"]).any() else "train"]
    where = (arrays["embeddings"], arrays["labels"], arrays["part"])
    frames = [] if per_class is None else [points(*where, known, parts, per_class)]
    frames.append(
        directions(*where, known, arrays.get("class_weights"), _centers(study, run[0], arrays))
    )
    rows = pd.concat(frames, ignore_index=True)
    return rows.assign(**facts(study, cell, run[1]), known_classes=len(known))


def points(
    embeddings: NDArray[Any],
    labels: NDArray[Any],
    part: NDArray[Any],
    known: NDArray[Any],
    parts: Iterable[str],
    per_class: int,
) -> pd.DataFrame:
    """Images (N, D) as rows kind, class, x, y (z): the first known classes and all unknown ones,
    of each so many, evenly spaced; images that are not finite are left out.
    """
    finite = np.isfinite(embeddings).all(axis=1)
    frames = []
    for kind in parts:
        mine = finite & (part == PARTS[kind])
        shown = known[:CLASSES]
        if kind == "unknown":
            # Together no more than two known classes: they are the background.
            shown = np.setdiff1d(np.unique(labels[mine]), known)
        room = per_class if kind != "unknown" else max(1, 2 * per_class // max(len(shown), 1))
        for label in shown:
            rows = np.flatnonzero(mine & (labels == label))
            if len(rows) > room:
                rows = rows[np.linspace(0, len(rows) - 1, room).astype(int)]
            frames.append(_rows(kind, np.full(len(rows), label), embeddings[rows]))
    return pd.concat(frames, ignore_index=True) if frames else _rows("", known[:0], embeddings[:0])


def directions(
    embeddings: NDArray[Any],
    labels: NDArray[Any],
    part: NDArray[Any],
    known: NDArray[Any],
    weights: NDArray[Any] | None,
    centers: NDArray[Any] | None = None,
) -> pd.DataFrame:
    """Where the first known classes stand: the loss's centers, else its class weights, else the
    means of the training images; `weights` and `centers` (C, D), row c of class ``known[c]``.
    """
    for kind, table in (("center", centers), ("weight", weights)):
        if table is not None and table.shape == (len(known), embeddings.shape[1]):
            return _rows(kind, known[:CLASSES], table[:CLASSES])
    mine = np.isfinite(embeddings).all(axis=1) & (part == PARTS["train"])
    classes = [label for label in known[:CLASSES] if (mine & (labels == label)).any()]
    means = [embeddings[mine & (labels == label)].mean(axis=0) for label in classes]
    return _rows("mean", np.array(classes, int), np.reshape(means, (-1, embeddings.shape[1])))


def thinned(values: Sequence[Any], most: int) -> list[Any]:
    """At most so many of some values, evenly spaced, first and last always among them."""
    if len(values) <= most:
        return list(values)
    return [values[i] for i in np.linspace(0, len(values) - 1, most).round().astype(int)]


def per_class(panels: int) -> int:
    """Points per class and panel, so that a frame of so many panels stays small."""
    return min(POINTS, max(10, ROWS // (CLASSES * max(panels, 1))))


def _rows(kind: str, classes: NDArray[Any], at: NDArray[Any]) -> pd.DataFrame:
    columns = {
        name: [float(f"{value:.{_DIGITS}g}") for value in column]
        for name, column in zip(COORDINATES, np.asarray(at, float).T, strict=False)
    }
    return pd.DataFrame({"kind": kind, "class": classes.astype(int), **columns})


def _centers(
    study: Study, experiment: str, arrays: Mapping[str, NDArray[Any]]
) -> NDArray[Any] | None:
    """The centers of a loss that has one for each class, from its stored state."""
    path = study.runs / experiment / "model.safetensors"
    if not path.exists():
        return None
    with safe_open(path, framework="np") as model:
        names = [name for name in model.keys() if name.endswith("loss.centers")]  # noqa: SIM118
        tables = [np.asarray(model.get_tensor(name)) for name in names]
    fitting = [table for table in tables if len(table) == len(arrays["known_classes"])]
    return fitting[0] if fitting else None
