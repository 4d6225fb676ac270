"""Corrects what the theme and docutils write against WCAG 2, in the finished pages."""

import re
from pathlib import Path

#: what is written -> what should be
CORRECTIONS = (
    # a label that differs from the text that is seen ("Search Ctrl+K")
    (
        r'(<button[^>]* search-button-field [^>]*?) aria-label="Search"',
        r'\1 aria-label="Search Ctrl+K"',
    ),
    # a control without a name
    (
        r'<summary>(?=<span class="toctree-toggle")',
        '<summary aria-label="Pages of this part">',
    ),
    # roles that are deprecated, or whose children have other roles
    (r'(<div class="citation"[^>]*) role="doc-biblioentry"', r"\1"),
    (r'<div role="list" class="citation-list">', '<div class="citation-list">'),
)


def correct(page):
    """Return a page of HTML with the corrections."""
    for pattern, better in CORRECTIONS:
        page = re.sub(pattern, better, page)
    return page


def _correct_pages(app, exception):
    if exception is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        better = correct(page)
        if better != page:
            path.write_text(better, encoding="utf-8")


def setup(app):
    """Correct the pages when all are written."""
    app.connect("build-finished", _correct_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
