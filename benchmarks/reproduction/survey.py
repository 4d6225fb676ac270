"""W. Zhang et al., "A survey on negative transfer", 2022, section 4.2."""

from functools import cache

import numpy as np
from sklearn.linear_model import RidgeCV

from reproduction.registry import Claim, Experiment, Outcome, over_seeds, text
from sktransfer.base import without_sources
from sktransfer.baselines import Pooled
from sktransfer.datasets import stack_domains
from sktransfer.hypothesis import SecureRLS

MARGIN = 0.02


@cache
def robot(folder):
    """Joint states of a robot arm and its seven torques, all standardized."""
    file = np.load(folder / "sarcos_test7.npz")
    X, Y = (file[name].astype(float) for name in ("X", "Y"))
    return (X - X.mean(0)) / X.std(0), (Y - Y.mean(0)) / Y.std(0)


def run(cell, folder):
    """R2 on the target's test rows."""
    X, Y = robot(folder)
    rng = np.random.RandomState(cell["seed"])
    rows = rng.permutation(len(X))
    source, few, test = rows[:1000], rows[1000 : 1000 + cell["labels"]], rows[2000:]
    y = Y[:, cell["torque"]]
    if cell["source"] == "related":  # the same torque, with more noise and an offset
        y_source = y[source] + 1 + 0.3 * rng.normal(size=len(source))
    else:
        y_source = Y[source, 0]
    data = stack_domains({"source": (X[source], y_source)}, (X[few], y[few]))
    secure = SecureRLS(alphas=np.logspace(-3, 1, 9))
    alone = without_sources(secure).fit(X[few], y[few])
    pooled = Pooled(RidgeCV(np.logspace(-2, 4, 13)))
    for model in (secure, pooled):
        model.fit(data.X, data.y, sample_domain=data.sample_domain)
    models = {"target_only": alone, "secure": secure, "pooled": pooled}
    return {
        name: float(model.score(X[test], y[test])) for name, model in models.items()
    }


SECURE = Experiment(
    name="secure-rls",
    setting=(
        "Sarcos robot arm: 21 joint states, seven torques. The target is one of "
        "torques 2 to 7 with 30 labels; the source is torque 1 (whose model explains "
        "at most 3 % of the others: unrelated) or the same torque with an offset and "
        'noise (related), 1000 rows. Every penalty by leave-one-out. "Equals" '
        f"means R2 within {MARGIN} of the target alone, for the whole interval."
    ),
    cells=lambda quick: [
        {"source": source, "torque": torque, "labels": 30, "seed": seed}
        for seed in range(3 if quick else 20)
        for source in ("unrelated", "related")
        for torque in range(1, 7)
    ],
    run=run,
    version=2,
)


def equals_target_only(frame):
    parts, gaps = [], {}
    for source, group in frame.groupby("source", sort=False):
        for name in ("secure", "pooled"):
            gap = group[name] - group["target_only"]
            gaps[source, name] = over_seeds(group.assign(gap=gap), "gap")
        parts.append(
            f"{source} source: R2 alone {group['target_only'].mean():.3f}, secure RLS "
            f"{text(gaps[source, 'secure'])}, pooled {text(gaps[source, 'pooled'])}"
        )
    _, low, high = gaps["unrelated", "secure"]
    if low > -MARGIN and high < MARGIN:
        holds = "yes"
    else:
        holds = "no" if high < -MARGIN or low > MARGIN else "not settled"
    return Outcome("; ".join(parts) + " (differences to alone)", holds)


CLAIMS = [
    Claim(
        name="secure-rls",
        paper="Kuzborskij and Orabona 2013, in the survey of Zhang et al. 2022",
        claim="With an unrelated source secure RLS equals ridge on the target alone.",
        published="Section 4.2, a statement without numbers",
        experiment=SECURE,
        conclude=equals_target_only,
    ),
]
