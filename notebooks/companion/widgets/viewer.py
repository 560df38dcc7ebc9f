"""Before and after: a face, a generator, an edit, a perturbation, and whether it helped."""

from collections.abc import Mapping
from typing import Any

import ipywidgets as ipw
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.faces import FaceBatch, from_uint8
from aef_core.faces.pictures import open_picture
from aef_core.metrics import SUCCESS_THRESHOLD, Evaluator, l2_mask, protect, psnr
from aef_core.perturbation.objective import Zoo
from aef_core.perturbation.store import Run
from companion.studies.sentences import sentences
from companion.widgets.common import View, guarded, new_figure
from companion.widgets.controls import EditControls, dropdown, rows, slider
from companion.widgets.pictures import show_faces

LARGEST = 1024  # pixels; a larger photo is shrunk before the detector sees it
MEANING = {
    "unaffected": "the edit still works, the forgery is hardly changed",
    "changed": "the edit still works, although the forgery is changed",
    "undone": "the edit no longer works",
    "never seen": "the edit does not work, even without protection",
    "already there": "the face shows already what the edit asks for",
    "empty mask": "the generator changes nothing on this face",
}
"""What each outcome of `aef_core.metrics.Evaluator.survival` says about one face."""


class BeforeAfter(View):
    """Original, forged, protected and forged-after-protection, with L2_mask and a verdict.

    Parameters
    ----------
    zoo : mapping of name to DeepfakeModel
    faces : FaceBatch
        Faces to choose from; an own photo can be added, and never leaves the kernel.
    runs : mapping of label to Run
        Runs with a universal perturbation.

    Attributes
    ----------
    images : dict of label to Tensor, shape [3, H, W]
    value : float
        L2_mask; NaN where the generator edits nothing.
    outcome : str
        What became of the edit, one of `MEANING`.
    """

    title = "before/after viewer"

    def __init__(self, zoo: Zoo, faces: FaceBatch, runs: Mapping[str, Run]) -> None:
        super().__init__()
        for label, run in runs.items():
            if len(run.delta) != 1:
                raise BadInput(f"run {label!r} has one perturbation per image, not a universal")
        self.zoo, self.runs = zoo, dict(runs)
        self.faces = {name: faces[i : i + 1] for i, name in enumerate(faces.names)}
        self.images: dict[str, Tensor] = {}
        self.value, self.visible, self.outcome = float("nan"), float("nan"), "never seen"
        self._judges = {name: Evaluator({name: model}, faces) for name, model in zoo.items()}
        self._sentences: dict[tuple[str, str, str], str] = {}
        self._controls(max(run.config["loop"]["eps"] for run in runs.values()))
        self.children = rows(
            (self.face, self.upload),
            (self.forger.generator, self.forger.edit),
            (self.run, self.eps),
            self.message,
            self.picture,
            self.caption,
        )
        self.upload.observe(self._receive, "value")
        for control in (self.face, self.run, self.eps):
            control.observe(self._update, "value")
        self._update()

    def _controls(self, eps: float) -> None:
        self.face = dropdown("face", "A face nobody optimised on", list(self.faces))
        self.upload = ipw.FileUpload(
            accept="image/*", description="own photo", layout={"width": "200px"},
            tooltip="A photo with a face; it is cropped by MTCNN and stays in this kernel",
        )  # fmt: skip
        self.forger = EditControls(self.zoo, self._update)
        self.run = dropdown("method", "Which perturbation protects", list(self.runs))
        self.eps = slider(
            ipw.FloatSlider, "eps", "The perturbation scaled to this bound, in [-1, 1] units",
            value=eps, min=0, max=2 * eps, step=eps / 10, readout_format=".3f",
        )  # fmt: skip

    @guarded
    def _receive(self, change: Any = None) -> None:
        """Take in an uploaded photo, or say why not; what was shown stays."""
        if not self.upload.value:
            return
        file = self.upload.value[-1]
        self.say(f"looking for a face in {file['name']} ...")
        model = next(iter(self.zoo.values()))
        name = _unused(file["name"], self.faces)
        self.faces[name] = face_from_photo(bytes(file["content"]), file["name"], model.image_size)
        self.face.options = list(self.faces)
        self.face.value = name  # draws
        self.say(f"{file['name']}: face found and cropped; attributes are a classifier's guess")

    @guarded
    def _update(self, change: Any = None) -> None:
        self.say("")
        self._compute()

    def _compute(self) -> None:
        """One face through one generator, before and after protection."""
        face, run = self.faces[self.face.value], self.runs[self.run.value]
        name, edit = self.forger.generator.value, self.forger.edit.value
        judge = Evaluator({name: self.zoo[name]}, face)
        scaled = run.delta * (self.eps.value / run.config["loop"]["eps"])
        protected = protect(face.images, scaled)
        forged, after = judge.forged(name, edit), judge.forge(protected, name, edit)
        values = l2_mask(forged, after, face.images)
        self.value = values.item()
        self.outcome = judge.survival(name, edit, after, values.numpy())["outcome"][0]
        self.visible = float(psnr(face.images, protected)[0])
        labels = ("original", f"forged: {edit}", "protected", "forged after protection")
        quads = (face.images, forged, protected, after)
        self.images = {label: x[0] for label, x in zip(labels, quads, strict=True)}
        self.redraw()

    def static(self) -> Figure:
        figure = new_figure(9.2, 2.6)
        show_faces(figure, self.images, (0.01, 0.02, 0.98, 0.86))
        return figure

    def words(self) -> str:
        if not self.images:
            return ""
        run, eps = self.runs[self.run.value], self.eps.value
        scaled = not np.isclose(eps, run.config["loop"]["eps"])
        note = ", scaled from a run at another eps" if scaled else ""
        return (
            f"{self.forger.generator.value}, {self.forger.edit.value}, {self.run.value}: "
            f"{verdict(self.value)} {MEANING[self.outcome].capitalize()}. "
            f"Protection at eps {eps:.3f}{note}; PSNR of the protected photo {self.visible:.1f} "
            f"dB. At the run's own eps: {self.sentence()}."
        )

    def sentence(self) -> str:
        """How many edits of the chosen kind still work under the run, over all faces given."""
        key = (self.forger.generator.value, self.forger.edit.value, self.run.value)
        if key not in self._sentences:
            name, edit, run = key
            judge = self._judges[name]
            images = judge.faces.images
            after = judge.forge(protect(images, self.runs[run].delta), name, edit)
            values = l2_mask(judge.forged(name, edit), after, images).numpy()
            table = pd.DataFrame(judge.survival(name, edit, after, values))
            self._sentences[key] = sentences(table.assign(model=name, edit=edit)).iloc[0]
        return self._sentences[key]


