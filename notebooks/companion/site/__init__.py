"""The explorer: one self-contained page on weights and forgeries, for the site's front.

`gather.py` makes or finds the runs; `pictures.py` packs what they do to faces; `page.py` puts
numbers, pictures, style and scripts into one file. The scripts are plain JavaScript: `rules.js`
(weighting rules), `toy.js` (the game and the replay), `charts.js`, `explorer.js`, `viewer.js`.
"""

from companion.site.gather import Show, gather
from companion.site.page import explorer_page

__all__ = ["Show", "explorer_page", "gather"]
