"""The people morphs are made of: photographs in one frame, with landmarks, looks and labels."""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from aef_core.errors import BadInput
from aef_core.faces.labels import read_labels
from aef_core.faces.pictures import open_picture
from aef_core.faces.sources import split_of
from companion.training.warping import HEIGHT, WIDTH

TRAIN_ROWS = 8000
MIRRORED = np.r_[16:-1:-1, 26:16:-1, 27:31, 35:30:-1, 45:41:-1, 47, 46, 39:35:-1, 41, 40]
MIRRORED = np.r_[MIRRORED, 54:47:-1, 59:54:-1, 64:59:-1, 67:64:-1]  # landmark order in a mirror


@dataclass(frozen=True)
class Person:
    """One photograph in the CelebA frame.

    Attributes
    ----------
    name, archive : str
        File in its zip.
    points : array, shape [68, 2]
        Landmarks in the frame.
    look : array, shape [22, 18, 3]
        Tiny picture, for matching hair, skin and background.
    shading : array, shape [13, 11, 8]
        Orientation histograms, for predicting labels.
    labels : array of bool, one per CelebA attribute
    to_frame : tuple, optional
        PIL affine coefficients that bring an LFW photograph into the frame.
    mirrored : bool
    """

    name: str
    archive: str
    points: np.ndarray
    look: np.ndarray
    shading: np.ndarray
    labels: np.ndarray | None = None
    to_frame: tuple | None = None
    mirrored: bool = False

    def mirror(self) -> "Person":
        points = self.points[MIRRORED] * (-1, 1) + (WIDTH - 1, 0)
        return replace(self, points=points, look=self.look[:, ::-1], mirrored=True)


def optional_tools() -> tuple:
    """dlib and its models, which only this script needs."""
    try:
        import dlib
        import face_recognition_models
    except ImportError as error:
        raise SystemExit(f"{error}: pip install dlib-bin face-recognition-models") from None
    return dlib, face_recognition_models


class Photographs:
    """Reads photographs from the zips into the CelebA frame."""

    def __init__(self, *archives: str | Path | None) -> None:
        self.zips = {str(path): zipfile.ZipFile(path) for path in archives if path}

    def frame(self, archive: str, name: str, to_frame: tuple | None = None) -> Image.Image:
        image = open_picture(self.zips[archive].read(name), name)
        if to_frame is None:
            return image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        box, bicubic = (WIDTH, HEIGHT), Image.Resampling.BICUBIC
        return image.transform(box, Image.Transform.AFFINE, to_frame, bicubic)

    def enlarged(self, person: Person, size: int) -> bool:
        """Whether a face of so many pixels shows more than the photograph has."""
        return open_picture(self.zips[person.archive].read(person.name)).width < size

    def tensor(self, person: Person) -> Tensor:
        image = self.frame(person.archive, person.name, person.to_frame)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return pixels.flip(-1) if person.mirrored else pixels


class Landmarks:
    """dlib's frontal face detector and 68 landmarks."""

    def __init__(self) -> None:
        dlib, models = optional_tools()
        self.detector = dlib.get_frontal_face_detector()
        self.predictor = dlib.shape_predictor(models.pose_predictor_model_location())

    def __call__(self, image: Image.Image) -> np.ndarray | None:
        """Landmarks [68, 2] of the most central face, None if there is no frontal one."""
        pixels = np.asarray(image)
        found = self.detector(pixels, 0)
        if not found:
            return None
        middle = (image.width / 2, image.height / 2)
        best = min(
            found, key=lambda box: abs(box.center().x - middle[0]) + abs(box.center().y - middle[1])
        )
        return np.array([(p.x, p.y) for p in self.predictor(pixels, best).parts()], float)


def similarity(source: np.ndarray, target: np.ndarray) -> tuple:
    """PIL affine coefficients (target pixel to source pixel) of the best similarity."""
    a, b = source - source.mean(0), target - target.mean(0)
    scale = b[:, 0] + 1j * b[:, 1]
    turn = np.vdot(scale, a[:, 0] + 1j * a[:, 1]) / np.vdot(scale, scale).real
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    shift = source.mean(0) - matrix @ target.mean(0)
    return (*matrix[0], shift[0], *matrix[1], shift[1])


