"""What a model is and holds, for a program and for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from stedit.storage.bundle import Bundle


def facts_of(bundle: Bundle, model: str, commit: str) -> dict[str, Any]:
    """The JSON object of a model; `model` is what --model takes, `commit` empty for what is not from the Hub."""
    return {
        "model": model,
        "name": bundle.name,
        "description": bundle.description,
        "domain": bundle.domain,
        "license": bundle.license,
        "alignment": bundle.alignment,
        "path": str(bundle.path) if bundle.path.name else None,
        "commit": commit or None,
        "fingerprint": bundle.fingerprint,
        "derived_from": bundle.derived_from or None,
        "bytes": sum(part.size for part in bundle.parts.values()),
        "parts": {
            name: {"file": part.file, "bytes": part.size, "parameters": part.parameters or None, "sha256": part.sha256}
            for name, part in bundle.parts.items()
        },
        "attributes": [attribute.name for attribute in bundle.attributes],
        "training": dict(bundle.training),
    }


def yunet_facts(path: Path) -> dict[str, Any]:
    """The JSON object of YuNet's file in the cache."""
    from stedit.hub import yunet

    return {
        "model": yunet.YUNET,
        "name": "YuNet",
        "description": "Finds faces, for --detector yunet.",
        "license": yunet.LICENCE,
        "path": str(path),
        "commit": yunet.MODEL.revision,
        "bytes": yunet.FILE.size,
        "sha256": yunet.FILE.etag,
    }


def format_facts(facts: dict[str, Any]) -> str:
    """The same for a person."""
    from stedit.editing.attributes import friendly_name
    from stedit.hub import is_non_commercial

    licence = facts["license"] + (" (non-commercial)" if is_non_commercial(facts["license"]) else "")
    where = facts["path"] or "not here yet: run `stedit weights pull " + facts["model"] + "`"
    lines = [
        f"{facts['name']}: {facts['description'] or facts['domain']}",
        f"{'domain':12} {facts['domain']}",
        f"{'license':12} {licence}",
        *(f"{fact:12} {facts[fact]}" for fact in ("alignment", "fingerprint", "derived_from", "commit") if facts[fact]),
        f"{'path':12} {where}",
    ]
    for name, part in facts["parts"].items():
        size = f"{part['bytes'] / 1e6:.1f} MB"
        parameters = f"{part['parameters'] / 1e6:.2f} M parameters, " if part["parameters"] else ""
        lines.append(f"{name:12} {parameters}{size}")
    attributes = [friendly_name(name, 1) for name in facts["attributes"]]
    lines.append(f"{'attributes':12} {', '.join(attributes) or 'none'}")
    for key, value in facts["training"].items():
        if isinstance(value, dict):  # --json has it in full
            value = value.get("command", f"{len(value)} facts")
        text = f"{key}: {value}"  # in a stranger's words, which may hold codes that rewrite a terminal
        lines.append(f"{'training':12} " + "".join(letter if letter.isprintable() else "?" for letter in text))
    return "\n".join(lines)
