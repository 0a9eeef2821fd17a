"""Contact sheets: images in a grid under short captions, such as source | reconstruction | edit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from stedit.imaging.files import Pixels
from stedit.imaging.titles import Font, Title


def enlarged(image: Pixels, height: int) -> Pixels:
    """An image (H, W, 3) as high as that, Lanczos-resized if it is smaller."""
    if len(image) >= height:
        return image
    width = round(image.shape[1] * height / len(image))
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def sheet(rows: Sequence[Sequence[Pixels]], *, titles: Sequence[str] = (), gap: int = 4) -> Pixels:
    """Lay uint8 (H, W, 3) images out in a grid with `gap` px around each; gives uint8 (H, W, 3).

    Columns are as wide as their widest image and rows as high as their highest, smaller ones being centred; a row may
    be short. `titles[i]` stands above column i, shortened to fit. Raises ValueError if there is no image.
    """
    columns = max((len(row) for row in rows), default=0)
    if columns == 0:
        raise ValueError("a sheet needs at least one image")
    widths = [max(row[i].shape[1] for row in rows if i < len(row)) for i in range(columns)]
    heights = [max((image.shape[0] for image in row), default=0) for row in rows]

    size = min(max(min(widths) // 10, 10), max(min(widths) // 25, 24))  # px
    written = [Title.of(title, size) for title in titles]
    lowest = max((title.font.getbbox("Ág", anchor="la")[3] for title in written), default=0)  # below a descender
    header = round(lowest) + gap if any(titles) else 0

    total_height, total_width = header + sum(heights) + gap * (len(rows) + 1), sum(widths) + gap * (columns + 1)
    canvas = Image.new("RGB", (total_width, total_height), "white")
    draw = ImageDraw.Draw(canvas)
    x = gap
    for i, width in enumerate(widths):
        if i < len(written):
            title = _shorten(written[i].text, written[i].font, width)
            draw.text((x + width / 2, gap), title, fill="black", font=written[i].font, anchor="ma")
        y = header + gap
        for row, height in zip(rows, heights, strict=True):
            if i < len(row):
                image = Image.fromarray(row[i])
                canvas.paste(image, (x + (width - image.width) // 2, y + (height - image.height) // 2))
            y += height + gap
        x += width + gap
    return np.array(canvas)


def _shorten(title: str, font: Font, width: int) -> str:
    """Cut the end of a title that is wider than its column, so that it does not run into the next one."""
    if font.getlength(title) <= width:
        return title
    while title and font.getlength(title + "...") > width:
        title = title[:-1]
    return title + "..."
