"""Malformed weights: embedded ones in safetensors, official ones in pickles."""

import io
import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from aef_core.models import zoo as zoo_module
from aef_core.models.weights import sha256_of
from aef_core.models.zoo import OFFICIAL, checkpoints, load_zoo, read_model

from ..conftest import tiny_zoo
from . import Case, Harm
from .files import mutated

SETTINGS = {"width": 4, "blocks": 1, "image_size": 32}


@cache
def own() -> dict[str, Tensor]:
    """The weights of a tiny StarGAN."""
    return tiny_zoo()["StarGAN"].state_dict()


def same(model: torch.nn.Module) -> bool:
    """Are these the very weights?"""
    read = model.state_dict()
    return all(torch.equal(read[name], value) for name, value in own().items())


def as_embedded(content: bytes, digest_fits: bool, scratch: Path) -> bool:
    """A generator as the embedded zoo has it; `digest_fits`: the table has this file's checksum."""
    path = scratch / "star.safetensors"
    path.write_bytes(safetensors.torch.save(own()))
    digest = sha256_of(path)
    path.write_bytes(content)
    entry = {"architecture": "StarGAN", "settings": SETTINGS, "file": path.name,
             "sha256": sha256_of(path) if digest_fits else digest}  # fmt: skip
    (scratch / "zoo.json").write_text(json.dumps({"StarGAN": entry}))
    return same(read_model(scratch, "StarGAN", checkpoints(scratch)["StarGAN"], "scratch"))


def as_official(content: bytes, scratch: Path) -> bool:
    """An official checkpoint; the network is a tiny one, the reader the real one."""
    path = scratch / OFFICIAL["StarGAN"].file
    path.parent.mkdir()
    path.write_bytes(content)
    entry = replace(OFFICIAL["StarGAN"], settings=SETTINGS)
    zoo_module.OFFICIAL = OFFICIAL | {"StarGAN": entry}
    try:
        return same(load_zoo("official", scratch, "StarGAN", "cpu")["StarGAN"])
    finally:
        zoo_module.OFFICIAL = OFFICIAL
        if (scratch / "owned").exists():
            raise Harm("code of the checkpoint was run")


def saved(value: object, **options: object) -> bytes:
    """What `torch.save` writes."""
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


def altered() -> Iterator[tuple[str, dict[str, Tensor]]]:
    """States in which one entry is not what it should be."""
    name, value = next(iter(own().items()))
    for word in (float("nan"), float("inf"), -float("inf")):
        other = value.clone()
        other.view(-1)[-1] = word
        yield f"{word}", own() | {name: other}
    for kind in (torch.int64, torch.bool, torch.complex64, torch.uint8):
        yield f"{kind}", own() | {name: value.to(kind)}
    yield "1e300", own() | {name: value.double() + 1e300}
    yield "transposed", own() | {name: value.transpose(0, -1).contiguous()}
    yield "flat", own() | {name: value.flatten()}
    yield "one more", own() | {"layer.extra": value.clone()}
    yield "one fewer", {k: v for k, v in own().items() if k != name}
    yield "prefixed", {f"module.{k}": v for k, v in own().items()}
    yield "none", {}


class _Call:
    """Pickles to a call."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def pickles() -> Iterator[tuple[str, bytes]]:
    """Pickles that are no plain state, most of which want to run something."""
    import os
    import subprocess

    for call in (_Call(os.system, "touch owned"), _Call(eval, "open('owned', 'w')"),
                 _Call(exec, "open('owned', 'w')"), _Call(open, "owned", "w"),
                 _Call(subprocess.check_call, ["touch", "owned"]),
                 _Call(os.mkdir, "owned")):  # fmt: skip
        name = call.call[0].__name__
        yield f"calls {name}", pickle.dumps(call)
        yield f"calls {name}, in a state", saved(own() | {"x": call})
        yield f"calls {name}, old format", saved(call, _use_new_zipfile_serialization=False)
    key, value = next(iter(own().items()))
    for name, other in {"a list": [1], "a number": 1, "None": None, "a text": "weights",
                        "numbers for keys": dict(enumerate(own().values())),
                        "lists for values": {k: v.tolist() for k, v in own().items()},
                        "arrays": own() | {key: value.numpy()},
                        "sparse": own() | {key: value.to_sparse()},
                        "quantized": own() | {key: torch.quantize_per_tensor(value, .1, 0,
                                                                            torch.qint8)},
                        "on no device": own() | {key: value.to("meta")},
                        "a network": tiny_zoo()["StarGAN"]}.items():  # fmt: skip
        yield name, saved(other)
    yield "empty", b""
    yield "text", b"<html>quota exceeded</html>"
    yield "safetensors", safetensors.torch.save(own())


def weights(seed: int, scale: float) -> Iterator[Case]:
    """Embedded and official checkpoints."""
    draw = np.random.default_rng(seed)
    good = safetensors.torch.save(own())
    star, ckpt = "star.safetensors", "200000-G.ckpt"
    yield Case("embedded, untouched", partial(as_embedded, good, False), sound=True)
    for name, content in mutated(good, draw, round(13 * scale)):
        yield Case(f"embedded, {name}", partial(as_embedded, content, False), star)
        if not name.startswith("byte"):  # a turned bit under its own checksum is another network
            act = partial(as_embedded, content, True)
            yield Case(f"embedded, {name}, checksum fits", act, star)
    for header in (2**60, 0, 2**63):
        content = header.to_bytes(8, "little") + b"{}"
        yield Case(f"a header of {header}", partial(as_embedded, content, True), star)
    for name, state in altered():
        act = partial(as_embedded, safetensors.torch.save(state), True)
        yield Case(f"embedded, {name}", act, star)
        yield Case(f"official, {name}", partial(as_official, saved(state)), ckpt)
    for old in (False, True):
        whole = saved(own(), _use_new_zipfile_serialization=not old)
        kind = "official, old format" if old else "official"
        yield Case(f"{kind}, untouched", partial(as_official, whole), sound=True)
        for name, content in mutated(whole, draw, round(13 * scale)):
            if not (old and name.startswith("byte")):  # that format has no checksums to fail
                yield Case(f"{kind}, {name}", partial(as_official, content), ckpt)
    for name, content in pickles():
        yield Case(f"official, {name}", partial(as_official, content), ckpt)
