"""Sphinx: ``sphinx-build -n -W docs docs/_build``."""

from __future__ import annotations

import nnqpy

project = "nnqpy"
author = "nnqpy authors"
copyright = "nnqpy authors"  # noqa: A001  # Sphinx's own name
version = release = nnqpy.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = [
    "_build",
    "examples",
    "benchmarks/results.md",
]  # the last one is in its index
html_theme = "furo"
html_title = f"nnqpy {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
default_role = "code"  # the docstrings' `name`
nitpicky = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
autodoc_type_aliases = {"Body": "Body"}
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# What appears in signatures and has no page: other projects' names (no inventory is fetched: the build works offline),
# and types of ours that a user never writes.
nitpick_ignore_regex = [
    (
        r"py:(class|exc|obj|meth|attr|data)",
        r"(?!nnqpy\b).*",
    ),
    (r"py:.*", r"nnqpy\.(awaiting|base|blocking|kinds|endpoint|routing|sync|turns|waiting)\..*"),
]
