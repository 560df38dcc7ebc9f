"""The long run of CS-DFD on research data: scores, gradients and one detector go into the package.

python -m companion.detectors.train_csdfd --data FOLDER --steps 120 --seeds 3
"""

import argparse
import json
from pathlib import Path

import torch

from aef_core.atomic import write_text
from companion.detectors.data import demo_set, lfw_set, research_set
from companion.detectors.study import KEPT, compare


def main() -> None:
    """Train all arms on CelebA's people, judge on held-out people and on LFW's."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of the archives; the demo set without")
    parser.add_argument("--photographs", type=int, default=600, help="of the training people")
    parser.add_argument("--judged", type=int, default=200, help="photographs of val, test and LFW")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--without", help="leave this generator out of the training")
    parser.add_argument("--out", type=Path, default=KEPT)
    args = parser.parse_args()
    torch.manual_seed(0)
    if args.data:
        faces = research_set(args.data, "train", n=args.photographs)
        judged = {s: research_set(args.data, s, n=args.judged) for s in ("val", "test")}
        judged["LFW"] = lfw_set(args.data, n=args.judged)
    else:
        faces, judged = demo_set("train"), {s: demo_set(s) for s in ("val", "test")}
    config = {k: v for k, v in vars(args).items() if k not in ("data", "out")}
    config["faces"] = "CelebA by identity, LFW" if args.data else "embedded"
    write_text(args.out / "csdfd.json", json.dumps(config, indent=1) + "\n")
    compare(faces, judged, seeds=range(args.seeds), steps=args.steps, without=args.without,
            after_seed=args.out)  # fmt: skip


if __name__ == "__main__":
    main()
