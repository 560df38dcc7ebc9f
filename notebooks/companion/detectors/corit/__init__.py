"""CoRIT (arXiv 2603.24057) at small scale: collapse under SAM, GSNR, and four training-free parts.

No formula of the paper could be read: the parts are constructions from one-sentence descriptions,
with the constants of `shared/reference/DETECTORS.md`; each module says what it assumes.
"""