def describe(image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Tiny picture and orientation histograms of 8-pixel cells at half size."""
    look = np.asarray(image.resize((18, 22), Image.Resampling.BOX), np.float32) / 255
    gray = np.asarray(image.convert("L").resize((88, 104), Image.Resampling.BOX), np.float32) / 255
    dy, dx = np.gradient(gray)
    angle = np.floor((np.arctan2(dy, dx) / np.pi % 1) * 8).astype(int) % 8
    votes = np.hypot(dx, dy)[..., None] * (angle[..., None] == np.arange(8))
    return look, np.sqrt(votes.reshape(13, 8, 11, 8, 8).sum((1, 3)))


def read_celeba(photos: Photographs, archive: str) -> tuple[list[Person], list[Person], list[str]]:
    """People of CelebA's training rows and of its test rows, and the attribute names."""
    names = photos.zips[archive].namelist()
    table = next(n for n in names if n.endswith("list_attr_celeba.txt"))
    paths = {Path(n).name: n for n in names}
    header, rows = read_labels(photos.zips[archive].read(table), table)
    find, people = Landmarks(), ([], [])
    for number, (name, values) in enumerate(tqdm(rows.items(), desc="CelebA landmarks")):
        image = photos.frame(archive, paths[name])
        points = find(image)
        if points is not None:
            labels = np.array(values, bool)
            person = Person(paths[name], archive, points, *describe(image), labels)
            people[number >= TRAIN_ROWS].append(person)
    return *people, list(header)


def read_lfw(photos: Photographs, archive: str, shape: np.ndarray) -> list[Person]:
    """One photograph per person of LFW, brought into CelebA's frame; labels are still missing."""
    names = sorted(n for n in photos.zips[archive].namelist() if n.endswith("_0001.jpg"))
    find, people = Landmarks(), []
    for name in tqdm(names, desc="LFW landmarks"):
        try:
            points = find(open_picture(photos.zips[archive].read(name), name))
        except BadInput:  # a truncated JPEG: LFW has more people than are needed
            continue
        if points is None:
            continue
        to_frame = similarity(points, shape)
        matrix, shift = np.array([to_frame[:2], to_frame[3:5]]), np.array(to_frame[2::3])
        inside = (points - shift) @ np.linalg.inv(matrix).T
        framed = photos.frame(archive, name, to_frame)
        people.append(Person(name, archive, inside, *describe(framed), to_frame=to_frame))
    return people


def split_lfw(people: list[Person]) -> tuple[list[Person], list[Person]]:
    """LFW's people as `load_faces("lfw")` splits them: train, test."""
    splits = {"train": [], "test": []}
    for person in people:
        splits[split_of(Path(person.name).parent.name)].append(person)
    return splits["train"], splits["test"]


def add_labels(unlabelled: list[Person], labelled: list[Person]) -> list[Person]:
    """Predict the attributes of LFW by ridge regression on what CelebA looks like."""

    def features(people: list[Person]) -> np.ndarray:
        rows = [np.concatenate((p.shading.ravel(), p.look.ravel())) for p in people]
        return np.stack(rows).astype(np.float64)

    x, y = features(labelled), np.stack([p.labels for p in labelled]).astype(float)
    mean, scale = x.mean(0), x.std(0) + 1e-3
    x = (x - mean) / scale
    weights = np.linalg.solve(x.T @ x + 2000 * np.eye(x.shape[1]), x.T @ (y - y.mean(0)))
    fitted = x @ weights
    # As many positives as CelebA has would be wrong for another population: threshold by score.
    cut = [
        (fitted[y[:, k] > 0, k].mean() + fitted[y[:, k] < 1, k].mean()) / 2
        for k in range(y.shape[1])
    ]
    scores = (features(unlabelled) - mean) / scale @ weights
    return [replace(p, labels=row > cut) for p, row in zip(unlabelled, scores, strict=True)]
