"""Is the forged face still the same person? MTCNN finds and crops, FaceNet or dlib embeds."""

import contextlib
import pickle
import socket
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from aef_core.errors import AEFError, BadInput
from aef_core.faces.detection import enlarged, find_faces
from aef_core.metrics.evaluation import Evaluator, protect
from aef_core.models.weights import is_damaged_file

CURE = "connect once (107 MB of FaceNet weights), or pip install 'aef-companion[faces]' for dlib"


class NoEmbedder(AEFError, RuntimeError):
    """No identity embedder can be had here; the message says why and what to do."""


@dataclass(frozen=True)
class Embedder:
    """From images to numbers for who somebody is; smaller Euclidean distance, more alike.

    Parameters
    ----------
    name : str
        "FaceNet" or "dlib".
    embed : callable
        From a photograph (RGB, square) and the face's box (left, top, right, bottom) to a vector.
    find : callable
        From photographs to the box of the largest face of each, or None; MTCNN by default.
    """

    name: str
    embed: Callable[[Image.Image, np.ndarray], np.ndarray]
    find: Callable[[list[Image.Image]], list[np.ndarray | None]] = field(
        default=lambda photos: _mtcnn(photos)
    )

    def __call__(self, images: Tensor) -> Tensor:
        """Codes of faces.

        Parameters
        ----------
        images : Tensor, shape [B, 3, H, W], values in [-1, 1]

        Returns
        -------
        Tensor, float32, shape [B, d]; a row is NaN where no face is found.
        """
        photos = enlarged(images)
        codes = [
            None if box is None else np.asarray(self.embed(photo, box), np.float32)
            for photo, box in zip(photos, self.find(photos), strict=True)
        ]
        size = next((len(c) for c in codes if c is not None), 1)
        missing = np.full(size, np.nan, np.float32)
        return torch.from_numpy(np.stack([missing if c is None else c for c in codes]))


def _mtcnn(photos: list[Image.Image]) -> list[np.ndarray | None]:
    return [boxes[0].numpy() if len(boxes) else None for boxes, _ in find_faces(photos)]


def load_embedder(name: str = "auto", download: bool = True) -> Embedder:
    """An identity embedder.

    Parameters
    ----------
    name : {"auto", "facenet", "dlib"}
        "facenet": facenet-pytorch's InceptionResnetV1 trained on VGGFace2, 512 numbers of norm 1;
        its weights are downloaded on first use. "dlib": 128 numbers, needs the extra `faces`.
        "auto": FaceNet, else dlib, saying so in one line.
    download : bool
        False: FaceNet only if its weights are on this machine already.

    Raises
    ------
    NoEmbedder
        None can be had; the message says why and what to do.
    ValueError
        Unknown name.
    """
    loaders = {"facenet": lambda: _facenet(download), "dlib": _dlib}
    if name != "auto":
        if name not in loaders:
            raise BadInput(f"unknown embedder {name!r}; known: auto, {', '.join(loaders)}")
        return loaders[name]()
    try:
        return loaders["facenet"]()
    except NoEmbedder as error:
        why = str(error)
    try:
        embedder = loaders["dlib"]()
    except NoEmbedder:
        raise NoEmbedder(f"no identity embedder: {why}, and dlib is missing: {CURE}") from None
    print(f"identity by dlib: {why}")
    return embedder


def facenet_file() -> Path:
    """Where facenet-pytorch keeps the weights it downloads."""
    from facenet_pytorch.models.inception_resnet_v1 import get_torch_home

    return Path(get_torch_home()) / "checkpoints" / "20180402-114759-vggface2.pt"


def _facenet(download: bool) -> Embedder:
    from facenet_pytorch import InceptionResnetV1, extract_face, fixed_image_standardization

    if not (download or facenet_file().exists()):
        raise NoEmbedder(f"FaceNet's weights are not on this machine ({facenet_file().name})")
    try:
        with _patience(20):
            network = InceptionResnetV1(pretrained="vggface2").eval().requires_grad_(False)
    except OSError as error:  # no network, no disk
        raise NoEmbedder(f"FaceNet's weights cannot be downloaded ({error})") from None
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        if not is_damaged_file(error):
            raise
        raise NoEmbedder(f"{facenet_file()} is damaged: delete it and try again") from None

    @torch.no_grad()
    def embed(photo: Image.Image, box: np.ndarray) -> np.ndarray:
        face = fixed_image_standardization(extract_face(photo, box, image_size=160))
        return network(face[None])[0].numpy()

    return Embedder("FaceNet", embed)


