"""How kept perturbations lie in the package: three files, read whole or not at all.

`perturbations.safetensors.gz` holds one int8 tensor [3, S, S] a run, named LABEL/SEED: delta / eps
in 127ths, so that a pixel is within eps / 254 of what was optimised. `histories.csv.gz` holds every
few steps of each run, `runs.json` the records, and the checksums of the other two: it is written
last, so a set that was cut off in between is refused.
"""

import gzip
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from torch import Tensor

from aef_core.atomic import write_bytes
from aef_core.config import home
from aef_core.errors import BadInput, NotFound
from aef_core.faces import FaceBatch, load_faces
from aef_core.models.base import fingerprint
from aef_core.perturbation.objective import Zoo
from aef_core.perturbation.store import DamagedRun, Run, read_bytes, run_hash, sha256
from companion.config import ASSETS

KEPT = ASSETS / "kept"
LEVELS = 127  # int8 codes of +-eps
ROWS = 48  # steps of a run that its history keeps, about
PATTERNS, HISTORIES, RECORDS = "perturbations.safetensors.gz", "histories.csv.gz", "runs.json"
ENDED = "schedule ended"
AGAIN = "make them with `python -m companion kept --make`"


@dataclass(frozen=True)
class KeptRun(Run):
    """A `Run` as it is kept: delta [1, 3, S, S] in steps of eps / 127, every few rows of history.

    Its `cosines`, [1, K, K], are the mean over the run. Its path is where its evaluations are kept.
    """

    label: str = ""
    stop: str = ""  # what ended it
    scheduled: int = 0  # of the 480 steps that schedules are a share of
    faces: FaceBatch | None = field(default=None, repr=False)  # it was optimised on

    @property
    def record(self) -> dict[str, Any]:
        """What a table says about the run, flat."""
        loop, made = self.config["loop"], self.config
        return {
            "label": self.label, "seed": loop["seed"], "method": made["method"],
            "settings": made["settings"], "steps": loop["steps"], "batch": loop["batch"],
            "feature steps": loop["feature_steps"], "step size": loop["step_size"],
            "eps": loop["eps"], "faces": made["faces"]["n"], "seconds": self.seconds,
            "device": made["device"], "scheduled": self.scheduled, "stop": self.stop,
            "zoo": made["zoo"], "faces crc": made["faces"]["crc"],
        }  # fmt: skip


Kept = dict[tuple[str, int], KeptRun]


def encode(delta: Tensor, eps: float) -> Tensor:
    """int8 codes of a perturbation within +-eps, [3, S, S]."""
    return (delta[0] * (LEVELS / eps)).round().clamp(-LEVELS, LEVELS).to(torch.int8)


def decode(codes: Tensor, eps: float) -> Tensor:
    """The perturbation [1, 3, S, S] of `encode`, within eps / 254 of what was encoded."""
    return codes[None].float() * (eps / LEVELS)


def save(
    runs: Mapping[tuple[str, int], Run],
    steps: int,
    folder: Path = KEPT,
    why: Mapping[tuple[str, int], str] | None = None,
) -> None:
    """Write runs, by label and seed, with the `steps` their schedules were reduced to.

    `why` says what ended a run, where that was not its schedule.

    Raises
    ------
    NotWritable
        See `aef_core.atomic`; what was there before is whole, or refused by `load`.
    """
    codes, records, histories, why = {}, [], [], why or {}
    for (label, seed), run in runs.items():
        codes[f"{label}/{seed}"] = encode(run.delta, run.config["loop"]["eps"]).contiguous()
        histories.append(thinned(run.history).assign(label=label, seed=seed))
        records.append({"label": label, "seconds": round(run.seconds, 3),
                        "stop": why.get((label, seed), ENDED),
                        "cosines": run.cosines.mean(axis=0).round(4).tolist(),
                        "config": run.config})  # fmt: skip
    rows = pd.concat(histories, ignore_index=True).to_csv(index=False, float_format="%.5g")
    content = {
        PATTERNS: gzip.compress(safetensors.torch.save(codes), mtime=0),
        HISTORIES: gzip.compress(rows.encode(), mtime=0),
    }
    about = {"steps": steps, "sha256": {name: sha256(part) for name, part in content.items()}}
    lines = ",\n".join(json.dumps(record, sort_keys=True) for record in records)
    content[RECORDS] = f'{{"about": {json.dumps(about)}, "runs": [\n{lines}\n]}}\n'.encode()
    for name, part in content.items():  # the records last
        write_bytes(folder / name, part)


