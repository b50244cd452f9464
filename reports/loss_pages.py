"""The pages of the losses, `docs/losses/`, from the catalog and the docstrings.

    python -m reports.loss_pages            # writes docs/losses; `make docs-losses` does the same
    python -m reports.loss_pages --out DIR

Equal losses give equal bytes. Pages and figures of losses that are gone are deleted.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from losses import catalog, describe, peers
from losses.schema import Hyperparameter, LossRow, Value
from reports.loss_figures import caption, loss_figure, overview

TEMPLATES = Path(__file__).with_name("templates")
PEERS = "peers.md"
NO_COUNTERPART = (
    "AngularLoss",
    "FastAPLoss",
    "GeneralizedLiftedStructureLoss",
    "HistogramLoss",
    "InstanceLoss",
    "IntraPairVarianceLoss",
    "LiftedStructureLoss",
    "MarginLoss",
    "NCALoss",
    "P2SGradLoss",
    "PNPLoss",
    "RankedListLoss",
    "SignalToNoiseRatioContrastiveLoss",
    "SmoothAPLoss",
    "ThresholdConsistentMarginLoss",
    "TupletMarginLoss",
)
"""Classes of pytorch-metric-learning that compute no loss of the catalog."""

SIGNS = {" >= ": " ≥ ", " <= ": " ≤ ", " != ": " ≠ "}
# What is raised or lowered: e^(a(b + c)), x^-t, θ_{i,y}, λ_min; of words only those of formulas.
NESTED = r"(?:[^()]|\((?:[^()]|\([^()]*\))*\))+"
GROUP = rf"(?:\((?P<wide>{NESTED})\)|\{{(?P<braced>[^{{}}]+)\}}|(?P<short>-?\w+))"
SUBSCRIPT = (
    r"(?<!\w)((?:cos|sin|Δ)?[^\W\d_]|sum|median|logit)_"
    r"(?:(?P<wide>(?!))|\{(?P<braced>[^{}]+)\}|(?P<short>(?:angle|[A-Za-z0-9]{1,3})(?![A-Za-z0-9_]|\.\w)))"
)
TAGS = str.maketrans({"\ue000": "<sup>", "\ue001": "</sup>", "\ue002": "<sub>", "\ue003": "</sub>"})
FROM_THE_RECIPE = {"label_smoothing": "label_smoothing", "weight_norm": "class_weight_norm"}


@dataclass(frozen=True)
class Line:
    """One loss in the index."""

    name: str
    summary: str
    defaults: str
    unit: str
    sampler: str
    presets: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m reports.loss_pages", description="Write the pages of the losses."
    )
    default = describe.PACKAGE.parent / describe.PAGES
    parser.add_argument("--out", type=Path, default=default, metavar="DIR")
    out: Path = parser.parse_args(arguments).out
    wanted = {out / name: text for name, text in {**pages(), **figures()}.items()}
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    for path in [*out.glob("*.md"), *out.glob("figures/*.svg")]:
        if path not in wanted:
            path.unlink()
    print(f"{len(wanted)} files in {out}")
    return 0


def pages() -> dict[str, str]:
    """Text of every page, by its path under the folder of the pages."""
    return {
        "index.md": index(),
        PEERS: _render("loss_peers.md.j2", others=NO_COUNTERPART, refused=_refused()),
        **{f"{name}.md": page(row) for name, row in catalog.CATALOG.items()},
    }


def figures() -> dict[str, str]:
    """SVG of every figure, by its path under the folder of the pages."""
    drawn = {name: loss_figure(name) for name in catalog.names()}
    own = {f"figures/{name}.svg": figure for name, figure in drawn.items() if figure}
    return {**own, "figures/overview.svg": overview()}


def page(row: LossRow) -> str:
    """The page of one loss."""
    family = describe.family(row)
    return _render(
        "loss.md.j2",
        row=row,
        words=describe.describe(row),
        family=family,
        anchor=family.lower().replace(" ", "-"),
        source=describe.source_file(row).relative_to(describe.PACKAGE.parent).as_posix(),
        parts=_parts(row),
        rules=describe.rules(row),
        recipe=_recipe(row),
        snippet=_snippet(row),
        caption=caption(row.name),
    )


def _refused() -> dict[str, str]:
    """Losses of pytorch-metric-learning that no study can have, and why."""
    return {
        name: why
        for name, why in peers.REFUSED.items()
        if why != peers.REFUSED["BaseMetricLossFunction"]
    }


def index() -> str:
    """The table of all losses."""
    families = [
        (title, [_line(row) for row in rows]) for title, rows in catalog.FAMILIES.items() if rows
    ]
    return _render("losses.md.j2", families=families, count=len(catalog.CATALOG))


def _render(template: str, **values: object) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"blocks": blocks, "entries": entries}
    environment.globals |= {
        "text": markdown,
        "cell": lambda words: markdown(words).replace("|", "\\|"),
        "shown": describe.shown,
        "legal": describe.legal,
        "searched": describe.searched,
        "details": describe.details,
        "setting": describe.setting,
    }
    text = environment.get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _line(row: LossRow) -> Line:
    resolved = catalog.resolve(row.name)
    units = [
        item.unit
        for item in row.hyperparameters
        if item.name in resolved
        and not item.structural
        and ("margin" in item.name or item.unit == "radian")
    ]
    return Line(
        name=row.name,
        summary=markdown(_summary(row)).replace("|", "\\|"),
        defaults=", ".join(f"`{key}: {describe.shown(value)}`" for key, value in resolved.items())
        or "–",
        unit=", ".join(dict.fromkeys(units)) or "–",
        sampler=row.sampler,
        presets=", ".join(f"`{preset.name}`" for preset in row.presets) or "–",
    )


def _summary(row: LossRow) -> str:
    """First line of the class; of a sum, which has the class of all sums, what it is made of."""
    if row.parts:
        made_of = " + ".join(row.parts)
        return f"{row.title}: {made_of}. {row.paper.partition(',')[0]} {row.year}."
    return describe.describe(row).summary


def _recipe(row: LossRow) -> str:
    keys = [f"`{FROM_THE_RECIPE[key]}`" for key in row.recipe]
    if not keys:
        return "It takes nothing from the study's recipe."
    return f"From the study's recipe it takes {' and '.join(keys)}."


def _parts(row: LossRow) -> str:
    """The parts of a sum as a list, those that have a page with a link."""
    return "\n".join(
        (f"- [`{part}`]({part}.md): " if part in catalog.CATALOG else f"- `{part}`: ")
        + markdown(summary)
        for part, summary in describe.parts(row).items()
    )


def _snippet(row: LossRow) -> str:
    """Blocks to copy: a grid over what is worth tuning, and a preset that is not in it."""
    axes = {item.name: _two(item) for item in catalog.search_space(row.name)[:2]}
    points = [
        catalog.resolve(row.name, dict(zip(axes, values, strict=True)))
        for values in itertools.product(*axes.values())
    ]
    presets = [
        preset.name
        for preset in row.presets
        if catalog.resolve(row.name, {"preset": preset.name}) not in points
    ]
    grid = ", ".join(f"{key}: [{', '.join(map(describe.shown, two))}]" for key, two in axes.items())
    if not presets:
        return f"  {row.name}: {{{grid}}}"
    return f"  {row.name}:\n    - {{{grid}}}\n    - {{preset: {presets[0]}}}"


def _two(item: Hyperparameter) -> Sequence[Value]:
    """The default and a smaller value that is legal and in the range to search."""
    assert item.search_low is not None
    assert item.search_high is not None
    default = float(item.default)
    smaller = default / 2 if default / 2 >= item.search_low else (default + item.search_high) / 2
    other: Value = round(smaller) if isinstance(item.default, int) else float(f"{smaller:.3g}")
    return sorted({item.default, other}, key=float)


def markdown(words: str) -> str:
    """Plain text with code in backticks and formulas as Markdown, on one line."""
    pieces = re.split(r"(``.+?``|`[^`]+`)", " ".join(words.split()))
    return "".join(
        _code(piece.strip("`")) if place % 2 else _escaped(piece)
        for place, piece in enumerate(pieces)
    )


def _code(piece: str) -> str:
    """Code; what is of this checkout's losses with a link to its module."""
    module = re.fullmatch(r"(losses\.\w+)\.\w+", piece)
    return f"[`{piece}`](../../{module[1].replace('.', '/')}.py)" if module else f"`{piece}`"


