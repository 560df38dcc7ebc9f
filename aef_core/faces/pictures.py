"""The one door for pictures: whatever a file holds, an 8-bit RGB still comes out, or one line.

Pillow knows dozens of formats, some of which start other programs: only those named here are tried.
"""

import io
import warnings
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from aef_core.errors import BadInput, must_be_file

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # a phone's MPO comes as a JPEG
PLAIN_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX"}  # 8 bits or fewer, not for print
MAX_PIXELS = 80_000_000  # known from the header, before anything is decoded
TOO_MANY = f"more than {MAX_PIXELS // 10**6} million pixels: make it smaller first"
CURE = "give a still JPEG or PNG of 8 bits"


def open_picture(
    source: str | Path | bytes, name: str | None = None, keep_alpha: bool = False
) -> Image.Image:
    """A picture in memory, upright as its EXIF asks, in mode RGB: grey and palettes become it.

    Parameters
    ----------
    source : path or bytes
        A file, or the content of one. One of `FORMATS`, at most `MAX_PIXELS` pixels.
    name : str, optional
        What a message calls it; the path by default.
    keep_alpha : bool
        A picture with transparency comes in mode RGBA; else that is dropped.

    Raises
    ------
    NotFound, BadInput
        No such file; not a regular one; another format; too many pixels; damaged; animated; CMYK,
        float or 16 bits a channel.
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
                clear = "A" in image.getbands() or "transparency" in image.info
                upright = ImageOps.exif_transpose(image)
                return upright.convert("RGBA" if clear and keep_alpha else "RGB")
        except BadInput:
            raise
        except Image.DecompressionBombError:
            raise BadInput(f"{name} has {TOO_MANY}") from None
        except Exception as error:  # a decoder given a damaged file raises whatever it likes
            reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
            reason = (reason or type(error).__name__).splitlines()[0]
            raise BadInput(f"{name} cannot be read ({reason}): {CURE}") from None


def _refuse_odd(image: Image.Image, name: str) -> None:
    """Judge by the header alone: nothing has been decoded yet."""
    if image.width * image.height > MAX_PIXELS:
        raise BadInput(f"{name} has {TOO_MANY}")
    if any(";16" in str(tile[3]) for tile in image.tile):  # Pillow would drop half of the bits
        raise BadInput(f"{name} has 16 bits a channel: save it with 8 first")
    if image.mode not in PLAIN_MODES:
        raise BadInput(f"{name} has mode {image.mode}: save it as 8-bit RGB first")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # that is a JPEG with a small copy behind it
        raise BadInput(f"{name} is animated ({frames} frames): give a still photo")
