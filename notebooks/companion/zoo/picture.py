"""The picture of the model card: embedded faces, and every edit of every generator.

python -m companion.zoo.picture
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
import typer
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from aef_core.atomic import replacement
from aef_core.config import ASSETS
from aef_core.faces import FaceBatch, load_faces
from aef_core.models import DeepfakeModel
from aef_core.models.zoo import load_zoo

ROWS = (23, 26, 36)  # of the embedded test faces: a dark and a fair woman, and a man
MARGIN, HEAD = 34, 22  # pixels beside and above a generator's block


@torch.no_grad()
def edited(model: DeepfakeModel, faces: FaceBatch) -> dict[str, Tensor]:
    """Columns by title: the faces, their unedited copies, and every edit; in [-1, 1]."""
    x, attributes = faces.images, faces.attributes
    columns = {"original": x, "unedited": model(x, model.keep_condition(x, attributes))}
    for edit in model.edits:
        title = edit.replace("_", " ")
        columns[title] = model(x, model.conditions(attributes, edit))
    return columns


def drawn(blocks: Mapping[str, Mapping[str, Tensor]]) -> Image.Image:
    """A block a generator, a row a face; generator and edit are written beside and above."""
    faces = [torch.stack(list(columns.values()), 1) for columns in blocks.values()]
    n, side = len(faces[0]), faces[0].shape[-1]
    height = HEAD + n * side
    width = MARGIN + side * max(len(columns) for columns in blocks.values())
    page = Image.new("RGB", (width, height * len(blocks)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for b, (name, columns) in enumerate(blocks.items()):
        top = b * height
        for i, title in enumerate(columns):
            pen.text((MARGIN + (i + 0.5) * side, top + 4), title, "black", font, "mt")
        pixels = ((faces[b].clamp(-1, 1) + 1) * 127.5).byte()  # [N, columns, 3, S, S]
        rows = pixels.permute(0, 3, 1, 4, 2).reshape(n * side, -1, 3)
        page.paste(Image.fromarray(rows.cpu().numpy()), (MARGIN, top + HEAD))
        label = Image.new("RGB", (n * side, MARGIN), "white")
        ImageDraw.Draw(label).text((n * side / 2, MARGIN / 2), name, "black", font, "mm")
        page.paste(label.rotate(90, expand=True), (0, top + HEAD))
    return page


def main(
    out: Annotated[Path, typer.Option(help="JPEG to write")] = ASSETS / "zoo" / "edits.jpg",
) -> None:
    """Draw the embedded zoo's edits of faces that no generator was trained on."""
    zoo, faces = load_zoo(device="cpu"), load_faces(split="test", n=max(ROWS) + 1)
    chosen = faces[list(ROWS)]
    page = drawn({name: edited(model, chosen) for name, model in zoo.items()})
    with replacement(out) as temporary:
        page.save(temporary, "JPEG", quality=90)


if __name__ == "__main__":
    typer.run(main)
