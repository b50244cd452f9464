"""Every loss of the catalog, measured: vectors, hard cases, stack, state, speed. One table.

    python -m tests.losses.check                        # Markdown on stdout
    python -m tests.losses.check --losses arcface --out check.md

Vectors are independent values and gradients (`tests/losses/data/README.md`); another folder of them is named by the
environment variable MARGINBENCH_VECTORS. The exit status is 1 if anything is out of tolerance.
"""

from __future__ import annotations

import argparse
import copy
import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from losses.base import Loss
from losses.catalog import CATALOG, CatalogError, row
from losses.schema import Value
from tests.losses.adapters import ADAPTERS
from tests.losses.hard import clamp_slope, hard_cases, not_finite, some_classes
from tests.losses.stacks import Stack, batch, make, structure_id, structures, varied
from tests.losses.vectors import VARIABLE, Case, cases

DTYPES = {"float64": torch.float64, "float32": torch.float32}
PARTS = ("value", "gradients")
STACK = 4
STACK_TOLERANCE = 1e-6
"""Of the difference of a gradient in a stack, relative to the gradient's length, in float32.

Where `ROUNDING` times the largest distance of a separate model from its float64 twin is more: that.
"""
ROUNDING = 4.0

ROOT = Path(__file__).resolve().parents[2]
SPEED = (ROOT / "results/speed_losses.csv", ROOT / "reports/published/speed_losses_cpu.csv")
MEASURED_AT = {"batch": "512", "dim": "128", "classes": "10000"}

Structure = dict[str, Value]


@dataclass
class Check:
    """What was found about one loss.

    Attributes
    ----------
    errors : dict of (dtype, part) to (float, float)
        Largest error: absolute, and as a multiple of its tolerance (of two different entries).
    hard : tuple of int
        Passed and all.
    stack : float or None
        Largest relative difference; None: computed model by model.
    problems : list of str
        All that is out of tolerance.
    """

    loss: str
    cases: int = 0
    errors: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    hard: tuple[int, int] = (0, 0)
    stack: float | None = None
    state: bool = True
    problems: list[str] = field(default_factory=list)


def check_vectors(check: Check, chosen: list[Case]) -> None:
    """Errors of all cases of the loss."""
    for case in chosen:
        check.cases += 1
        adapter = ADAPTERS[case.row["oracle"]]
        for dtype in case.row["tol"]:
            try:
                got = adapter.run(case, DTYPES[dtype])
                for key in case.row["expected"]:
                    if key in got or key not in adapter.without:
                        compare(check, case, key, got[key], dtype)
            except Exception as error:  # a loss that fails is a row of the table, not its end
                check.problems.append(f"{case.name} ({dtype}): {type(error).__name__}: {error}")


def compare(check: Check, case: Case, key: str, got: np.ndarray, dtype: str) -> None:
    """One array of a case."""
    where = (dtype, "gradients" if key.startswith("grad_") else "value")
    if not np.isfinite(got).all():
        check.problems.append(f"{case.name} ({dtype}): {key} is not finite")
    found = case.errors(key, got, dtype)
    before = check.errors.get(where, (0.0, 0.0))
    # A comparison with nan is never true: the maximum has to keep it.
    check.errors[where] = (
        float(np.fmax(before[0], found[0])),
        float(np.max([before[1], found[1]])),
    )
    if not found[1] <= 1:
        check.problems.append(f"{case.name} ({dtype}): {key} is off by {found[1]:.3g} tolerances")


def check_hard(check: Check, name: str, hyper: Structure) -> None:
    """Finite in float32, under both conventions for the slope of clamp."""
    passed = done = 0
    for inclusive in (False, True):
        with clamp_slope(inclusive):
            cases = hard_cases(name, hyper, torch.float32)
            many = some_classes(name, hyper, torch.float32, 100_000)
            for case in (*cases, many):
                bad = not_finite(case.loss, case.embeddings, case.labels)
                done += 1
                passed += not bad
                if bad:
                    title = f"{structure_id((name, hyper))}, {case.name}"
                    check.problems.append(f"{title}: not finite or missing: {', '.join(bad)}")
    check.hard = (check.hard[0] + passed, check.hard[1] + done)


def check_stack(check: Check, name: str, hyper: Structure) -> None:
    """Gradients in a stack of models with other numbers, weights and batches; two steps."""
    if not CATALOG[name].stacked:
        return
    numbers = varied(name, hyper, STACK)
    losses, exact = (
        [make(name, h, seed=k, dtype=dtype) for k, h in enumerate(numbers)]
        for dtype in (torch.float32, torch.float64)
    )
    stack = Stack(copy.deepcopy(losses))
    for step in range(2):
        drawn = [batch(seed=10 * step + k, dtype=torch.float32) for k in range(STACK)]
        embeddings = torch.stack([each[0] for each in drawn]).requires_grad_()
        labels = torch.stack([each[1] for each in drawn])
        values = stack.call("compute", embeddings, labels)[0]
        stacked = torch.autograd.grad(values.sum(), [embeddings, *stack.parameters.values()])
        stack.call("after_step", embeddings.detach(), labels)
        differences, noise = [], [0.0]
        for k, (x, y) in enumerate(drawn):
            singles, truths = gradients(losses[k], x, y), gradients(exact[k], x.double(), y)
            for together, alone, truth in zip(stacked, singles, truths, strict=True):
                # A learned scalar sums terms of either sign: it is held to the embeddings' length.
                length = (truth if truth.dim() else truths[0]).norm().item()
                differences.append(relative(together[k], alone, length))
                noise.append(relative(alone.double(), truth, length))
        worst = float(np.max(differences))
        check.stack = float(np.max([check.stack or 0.0, worst]))
        if not worst <= max(STACK_TOLERANCE, ROUNDING * max(noise)):
            check.problems.append(f"{structure_id((name, hyper))}: stack differs by {worst:.2g}")


