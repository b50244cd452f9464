"""The table of geometry: angles, lengths and spread of the embeddings of each compared setting."""

from __future__ import annotations

from dataclasses import replace

from reports.collect import Study
from reports.metrics import metric
from reports.selection import Selection
from reports.summary import full_setting, loss_title, summarise
from reports.tables.details import refusals
from reports.tables.table import Column, Entry, Table

SHOWN = tuple(
    f"geometry/{name}"
    for name in (
        "w_ec",
        "w_inter",
        "intra",
        "inter",
        "angular_fisher_score",
        "norm_mean",
        "effective_rank",
        "alignment",
        "uniformity",
    )
)
# Of a degree, or of a dimension, a tenth is enough.
_DIGITS = {name: 1 for name in SHOWN if metric(name).unit == "°"}
_DIGITS |= {"geometry/norm_mean": 2, "geometry/effective_rank": 1}


def geometry_tables(study: Study, selection: Selection) -> list[Table]:
    """The table, in a list; an empty list where no run has a geometry."""
    names = [name for name in SHOWN if study.measured(name)]
    if not names:
        return []
    cells = selection.cells
    losses = study.cells.set_index("cell")["loss"]
    numbers = [
        [replace(each, digits=_DIGITS.get(name, 3)) for each in summarise(study, name, cells)]
        for name in names
    ]
    columns = [Column("loss", "Loss"), Column("setting", "Setting")]
    for name in names:
        row = metric(name)
        header = f"{row.short} ({row.unit})" if row.unit else row.short
        columns.append(Column(name, header, row.title, True))
    rows: list[list[Entry]] = [
        [loss_title(losses[cell]), full_setting(study, cell), *(own[place] for own in numbers)]
        for place, cell in enumerate(cells)
    ]
    caption = (
        "Mean over seeds ± half the width of the 95 % interval; no "
        "column has a better direction of its own. Angles in degrees (Deng et al. 2019, Table 3): "
        "W-EC class weight to the mean of its training images, W-Inter class weight to the nearest "
        "other; all else of images of unknown classes: Intra image to its class's mean, Inter that "
        "mean to the nearest other. AFS: spread within over spread between (Liu et al. 2017). Mean "
        "norm: length before normalisation. Alignment: mean squared distance within a class; "
        "uniformity: log mean Gaussian potential, smaller is more uniform (Wang and Isola 2020). "
        "n/a: refused."
    )
    notes = refusals(study, cells, names)
    return [Table("geometry", "Geometry of the embeddings", caption, columns, rows, notes)]
