"""The long runs of both detector papers: tables of notebooks 13 and 14, and the kept detector.

python -m companion.detectors --data FOLDER

Run it again after the zoo has changed. It works in a folder of the runs, one for each zoo, goes on
there where it was stopped, and copies what is finished into the package.
"""

import argparse
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch

from aef_core.atomic import write_bytes, write_text
from aef_core.config import home
from aef_core.models.zoo import load_zoo
from companion.detectors.corit import bench as benches
from companion.detectors.corit import study as corit
from companion.detectors.data import demo_set, lfw_set, research_set
from companion.detectors.faces import FaceSet
from companion.detectors.leave_one_out import TABLE, leave_one_out
from companion.detectors.study import KEPT, compare
from companion.provenance import weights
from companion.zoo.photos import SHARP


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing: CS-DFD's arms, leave one generator out, CoRIT's grid."""
    parser = argparse.ArgumentParser(
        prog="python -m companion.detectors", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--data", type=Path, help="folder of the archives; the demo set without")
    parser.add_argument("--photographs", type=int, default=480, help="of the training people")
    parser.add_argument("--judged", type=int, default=120, help="photographs of val, test and LFW")
    parser.add_argument("--steps", type=int, default=120, help="of each of CS-DFD's trainings")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", default="kept", choices=list(benches.SIZES), help="of CoRIT's")
    parser.add_argument("--out", type=Path, default=KEPT)
    args = parser.parse_args(arguments)
    config = {k: v for k, v in vars(args).items() if k not in ("data", "out")}
    config["faces"] = "CelebA by identity, LFW" if args.data else "embedded"
    digits = zlib.crc32(repr((weights(load_zoo()), config)).encode())
    work = home() / "detectors" / f"long-{digits:08x}"
    work.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    for run in (csdfd, cs_dfd_left_out, corit_grid):
        run(args, config, work)
        for path in work.glob("c*"):
            write_bytes(args.out / path.name, path.read_bytes())


def csdfd(args: argparse.Namespace, config: dict, work: Path) -> None:
    """All arms, judged on held-out people and on LFW's; its settings are written last."""
    if (work / "csdfd.json").exists():
        return
    faces, judged = face_sets(args)
    compare(faces, judged, seeds=range(args.seeds), steps=args.steps, after_seed=work)
    write_text(work / "csdfd.json", json.dumps(config, indent=1) + "\n")


def cs_dfd_left_out(args: argparse.Namespace, config: dict, work: Path) -> None:
    """Some arms, without each generator in turn."""
    faces, judged = face_sets(args)
    leave_one_out(faces, judged, work / TABLE, range(args.seeds), args.steps)


def corit_grid(args: argparse.Namespace, config: dict, work: Path) -> None:
    """CoRIT's trainings and what is measured after them, on CelebA's official split.

    Its settings are written last.
    """
    if (work / "corit.json").exists():
        return
    source = ("celeba", args.data / SHARP) if args.data else ("embedded", None)
    size = benches.SIZES[args.size]
    bench = benches.open_bench(size, *source)
    runs = corit.all_runs(bench, work / "corit_runs.csv")
    settings = {"size": args.size, "faces": f"{source[0]}, {size.faces} to train on"}
    settings |= {"steps": size.sam.steps, "radii": size.radii, "seeds": size.seeds}
    corit.keep(corit.tables_of(bench, runs), settings, work)


def face_sets(args: argparse.Namespace) -> tuple[FaceSet, dict[str, FaceSet]]:
    """Faces to train on, and to judge by; the same at every call."""
    torch.manual_seed(0)
    if not args.data:
        return demo_set("train"), {s: demo_set(s) for s in ("val", "test")}
    faces = research_set(args.data, "train", n=args.photographs)
    judged = {s: research_set(args.data, s, n=args.judged) for s in ("val", "test")}
    return faces, judged | {"LFW": lfw_set(args.data, n=args.judged)}


if __name__ == "__main__":
    main()
