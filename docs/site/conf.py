"""How Sphinx makes the site. The sources are put together by `autograder/authoring/site.py`; see docs/site.md."""

from __future__ import annotations

from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring

project = "Quantization course"
extensions = [
    "myst_nb",  # pages in Markdown, and notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # brings MathJax along, else it would come from another host
]
root_doc = "index"
exclude_patterns = ["**/released/*"]  # notebooks to download

# everything is read on one's own disk: no script, font or style from another host
html_theme = "furo"
html_title = project
html_copy_source = False
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["site.css"]

# notebooks come with their outputs, see autograder/authoring/lab_page.py
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3

highlight_language = "none"  # a block that names no language, a command or a formula, is none
add_module_names = False
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # torch's text on `forward` says nothing of ours
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True  # `root=ROOT`, not the folder that it is here
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]  # else `left, top: pixels` would be taken for one name
napoleon_use_rtype = False
default_role = "code"  # docstrings write names in single backticks, as Markdown does

# Names of other packages lead nowhere: their documentation is on other hosts. Of the autograder only a part is shown.
nitpick_ignore_regex = [
    ("py:.*", r"(torch|numpy|np|matplotlib|pandas|nbformat|click|widgets|collections|pathlib|datetime|types|t)\..*"),
    ("py:.*", r"autograder\.(grading\.cache|processes\.job|labs\.pages)\..*"),
    ("py:class", r"Figure|dict\[str"),  # annotations that only a type checker resolves come as they are written
]

# The line under an attribute is a sentence. Napoleon would take what stands before a colon in it for a type.
GoogleDocstring._consume_inline_attribute = lambda self: ("", self._consume_to_end())


def documented_elsewhere(app: Sphinx, what: str, name: str, member: object, skip: bool, options: object) -> bool | None:
    """Leaves out of a module's page what it only hands on, if that has a page of its own."""
    home = getattr(member, "__module__", None)
    here = app.env.current_document.autodoc_module
    return True if what == "module" and home != here and f"api/{home}" in app.env.found_docs else None


def setup(app: Sphinx) -> None:
    app.connect("autodoc-skip-member", documented_elsewhere)
