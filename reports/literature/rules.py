"""When a published number may stand beside a setting: same data set, part judged, metric and loss.

Everything here works on one row of ``published.csv`` and one planned experiment.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from reports.summary import loss_title

# Data set here: its published name, and the images that its papers judge (None: they differ).
DATASETS = {
    "mnist": ("MNIST", "10,000 given test images"),
    "mnist5k": ("MNIST", None),
    "fashion_mnist": ("Fashion-MNIST", "10,000 given test images"),
    "omniglot": ("Omniglot", None),
}
# Published metric: the metric here, and whether it is 1 minus it.
METRICS = {
    "accuracy": ("closed_set/top1", False),
    "accuracy (class prediction)": ("closed_set/top1", False),
    "acc@1": ("closed_set/top1", False),
    "error": ("closed_set/top1", True),
    "acc@5": ("closed_set/top5", False),
    "accuracy (kNN)": ("closed_set/knn_top1", False),
}
_FEW_SHOT = re.compile(r"\d+-?w(?:ay)? ?\d+-?s(?:hot)?")
# Published loss, lower case, without its numbers: losses of the catalog. Others have no row there.
_LOSSES = {
    "softmax": "softmax",
    "l-softmax": "l_softmax",
    "a-softmax": "sphereface",
    "sphereface": "sphereface",
    "cosface": "cosface",
    "arcface": "arcface",
    "adacos": "adacos",
    "normface softmax": "norm_softmax",
    "softmax+center": "center",
    "triplet": "triplet",
    "supcon": "supcon",
}
_STATED = re.compile(r"\b(m|s|scale)\s*=\s*(\d*\.?\d+)")
_KEYS = {"m": "margin", "s": "scale", "scale": "scale"}
# Backbone here: what published rows call the same net.
_NETS = {
    # Both re-implementations built the net from the paper's Table 1.
    "lsoftmax_paper": (
        "MNISTNet",
        "L-Softmax-paper architecture",
        "reimpl amirhfarzaneh",
        "reimpl lyl120117",
    ),
    "lenet_plus_plus": ("LeNets++",),
}


_IS_NET = re.compile(r"net|conv|layer|architecture|vgg", re.IGNORECASE)  # in a row's setting


def losses_of(text: str) -> list[tuple[str, dict[str, float]]]:
    """Which losses of the catalog a published row means, each with the numbers that it states.

    L-Softmax with margin 1 is softmax by its definition, and the other way round.

    >>> losses_of("ArcFace m=0.5 s=1.65")
    [('arcface', {'margin': 0.5, 'scale': 1.65})]
    >>> losses_of("Softmax (m=1)")
    [('softmax', {}), ('l_softmax', {'margin': 1.0})]
    >>> losses_of("EucMargin (theirs)")
    []
    """
    stated = {_KEYS[key]: float(value) for key, value in _STATED.findall(text)}
    bare = re.sub(r"\([^)]*\)|\b\d-D\b", " ", _STATED.sub(" ", text)).strip(" ,").lower()
    name = _LOSSES.get(bare)
    if name is None:
        return []
    if name == "softmax" or (name == "l_softmax" and stated.get("margin") == 1):
        return [("softmax", {}), ("l_softmax", {"margin": 1.0})]
    return [(name, stated)]


def protocol_gap(row: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    """Why the two do not judge the same thing; empty where they do."""
    dataset, split = item["dataset"]["name"], item["split"]
    _, part = DATASETS[dataset]
    known = _all_known(dataset, split)
    if _FEW_SHOT.search(f"{row['metric']} {row['setting']}"):
        return "few-shot episodes of unseen classes, which no protocol here draws"
    if row["metric"] not in METRICS:
        return f"{row['metric']} is not measured here"
    if "random split" in row["setting"]:
        here = "all classes" if known else "part of the classes and judges the others"
        return (
            "closed set of all classes on a random split of the images that was not published; "
            f"this study trains on {here}, on a split of its own"
        )
    if part is None:
        return f"this study judges images of {dataset}, not the published test images"
    if split.get("images") != "given":
        return f"judged there: the {part}; here: images that the study held out"
    if not known:
        return "trained there on all classes, here on part of them"
    return ""


def _all_known(dataset: str, split: Mapping[str, Any]) -> bool:
    """Whether every class of the data set is trained on."""
    unknown = split.get("unknown_test")
    if unknown is None:  # as given: these give none
        unknown = 0 if split["classes"] == "given" and DATASETS[dataset][1] else 1
    whole = split["classes"] in ("given", "random") and split.get("known_classes") is None
    return whole and not unknown and not split.get("unknown_validation")


def stated_gap(stated: Mapping[str, float], item: Mapping[str, Any]) -> str:
    """In which stated numbers of the loss the two differ; empty where they agree."""
    here = item["loss"]["hyperparameters"]
    texts = [
        f"{key} {value:g} there, {here.get(key, 'none')} here"
        for key, value in stated.items()
        if not math.isclose(float(here.get(key, math.nan)), value, rel_tol=1e-6)
    ]
    return f"{loss_title(item['loss']['name'])}: {', '.join(texts)}" if texts else ""


def net_of(row: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    """Whether the nets agree: "same", "other", or "not stated" there."""
    said = f"{row['paper']}, {row['setting']}"
    if any(name in said for name in _NETS.get(item["backbone"]["name"], ())):
        return "same"
    built = any(name in said for names in _NETS.values() for name in names)
    return "other" if built or _IS_NET.search(row["setting"]) else "not stated"


def differences(row: Mapping[str, Any], item: Mapping[str, Any]) -> tuple[str, ...]:
    """What the row states of net, recipe and choice of runs that does not hold here."""
    setting, recipe, backbone = row["setting"], item["recipe"], item["backbone"]
    texts = []
    if net_of(row, item) == "other":
        here = f"{backbone['name']}, {backbone['embedding_dim']}-D"
        there = setting if _IS_NET.search(setting) else "the net of L-Softmax's paper"
        texts.append(f"net: {here} here, {there} there")
    for pattern, key, word in (
        (r"(\d+) ep\b", "epochs", "epochs"),
        (r"\bbs(\d+)", "batch_size", "batch"),
    ):
        stated = re.search(pattern, setting)
        if stated and int(stated[1]) != recipe.get(key):
            texts.append(f"{word}: {recipe.get(key)} here, {stated[1]} there")
    if "max test acc" in setting:
        texts.append("there the best epoch by its test accuracy, of one run")
    if "cherry-picked" in setting:
        texts.append("there seeds picked by their result")
    if item["split"].get("known_validation"):
        texts.append("here some training images are held out for validation")
    if any(item.get("augment", {}).get(key) for key in ("rotate_degrees", "translate", "flip")):
        texts.append("augmented images here, not stated there")
    if "kNN" in row["metric"]:
        texts.append("number of neighbours not stated there")
    return tuple(texts)
