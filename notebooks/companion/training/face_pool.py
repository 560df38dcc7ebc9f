"""Who may be morphed with whom: people who look alike, and candidates made of them."""

from dataclasses import dataclass

import numpy as np

from companion.training.people import Person

TURNED = 0.17  # nose tip off the middle of the jaw, in jaw widths: beyond it, a half profile
# What a disagreement in an attribute costs when parents are matched, in units of typical distance.
DISAGREEMENT = {
    "Male": 9, "Eyeglasses": 9, "Young": 3, "Mouth_Slightly_Open": 3, "Smiling": 2, "Bangs": 2,
    "Mustache": 2, "No_Beard": 4, "Bald": 3, "Black_Hair": 1, "Blond_Hair": 1, "Brown_Hair": 1,
    "Gray_Hair": 1, "Heavy_Makeup": 1, "Pale_Skin": 1, "Bushy_Eyebrows": 0.5,
}  # fmt: skip
NEVER = ("Wearing_Hat", "Blurry")


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

    def trios(
        self, leaders: np.ndarray, count: int = 1, shortlist: int = 8
    ) -> list[tuple[tuple, float]]:
        """For each leader the two who are most like the leader and each other, and how far off.

        `count` such pairs a leader, of different people.
        """
        found = []
        for chunk in np.array_split(leaders, max(1, len(leaders) // 200)):
            far = self.squared + self.squared[chunk, None]
            far -= 2 * self.features[chunk] @ self.features.T
            far[np.arange(len(chunk)), chunk] = np.inf
            far[np.arange(len(chunk)), (chunk + self.n) % len(self.people)] = np.inf
            nearest = np.argsort(far, axis=1, kind="stable")[:, :shortlist]
            for row in zip(chunk, nearest, far, strict=True):
                found += self._trios_of(*row, count)
        return found

    def _trios_of(
        self, leader: int, near: np.ndarray, far: np.ndarray, count: int
    ) -> list[tuple[tuple, float]]:
        pairs = []
        for i, one in enumerate(near):
            for two in near[i + 1 :]:
                if one % self.n != two % self.n:
                    between = ((self.features[one] - self.features[two]) ** 2).sum()
                    pairs.append((float(far[one] + far[two] + between), int(one), int(two)))
        found, taken = [], set()
        for total, one, two in sorted(pairs):
            people = {one % self.n, two % self.n}
            if len(found) < count and not people & taken:
                found.append(((int(leader), one, two), total))
                taken |= people
        return found

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
    clutter: float
    enlarged: float  # share of the parents whose photograph has fewer pixels than the tile
    confidence: float = 0.0
