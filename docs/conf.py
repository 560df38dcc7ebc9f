"""The site: notebooks as stored, pages, the library's docstrings, and the explorer in front.

The source folder is the repository, so that links between pages, notebooks and files hold both on
a code host and here. `make site` builds it; `AEF_REPOSITORY` names the address for launch buttons.
"""

import os
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

from aef_core import __version__

ROOT = Path(__file__).parents[1]
ADDRESS = os.environ.get("AEF_REPOSITORY", "").rstrip("/").removesuffix(".git")

project = "AEF companion"
author = "AEF companion authors"
version = release = __version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md", "notebooks/*.ipynb", "aef_core/assets/*.md", "aef_core/assets/*/*.md",
    "README.md", "CHANGELOG.md",
]  # fmt: skip
exclude_patterns = ["**/.ipynb_checkpoints"]

nb_execution_mode = "off"  # outputs are those stored, of real runs
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
myst_heading_slug_func = "builtins.str"  # `#Takeaways`, as Jupyter has it, not `#takeaways`

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_extra_path = ["_extra"]
html_js_files = ["explorer-frame.js"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "repository_url": ADDRESS,
    "use_repository_button": bool(ADDRESS),
    "use_download_button": True,
    "show_toc_level": 2,
    "navbar_persistent": [],  # one search field is enough
}
if ADDRESS:
    html_theme_options |= {
        "repository_branch": "main",
        "path_to_docs": ".",
        "launch_buttons": {
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        },
    }

MARKS = re.compile(r"(?<!\\)[|*]|(?<=\w)_(?=\W|$)")


def plain_marks(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are prose and formulas: bars, stars and a trailing underscore mean themselves."""
    if what == "module":
        literal_blocks(lines)
    for i, line in enumerate(lines):
        if what == "module" and line.startswith("    "):
            continue
        parts = re.split(r"(``?[^`]*``?)", line)  # what stands in backquotes stays as it is
        parts[::2] = [MARKS.sub(lambda m: "\\" + m[0], part) for part in parts[::2]]
        lines[i] = "".join(parts)


def literal_blocks(lines: list[str]) -> None:
    """In a module's docstring an indented block after a blank line is code."""
    for i in range(len(lines) - 1, 1, -1):
        if lines[i].startswith("    ") and not lines[i - 1] and not lines[i - 2].startswith(" "):
            lines[i:i] = ["::", ""]


def link_folders(app, doctree) -> None:
    """A link to a folder of the repository leads to the code host, or is text without one."""
    here = Path(app.env.doc2path(app.env.docname)).parent
    for node in list(doctree.findall(addnodes.pending_xref)):
        folder = here / node["reftarget"]
        if node["reftype"] != "myst" or node.get("refdomain") or not folder.is_dir():
            continue
        place = folder.resolve().relative_to(ROOT).as_posix()
        address = {"refuri": f"{ADDRESS}/tree/main/{place}"}
        link = nodes.reference("", "", **address) if ADDRESS else nodes.inline()
        link += node.children
        node.replace_self(link)


def setup(app) -> None:
    """Connect before napoleon, which writes marks of its own."""
    app.connect("autodoc-process-docstring", plain_marks, priority=400)
    app.connect("doctree-read", link_folders)
