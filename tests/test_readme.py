"""What the README tells a reader to type works, in the order in which it is told."""

import re
from pathlib import Path

import pytest
import sklearn

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.slow
def test_python_blocks_run_one_after_the_other():
    import torch  # noqa: F401 - one block is about nets

    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert blocks
    with sklearn.config_context():  # the first block flips the routing switch
        exec("\n".join(blocks), {})


def test_ci_finds_both_commands():
    text = README.read_text()
    for name in ("quickstart", "tests"):
        assert f"<!-- command: {name} -->\n```bash\n" in text
