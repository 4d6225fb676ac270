"""Configuration of Sphinx: ``sphinx-build -W -b html docs docs/_build/html``."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs"), str(ROOT / "tests")]

import pages_from_code  # noqa: E402
from instances import ESTIMATORS  # noqa: E402

import sktransfer  # noqa: E402

pages_from_code.write_pages(ESTIMATORS)

project = "sktransfer"
author = "The sktransfer developers"
copyright = author
version = release = sktransfer.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.extlinks",
    "numpydoc",
    "docstrings",
    "mathml",
    "accessible",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "**/GALLERY_HEADER.rst"]
source_suffix = {".rst": "restructuredtext"}

extlinks = {
    "doi": ("https://doi.org/%s", "doi:%s"),
    "arxiv": ("https://arxiv.org/abs/%s", "arXiv:%s"),
}

html_math_renderer = "mathml"

autosummary_generate = True
autosummary_context = {"own_methods": pages_from_code.own_methods()}
autodoc_typehints = "none"
numpydoc_show_class_members = False

plot_formats = [("png", 100)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = True

sphinx_gallery_conf = {
    "examples_dirs": str(ROOT / "examples"),
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"[/\\](howto|papers|cases)[/\\]",  # not the quickstart
    "abort_on_example_error": True,
    "capture_repr": (),
    "write_computation_times": False,
    "download_all_examples": False,
    "show_signature": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"sktransfer {release}"
html_theme_options = {
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_end": ["versions", "theme-switcher", "navbar-icon-links"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_favicon = "_static/icon.svg"
# `.ci/matrix/site` builds several versions beside each other, and names them here
versions = os.environ.get("DOCS_VERSIONS", release).split()
html_context = {
    "default_mode": "auto",
    "this_version": os.environ.get("DOCS_VERSION", release),
    "all_versions": versions,
}
html_sidebars = {"index": []}
