"""Who may import whom, what imports no torch, and what the files of the project must not say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

PACKAGES = ("losses", "datasets", "benchmarks", "reports")

# Beside the standard library and the package itself.
ALLOWED = {
    "losses": {"torch"},
    "datasets": {"torch", "torchvision", "numpy", "PIL"},
    "benchmarks": {"losses", "datasets", "torch", "numpy", "yaml", "jsonschema", "safetensors", "tqdm"},
    "reports": {"losses", "torch", "numpy", "pandas", "scipy", "matplotlib", "jinja2", "pyarrow", "PIL", "safetensors"},
}  # fmt: skip
# What one module alone may import on top.
ALONE = {
    # The usual tools, to compare with.
    "benchmarks/speed/usual.py": {"PIL", "pytorch_metric_learning", "torchvision"},
    "benchmarks/speed/classes.py": {"pytorch_metric_learning"},
    "benchmarks/speed/losses.py": {"pytorch_metric_learning"},
    "benchmarks/speed/protocols.py": {"sklearn", "pytorch_metric_learning"},
    "benchmarks/tracking.py": {"mlflow", "sqlalchemy"},
    "benchmarks/tuning/optuna_studies.py": {"optuna"},
    "datasets/glyphs.py": {"fontTools", "matplotlib"},
    "datasets/progress.py": {"tqdm"},
    "reports/figures/font.py": {"fontTools"},
    "losses/pml.py": {"pytorch_metric_learning"},
}
TORCH_FREE = (
    "losses.catalog", "losses.feasibility", "losses.peers", "losses.schema", "datasets.registry", "datasets.splits", "datasets.image_set",
    "benchmarks.config", "benchmarks.devices", "benchmarks.experiment", "benchmarks.fingerprint",
    "benchmarks.store", "benchmarks.study", "benchmarks.tracked_contents", "benchmarks.tuning.objectives",
    "benchmarks.tuning.searches", "benchmarks.tuning.settings", "benchmarks.tuning.space", "benchmarks.__main__",
)  # fmt: skip


def imported(path: Path) -> set[str]:
    """Top-level names of all that a module imports, at any depth of its code."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add((node.module or "").partition(".")[0])
    return names


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_who_may_import_whom(package: str) -> None:
    found = {path.relative_to(ROOT).as_posix(): imported(path) for path in modules(package)}
    assert found
    foreign = {
        name: sorted(
            names - sys.stdlib_module_names - ALLOWED[package] - {package} - ALONE.get(name, set())
        )
        for name, names in found.items()
    }
    assert {name: names for name, names in foreign.items() if names} == {}


@pytest.mark.parametrize(
    ("library", "module"),
    [("mlflow", "benchmarks/tracking.py"), ("optuna", "benchmarks/tuning/optuna_studies.py")],
)
def test_who_alone_imports_it(library: str, module: str) -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in modules(package)
        if library in imported(path)
    }
    assert users == {module}


