"""The one door for pictures: whatever a file holds, an 8-bit RGB still comes out, or one line.

Pillow knows dozens of formats, some of which start other programs: only those named here are tried.
"""

import io
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from aef_core.errors import BadInput, must_be_file, reason

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # a phone's MPO comes as a JPEG
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "I;16", "I;16B"}
MAX_PIXELS = 80_000_000  # known from the header, before anything is decoded
TOO_MANY = f"more than {MAX_PIXELS // 10**6} million pixels: make it smaller first"
CURE = "give a still JPEG or PNG of 8 bits"
TURN = Image.Transpose
TURNS = {2: TURN.FLIP_LEFT_RIGHT, 3: TURN.ROTATE_180, 4: TURN.FLIP_TOP_BOTTOM, 5: TURN.TRANSPOSE,
         6: TURN.ROTATE_270, 7: TURN.TRANSVERSE, 8: TURN.ROTATE_90}  # fmt: skip


def open_picture(
    source: str | Path | bytes, name: str | None = None, keep_alpha: bool = False
) -> Image.Image:
    """A picture in memory, `upright`, in mode RGB (or RGBA); see `read_picture`."""
    return upright(read_picture(source, name), keep_alpha)


def read_picture(
    source: str | Path | bytes, name: str | None = None, decode: bool = True
) -> Image.Image:
    """A picture as it lies in its file, with what Pillow read in the header; or that alone.

    Parameters
    ----------
    source : path or bytes
        A file, or the content of one. One of `FORMATS`, at most `MAX_PIXELS` pixels.
    name : str, optional
        What a message calls it; the path by default.

    Raises
    ------
    NotFound, BadInput
        No such file; not a regular one; another format; too many pixels; damaged; animated; float
        or another odd mode.
    """
    if isinstance(source, bytes):
        file, name = io.BytesIO(source), name or "the picture"
    else:
        must_be_file(source, "name a photo")
        file, name = source, name or str(source)
    with warnings.catch_warnings():  # Pillow's remarks on odd metadata are nobody's error
        warnings.simplefilter("ignore")
        try:
            with Image.open(file, formats=FORMATS) as image:
                _refuse_odd(image, name)
                image.info["16 bits"] = any(";16" in str(tile[3]) for tile in image.tile)
                if decode:
                    image.load()
                    image.getexif()
                return image
        except BadInput:
            raise
        except Image.DecompressionBombError:
            raise BadInput(f"{name} has {TOO_MANY}") from None
        except Exception as error:  # a decoder given a damaged file raises whatever it likes
            why = "not an image" if isinstance(error, UnidentifiedImageError) else reason(error)
            raise BadInput(f"{name} cannot be read ({why}): {CURE}") from None


def upright(image: Image.Image, keep_alpha: bool = False) -> Image.Image:
    """A picture turned as its EXIF asks, in mode RGB, or RGBA if it has transparency to keep.

    Grey and palettes become RGB, 16 bits lose the lower 8, CMYK goes through its colour profile.
    """
    clear = "A" in image.getbands() or "transparency" in image.info
    turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "CMYK" and "icc_profile" in image.info:
        with suppress(ImageCms.PyCMSError):  # a damaged profile, or one for other colours
            profile, to = io.BytesIO(image.info["icc_profile"]), ImageCms.createProfile("sRGB")
            image = ImageCms.profileToProfile(image, profile, to, outputMode="RGB")
    image = image.convert("RGBA" if clear and keep_alpha else "RGB")
    return image if turn is None else image.transpose(turn)


def _refuse_odd(image: Image.Image, name: str) -> None:
    """Judge by the header alone: nothing has been decoded yet."""
    if image.width * image.height > MAX_PIXELS:
        raise BadInput(f"{name} has {TOO_MANY}")
    if image.mode not in MODES:
        raise BadInput(f"{name} has mode {image.mode}: save it as 8-bit RGB first")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # that is a JPEG with a small copy behind it
        raise BadInput(f"{name} is animated ({frames} frames): give a still photo")
