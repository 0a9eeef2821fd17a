"""A matrix as an image: dark squares for large numbers, with numbered axes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from stedit.imaging.files import Pixels

# white to dark blue through what stays distinct in grey print
_COLOURS = np.array([(255, 255, 255), (199, 221, 240), (106, 174, 214), (33, 113, 181), (8, 38, 92)], dtype=np.float64)


def heatmap(values: npt.NDArray[np.floating], *, rows: str, columns: str, cell: int = 20) -> Pixels:
    """Draw numbers >= 0 as squares of `cell` px, from white for 0 to dark blue for the largest, which is written below.

    Args:
        values: (R, C).
        rows: what the rows are, on the left.
        columns: what the columns are, above.
        cell: at least 8.

    Returns:
        uint8 (H, W, 3).
    """
    row_count, column_count = values.shape
    largest = float(values.max())
    levels = np.clip(values / max(largest, 1e-12), 0, 1) * (len(_COLOURS) - 1)
    below = np.minimum(levels.astype(int), len(_COLOURS) - 2)
    share = (levels - below)[:, :, None]
    colours = np.round(_COLOURS[below] * (1 - share) + _COLOURS[below + 1] * share).astype(np.uint8)
    squares = Image.fromarray(colours.repeat(cell, axis=0).repeat(cell, axis=1))

    font = ImageFont.load_default(size=max(cell * 0.55, 9))
    line = round(cell * 0.9)
    left = top = 2 * line + 4  # a line of words and one of numbers
    canvas = Image.new("RGB", (left + squares.width + line, top + squares.height + line + 6), "white")
    canvas.paste(squares, (left, top))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left - 1, top - 1, left + squares.width, top + squares.height), outline="grey")
    draw.text((left + squares.width / 2, line / 2), columns, "black", font, anchor="mm")
    for number in range(column_count):
        draw.text((left + (number + 0.5) * cell, top - line / 2 - 2), str(number), "black", font, anchor="mm")
    for number in range(row_count):
        draw.text((left - 5, top + (number + 0.5) * cell), str(number), "black", font, anchor="rm")
    words = Image.new("RGB", (squares.height, line), "white")
    ImageDraw.Draw(words).text((words.width / 2, line / 2), rows, "black", font, anchor="mm")
    canvas.paste(words.rotate(90, expand=True), (0, top))
    draw.text((left, top + squares.height + 4), f"white 0, dark {largest:.2f}", "black", font, anchor="la")
    return np.array(canvas)
