"""Perturbations made once at their published schedules and kept: notebooks judge them anew.

`published` lists what is kept and every constant, `store` is the file format, `making` makes the
set, `stopping` ends a run at rest, `judging` judges it on whatever faces, `photographs` on CelebA
and LFW, `convergence` asks which run has settled, `setting` says on top of a notebook which it
shows.
"""

from companion.kept.convergence import curves, settled
from companion.kept.judging import chosen, disagreements, judged, live, per_image, schedule_words
from companion.kept.making import at_hand, make
from companion.kept.setting import strip
from companion.kept.store import KEPT, KeptRun, listing, load, save

__all__ = ["KEPT", "KeptRun", "at_hand", "chosen", "curves", "disagreements", "judged", "listing",
           "live", "load", "make", "per_image", "save", "schedule_words", "settled",
           "strip"]  # fmt: skip
