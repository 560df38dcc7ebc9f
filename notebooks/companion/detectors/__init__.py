"""Detectors of forged faces: CS-DFD and CoRIT, the detector papers beside AEF, at small scale."""
