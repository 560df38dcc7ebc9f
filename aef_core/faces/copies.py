"""A changed photo in a file like its own: a JPEG stays one, at its own quality; others become PNG.

Pixels are laid out as in the photo's file, so that a JPEG's blocks fall on the same places again.
"""

import io

from PIL import ExifTags, Image
from PIL.JpegImagePlugin import get_sampling

from aef_core.faces.pictures import TURN, TURNS

BACK = TURNS | {6: TURN.ROTATE_90, 8: TURN.ROTATE_270}  # every other turn undoes itself
LONGEST_EXIF = 65_533  # bytes that a JPEG has room for
FIRST_BANDS = {"1": "black and white", "L": "grey", "C": "CMYK"}  # of what is not RGB


def encode_like(
    original: Image.Image, changed: Image.Image, keep_exif: bool = True
) -> tuple[bytes, str, tuple[str, ...]]:
    """A file's content, its suffix, and remarks: what the copy lacks, or tells, of the photo.

    `original` is from `read_picture`; `changed` is it, `upright`, with other pixels. Kept: a JPEG's
    quantization tables and chroma subsampling; EXIF and with it the orientation, without the small
    unprotected picture that cameras put in; a colour profile for RGB.
    """
    exif, told = _exif(original) if keep_exif else (b"", "")
    orientation = original.getexif().get(ExifTags.Base.Orientation)
    if exif and orientation in BACK:
        changed = changed.transpose(BACK[orientation])
    profile, dropped = _rgb_profile(original)
    kind, suffix, options = "PNG", ".png", {}
    if original.format in ("JPEG", "MPO"):
        kind, suffix = "JPEG", ".jpg"
        options = {
            "qtables": [table for _, table in sorted(original.quantization.items())],
            "subsampling": max(get_sampling(original), 0),  # -1: grey, or none of the usual
            "progressive": "progressive" in original.info,
        }
    changed.save(file := io.BytesIO(), kind, exif=exif, icc_profile=profile, **options)
    grey = FIRST_BANDS.get(original.getbands()[0])
    was = "16 bits a channel" if original.info["16 bits"] else grey
    remarks = (was and f"its {was} became 8-bit RGB", told, dropped)
    return file.getvalue(), suffix, tuple(filter(None, remarks))


def _exif(original: Image.Image) -> tuple[bytes, str]:
    """EXIF without its second directory, which holds the small picture; and a remark."""
    exif = original.getexif()
    if not exif or original.format == "TIFF":  # whose tags say how that very file is built
        return b"", ""
    try:
        place = "its EXIF says where it was taken" if exif.get_ifd(ExifTags.IFD.GPSInfo) else ""
        if len(content := exif.tobytes()) <= LONGEST_EXIF:
            return content, place
    except Exception:  # whatever a camera wrote there
        pass
    return b"", "its EXIF is damaged or too long, and left out"


def _rgb_profile(original: Image.Image) -> tuple[bytes | None, str]:
    """The photo's colour profile if it fits an RGB file, and a remark if it does not."""
    profile = original.info.get("icc_profile") or None
    # ICC.1:2022, 7.2: bytes 0-3 size, 16-19 colour space, 36-39 "acsp"
    if profile and (len(profile), b"RGB ", b"acsp") != (
        int.from_bytes(profile[:4]), profile[16:20], profile[36:40]
    ):  # fmt: skip
        return None, "its colour profile is damaged, or not for RGB, and left out"
    return profile, ""
