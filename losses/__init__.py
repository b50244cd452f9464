"""Training objectives, each written for one model as in its paper, and their catalog.

Importing the package does not import torch; ``losses.build`` does.
"""

from losses.catalog import (
    CATALOG,
    FAMILIES,
    CatalogError,
    Hyperparameter,
    LossRow,
    Preset,
    group_key,
    names,
    resolve,
    row,
    search_space,
    source_modules,
)

__all__ = [
    "CATALOG",
    "FAMILIES",
    "CatalogError",
    "Hyperparameter",
    "LossRow",
    "Preset",
    "group_key",
    "names",
    "resolve",
    "row",
    "search_space",
    "source_modules",
]
