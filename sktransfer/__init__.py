"""Transfer learning for scikit-learn users that does not hurt.

The subpackages hold the estimators: :mod:`sktransfer.baselines`,
:mod:`sktransfer.instance`, :mod:`sktransfer.feature`, and so on. Importing the
package imports none of them, changes no global configuration, and loads neither
PyTorch nor matplotlib.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
