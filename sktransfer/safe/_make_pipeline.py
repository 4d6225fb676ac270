"""From a learner and a raw table to a model that is guarded: one call."""

from typing import Any

from sklearn.base import is_classifier, is_regressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from sktransfer._learners import last_step, package_of
from sktransfer.base import get_transfer_tags
from sktransfer.baselines import Pooled
from sktransfer.preprocessing import TableEncoder
from sktransfer.safe._portfolio import (
    TransferPortfolioClassifier,
    TransferPortfolioRegressor,
)
from sktransfer.safe._portfolio_members import asking_for_weights
from sktransfer.safe._transfer_guard import TransferGuard

__all__ = ["make_transfer_pipeline"]

_HIST_BOOSTING = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
_METHODS = ("portfolio", "guard")


def encoder_for(learner: Any) -> TableEncoder:
    """Return the encoder of mixed tables that suits a learner.

    Parameters
    ----------
    learner : estimator
        Classifier or regressor, or a pipeline that ends in one; it may take
        `sample_domain`.

    Returns
    -------
    encoder : TableEncoder
        Learners that take categories get frames with native ones; learners that take
        NaN keep the missing numbers; all others get scaled numbers.
    """
    last = _innermost(learner)
    if _takes_categories(last):
        package = package_of(last)
        named = last.get_params().get("cat_features") if package == "catboost" else ()
        return TableEncoder(
            categories="native",
            missing="keep",
            scale=False,
            plain_names=package in ("lightgbm", "xgboost"),
            roles={c: "category" for c in named if isinstance(c, str)} or None,
        )
    if get_tags(last).input_tags.allow_nan:
        return TableEncoder(missing="keep", scale=False)
    return TableEncoder()


def _innermost(learner: Any) -> Any:
    last = last_step(learner)
    inner = getattr(last, "estimator", None)
    return last if inner is None else _innermost(inner)


def _takes_categories(learner: Any) -> bool:
    """Tell whether a learner is set to take columns of the type category."""
    if isinstance(learner, _HIST_BOOSTING):
        return isinstance(learner.categorical_features, str)
    package = package_of(learner)
    if package == "xgboost":
        return bool(learner.get_params().get("enable_categorical"))
    if package == "catboost":
        return bool(learner.get_params().get("cat_features"))
    return package == "lightgbm"


def _knows_domains(learner: Any) -> bool:
    try:
        get_transfer_tags(learner)
    except TypeError:
        return False
    return True


def _check_categories(learner: Any) -> None:
    """Refuse a CatBoost learner that scikit-learn cannot clone."""
    if isinstance(learner.get_params().get("cat_features"), list):
        raise TypeError(
            "learner has a list as cat_features, with which scikit-learn cannot clone "
            "a CatBoost model: give a tuple of the names of the columns."
        )


def make_transfer_pipeline(
    learner: Any, *, method: str | None = None, encoder: Any = "auto", **options: Any
) -> Any:
    """Make a guarded model of raw tables from a learner.

    Parameters
    ----------
    learner : estimator
        A classifier or regressor of scikit-learn, LightGBM, XGBoost, CatBoost or of
        your own, or an estimator of this library, such as
        ``KMM(LogisticRegression())``.
    method : {"portfolio", "guard"}, default=None
        "portfolio": a :class:`TransferPortfolioClassifier` or
        :class:`TransferPortfolioRegressor` of the learner, which tries several ways to
        use the sources. "guard": a :class:`TransferGuard` around the estimator; a
        plain learner is fitted on the samples of all domains together. None:
        "portfolio" for a plain learner, "guard" for one that takes `sample_domain`.
    encoder : {"auto"}, transformer or None, default="auto"
        What makes numbers of the table. "auto": a
        :class:`~sktransfer.preprocessing.TableEncoder` that suits the learner. Learners
        that take categories get them: LightGBM, ``HistGradientBoosting*`` with
        ``categorical_features="from_dtype"``, XGBoost with ``enable_categorical=True``
        and CatBoost with ``cat_features=("plan", ...)``. Learners that take NaN keep
        missing numbers. None: the learner gets the table as it is.
    **options : dict
        Further parameters of the portfolio or the guard, such as ``cv`` or ``risk``.

    Returns
    -------
    model : TransferPortfolioClassifier, TransferPortfolioRegressor or TransferGuard
        Unfitted. The encoder is inside, so every fold fits it anew; what the columns
        hold is told once, by the samples of all domains.

    Raises
    ------
    TypeError
        If the learner is neither a classifier nor a regressor, or takes `sample_domain`
        and the method is "portfolio".
    ValueError
        If the method or the encoder is another one.

    See Also
    --------
    sktransfer.datasets.from_frame : Labels, domains and further columns of a table.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.datasets import from_frame
    >>> from sktransfer.safe import make_transfer_pipeline
    >>> rng = np.random.default_rng(0)
    >>> df = pd.DataFrame({"age": rng.normal(40, 9, 300)})
    >>> df["plan"] = rng.choice(["free", "paid"], 300)
    >>> df["churn"] = np.where((df["age"] > 40) == (df["plan"] == "paid"), "yes", "no")
    >>> df["country"] = np.repeat(["US", "DE"], [270, 30])
    >>> data = from_frame(df, label="churn", domain="country", target="DE")
    >>> model = make_transfer_pipeline(LogisticRegression(), method="guard")
    >>> model.fit(data.X, data.y, **data.metadata).classes_
    array(['no', 'yes'], dtype='<U3')
    """
    if not (is_classifier(learner) or is_regressor(learner)):
        raise TypeError(f"learner={learner!r} is neither a classifier nor a regressor.")
    if package_of(last_step(learner)) == "catboost":
        _check_categories(last_step(learner))
    knows_domains = _knows_domains(learner)
    if method is None:
        method = "guard" if knows_domains else "portfolio"
    if method not in _METHODS:
        raise ValueError(f"method must be one of {_METHODS} or None, got {method!r}.")
    if knows_domains and method == "portfolio":
        raise TypeError(
            f"learner={learner!r} knows domains, so it cannot be the plain learner of "
            'a portfolio: use method="guard", or give it as one of the members of '
            "TransferPortfolioClassifier or TransferPortfolioRegressor."
        )
    if isinstance(encoder, str):
        if encoder != "auto":
            raise ValueError(
                f'encoder must be "auto", a transformer or None, got {encoder!r}.'
            )
        encoder = encoder_for(learner)
    elif encoder is not None and not hasattr(encoder, "transform"):
        raise ValueError(
            f'encoder must be "auto", a transformer or None, got {encoder!r}.'
        )
    learner = asking_for_weights(learner)
    pipeline = learner if encoder is None else make_pipeline(encoder, learner)
    if method == "guard":
        return TransferGuard(pipeline if knows_domains else Pooled(pipeline), **options)
    if is_classifier(learner):
        return TransferPortfolioClassifier(pipeline, **options)
    return TransferPortfolioRegressor(pipeline, **options)
