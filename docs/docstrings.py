"""Small repairs of docstrings on their way to Sphinx."""

import re

from pages_from_code import FIRST_RELEASE, link_arxiv

#: a word that ends in an underscore, which reStructuredText takes for a link
_LEARNED = re.compile(r"(?<![\w`*\\.:<\"])([A-Za-z]\w+_)(?=[\s,.;)]|$)")


def join_continued_lines(app, what, name, obj, options, lines):
    """Join lines that end in a backslash, as in the types of long parameters."""
    joined = []
    for line in lines:
        if joined and joined[-1].endswith(" \\"):
            joined[-1] = joined[-1][:-1] + line.strip()
        else:
            joined.append(line)
    lines[:] = joined


def escape_learned_names(app, what, name, obj, options, lines):
    """Escape names such as ``n_features_in_`` in running text."""
    in_doctest = False
    for k, line in enumerate(lines):
        in_doctest = bool(line.strip()) and (
            in_doctest or line.lstrip().startswith(">>>")
        )
        if not in_doctest:
            lines[k] = _LEARNED.sub(lambda match: match[1][:-1] + r"\_", line)


def link_references(app, what, name, obj, options, lines):
    """Make links of arXiv numbers, which are plain text for ``help``."""
    lines[:] = [link_arxiv(line) for line in lines]


def add_version(app, what, name, obj, options, lines):
    """Show since when a class or function is there: from the start, if it is silent."""
    kinds = {"class", "function", "exception", "data"}
    if what in kinds and "versionadded::" not in "\n".join(lines):
        end = lines.index("") if "" in lines else len(lines)
        lines[end:end] = ["", f".. versionadded:: {FIRST_RELEASE}"]


def setup(app):
    """Run before and after numpydoc, whose priority is 500."""
    app.connect("autodoc-process-docstring", join_continued_lines, priority=400)
    app.connect("autodoc-process-docstring", link_references, priority=400)
    app.connect("autodoc-process-docstring", add_version, priority=400)
    app.connect("autodoc-process-docstring", escape_learned_names, priority=600)
    return {"parallel_read_safe": True}
