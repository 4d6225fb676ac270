"""Constructor parameters of the nets: prefixes, and inheritance with their text."""

import functools
import inspect
import re
from typing import Any

__all__ = ["ModuleParametersMixin", "inherit_parameters"]

_PREFIXES = "module__", "optimizer__"
_SECTION = r"\n\n    {}\n    ---+\n(?P<body>.*?)(?=\n\n    [A-Z][\w ]+\n    ---|\Z)"
_LATER_SECTION = re.compile(r"\n\n    (?!Parameters)[A-Z][\w ]+\n    ---")
_ENTRY = re.compile(r"(?m)^    (?=\S)")


class ModuleParametersMixin:
    """Accept ``module__NAME`` and ``optimizer__NAME`` beside the named parameters."""

    def _set_module_params(self, params):
        for name in params:
            if not name.startswith(_PREFIXES):
                raise TypeError(
                    f"{type(self).__name__}() got an unexpected keyword argument "
                    f"{name!r}; arguments of the module and the optimizer start with "
                    f"{' or '.join(map(repr, _PREFIXES))}."
                )
        vars(self).update(params)

    def _params_of(self, prefix):
        """Return the parameters with a prefix, which is cut off."""
        return {
            name.removeprefix(prefix): value
            for name, value in vars(self).items()
            if name.startswith(prefix)
        }

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters, those of the module and the optimizer included.

        Parameters
        ----------
        deep : bool, default=True
            Include parameters of estimators among the parameters.

        Returns
        -------
        params : dict
            Names and values.
        """
        own = {k: v for k, v in vars(self).items() if k.startswith(_PREFIXES)}
        return super().get_params(deep=deep) | own

    def set_params(self, **params: Any) -> "ModuleParametersMixin":
        """Set parameters, those of the module and the optimizer included.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        self : object
            The estimator.
        """
        prefixed = {k: v for k, v in params.items() if k.startswith(_PREFIXES)}
        vars(self).update(prefixed)
        super().set_params(**{k: v for k, v in params.items() if k not in prefixed})
        return self


def inherit_parameters(*, but=()):
    """Give a net the parameters of its bases: in its signature and its docstring.

    The class takes ``**params`` and hands them on; its docstring describes its own
    parameters and attributes. Both are completed here, so that ``help`` shows all of
    them and scikit-learn's introspection finds every parameter.

    Parameters
    ----------
    but : tuple of str, default=()
        Parameters of the base that the class decides itself.

    Returns
    -------
    decorate : callable
        Decorator of a class.
    """

    def decorate(cls):
        inner = cls.__init__

        @functools.wraps(inner)
        def __init__(self, *args, **kwargs):
            for name in set(but) & set(kwargs):
                raise TypeError(
                    f"{cls.__name__}() got an unexpected keyword argument {name!r}"
                )
            inner(self, *args, **kwargs)

        __init__.__signature__ = _merged_signature(cls, but)
        cls.__init__ = __init__
        names = [*__init__.__signature__.parameters, "module_params"]
        cls.__doc__ = _complete(cls, "Parameters", names)
        cls.__doc__ = _complete(cls, "Attributes")
        return cls

    return decorate


def _merged_signature(cls, but):
    """Merge the signatures of the classes that hand keywords on to each other."""
    merged = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base) or base is object:
            continue
        own = inspect.signature(vars(base)["__init__"]).parameters
        rest = [name for name, p in own.items() if p.kind is p.VAR_KEYWORD]
        merged |= {name: p for name, p in own.items() if name not in merged}
        if not rest:
            break
    # prefixed arguments have no names of their own, so the signature leaves them out
    kept = [
        p for p in merged.values() if p.name not in but and p.kind is not p.VAR_KEYWORD
    ]
    return inspect.Signature(sorted(kept, key=lambda p: p.kind))


def _complete(cls, section, names=None):
    """Return the docstring with a section of all entries of the class and its bases."""
    entries = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("sktransfer"):
            entries |= _entries(base.__doc__, section)
    text = "".join(entries[name] for name in names or entries if name in entries)
    doc = cls.__doc__
    found = _find(doc, section)
    if found:
        return doc[: found.start("body")] + text.rstrip() + doc[found.end("body") :]
    start = _LATER_SECTION.search(doc).start()
    head = f"\n\n    {section}\n    {'-' * len(section)}\n"
    return doc[:start] + head + text.rstrip() + doc[start:]


def _find(docstring, section):
    return re.search(_SECTION.format(section), docstring or "", re.DOTALL)


def _entries(docstring, section):
    """Return the entries of a section by name."""
    found = _find(docstring, section)
    if found is None:
        return {}
    texts = [text for text in _ENTRY.split(found["body"] + "\n") if text.strip()]
    return {
        text.split(":")[0].strip().lstrip("*"): "    " + text.rstrip() + "\n"
        for text in texts
    }
