"""Make the embedded faces: 256 + 256 photographs of people who do not exist, with attributes.

Each face is a morph of three people who look alike (see `morphing`). Training faces have parents
only among CelebA 1-8000, test faces only among CelebA 8001-9000 and LFW. More candidates are made
than needed; the parents' agreement, a face detector and a quota of attributes decide which stay.

    pip install dlib-bin face-recognition-models
    python -m aef_core.training.embedded_faces --celeba ZIP --lfw ZIP --out aef_core/assets
"""

import argparse
import csv
import io
import zipfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from aef_core.generators.base import ATTRIBUTES
from aef_core.training.morphing import HEIGHT, WIDTH, morph

TRAIN_ROWS = 8000
TILE, COLUMNS, PER_SPLIT = 64, 16, 256
CANDIDATES = {"train": 1000, "test": 600}
SURE = 0.99  # MTCNN's confidence that a tile shows a face
TURNED = 0.17  # nose tip off the middle of the jaw, in jaw widths: beyond it, a half profile
SAME_PERSON = 0.5  # distance of dlib's identity codes; its authors' threshold is 0.6
MIRRORED = np.r_[16:-1:-1, 26:16:-1, 27:31, 35:30:-1, 45:41:-1, 47, 46, 39:35:-1, 41, 40]
MIRRORED = np.r_[MIRRORED, 54:47:-1, 59:54:-1, 64:59:-1, 67:64:-1]  # landmark order in a mirror

# What a disagreement in an attribute costs when parents are matched, in units of typical distance.
DISAGREEMENT = {
    "Male": 9, "Eyeglasses": 9, "Young": 3, "Mouth_Slightly_Open": 3, "Smiling": 2, "Bangs": 2,
    "Mustache": 2, "No_Beard": 4, "Bald": 3, "Black_Hair": 1, "Blond_Hair": 1, "Brown_Hair": 1,
    "Gray_Hair": 1, "Heavy_Makeup": 1, "Pale_Skin": 1, "Bushy_Eyebrows": 0.5,
}  # fmt: skip
NEVER = ("Wearing_Hat", "Blurry")


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
        image = Image.open(io.BytesIO(self.zips[archive].read(name))).convert("RGB")
        if to_frame is None:
            return image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        box, bicubic = (WIDTH, HEIGHT), Image.Resampling.BICUBIC
        return image.transform(box, Image.Transform.AFFINE, to_frame, bicubic)

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
    _, header, *rows = photos.zips[archive].read(table).decode().strip().split("\n")
    find, people = Landmarks(), ([], [])
    for number, row in enumerate(tqdm(rows, desc="CelebA landmarks")):
        name, *values = row.split()
        image = photos.frame(archive, paths[name])
        points = find(image)
        if points is not None:
            labels = np.array([value == "1" for value in values])
            person = Person(paths[name], archive, points, *describe(image), labels)
            people[number >= TRAIN_ROWS].append(person)
    return *people, header.split()


def read_lfw(photos: Photographs, archive: str, shape: np.ndarray) -> list[Person]:
    """One photograph per person of LFW, brought into CelebA's frame; labels are still missing."""
    names = sorted(n for n in photos.zips[archive].namelist() if n.endswith("_0001.jpg"))
    find, people = Landmarks(), []
    for name in tqdm(names, desc="LFW landmarks"):
        image = Image.open(io.BytesIO(photos.zips[archive].read(name)))
        try:
            points = find(image)
        except OSError:  # a truncated JPEG: LFW has more people than are needed
            continue
        if points is None:
            continue
        to_frame = similarity(points, shape)
        matrix, shift = np.array([to_frame[:2], to_frame[3:5]]), np.array(to_frame[2::3])
        inside = (points - shift) @ np.linalg.inv(matrix).T
        framed = photos.frame(archive, name, to_frame)
        people.append(Person(name, archive, inside, *describe(framed), to_frame=to_frame))
    return people


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


