"""Which morphs stay: a real detector, an identity embedder and a quota of attributes decide."""

from collections import Counter

import numpy as np
from PIL import Image
from tqdm import tqdm

from aef_core.faces.detection import find_faces
from companion.training.face_pool import Candidate, Pool
from companion.training.people import MIRRORED, Landmarks, Person, Photographs, optional_tools
from companion.training.warping import WIDTH

TILE, PER_SPLIT = 128, 512  # of the sheets
SURE = 0.99  # MTCNN's confidence that a tile shows a face
SAME_PERSON = 0.5  # distance of dlib's identity codes; its authors' threshold is 0.6
NEAR_COPY = 0.4  # the same, of a morph and a parent; two photographs of one person are about as far


class FaceFinder:
    """MTCNN's confidence that a tile, enlarged to 256, shows a face; 0 where it finds none."""

    def __call__(self, tile: np.ndarray) -> float:
        large = Image.fromarray(tile).resize((256, 256), Image.Resampling.BICUBIC)
        [(_, scores)] = find_faces([large])
        return float(scores[0]) if len(scores) else 0.0


class Identity:
    """dlib's 128 numbers for who somebody is; different people are about 0.6 and more apart."""

    def __init__(self, photos: Photographs) -> None:
        self.dlib, models = optional_tools()
        self.network = self.dlib.face_recognition_model_v1(models.face_recognition_model_location())
        self.photos, self.known, self.find = photos, {}, Landmarks()

    def of(self, person: Person) -> np.ndarray:
        if person.name not in self.known:
            image = self.photos.frame(person.archive, person.name, person.to_frame)
            points = person.points
            if person.mirrored:
                points = points[MIRRORED] * (-1, 1) + (WIDTH - 1, 0)
            self.known[person.name] = self.code(image, points)
        return self.known[person.name]

    def of_tile(self, tile: np.ndarray) -> np.ndarray | None:
        """Code of a morph; None where its landmarks are not found."""
        image = Image.fromarray(tile).resize((WIDTH, WIDTH), Image.Resampling.BICUBIC)
        points = self.find(image)
        return None if points is None else self.code(image, points)

    def code(self, image: Image.Image, points: np.ndarray) -> np.ndarray:
        corners = [round(v) for v in (*points.min(0), *points.max(0))]
        parts = self.dlib.points([self.dlib.point(round(x), round(y)) for x, y in points])
        shape = self.dlib.full_object_detection(self.dlib.rectangle(*corners), parts)
        return np.array(self.network.compute_face_descriptor(np.asarray(image), shape))


# Share of each attribute the quota aims at; CelebA itself has few glasses, dark or older faces.
WANTED = {
    "Male": 0.47, "Young": 0.68, "Eyeglasses": 0.12, "Bangs": 0.17, "Black_Hair": 0.28,
    "Blond_Hair": 0.18, "Brown_Hair": 0.25, "Mouth_Slightly_Open": 0.45, "Bald": 0.03,
    "Mustache": 0.05, "No_Beard": 0.82, "Pale_Skin": 0.06, "Bushy_Eyebrows": 0.15, "dark": 0.15,
}  # fmt: skip
DARK = 0.42  # mean brightness of the face
BADNESS = {"discord": 1.0, "distance": 0.6, "clutter": 0.4}
ENLARGED = 1.0  # badness of a morph that is all enlarged photographs
# Rules of choosing, the next only when candidates run out under the last: most discord (beyond it
# features do not go together; 1.4 times that with glasses), most uses of one photograph, most
# parents that a new face may share with earlier ones.
PASSES = ((0.085, 3, 1), (0.085, 5, 2), (0.11, 5, 2))
QUOTA = 0.03  # of badness accepted for each face that an attribute is behind


def skin(tile: np.ndarray) -> np.ndarray:
    """The middle of a tile, where the face is."""
    unit = len(tile) / 64
    top, bottom, left, right = (round(v * unit) for v in (24, 44, 20, 44))
    return tile[top:bottom, left:right]


def choose(
    candidates: list[Candidate],
    pool: Pool,
    identity: Identity,
    finder: FaceFinder,
    avoid: list[Person],
    per_split: int = PER_SPLIT,
) -> list[Candidate]:
    """Best first, while the quota is kept, no photograph is overused, and parents are strangers.

    No face is a near-copy of a parent.
    CelebA parents of a test face are also strangers to `avoid`, the training faces' parents.
    """

    def rank(values: list[float]) -> np.ndarray:
        return np.argsort(np.argsort(values)) / len(values)

    badness = sum(
        weight * rank([getattr(c, key) for c in candidates]) for key, weight in BADNESS.items()
    )
    badness += ENLARGED * np.array([c.enlarged for c in candidates])
    for candidate in candidates:
        candidate.labels["dark"] = int(skin(candidate.tile).mean() / 255 < DARK)
    has = np.array([[c.labels[name] for name in WANTED] for c in candidates])
    share = np.array(list(WANTED.values()))
    strangers = np.array([identity.of(p) for p in avoid]).reshape(-1, 128)
    glasses = np.array([c.labels["Eyeglasses"] for c in candidates], bool)
    discord = np.array([c.discord for c in candidates]) / np.where(glasses, 1.4, 1.0)
    chosen, uses, passes = [], Counter(), iter(PASSES)
    open_ = np.zeros(len(candidates), bool)
    progress = tqdm(total=per_split, desc="choosing")
    while len(chosen) < per_split:
        if not open_.any():
            most_discord, most_uses, most_shared = next(passes, (None,) * 3)
            if most_discord is None:
                break
            open_ = discord < most_discord
            open_[[k for k, _ in chosen]] = False
            continue
        lacking = share * (len(chosen) + 1) - has[[k for k, _ in chosen]].sum(0)
        pull = ((2 * has - 1) * np.clip(lacking, -4, 4)).sum(1)
        k = int(np.argmin(np.where(open_, badness - QUOTA * pull, np.inf)))
        open_[k] = False
        candidate = candidates[k]
        people = [p % pool.n for p in candidate.parents]
        before = [uses[p] for p in people]
        if max(before) >= most_uses or np.count_nonzero(before) > most_shared:
            continue
        candidate.confidence = finder(candidate.tile)
        if candidate.confidence < SURE:
            continue
        # LFW gives one photograph a person, so its parents are strangers to each other already;
        # whether somebody is in both CelebA and LFW is not checked.
        people_of_celeba = [q for p in candidate.parents if not (q := pool.people[p]).to_frame]
        codes = np.array([identity.of(person) for person in people_of_celeba]).reshape(-1, 128)
        apart = np.linalg.norm(codes[:, None] - codes, axis=-1)[np.triu_indices(len(codes), 1)]
        known = np.linalg.norm(codes[:, None] - strangers, axis=-1)
        if (apart < SAME_PERSON).any() or (known < SAME_PERSON).any():
            continue
        own = identity.of_tile(candidate.tile)
        parents = np.array([identity.of(pool.people[p]) for p in candidate.parents])
        if own is None or (np.linalg.norm(parents - own, axis=1) < NEAR_COPY).any():
            continue
        uses.update(people)
        chosen.append((k, candidate))
        progress.update()
    return [candidate for _, candidate in chosen]