def _dlib() -> Embedder:
    try:
        import dlib

        with warnings.catch_warnings():  # the models' package asks setuptools for its own path
            warnings.simplefilter("ignore")
            import face_recognition_models as models
    except ImportError as error:
        raise NoEmbedder(f"{error}: pip install 'aef-companion[faces]'") from None
    landmarks = dlib.shape_predictor(models.pose_predictor_model_location())
    network = dlib.face_recognition_model_v1(models.face_recognition_model_location())

    def embed(photo: Image.Image, box: np.ndarray) -> np.ndarray:
        pixels = np.ascontiguousarray(photo)
        shape = landmarks(pixels, dlib.rectangle(*(round(float(v)) for v in box)))
        return np.array(network.compute_face_descriptor(pixels, shape))

    return Embedder("dlib", embed)


@contextlib.contextmanager
def _patience(seconds: float) -> Any:
    """A network that does not answer counts as none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def identity_table(evaluator: Evaluator, delta: Tensor, embedder: Embedder) -> pd.DataFrame:
    """Whose face is in the forgery, without and with protection?

    Parameters
    ----------
    evaluator : Evaluator
    delta : Tensor, shape [1 or N, 3, H, W]
    embedder : Embedder

    Returns
    -------
    DataFrame, one row per image, generator, edit and `state` ("forged", "forged after protection"):
    found (a face in the forgery), distance to the source face (Euclidean, NaN without a face),
    top1 (the source is the nearest of all source faces), excluded (no face in the source itself).

    The gallery of top1 is the evaluator's own faces, one photo a person; the paper does not say
    what its Top-1 was measured against, so the values are not comparable with it.
    """
    faces = evaluator.faces
    gallery = embedder(faces.images)
    known = ~gallery.isnan().any(dim=1)
    protected = protect(faces.images, delta.detach().cpu())
    pairs = [(m, e) for m, model in evaluator.zoo.items() for e in model.edits]
    blocks = []
    for model, edit in tqdm(pairs, desc=f"identity ({embedder.name})", leave=False):
        states = {
            "forged": evaluator.forged(model, edit),
            "forged after protection": evaluator.forge(protected, model, edit),
        }
        for state, images in states.items():
            scores = _compare(embedder(images), gallery, known)
            about = {"image": list(faces.names), "model": model, "edit": edit, "state": state}
            blocks.append(pd.DataFrame(about | scores))
    return pd.concat(blocks, ignore_index=True)


def _compare(probes: Tensor, gallery: Tensor, known: Tensor) -> dict[str, np.ndarray]:
    found = ~probes.isnan().any(dim=1)
    if probes.shape[1] != gallery.shape[1]:  # no face in any of them: the width is unknown
        probes = gallery.new_full(gallery.shape, float("nan"))
    apart = torch.cdist(probes.nan_to_num(), gallery.nan_to_num())
    own = apart.diagonal().clone()
    own[~(found & known)] = float("nan")
    nearest = apart.masked_fill(~known, float("inf")).argmin(dim=1)
    right = found & known & (nearest == torch.arange(len(probes)))
    return {
        "found": found.numpy(),
        "distance": own.numpy(),
        "top1": right.numpy(),
        "excluded": (~known).numpy(),
    }


def identity_means(table: pd.DataFrame) -> pd.DataFrame:
    """Share of forgeries with a face, mean distance, Top-1, per generator and state.

    Top-1 counts a forgery without a face as not recognised; sources without one are left out.
    """
    kept = table[~table["excluded"]].groupby(["model", "state"], sort=False)
    means = kept[["found", "distance", "top1"]].mean()
    return means.assign(pairs=kept.size())