def verdict(value: float) -> str:
    """What an L2_mask means, in a sentence.

    Parameters
    ----------
    value : float, >= 0, or NaN for an empty mask
    """
    if np.isnan(value):
        return "the generator changes nothing on this face, so there is nothing to interrupt."
    bar = f"L2_mask {value:.4f}, the threshold is {SUCCESS_THRESHOLD}"
    if value > SUCCESS_THRESHOLD:
        return f"interrupted ({bar})."
    if value > SUCCESS_THRESHOLD / 5:
        return f"disturbed, but not interrupted ({bar})."
    return f"not interrupted ({bar})."


def face_from_photo(content: bytes, name: str, size: int) -> FaceBatch:
    """The largest face of an encoded photo, cropped as CelebA frames it, with guessed attributes.

    Raises
    ------
    ValueError
        Not a picture for `open_picture`, or (`NoFace`) MTCNN finds no face; names the file.
    """
    from aef_core.faces.detection import NoFace, crop_face  # heavy to import, and only needed here
    from aef_core.models.judge import predict_attributes

    image = open_picture(content, name)
    image.thumbnail((LARGEST, LARGEST))
    try:
        face = crop_face(image).resize((size, size), Image.Resampling.BICUBIC)
    except NoFace as reason:
        raise NoFace(f"{name}: {reason}; choose a photo in which a face is large and upright"
                     ) from None  # fmt: skip
    pixels = torch.from_numpy(np.array(face)).permute(2, 0, 1)[None].contiguous()
    images = from_uint8(pixels)
    return FaceBatch(images, predict_attributes(images), (name,), "upload")


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    """The name, numbered where it is taken."""
    candidates = (name, *(f"{name} ({i})" for i in range(2, len(taken) + 3)))
    return next(c for c in candidates if c not in taken)
