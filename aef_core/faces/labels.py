"""CelebA's attribute table, read strictly: a label that is guessed is a wrong label."""

from aef_core.errors import BadInput

VALUES = {"1": 1, "-1": 0}


def read_labels(content: bytes, file: str) -> tuple[tuple[str, ...], dict[str, tuple[int, ...]]]:
    """Attribute names, and for each image's name its labels, 0 or 1, in the order of the file.

    Layout: the number of rows; the names of the attributes; then one row per image, its name and
    for each attribute 1 or -1.

    Raises
    ------
    BadInput
        Another layout or value, a short or long row, a name given twice, rows missing, no UTF-8.
        The message names the file, as `file` has it, the line and the attribute.
    """
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is not UTF-8 text (byte {error.start}): get it again") from None
    header = tuple(lines[1].split()) if len(lines) > 2 else ()
    if not header or len(lines[0].split()) != 1 or len(lines[2].split()) != len(header) + 1:
        raise BadInput(f"{file} is not in the official two-header format")
    for name in header:
        if header.count(name) > 1:
            raise BadInput(f"{file}, line 2: attribute {name} is named twice")
    rows: dict[str, tuple[int, ...]] = {}
    for number, line in enumerate(lines[2:], start=3):
        if not line.strip():
            continue
        name, *values = line.split()
        where = f"{file}, line {number} ({name})"
        if len(values) != len(header):
            raise BadInput(f"{where}: {len(values)} labels, expected {len(header)}")
        if name in rows:
            raise BadInput(f"{where}: this image has labels already")
        for attribute, value in zip(header, values, strict=True):
            if value not in VALUES:
                raise BadInput(f"{where}: {attribute} is {value!r}, expected 1 or -1")
        rows[name] = tuple(VALUES[value] for value in values)
    said = lines[0].strip()
    if said != str(len(rows)):  # the splits follow the number of rows
        raise BadInput(f"{file} has {len(rows)} rows, its first line says {said}: get it again")
    return header, rows