def gradients(loss: Loss, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Of the embeddings and all parameters; the state moves on."""
    x = embeddings.clone().requires_grad_()
    found = torch.autograd.grad(loss(x, labels), [x, *loss.parameters()])
    with torch.no_grad():
        loss.after_step(embeddings, labels)
    return found


def relative(got: Tensor, expected: Tensor, length: float) -> float:
    """Length of the difference over the given one."""
    difference = (got - expected.to(got.dtype)).norm().item()
    return difference if length == 0 else difference / length


def check_state(check: Check, name: str, hyper: Structure) -> None:
    """Two steps, save, load into another loss, two steps: the bits of four steps."""
    first = make(name, varied(name, hyper, 2)[1], seed=1, dtype=torch.float32)
    advance(first, range(2))
    resumed = make(name, hyper, seed=2, dtype=torch.float32)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    ends = [(advance(loss, range(2, 4)), loss.state_dict()) for loss in (first, resumed)]
    (values, state), (again, other) = ends
    same = values == again and all(torch.equal(state[key], other[key]) for key in state)
    check.state &= same
    if not same:
        check.problems.append(f"{structure_id((name, hyper))}: does not resume exactly")


def advance(loss: Loss, steps: range) -> list[float]:
    """Steps of plain gradient descent; the losses of each."""
    values = []
    for step in steps:
        embeddings, labels = batch(seed=step, dtype=torch.float32)
        values.append(loss(embeddings, labels).item())
        found = gradients(loss, embeddings, labels)[1:]
        with torch.no_grad():
            for parameter, gradient in zip(loss.parameters(), found, strict=True):
                parameter.sub_(0.1 * gradient)
    return values


CHECKS: tuple[Callable[[Check, str, Structure], None], ...] = (
    check_hard,
    check_stack,
    check_state,
)


def check_loss(name: str, chosen: list[Case]) -> Check:
    """All checks of one loss, in every combination of its structural hyper-parameters."""
    check = Check(name)
    check_vectors(check, chosen)
    for _, hyper in (each for each in structures() if each[0] == name):
        for run in CHECKS:
            try:
                run(check, name, hyper)
            except Exception as error:  # a loss that fails is a row of the table, not its end
                title = f"{structure_id((name, hyper))}, {run.__name__}"
                check.problems.append(f"{title}: {type(error).__name__}: {error}")
                check.state &= run is not check_state
    return check


def speeds() -> dict[str, str]:
    """Time over the floor's and over pytorch-metric-learning's, by loss, where it was measured."""
    for path in SPEED:
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            return {
                row["loss"]: ", ".join(
                    f"{float(row[key]):.2f} × {title}"
                    for key, title in (("floor_ratio", "floor"), ("peer_ratio", "PML"))
                    if row[key]
                )
                for row in rows
                if all(row[key] == value for key, value in MEASURED_AT.items())
            }
    return {}


def table(checks: list[Check], *, vectors: bool) -> str:
    """Markdown: a line a loss."""
    head = ["loss", "cases"]
    head += [f"{dtype} {part}: error, × tolerance" for dtype in DTYPES for part in PARTS]
    head += ["hard cases", f"stack of {STACK}: difference", "resume", "time"]
    lines = [head, ["---"] * len(head)]
    measured = speeds()
    for check in checks:
        cells = [check.loss, str(check.cases) if vectors else "no vectors"]
        for dtype in DTYPES:
            for part in PARTS:
                error = check.errors.get((dtype, part))
                shown = "" if error is None else f"{error[0]:.1e}, {error[1]:.2g}"
                cells.append(shown if vectors else "no vectors")
        cells.append("{} / {}".format(*check.hard))
        cells.append("one by one" if check.stack is None else f"{check.stack:.1e}")
        cells += ["exact" if check.state else "DIFFERS", measured.get(check.loss) or "not measured"]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: list[str] | None = None) -> int:
    """Check, print, and say by the exit status whether all is within tolerance."""
    parser = argparse.ArgumentParser(prog="python -m tests.losses.check", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--losses", nargs="+", metavar="LOSS", help="default: the whole catalog")
    parser.add_argument("--out", type=Path, help="also write the table there")
    options = parser.parse_args(argv)
    names = options.losses or list(CATALOG)
    try:
        for name in names:
            row(name)
        known = [case for case in cases() if case.row["kind"] != "metric"]
    except (CatalogError, FileNotFoundError) as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    checks = []
    for number, name in enumerate(names, 1):
        mine = [
            case
            for case in known
            if (adapter := ADAPTERS.get(case.row["oracle"])) and adapter.loss == name
        ]
        checks.append(check_loss(name, mine))
        found = f"{len(checks[-1].problems)} problems"
        print(f"{number}/{len(names)} {name}: {found}", file=sys.stderr, flush=True)
    problems = [problem for check in checks for problem in check.problems]
    if not options.losses:
        orphans = {case.row["oracle"] for case in known} - set(ADAPTERS)
        problems += [f"{oracle}: vectors that no loss computes" for oracle in sorted(orphans)]
    text = table(checks, vectors=bool(known)) + "\n"
    if not known:
        text += f"\nNo vectors: tests/losses/data is missing, and {VARIABLE} is not set.\n"
    if problems:
        text += "\nOut of tolerance:\n\n" + "".join(f"- {problem}\n" for problem in problems)
    else:
        text += "\nAll within tolerance.\n"
    print(text, end="")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