def _escaped(piece: str) -> str:
    """Letters that Markdown would take for its own; underscores within a word it leaves alone."""
    piece = _scripts(piece)
    for typed, sign in SIGNS.items():
        piece = piece.replace(typed, sign)
    piece = re.sub(r"([\\*\[\]~])", r"\\\1", piece).replace("<", "&lt;")
    piece = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", piece)
    return piece.translate(TAGS)


def _scripts(piece: str) -> str:
    """Subscripts of single letters and exponents as tags, still in place of private letters."""
    piece = re.sub(r"\^" + GROUP, lambda found: _tagged(found, "\ue000", "\ue001"), piece)
    return re.sub(SUBSCRIPT, lambda found: found[1] + _tagged(found, "\ue002", "\ue003"), piece)


def _tagged(found: re.Match[str], start: str, end: str) -> str:
    return start + _scripts(found["wide"] or found["braced"] or found["short"]) + end


def entries(section: str) -> str:
    """A numpydoc section of names with a description each, as a list."""
    return "\n".join(f"- `{head}`: {markdown(text)}" for head, text in describe.entries(section))


def blocks(text: str) -> str:
    """Paragraphs of a docstring as Markdown: prose, lists, and what is indented as it stands."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.splitlines()
        if not lines:
            continue
        if all(line.startswith("  ") for line in lines):
            shallow = min(len(line) - len(line.lstrip()) for line in lines)
            found.append("\n".join(["```text", *(line[shallow:] for line in lines), "```"]))
        elif re.match(r"[-*] ", lines[0]):
            items = re.split(r"^[-*] ", paragraph, flags=re.MULTILINE)[1:]
            found.append("\n".join(f"- {markdown(item)}" for item in items))
        else:
            found.append(markdown(paragraph).replace("::", ":"))
    return "\n\n".join(found)


if __name__ == "__main__":
    raise SystemExit(main())
