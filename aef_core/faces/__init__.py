"""Faces: pixels, batches and splits, where they come from, where in a photo they are."""

from aef_core.faces.batch import SPLITS, FaceBatch, check_images, from_uint8, load_faces, to_uint8

__all__ = ["SPLITS", "FaceBatch", "check_images", "from_uint8", "load_faces", "to_uint8"]
