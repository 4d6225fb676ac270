"""Claims of the papers that need what this project does not have."""

import pandas as pd

from reproduction import transferability, uowq
from reproduction.registry import Claim, Experiment, Outcome


def nothing(cell, folder):
    raise AssertionError("there is no cell to run")


EXPERIMENT = Experiment(
    name="not-run",
    setting="The rows of these claims say what a run would need.",
    cells=lambda quick: [],
    run=nothing,
)


def missing(text):
    """Return the conclusion of a claim that is not run."""

    def conclude(frame: pd.DataFrame):
        return Outcome(text, "not run")

    return conclude


CLAIMS = [
    Claim(
        name="uowq-lora",
        paper=uowq.PAPER,
        claim="UOWQ with LoRA on a ViT-B is above all sources and OTQMS.",
        published="Table VI, Office-Home: UOWQ 82.4, OTQMS 82.3, all sources 81.1",
        experiment=EXPERIMENT,
        conclude=missing(
            "A pretrained ViT-B and its images are needed. Adapters on a small net "
            "that is not pretrained lose 9 to 10 points (benchmarks/uowq_net.md), "
            "which says nothing about the claim"
        ),
    ),
    Claim(
        name="otce-meta-learning",
        paper=transferability.TAN,
        claim="OTCE fine-tuning is better than meta-learning across domains.",
        published=(
            "Table V, against MAML, Matching, Prototypical and Relation networks "
            "(Omniglot, miniImageNet)"
        ),
        experiment=EXPERIMENT,
        conclude=missing(
            "The rivals are trained on many episodes of other tasks, and no "
            "meta-learner is part of the library. What it gains over plain "
            "fine-tuning is a row of its own"
        ),
    ),
    Claim(
        name="otce-segmentation",
        paper=transferability.TAN,
        claim="OTCE_sim is first for semantic segmentation.",
        published="Table III, mean Spearman: OTCE_sim 0.653, LogME 0.572, LEEP 0.474",
        experiment=EXPERIMENT,
        conclude=missing(
            "Images with a label for each pixel, and segmentation nets, are needed"
        ),
    ),
    Claim(
        name="otce-mri",
        paper=transferability.TAN,
        claim="The scores order pairs of MRI contrasts as fine-tuning does.",
        published="Talk, brain images (figures)",
        experiment=EXPERIMENT,
        conclude=missing("Images of brains with labels of their regions are needed"),
    ),
]
