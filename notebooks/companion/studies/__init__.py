"""Comparisons the notebooks make: each module measures one question and returns tables."""
