"""Reading pictures, for all of the package, and writing a changed photo like the original.

Reading gives an 8-bit RGB still, or a one-line refusal. Pillow knows dozens of formats, some of
which start other programs: only those in `FORMATS` are tried. A JPEG is written as a JPEG, with its
own quality and orientation, so that its blocks lie where they lay; others become PNG.
"""

import io
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from PIL.JpegImagePlugin import get_sampling

from aef_core.errors import BadInput, must_be_file, reason

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # a phone's MPO comes as a JPEG
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "I;16", "I;16B"}
MAX_PIXELS = 80_000_000  # known from the header, before anything is decoded
TOO_MANY = f"more than {MAX_PIXELS // 10**6} million pixels: make it smaller first"
TURN = Image.Transpose
TURNS = {2: TURN.FLIP_LEFT_RIGHT, 3: TURN.ROTATE_180, 4: TURN.FLIP_TOP_BOTTOM, 5: TURN.TRANSPOSE,
         6: TURN.ROTATE_270, 7: TURN.TRANSVERSE, 8: TURN.ROTATE_90}  # fmt: skip
BACK = TURNS | {6: TURN.ROTATE_90, 8: TURN.ROTATE_270}  # every other turn undoes itself
LONGEST_EXIF = 65_533  # bytes that a JPEG has room for
BANDS = {"1": "black and white", "L": "grey", "C": "CMYK"}  # the first, where it is not RGB


def open_picture(source: str | Path | bytes, name: str | None = None) -> Image.Image:
    """A picture, `upright`, in mode RGB; arguments and errors as of `read_picture`."""
    return upright(read_picture(source, name))


def read_picture(
    source: str | Path | bytes, name: str | None = None, decode: bool = True
) -> Image.Image:
    """A picture as its file stores it: not turned, in its own mode, with the header's metadata.

    Parameters
    ----------
    source : path or bytes
        A file, or the content of one, in one of `FORMATS`, at most `MAX_PIXELS` pixels.
    name : str, optional
        What a message calls it; the path by default.
    decode : bool
        Read the pixels; else the header alone.

    Raises
    ------
    NotFound, BadInput
        No such file, or no regular one; another format or mode; too large, damaged, or animated.
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
            raise BadInput(f"{name} cannot be read ({why}): give a still JPEG or PNG") from None


def upright(image: Image.Image, keep_alpha: bool = False) -> Image.Image:
    """A picture turned as its EXIF asks, in mode RGB, or RGBA to keep its transparency.

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


def encode_like(
    original: Image.Image, changed: Image.Image, keep_exif: bool = True
) -> tuple[bytes, str, tuple[str, ...]]:
    """A changed photo as the content of a file like the original's.

    `original` is from `read_picture`, `changed` has the size of `upright(original)`. Kept are a
    JPEG's quantization tables and chroma subsampling; EXIF with the orientation, but without the
    small unprotected picture that cameras put in; a colour profile for RGB. Returns the content,
    the suffix (".jpg" or ".png") and remarks: what the copy has lost, and if it tells the place.
    """
    exif, told = _exif(original) if keep_exif else (b"", "")
    turn = original.getexif().get(ExifTags.Base.Orientation)
    if exif and turn in BACK:
        changed = changed.transpose(BACK[turn])
    suffix, options = ".png", {}
    if original.format in ("JPEG", "MPO"):
        tables = [table for _, table in sorted(original.quantization.items())]
        sampling = max(get_sampling(original), 0)  # -1: grey, or none of the usual
        suffix, options = ".jpg", {"qtables": tables, "subsampling": sampling}
    profile, dropped = _rgb_profile(original)
    file = io.BytesIO()
    kind = "JPEG" if options else "PNG"
    changed.save(file, kind, exif=exif, icc_profile=profile, **options)
    was = "16 bits a channel" if original.info["16 bits"] else BANDS.get(original.getbands()[0])
    remarks = (was and f"its {was} became 8-bit RGB", told, dropped)
    return file.getvalue(), suffix, tuple(filter(None, remarks))


def jpeg_copy(picture: Image.Image, quality: int, subsampling: int = 2) -> Image.Image:
    """What a JPEG file makes of a picture: quality 1 to 100, of 4:2:0 (2) or 4:4:4 (0)."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling=subsampling)
    return open_picture(file.getvalue())


def _exif(original: Image.Image) -> tuple[bytes, str]:
    """EXIF without its second directory, which holds the small picture; and a remark."""
    exif = original.getexif()
    if not exif or original.format == "TIFF":  # whose tags say how that very file is built
        return b"", ""
    with suppress(Exception), warnings.catch_warnings(action="error"):  # whatever a camera wrote
        place = "its EXIF says where it was taken" * bool(exif.get_ifd(ExifTags.IFD.GPSInfo))
        if len(content := exif.tobytes()) <= LONGEST_EXIF:
            return content, place
    return b"", "its EXIF is damaged or too long, and left out"


def _rgb_profile(original: Image.Image) -> tuple[bytes | None, str]:
    """The photo's colour profile if it fits an RGB file, and a remark if it does not."""
    profile = original.info.get("icc_profile") or b""
    # ICC.1:2022, 7.2: bytes 0-3 size, 16-19 colour space, 36-39 "acsp"
    right = len(profile).to_bytes(4) + b"RGB acsp"
    if not profile or right == profile[:4] + profile[16:20] + profile[36:40]:
        return profile or None, ""
    return None, "its colour profile is damaged, or not for RGB, and left out"
