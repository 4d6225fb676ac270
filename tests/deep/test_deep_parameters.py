"""Nets inherit parameters: in the signature, in get_params and in the docstring."""

import inspect
import subprocess
import sys

import pytest

from sktransfer.deep import DAN, DANNRegressor, TransferNetClassifier
from sktransfer.deep import _parameters as parameters
from sktransfer.deep._parameters import inherit_parameters


def make(docstring):
    class Net(TransferNetClassifier):
        def __init__(self, module=None, *, extra=1, **params):
            super().__init__(module, **params)
            self.extra = extra

    Net.__doc__ = docstring
    return inherit_parameters(but=("gate",))(Net)


@pytest.mark.parametrize("docstring", [None, "", "A net.", "A net.\n\n    More.\n    "])
def test_a_docstring_without_sections_is_enough(docstring):
    net = make(docstring)
    names = list(inspect.signature(net).parameters)
    assert names[:3] == ["module", "extra", "class_weight"]
    assert "gate" not in names
    assert set(names) <= set(net().get_params())
    if docstring is None:
        assert net.__doc__ is None
    else:
        assert "\n    max_epochs : int" in net.__doc__
        assert "\n    classes_ : ndarray" in net.__doc__
        assert "%(" not in net.__doc__
    with pytest.raises(TypeError, match="unexpected keyword argument 'gate'"):
        net(gate=True)


def test_what_the_class_describes_itself_is_not_described_twice():
    own = "A net.\n\n    Parameters\n    ----------\n    lr : float\n        Mine.\n"
    net = make(f"{own}    %(parameters)s\n")
    assert net.__doc__.count("\n    lr : float") == 1
    assert "\n    gate : " not in net.__doc__
    assert make(own).__doc__ == own


def test_text_is_there_for_every_inherited_parameter():
    for name in inspect.signature(TransferNetClassifier).parameters:
        assert parameters.PARAMETERS[name].startswith(f"{name} : ")
        assert f"\n    {name} : " in TransferNetClassifier.__doc__
    assert "n_kernels" in DAN.__doc__
    assert "classes_ :" not in DANNRegressor.__doc__


def test_without_docstrings_the_signatures_stay():
    code = (
        "import importlib.util, inspect, sys\n"
        f"spec = importlib.util.spec_from_file_location('p', {parameters.__file__!r})\n"
        "p = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(p)\n"
        "class Base:\n"
        "    'Text.'\n"
        "    def __init__(self, module=None, *, lr=1, **params): pass\n"
        "@p.inherit_parameters(but=('lr',))\n"
        "class Net(Base):\n"
        "    'Text.'\n"
        "    def __init__(self, module=None, *, own=2, **params): pass\n"
        "print(Net.__doc__, list(inspect.signature(Net).parameters))\n"
    )
    run = [sys.executable, "-OO", "-c", code]
    found = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert found.strip() == "None ['module', 'own']"
