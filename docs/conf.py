"""How Sphinx builds this folder as a site; `make docs` calls it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import patchlight

sys.path.insert(0, str(Path(__file__).resolve().parent / "_ext"))

# Notebooks train without an account, as everything else does.
os.environ.setdefault("WANDB_MODE", "offline")

project = "Patchlight"
author = "Patchlight contributors"
copyright = author
release = version = patchlight.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "patchlight_site",
]
exclude_patterns = ["_ext", "**/.ipynb_checkpoints"]

myst_enable_extensions = ["colon_fence", "deflist"]
# The anchors that GitHub gives to headings.
myst_heading_anchors = 4

# Notebooks run when the site is built, and again only once they have changed.
nb_execution_mode = "cache"
nb_execution_cache_path = str(Path(__file__).resolve().parents[1] / "build" / "docs" / "notebooks")
nb_execution_in_temp = True
nb_execution_timeout = 1200
nb_execution_raise_on_error = True
nb_merge_streams = True

# Single backticks in docstrings are code.
default_role = "code"
autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# Methods of Lightning that we override say in the source what they do, not what Lightning says.
autodoc_inherit_docstrings = False
autodoc_default_options = {"show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 80
highlight_language = "text"

linkcheck_ignore = [r"http://127\.0\.0\.1", r"http://localhost"]

html_theme = "furo"
html_title = "Patchlight"
html_static_path = ["_static"]
html_favicon = "_static/icon.svg"
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5fa8", "color-brand-content": "#1f5fa8"},
    "dark_css_variables": {"color-brand-primary": "#7db4f0", "color-brand-content": "#7db4f0"},
    "navigation_with_keys": True,
}
copybutton_prompt_text = "$ "
