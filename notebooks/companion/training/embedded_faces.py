"""Make the embedded faces: photographic morphs of three people each, with attributes.

Each face is a morph of three people who look alike (see `morphing`). Training faces have parents
only among CelebA 1-8000 and LFW's training people, test faces only among CelebA 8001-9000 and LFW's
test people (as `load_faces` splits them). More candidates are made than needed; the parents'
agreement, a face detector, an identity embedder and a quota of attributes decide which 512 stay of
each split; the eye, which of these are torn or doubled (`TORN`).

    pip install dlib-bin face-recognition-models
    python -m companion.training.embedded_faces --celeba ZIP --lfw ZIP --out aef_core/assets
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from aef_core.atomic import replacement
from aef_core.models.base import ATTRIBUTES
from companion.training.backdrop import defocus
from companion.training.face_gate import DARK, PER_SPLIT, TILE, WANTED, FaceFinder, Identity, choose
from companion.training.face_pool import Candidate, Pool
from companion.training.morphing import morph
from companion.training.people import (
    Photographs,
    add_labels,
    read_celeba,
    read_lfw,
    split_lfw,
)
from companion.training.warping import HEIGHT, WIDTH

COLUMNS = 16
CANDIDATES = {"train": 2000, "test": 1200}  # for PER_SPLIT faces; where leaders run short, all
TORN = {  # tiles left out by eye, of the sheets that the default arguments make
    "train": (21, 35, 38, 103, 146, 176, 300, 301, 321, 335, 353, 366, 397, 435, 448, 464, 484),
    "test": (16, 86, 89, 144, 160, 180, 184, 231, 236, 293, 300, 311, 313, 315, 431, 469, 493),
}


def make_candidates(
    photos: Photographs, pool: Pool, seed: int, split: str, size: int = TILE, per: int = PER_SPLIT
) -> list[Candidate]:
    """Morphs of the trios that agree best, small groups (say men with glasses) over-represented."""
    rng = np.random.default_rng(seed)
    leaders = np.arange(pool.n) + pool.n * rng.integers(0, 2, pool.n)
    wanted = CANDIDATES[split] * per // PER_SPLIT
    scarce = wanted > pool.n
    trios = pool.trios(leaders, count=2 if scarce else 1)
    groups: dict[tuple, list[int]] = {}
    labels = [pool.labels(parents) for parents, _ in trios]
    for k in np.argsort([distance for _, distance in trios], kind="stable"):
        dark = bool(pool.people[trios[k][0][0]].look[9:15, 6:12].mean() < DARK)
        kind = (*(labels[k][name] for name in ("Male", "Young", "Eyeglasses", "Bangs")), dark)
        groups.setdefault(kind, []).append(int(k))
    order = [(rank / len(g) ** 0.7, k) for g in groups.values() for rank, k in enumerate(g)]
    made = []
    for _, k in tqdm(sorted(order)[: None if scarce else wanted], desc=f"{split}: morphs"):
        parents, distance = trios[k]
        people = [pool.people[i] for i in parents]
        images = torch.stack([photos.tensor(p) for p in people])
        face, discord = morph(images, np.stack([p.points for p in people]))
        tile = to_tile(face, size)
        enlarged = float(np.mean([photos.enlarged(person, size) for person in people]))
        scores = (distance, discord, clutter(tile), enlarged)
        made.append(Candidate(tile, parents, labels[k], *scores))
    return made


def to_tile(face: Tensor, size: int = TILE) -> np.ndarray:
    """The centre square, reduced with antialiasing: what a CelebA crop of that size looks like."""
    pixels = (face.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    top = (HEIGHT - WIDTH) // 2
    square = Image.fromarray(pixels).crop((0, top, WIDTH, top + WIDTH))
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


def clutter(tile: np.ndarray) -> float:
    """Fine detail in the upper corners: lettering on a wall, heads of others."""
    gray = tile.mean(-1) / 255
    high, wide = (round(n * len(tile) / 64) for n in (26, 14))
    corners = np.stack((gray[:high, :wide], gray[:high, : -wide - 1 : -1]))
    return float(np.abs(np.diff(corners, axis=1)).mean() + np.abs(np.diff(corners, axis=2)).mean())


def report(split: str, chosen: list[Candidate], pool: Pool, identity: Identity) -> None:
    """Print the numbers of the card: detection, likeness to the parents, attribute counts."""
    nearest, unread = [], 0
    for parent in tqdm(sorted({p for c in chosen for p in c.parents}), desc=f"{split}: identities"):
        identity.of(pool.people[parent])
    codes = np.stack(list(identity.known.values()))
    for candidate in chosen:
        code = identity.of_tile(candidate.tile)
        if code is None:
            unread += 1
            continue
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
    """Contact sheets of all, and one row of labels for each that is not torn."""
    size = len(next(iter(splits.values()))[0].tile)
    with replacement(folder / "faces.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("split", "index", "name", *ATTRIBUTES))
        for split, chosen in splits.items():
            rows = len(chosen) // COLUMNS
            tiles = np.stack([defocus(c.tile) for c in chosen]).reshape(
                rows, COLUMNS, size, size, 3
            )
            sheet = tiles.swapaxes(1, 2).reshape(rows * size, COLUMNS * size, 3)
            save_sheet(Image.fromarray(sheet), folder, f"faces_{split}")
            for index, candidate in enumerate(chosen):
                if index in TORN[split]:
                    continue
                name = f"nobody-{split}-{index:03d}"
                writer.writerow((split, index, name, *(candidate.labels[a] for a in ATTRIBUTES)))


def save_sheet(sheet: Image.Image, folder: Path, name: str) -> None:
    """WebP: a PNG would take a dozen megabytes."""
    with replacement(folder / f"{name}.webp") as temporary:
        sheet.save(temporary, quality=92, method=6)


def main() -> None:
    """Make both splits from the command line's zips, report on them and save them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--celeba", required=True, help="zip with the images and attributes")
    parser.add_argument("--lfw", help="zip of LFW deep-funneled: more parents, and sharper ones")
    parser.add_argument("--out", type=Path, required=True, help="folder of the sheets")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()

    torch.set_num_threads(1)  # one order of summation, so that the sheets come out the same
    torch.manual_seed(args.seed)
    photos = Photographs(args.celeba, args.lfw)
    train, test, header = read_celeba(photos, args.celeba)
    if args.lfw:
        usual = np.median([p.points for p in train], axis=0)
        lfw = add_labels(read_lfw(photos, args.lfw, usual), train)
        for_train, for_test = split_lfw(lfw)
        train, test = train + for_train, test + for_test

    identity, finder, avoid = Identity(photos), FaceFinder(), []
    splits, pools = {}, {}
    for number, (split, people) in enumerate((("train", train), ("test", test))):
        pool = Pool(people, header)
        candidates = make_candidates(photos, pool, args.seed + number, split)
        splits[split] = choose(candidates, pool, identity, finder, avoid)
        if (found := len(splits[split])) < PER_SPLIT:
            raise SystemExit(f"{split}: only {found} of {PER_SPLIT} passed the gate")
        avoid = [pool.people[p] for c in splits[split] for p in c.parents]
        np.random.default_rng(args.seed).shuffle(splits[split])  # best-first would bias a prefix
        pools[split] = pool
    save(args.out, splits)
    for split, chosen in splits.items():
        report(split, chosen, pools[split], identity)


if __name__ == "__main__":
    main()
