# The pipeline: plan → data → (tune → winners) → train → evaluate → track → report.
# Each step is a command that a person can also type.
from snakemake.utils import min_version

min_version("9.0")


include: "common.smk"


rule all:
    input:
        OUT / "report.attached.json",


rule plan:
    output:
        OUT / "plan.json",
    log:
        OUT / "logs/plan.log",
    benchmark:
        OUT / "benchmarks/plan.tsv"
    conda:
        "environment.yml"
    params:
        config=CONFIG,
        overrides=OVERRIDES,
        content=content_hash(STUDY.to_json()),
    shell:
        "python -m benchmarks plan --config {params.config:q} --overrides {params.overrides:q} --out {output} > {log} 2>&1"


rule data:
    input:
        plan=ancient(OUT / "plan.json"),
    output:
        OUT / "data.json",
    log:
        OUT / "logs/data.log",
    benchmark:
        OUT / "benchmarks/data.tsv"
    conda:
        "environment.yml"
    shell:
        "python -m benchmarks data --plan {input.plan} --done {output} > {log} 2>&1"


# A round of a lane of searches; it waits for the one before.
rule tune:
    input:
        plan=ancient(OUT / "plan.json"),
        data=ancient(OUT / "data.json"),
        before=round_before,
    output:
        OUT / "tuning/rounds/{lane}.{round}.json",
    log:
        OUT / "logs/tune-{lane}.{round}.log",
    benchmark:
        OUT / "benchmarks/tune-{lane}.{round}.tsv"
    conda:
        "environment.yml"
    resources:
        gpu=1 if STUDY.device == "cuda" else 0,
    shell:
        "python -m benchmarks tune --plan {input.plan} --lane {wildcards.lane} --round {wildcards.round} --done {output} > {log} 2>&1"


# The winners' experiments fill the stacks that the plan has kept for them.
rule winners:
    input:
        plan=OUT / "plan.json",
        rounds=LAST_ROUNDS,
    output:
        OUT / "tuned.json",
    log:
        OUT / "logs/winners.log",
    benchmark:
        OUT / "benchmarks/winners.tsv"
    conda:
        "environment.yml"
    shell:
        "python -m benchmarks winners --plan {input.plan} --out {output} > {log} 2>&1"


rule train:
    input:
        plan=plan_of_stack,
        data=ancient(OUT / "data.json"),
    output:
        OUT / "stacks/{stack}.trained.json",
    log:
        OUT / "logs/train-{stack}.log",
    benchmark:
        OUT / "benchmarks/train-{stack}.tsv"
    conda:
        "environment.yml"
    resources:
        gpu=1 if STUDY.device == "cuda" else 0,
    shell:
        "python -m benchmarks train --plan {input.plan} --stack {wildcards.stack} --done {output} > {log} 2>&1"


rule evaluate:
    input:
        plan=plan_of_stack,
        trained=OUT / "stacks/{stack}.trained.json",
    output:
        OUT / f"stacks/{{stack}}.{STUDY.evaluation}.judged.json",
    log:
        OUT / "logs/evaluate-{stack}.log",
    benchmark:
        OUT / "benchmarks/evaluate-{stack}.tsv"
    conda:
        "environment.yml"
    shell:
        "python -m benchmarks evaluate --plan {input.plan} --stack {wildcards.stack} --done {output} > {log} 2>&1"


rule track:
    input:
        plan=FINAL_PLAN,
        judged=JUDGED,
    output:
        OUT / "tracked.json",
    log:
        OUT / "logs/track.log",
    benchmark:
        OUT / "benchmarks/track.tsv"
    conda:
        "environment.yml"
    shell:
        "python -m benchmarks track --plan {input.plan} --done {output} > {log} 2>&1"


rule report:
    input:
        plan=FINAL_PLAN,
        judged=JUDGED,
        tracked=OUT / "tracked.json",
    output:
        page=report(
            OUT / "report/index.html", category="Report", caption="reports/caption.rst"
        ),
        figures=report(
            directory(OUT / "report/figures"),
            patterns=["{figure}.png"],
            category="Figures",
            subcategory=section_of_figure,
            labels=labels_of_figure,
            caption="reports/figure.rst",
        ),
        frame=OUT / "results.parquet",
    log:
        OUT / "logs/report.log",
    benchmark:
        OUT / "benchmarks/report.tsv"
    conda:
        "environment.yml"
    params:
        runs=RESULTS / "runs",
        folder=OUT / "report",
    shell:
        "python -m reports make --plan {input.plan} --runs {params.runs} --out {params.folder} > {log} 2>&1"


# The mirror's parent run also holds the report, so it is visited once more when that exists.
rule attach:
    input:
        plan=FINAL_PLAN,
        page=OUT / "report/index.html",
    output:
        OUT / "report.attached.json",
    log:
        OUT / "logs/attach.log",
    benchmark:
        OUT / "benchmarks/attach.tsv"
    conda:
        "environment.yml"
    params:
        folder=OUT / "report",
    shell:
        "python -m benchmarks track --plan {input.plan} --report {params.folder} --done {output} > {log} 2>&1"


onstart:
    for line in dict.fromkeys(item["warning"] for item in STUDY.warnings):
        print(f"warning: {line}", file=sys.stderr)


onsuccess:
    print(f"\nReport: {(OUT / 'report/index.html').resolve()}")


onerror:
    print(
        f"\nSomething failed; finished runs are kept and the same command goes on. Logs: {OUT / 'logs'}"
    )
