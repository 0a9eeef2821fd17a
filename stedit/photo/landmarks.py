"""Points of faces given by hand, for photographs in which none is found, or not well enough."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from stedit.errors import InputError, describe_cause
from stedit.photo.alignment import Points, Quad, five_points

MAX_BYTES = 2**26


class Landmarks:
    """The faces of pictures by their file names, as a JSON file says them.

    {"party/anna.jpg": [[x, y], ... five points or 68 landmarks], "two.jpg": [[[x, y], ...], [[x, y], ...]]}

    A name is a path as the command is given it, or a file name alone. The order of the points is that of
    `detection.Face`, or iBUG's.
    """

    def __init__(self, faces: Mapping[str, list[Points]]) -> None:
        self._faces = faces

    @classmethod
    def read(cls, path: str | Path) -> Landmarks:
        """Raise InputError, naming the file and the picture, if it does not say so."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise InputError(f"the landmarks {path} are larger than {MAX_BYTES // 2**20} MB: split the file")
            values = json.loads(data)
        except FileNotFoundError:
            raise InputError(f"there are no landmarks {path}: check the spelling") from None
        except OSError as error:
            raise InputError(f"cannot read the landmarks {path} ({describe_cause(error)}): give a JSON file") from error
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"the landmarks {path} are not JSON ({describe_cause(error)}): correct them there"
            ) from error
        if not isinstance(values, dict):
            raise InputError(f'the landmarks {path} name no pictures: write them as {{"photo.jpg": [[x, y], ...]}}')
        return cls({name: _faces(path, name, value) for name, value in values.items()})

    def of(self, name: str) -> list[Points] | None:
        """The five points (5, 2) of each face of a picture, the largest first; None if the file does not name it."""
        found = self._faces.get(name)
        return self._faces.get(PurePath(name).name) if found is None else found


def _faces(path: Path, name: str, value: Any) -> list[Points]:
    try:
        single = not isinstance(value[0][0], list)
        faces = [five_points(face) for face in ([value] if single else value)]
        return sorted(faces, key=lambda points: -Quad.of_points(points).side)
    except (ValueError, TypeError, LookupError) as error:
        raise InputError(
            f"the landmarks of {name!r} in {path} cannot be used: a face is five points (the person's right eye, left "
            "eye, nose, right and left corner of the mouth) or 68 landmarks in iBUG's order, x and y in pixels each"
        ) from error
