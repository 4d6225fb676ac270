"""Formulas as MathML, which browsers draw themselves: no script, no other server."""

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.errors import ExtensionError


def _mathml(latex, display, node):
    plain = latex.replace(r"\arg", r"\operatorname{arg}")
    plain = re.sub(r"(\\[Bb]igg?[lr]?)\\[lr]Vert", r"\1\\|", plain)
    try:
        formula = convert(plain, display=display)
    except Exception as error:
        raise ExtensionError(
            f"{node.source}:{node.line}: {latex!r}: {error}"
        ) from error
    unknown = re.search(r">\\\w+<", formula)
    if unknown:
        raise ExtensionError(
            f"{node.source}:{node.line}: {unknown[0][1:-1]} is not known: {latex!r}"
        )
    return formula


def visit_math(self, node):
    """Write a formula within a line."""
    self.body.append(_mathml(node.astext(), "inline", node))
    raise nodes.SkipNode


def visit_displaymath(self, node):
    """Write a formula of its own, with its number if it has one."""
    latex = node.astext().strip()
    if "\\\\" in latex and "\\begin" not in latex:
        latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    self.body.append(self.starttag(node, "div", CLASS="math-block", tabindex="0"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({node["number"]})</span>')
        self.add_permalink_ref(node, "Link to this equation")
    self.body.append(_mathml(latex, "block", node) + "</div>\n")
    raise nodes.SkipNode


def setup(app):
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
