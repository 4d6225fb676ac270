"""D. Wang et al., "Deep asymmetric transfer network", AAAI 2018."""

from functools import cache

import datn as benchmark
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from reproduction.registry import (
    Claim,
    Experiment,
    Outcome,
    over_seeds,
    positive,
    text,
    together,
)
from sktransfer.deep import TargetOnlyNet

PAPER = "Wang et al. 2018, DATN"
TASKS = ("topics to images", "8 sensors to 1")
VARIANTS = ("DATN", "DATN supervised", "DATN unsupervised")
BASELINES = ("DATN, target only", "DNN", "SVM")


@cache
def views_of(task, folder):
    if task == "8 sensors to 1":
        return benchmark.load_gas(folder)
    return benchmark.load_wikipedia(folder, "topics")


def run(cell, folder):
    """Accuracy of one method."""
    torch.set_num_threads(1)
    views, method, seed = views_of(cell["task"], folder), cell["method"], cell["seed"]
    if method not in ("DNN", "SVM"):
        return {"accuracy": float(benchmark.cell(views, seed, method)[0])}
    task = benchmark.draw(views, seed)
    few = (task.sample_domain < 0) & (task.y >= 0)
    model = (
        make_pipeline(StandardScaler(), SVC())
        if method == "SVM"
        else TargetOnlyNet(max_epochs=200, random_state=seed, device="cpu")
    )
    model.fit(task.X[few, task.width :], task.y[few])
    score = model.score(task.X_test[:, task.width :], task.y_test)
    return {"accuracy": float(score)}


EXPERIMENT = Experiment(
    name="datn",
    setting=(
        "Two tasks of benchmarks/datn.py: topics of Wikipedia texts help to classify "
        "the images beside them (SIFT words, 10 classes, 5 labels each), and eight gas "
        'sensors help a ninth (6 classes, 2 labels each). "DATN, target only" is the '
        "autoencoder with a softmax (SSDAE), DNN a perceptron on the labeled target "
        "rows. WSDTN, HHTL, CDLS and TTI are compared in benchmarks/datn.md. "
        "Published: tags and images of NUS-WIDE, reviews in two languages."
    ),
    cells=lambda quick: [
        {"task": task, "method": method, "seed": seed}
        for seed in range(2 if quick else 5)
        for task in (TASKS[1:] if quick else TASKS)
        for method in (*VARIANTS, *BASELINES)
    ],
    run=run,
)


def compare(frame, names, pairs):
    table = frame.pivot_table(
        index=["task", "seed"], columns="method", values="accuracy"
    ).reset_index()
    parts, answers = [], []
    for task, group in table.groupby("task", sort=False):
        means = ", ".join(f"{name} {group[name].mean():.3f}" for name in names)
        differences = []
        for better, worse in pairs:
            gain = over_seeds(group.assign(gain=group[better] - group[worse]), "gain")
            answers.append(positive(gain))
            differences.append(f"{better} minus {worse} {text(gain)}")
        parts.append(f"{task}: {means}; " + ", ".join(differences))
    return Outcome(". ".join(parts), together(answers))


def order_of_variants(frame):
    full, supervised, unsupervised = VARIANTS
    return compare(frame, VARIANTS, ((full, supervised), (supervised, unsupervised)))


def beats_no_transfer(frame):
    names = (VARIANTS[0], *BASELINES)
    return compare(frame, names, [(VARIANTS[0], name) for name in BASELINES])


CLAIMS = [
    Claim(
        name="datn-variants",
        paper=PAPER,
        claim="DATN is better than DATN_sup, and that is better than DATN_unsup.",
        published=(
            "Table 5: NUS-WIDE (SIFT) 0.375, 0.358, 0.285; Amazon EN to FR 0.737, "
            "0.724, 0.638"
        ),
        experiment=EXPERIMENT,
        conclude=order_of_variants,
    ),
    Claim(
        name="datn-no-transfer",
        paper=PAPER,
        claim="DATN is better than methods without transfer.",
        published="Table 4, EN to FR: DATN 0.737; SSDAE 0.628, DNN 0.601, SVM 0.544",
        experiment=EXPERIMENT,
        conclude=beats_no_transfer,
    ),
]
