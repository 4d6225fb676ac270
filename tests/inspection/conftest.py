"""Every picture is drawn without a screen and closed after its test."""

import matplotlib
import pytest


@pytest.fixture(autouse=True)
def pyplot():
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")
