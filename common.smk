# What the rules need to know: the study of this call, read from its config file, planned without importing torch.
import json
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)
# `python` in the rules is the one that runs Snakemake, also where its environment is not activated.
shell.prefix(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; ")

from benchmarks.errors import ConfigError
from benchmarks.experiment import canonical, content_hash
from benchmarks.study import load
from benchmarks.study_file import typed

# Not the `configfile:` directive: it would mix the default study's grid into the one asked for.
if len(workflow.configfiles) > 1:
    raise WorkflowError(
        "A study is one file: give --configfile once, and other settings with --config"
    )
CONFIG = Path(
    workflow.configfiles[0] if workflow.configfiles else "config/default.yaml"
)
SETTINGS = typed(workflow.config_settings.config)  # what --config said
OVERRIDES = canonical(SETTINGS)

try:
    STUDY = load(CONFIG, SETTINGS)
except ConfigError as error:
    raise WorkflowError(f"This study cannot be run:\n{error}")

RESULTS = STUDY.results
OUT = STUDY.folder
TUNING = STUDY.tuning
SLOTS = (
    TUNING.slots if TUNING else ()
)  # stacks of the winners, whom the plan does not know
FINAL_PLAN = OUT / ("tuned.json" if TUNING else "plan.json")
JUDGED = [
    OUT / f"stacks/{stack}.{STUDY.evaluation}.judged.json"
    for stack in (*STUDY.stacks, *SLOTS)
]
LAST_ROUNDS = [
    OUT / f"tuning/rounds/{lane}.{TUNING.rounds - 1}.json"
    for lane in (TUNING.lanes if TUNING else ())
]


def plan_of_stack(wildcards):
    return (
        OUT / "tuned.json" if wildcards.stack in SLOTS else ancient(OUT / "plan.json")
    )


def round_before(wildcards):
    number = int(wildcards.round)
    return [OUT / f"tuning/rounds/{wildcards.lane}.{number - 1}.json"] if number else []


def drawn():
    """Figures of the report by name, as Snakemake's own report shows them; none before they are drawn."""
    index = OUT / "report/figures/figures.json"
    rows = json.loads(index.read_text()) if index.exists() else []
    for row in rows:
        # It goes through reStructuredText, for which these signs are markup.
        row["caption"] = re.sub(r"([\\`*_|])", r"\\\1", row["caption"])
    return {row["name"]: row for row in rows}


# Captions are templates that see the config, so that this is how they come to know the figures.
config["figures"] = drawn()


def section_of_figure(wildcards):
    return config["figures"][wildcards.figure]["section"]


def labels_of_figure(wildcards):
    return {"figure": config["figures"][wildcards.figure]["title"]}


wildcard_constraints:
    stack=r"[^.]+",
    lane=r"[^.]+",
    round=r"\d+",


if STUDY.device == "cuda":
    # Snakemake does not bound a resource that nobody limits: without this, all stacks would start on one GPU at once.
    if "gpu" not in workflow.global_resources:
        workflow.register_resource("gpu", 1)