def thinned(history: pd.DataFrame) -> pd.DataFrame:
    """About `ROWS` steps of a history, evenly spaced, and the last of each target."""
    every = max(1, (int(history["step"].max()) + 1) // ROWS)
    last = history.groupby("model")["step"].transform("max")
    return history[(history["step"] % every == 0) | (history["step"] == last)]


def load(zoo: Zoo, faces: FaceBatch | None = None, folder: Path = KEPT) -> Kept:
    """The kept runs of these generators, by label and seed.

    Parameters
    ----------
    zoo : mapping of name to DeepfakeModel
    faces : FaceBatch, optional
        The faces that perturbations were optimised on; the first embedded ones by default.

    Raises
    ------
    NotFound, DamagedRun
        Nothing is kept here; a file is missing or not what was written.
    BadInput
        Kept were perturbations against other weights, or made on other faces.
    """
    if not (folder / RECORDS).exists():
        raise NotFound(f"{folder} keeps no perturbations: {AGAIN}")
    content = _read(folder)
    kept = json.loads(content[RECORDS])
    made = kept["runs"][0]["config"]
    known = {name: digest for run in kept["runs"] for name, digest in run["config"]["zoo"].items()}
    _refuse_other_weights(folder, known, {name: fingerprint(model) for name, model in zoo.items()})
    if faces is None:
        faces = load_faces("embedded", "train", n=made["faces"]["n"])
    if made["faces"]["crc"] != faces.fingerprint():
        raise BadInput(f"{folder} was made on other faces ({made['faces']['crc']}, these are "
                       f"{faces.fingerprint()}): {AGAIN}")  # fmt: skip
    codes = safetensors.torch.load(gzip.decompress(content[PATTERNS]))
    rows = pd.read_csv(io.BytesIO(gzip.decompress(content[HISTORIES])))
    histories = dict(list(rows.groupby(["label", "seed"], sort=False)))
    about = kept["about"]["steps"], faces
    return {_key(run): _run(run, codes, histories, *about) for run in kept["runs"]}


def listing(runs: Kept) -> pd.DataFrame:
    """The records as a table, a row a label: seeds, schedule, mean seconds, device, what ended."""
    table = pd.DataFrame([run.record for run in runs.values()])
    kept = ["method", "steps", "feature steps", "batch", "step size", "faces", "device"]
    groups = table.groupby("label", sort=False)
    rows = groups[kept].first().round({"step size": 4})
    rows["stop"] = groups["stop"].agg(lambda why: "; ".join(dict.fromkeys(why)))
    rows.insert(1, "seeds", groups.size())
    return rows.assign(seconds=groups["seconds"].mean().round(1))


def _key(record: dict[str, Any]) -> tuple[str, int]:
    return record["label"], record["config"]["loop"]["seed"]


def _run(record: dict, codes: dict, histories: dict, steps: int, faces: FaceBatch) -> KeptRun:
    label, seed = key = _key(record)
    config, pattern = record["config"], codes[f"{label}/{seed}"]
    history = histories[key].drop(columns=["label", "seed"]).reset_index(drop=True)
    name = run_hash({"config": config, "codes": sha256(pattern.numpy().tobytes())})
    return KeptRun(
        decode(pattern, config["loop"]["eps"]), history, np.array([record["cosines"]]), config,
        record["seconds"], home() / f"kept-{name}", label, record["stop"], steps, faces,
    )  # fmt: skip


def _read(folder: Path) -> dict[str, bytes]:
    """The three files, checked against the checksums in the records."""
    try:
        content = {name: read_bytes(folder / name) for name in (RECORDS, PATTERNS, HISTORIES)}
        sums = json.loads(content[RECORDS])["about"]["sha256"]
        changed = [name for name in sums if sha256(content[name]) != sums[name]]
    except DamagedRun:
        raise DamagedRun(f"{folder} lacks one of its files: {AGAIN}") from None
    except (ValueError, LookupError, TypeError):
        raise DamagedRun(f"{folder / RECORDS} is damaged: {AGAIN}") from None
    if changed:
        raise DamagedRun(f"{folder / changed[0]} is damaged (another checksum): {AGAIN}")
    return content


def _refuse_other_weights(folder: Path, known: dict[str, str], given: dict[str, str]) -> None:
    if set(known) != set(given):
        raise BadInput(f"{folder} was made against {', '.join(known)}, not against "
                       f"{', '.join(given)}: give these, or {AGAIN}")  # fmt: skip
    if other := [name for name in known if known[name] != given[name]]:
        raise BadInput(f"{folder} was made against other weights of {', '.join(other)}: {AGAIN}")