@pytest.mark.parametrize(
    "module", ["tuning/rounds", "tuning/optuna_studies", "tuning/winners", "trials"]
)
def test_what_tunes_judges_by_validation_metrics_alone(module: str) -> None:
    """No other way to a metric is imported: not the evaluation of runs, not the protocols, not the run's arrays."""
    allowed = {"validation_metrics", "RunStore", "trial_name", "FINAL", "STATE"}
    judging = {
        "benchmarks.evaluate",
        "benchmarks.protocols",
        "benchmarks.measures",
        "benchmarks.store",
    }
    for node in ast.walk(ast.parse((ROOT / "benchmarks" / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and any(
            (node.module or "").startswith(name) for name in judging
        ):
            assert {alias.name for alias in node.names} <= allowed
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith(tuple(judging)) for alias in node.names)


def test_training_and_judging_know_nothing_of_the_tools_around_them() -> None:
    """Whatever they import, directly or not."""
    program = (
        "import sys, benchmarks.train, benchmarks.evaluate\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = set(in_new_process(program).split())
    assert {"torch", "numpy"} <= loaded
    assert loaded.isdisjoint({"mlflow", "optuna", "snakemake", "pandas", "matplotlib", "reports"})


@pytest.mark.parametrize("module", TORCH_FREE)
def test_what_imports_no_torch(module: str) -> None:
    loaded = set(in_new_process(f"import sys, {module}; print(*sys.modules)").split())
    assert module in loaded or module.endswith("__main__")
    assert loaded.isdisjoint({"torch", "torchvision", "mlflow", "optuna", "pandas", "matplotlib"})


def test_a_plan_imports_no_torch() -> None:
    program = (
        "import sys; from pathlib import Path; from benchmarks.study import load\n"
        "load(Path('config/smoke.yaml')); print('torch' in sys.modules)"
    )
    assert in_new_process(program).split() == ["False"]


def in_new_process(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tracked() -> list[Path]:
    """Text files of the project, new ones included, ignored ones not."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


# Written so that this file does not hold what it looks for.
PATHS = re.compile("/" + r"(?:home|Users|root|work|tmp/w)/[\w.]")
HOSTS = re.compile("(?:https?|ssh|git)" + r"://([\w.-]+)")
SCHEMES = ("json-schema.org",)
LOCAL = ("127.0.0.1", "localhost", "0.0.0.0")


def test_no_paths_of_one_machine() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path, number, line in lines()
        if PATHS.search(line)
    }
    assert found == set()


def test_code_and_settings_name_no_host() -> None:
    """Links in prose are fine; a program that needs a network says so in its own list of sources."""
    found = {
        f"{path.relative_to(ROOT)}:{number}: {host}"
        for path, number, line in lines()
        if path.suffix in (".py", ".yaml", ".yml", ".toml", ".smk", ".txt", ".sh", "")
        and "tests" not in path.parts
        for host in HOSTS.findall(line)
        if host not in LOCAL and not host.endswith(SCHEMES)
    }
    assert found == set()


def lines() -> list[tuple[Path, int, str]]:
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [(path, number, line) for number, line in enumerate(text.splitlines(), 1)]
    return found


def test_conda_users_get_the_one_pinned_list() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == "marginbench"
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    python, pip, packages = environment["dependencies"]
    assert re.fullmatch(r"python=3\.1[1-9]", python)
    assert pip == "pip"
    assert packages == {"pip": ["-r requirements.txt"]}


def test_every_requirement_is_pinned_once() -> None:
    text = (ROOT / "requirements.txt").read_text()
    wanted = [line for line in text.splitlines() if line and not line.startswith("#")]
    pins = [re.fullmatch(r"([A-Za-z0-9_.-]+)==([0-9][\w.]*)", line) for line in wanted]
    assert [line for line, pin in zip(wanted, pins, strict=True) if pin is None] == []
    names = [pin.group(1).lower().replace("_", "-") for pin in pins if pin is not None]
    assert len(set(names)) == len(names)


def test_every_import_is_a_requirement() -> None:
    text = (ROOT / "requirements.txt").read_text().lower()
    distribution = {
        "yaml": "pyyaml",
        "PIL": "pillow",
        "sqlalchemy": "mlflow",
        "sklearn": "scikit-learn",
    }
    names = {name for package in PACKAGES for path in modules(package) for name in imported(path)}
    names -= {*sys.stdlib_module_names, *PACKAGES}
    names = {distribution.get(name, name).lower().replace("_", "-") for name in names}
    missing = {name for name in names if f"\n{name}==" not in text}
    assert missing == set()


def test_make_installs_the_pinned_list() -> None:
    text = (ROOT / "Makefile").read_text()
    assert "pip install" in text
    installs = [line for line in text.splitlines() if "pip install" in line]
    assert all(line.endswith("-r requirements.txt") for line in installs)
    assert ".venv/installed: requirements.txt" in text


def test_the_engine_needs_torch_and_numpy_alone() -> None:
    """Where nothing else is installed a stack can still be trained, its steps timed and its embeddings judged."""
    program = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
import benchmarks.capacity, benchmarks.data, benchmarks.graphs, benchmarks.history, benchmarks.optim, benchmarks.stack
import benchmarks.measures.pairs, benchmarks.protocols, losses.build
"""
    missing = {"PIL", "fontTools", "jsonschema", "matplotlib", "mlflow", "optuna", "pandas", "pytorch_metric_learning"}  # fmt: skip
    missing |= {
        "safetensors",
        "scipy",
        "sklearn",
        "snakemake",
        "sqlalchemy",
        "torchvision",
        "tqdm",
        "yaml",
    }
    in_new_process(program.replace("{missing}", repr(missing)))
