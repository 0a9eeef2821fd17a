"""Models by name, folder, or what is neither."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stedit.errors import BundleError
from stedit.hub.find import find_bundle
from stedit.storage.embedded import embedded_bundles


def test_embedded_models_are_found_by_name(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a source tree the models lie beside the package, in a wheel inside it."""
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path / package)
    assert embedded_bundles() == {}
    (tmp_path / "weights" / "recipes").mkdir(parents=True)  # holds no config.json
    (tmp_path / "stedit" / "_weights").mkdir(parents=True)
    shutil.copytree(tiny_bundle, tmp_path / "weights" / "from-source")
    shutil.copytree(tiny_bundle, tmp_path / "stedit" / "_weights" / "from-wheel")
    expected = {
        "from-wheel": tmp_path / "stedit" / "_weights" / "from-wheel",
        "from-source": tmp_path / "weights" / "from-source",
    }
    assert embedded_bundles() == expected
    assert {name: find_bundle(name) for name in expected} == expected
    with pytest.raises(BundleError) as caught:
        find_bundle("from-sauce")
    assert str(caught.value) == (
        "there is no model 'from-sauce': give a model folder, a model on the Hub as OWNER/NAME, or an embedded model "
        "(from-wheel, from-source)"
    )


def test_folder_is_found_by_its_path(tiny_bundle: Path) -> None:
    assert find_bundle(tiny_bundle) == tiny_bundle
    assert find_bundle(str(tiny_bundle)) == tiny_bundle