class Pool:
    """The people a split may be made of, each also mirrored, and how alike they look."""

    def __init__(self, people: list[Person], header: list[str]) -> None:
        never = [header.index(name) for name in NEVER]
        people = [p for p in people if not p.labels[never].any() and abs(turn(p)) < TURNED]
        self.people = people + [p.mirror() for p in people]
        self.header, self.n = header, len(people)
        looks = np.stack([p.look for p in self.people])
        weight = np.ones((22, 18, 1))
        weight[6:17, 4:14] = 0.35  # the face itself may differ, hair and background may not
        weight[:2], weight[20:] = 0.2, 0.3  # mostly cut off in the end
        cost = np.array([DISAGREEMENT.get(name, 0) for name in header])
        parts = (
            2.8 * standardise(looks * np.sqrt(weight)),
            1.4 * standardise(np.stack([p.points for p in self.people])),
            7.7 * looks[:, 9:15, 6:12].mean((1, 2)),  # skin
            np.stack([p.labels for p in self.people]) * np.sqrt(0.35 * cost),
        )
        self.features = np.concatenate([x.reshape(len(looks), -1) for x in parts], 1)
        self.features = self.features.astype(np.float32)
        self.squared = (self.features**2).sum(1)

    def trios(self, leaders: np.ndarray, shortlist: int = 8) -> list[tuple[tuple, float]]:
        """For each leader the two who are most like the leader and each other, and how far off."""
        found = []
        for chunk in np.array_split(leaders, max(1, len(leaders) // 200)):
            far = self.squared + self.squared[chunk, None]
            far -= 2 * self.features[chunk] @ self.features.T
            far[np.arange(len(chunk)), chunk] = np.inf
            far[np.arange(len(chunk)), (chunk + self.n) % len(self.people)] = np.inf
            nearest = np.argsort(far, axis=1, kind="stable")[:, :shortlist]
            found += [self._trio(*row) for row in zip(chunk, nearest, far, strict=True)]
        return found

    def _trio(self, leader: int, near: np.ndarray, far: np.ndarray) -> tuple[tuple, float]:
        pairs = []
        for i, one in enumerate(near):
            for two in near[i + 1 :]:
                if one % self.n != two % self.n:
                    between = ((self.features[one] - self.features[two]) ** 2).sum()
                    pairs.append((float(far[one] + far[two] + between), int(one), int(two)))
        total, one, two = min(pairs)
        return (int(leader), one, two), total

    def labels(self, parents: tuple[int, ...]) -> dict[str, int]:
        """Majority label of every attribute."""
        votes = sum(self.people[k].labels.astype(int) for k in parents)
        return {
            name: int(vote > len(parents) / 2)
            for name, vote in zip(self.header, votes, strict=True)
        }


def turn(person: Person) -> float:
    """How far the head is turned, from the nose's place between the ends of the jaw."""
    left, right, nose = person.points[[0, 16, 30], 0]
    return (nose - (left + right) / 2) / (right - left)


def standardise(x: np.ndarray) -> np.ndarray:
    """Scale so that two people picked at random are on average sqrt(1) apart."""
    x = x - x.mean(0)
    return x / np.sqrt(2 * (x.reshape(len(x), -1) ** 2).sum(1).mean())


@dataclass
class Candidate:
    """A morph, its parents' numbers in the pool, and what the gate knows of it."""

    tile: np.ndarray
    parents: tuple[int, int, int]
    labels: dict[str, int]
    distance: float
    discord: float
    lead: float
    clutter: float
    confidence: float = 0.0


def make_candidates(photos: Photographs, pool: Pool, seed: int, split: str) -> list[Candidate]:
    """Morphs of the trios that agree best, small groups (say men with glasses) over-represented."""
    rng = np.random.default_rng(seed)
    leaders = np.arange(pool.n) + pool.n * rng.integers(0, 2, pool.n)
    trios = pool.trios(leaders)
    groups: dict[tuple, list[int]] = {}
    labels = [pool.labels(parents) for parents, _ in trios]
    for k in np.argsort([distance for _, distance in trios], kind="stable"):
        dark = bool(pool.people[trios[k][0][0]].look[9:15, 6:12].mean() < DARK)
        kind = (*(labels[k][name] for name in ("Male", "Young", "Eyeglasses", "Bangs")), dark)
        groups.setdefault(kind, []).append(int(k))
    order = [(rank / len(g) ** 0.7, k) for g in groups.values() for rank, k in enumerate(g)]
    made = []
    for _, k in tqdm(sorted(order)[: CANDIDATES[split]], desc=f"{split}: morphs"):
        parents, distance = trios[k]
        people = [pool.people[i] for i in parents]
        images = torch.stack([photos.tensor(p) for p in people])
        face, discord, lead = morph(images, np.stack([p.points for p in people]))
        tile = to_tile(face)
        scores = (distance, discord, lead, clutter(tile))
        made.append(Candidate(tile, parents, labels[k], *scores))
    return made


def to_tile(face: Tensor) -> np.ndarray:
    """The centre square, reduced with antialiasing: what a 64-pixel CelebA crop looks like."""
    pixels = (face.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    top = (HEIGHT - WIDTH) // 2
    square = Image.fromarray(pixels).crop((0, top, WIDTH, top + WIDTH))
    return np.asarray(square.resize((TILE, TILE), Image.Resampling.BICUBIC))


def clutter(tile: np.ndarray) -> float:
    """Fine detail in the upper corners: lettering on a wall, heads of others."""
    gray = tile.mean(-1) / 255
    corners = np.stack((gray[:26, :14], gray[:26, :-15:-1]))
    return float(np.abs(np.diff(corners, axis=1)).mean() + np.abs(np.diff(corners, axis=2)).mean())


class FaceFinder:
    """MTCNN's confidence that a tile, enlarged four times, shows a face; 0 where it finds none."""

    def __init__(self) -> None:
        try:
            from facenet_pytorch import MTCNN
        except ImportError as error:
            raise SystemExit(f"{error}: pip install facenet-pytorch") from None
        self.network = MTCNN(keep_all=True, device="cpu")

    def __call__(self, tile: np.ndarray) -> float:
        large = Image.fromarray(tile).resize((4 * TILE, 4 * TILE), Image.Resampling.BICUBIC)
        return float(self.network.detect(large)[1][0] or 0)


class Identity:
    """dlib's 128 numbers for who somebody is; different people are about 0.6 and more apart."""

    def __init__(self, photos: Photographs) -> None:
        self.dlib, models = optional_tools()
        self.network = self.dlib.face_recognition_model_v1(models.face_recognition_model_location())
        self.photos, self.known = photos, {}

    def of(self, person: Person) -> np.ndarray:
        if person.name not in self.known:
            image = self.photos.frame(person.archive, person.name, person.to_frame)
            points = person.points
            if person.mirrored:
                points = points[MIRRORED] * (-1, 1) + (WIDTH - 1, 0)
            self.known[person.name] = self.code(image, points)
        return self.known[person.name]

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
BADNESS = {"discord": 1.0, "distance": 0.6, "lead": 0.9, "clutter": 0.4}
# Rules of choosing, the next only when candidates run out under the last: most discord (beyond it
# doubled features are plain to see; 1.4 times that with glasses), most uses of one photograph, most
# parents that a new face may share with earlier ones.
PASSES = ((0.070, 3, 1), (0.070, 5, 2), (0.085, 5, 2))
QUOTA = 0.03  # of badness accepted for each face that an attribute is behind


def choose(
    candidates: list[Candidate],
    pool: Pool,
    identity: Identity,
    finder: FaceFinder,
    avoid: list[Person],
) -> list[Candidate]:
    """Best first, while the quota is kept, no photograph is overused, and parents are strangers.

    CelebA parents of a test face are also strangers to `avoid`, the training faces' parents.
    """

    def rank(values: list[float]) -> np.ndarray:
        return np.argsort(np.argsort(values)) / len(values)

    badness = sum(
        weight * rank([getattr(c, key) for c in candidates]) for key, weight in BADNESS.items()
    )
    for candidate in candidates:
        candidate.labels["dark"] = int(candidate.tile[24:44, 20:44].mean() / 255 < DARK)
    has = np.array([[c.labels[name] for name in WANTED] for c in candidates])
    share = np.array(list(WANTED.values()))
    strangers = np.array([identity.of(p) for p in avoid]).reshape(-1, 128)
    glasses = np.array([c.labels["Eyeglasses"] for c in candidates], bool)
    discord = np.array([c.discord for c in candidates]) / np.where(glasses, 1.4, 1.0)
    chosen, uses, passes = [], Counter(), iter(PASSES)
    open_ = np.zeros(len(candidates), bool)
    progress = tqdm(total=PER_SPLIT, desc="choosing")
    while len(chosen) < PER_SPLIT:
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
        uses.update(people)
        chosen.append((k, candidate))
        progress.update()
    return [candidate for _, candidate in chosen]


def report(split: str, chosen: list[Candidate], pool: Pool, identity: Identity) -> None:
    """Print the numbers of the card: detection, likeness to the parents, attribute counts."""
    find, nearest, unread = Landmarks(), [], 0
    for parent in tqdm(sorted({p for c in chosen for p in c.parents}), desc=f"{split}: identities"):
        identity.of(pool.people[parent])
    codes = np.stack(list(identity.known.values()))
    for candidate in chosen:
        image = Image.fromarray(candidate.tile).resize((WIDTH, WIDTH), Image.Resampling.BICUBIC)
        points = find(image)
        if points is None:
            unread += 1
            continue
        code = identity.code(image, points)
        nearest.append(np.linalg.norm(codes - code, axis=1).min())
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, len(codes), (2, 4000))
    others = np.linalg.norm(codes[one] - codes[two], axis=1)[one != two]
    print(f"{split}: MTCNN finds {np.mean([c.confidence > 0.9 for c in chosen]):.1%}")
    print(
        f"{split}: nearest photograph {np.percentile(nearest, (0, 5, 50, 95)).round(3)},"
        f" different photographs {np.percentile(others, (5, 50, 95)).round(3)},"
        f" no code for {unread}"
    )
    print(f"{split}:", {name: sum(c.labels[name] for c in chosen) for name in WANTED})


def save(folder: Path, splits: dict[str, list[Candidate]]) -> None:
    """Contact sheets, and one row of labels per face."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "faces64.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("split", "index", "name", *ATTRIBUTES))
        for split, chosen in splits.items():
            rows = PER_SPLIT // COLUMNS
            tiles = np.stack([c.tile for c in chosen]).reshape(rows, COLUMNS, TILE, TILE, 3)
            sheet = tiles.swapaxes(1, 2).reshape(rows * TILE, COLUMNS * TILE, 3)
            Image.fromarray(sheet).save(folder / f"faces64_{split}.png", optimize=True)
            for index, candidate in enumerate(chosen):
                name = f"nobody-{split}-{index:03d}"
                writer.writerow((split, index, name, *(candidate.labels[a] for a in ATTRIBUTES)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--celeba", required=True, help="zip with the images and attributes")
    parser.add_argument("--lfw", help="zip of LFW deep-funneled: more parents for the test faces")
    parser.add_argument("--out", type=Path, required=True, help="folder of the sheets")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()

    torch.set_num_threads(1)  # one order of summation, so that the sheets come out the same
    torch.manual_seed(args.seed)
    photos = Photographs(args.celeba, args.lfw)
    train, test, header = read_celeba(photos, args.celeba)
    if args.lfw:
        usual = np.median([p.points for p in train], axis=0)
        test = test + add_labels(read_lfw(photos, args.lfw, usual), train)

    identity, finder, avoid = Identity(photos), FaceFinder(), []
    splits, pools = {}, {}
    for number, (split, people) in enumerate((("train", train), ("test", test))):
        pool = Pool(people, header)
        candidates = make_candidates(photos, pool, args.seed + number, split)
        splits[split] = choose(candidates, pool, identity, finder, avoid)
        if len(splits[split]) < PER_SPLIT:
            raise SystemExit(f"{split}: only {len(splits[split])} of {PER_SPLIT} passed the gate")
        avoid = [pool.people[p] for c in splits[split] for p in c.parents]
        np.random.default_rng(args.seed).shuffle(splits[split])  # best-first would bias a prefix
        pools[split] = pool
    save(args.out, splits)
    for split, chosen in splits.items():
        report(split, chosen, pools[split], identity)


if __name__ == "__main__":
    main()
