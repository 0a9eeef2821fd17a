"""Edits of codes by what people ask for: labels, references, directions. It is the editing half of `Engine`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedit.editing.attributes import (
    ABSENCES,
    RULED_OUT,
    related,
    resolve_attribute,
    resolve_reference_attribute,
)
from stedit.editing.covariance import Spread, spread_of
from stedit.editing.directions import (
    Learned,
    LinearDirection,
    learn_from_classifier,
    learn_from_labels,
    linear_directions,
    parse_direction,
)
from stedit.editing.label import edit_along, edit_by_label, move_along
from stedit.editing.mixing import mix
from stedit.editing.reference import (
    change_by_label,
    change_by_reference,
    condition_for,
    editor_for,
    learned_editor,
    shares,
)
from stedit.errors import MissingPartError, UsageError
from stedit.models.edit_transformer import EditTransformer
from stedit.models.latent_classifier import LatentClassifier
from stedit.runtime.arrays import CodeArray, Codes, like
from stedit.runtime.model import Model
from stedit.storage.bundle import part_type

LEARNING_CODES = 2000  # made up to learn a direction from

# A probability of 5 %: enough not to be seen; to be as sure as of what is asked for would spoil it.
RULED_OUT_LOGIT = 3.0


class Edits(Model):
    """A model that edits codes (B, N, D), arrays or tensors."""

    def edit_by_label(
        self,
        codes: Codes,
        attributes: str | Sequence[str],
        *,
        strength: float = 1.0,
        direction: str = "auto",
        keep: str | Sequence[str] = (),
        layers: Sequence[int] | None = None,
    ) -> Codes:
        """Give codes one or more attributes, or take them away.

        Args:
            codes: (B, N, D) in W+.
            attributes: names such as "smile", "no-glasses", "Blond_Hair"; none, (), to move along a linear direction
                whose meaning the classifier does not know.
            strength: 1 is the whole edit, below 0 goes the other way. Learned edits go in proportion: 1 is what was
                learned and what is then missing to the model's `learned_target_logit`; a code that has what is asked
                for already does not change. Along other directions, 1 goes to where the classifier is sure, at
                -1 of the opposite; between 0 and 1 goes part of the way, counted in its logit; a code of which it is
                sure already does not change at 1. Without attributes, strength counts standard deviations of codes
                along the direction.
            direction: "learned" (what the edit transformer has learned from true edits); "preserving", "first-order"
                or "second-order" (see `stedit.editing.label`); "linear:FILE", "linear:FILE:NAME" or "sefa:0" (see
                `stedit.editing.directions`); "auto" is learned where the model has learned all of the attributes, else
                preserving.
            keep: attributes to hold where they are; the preserving direction holds those that have nothing to do with
                the wanted ones in any case.
            layers: the styles that may change, counted from 0; None for all of them.

        Returns:
            The edited codes. Raises AttributeNameError, MissingPartError, InputError for a file of directions, and
            UsageError for requests that contradict themselves.
        """
        names = [attributes] if isinstance(attributes, str) else list(attributes)
        asked = parse_direction(direction)
        w = self._codes(codes)
        if asked == "auto":
            asked = "learned" if names and self.has_learned(names) else "preserving"
        styles = self._styles(layers)
        signs = self._signs(names)
        held = {resolve_attribute(name, self.attributes)[0] for name in ([keep] if isinstance(keep, str) else keep)}
        if both := held & {self.attributes[index] for index in signs}:
            raise UsageError(f"{min(both)} is both to be edited and to be kept: leave one of them out")
        lines = []
        if isinstance(asked, LinearDirection):
            lines = linear_directions(
                asked,
                [self.attributes[index] for index in signs],
                self._network("generator"),
                self._spread,
                fingerprint=self.bundle.fingerprint,
                styles=styles,
            )
        elif not names:
            raise UsageError("no attribute is named, and only linear directions can do without: name one with --attr")
        mask = self._mask(held)
        if not names:
            judge = self._classifier if held else None
            return like(move_along(w, strength * lines[0], judge, keep=mask, styles=styles), codes)
        classifier = self._classifier
        if asked == "learned":
            edited = self._edit_learned(w, signs, strength, keep=mask, styles=styles)
            return like(move_along(w, edited - w, classifier if held else None, keep=mask, styles=styles), codes)
        logits = self._logits(w)
        goals = {
            index: _goal(logits[:, index], sign * strength, self.bundle.attributes[index].target_logit)
            for index, sign in signs.items()
        }
        if isinstance(asked, LinearDirection):
            edited = edit_along(classifier, w, goals, dict(zip(goals, lines, strict=True)), keep=mask, styles=styles)
        else:
            if asked == "preserving":
                free = frozenset[str]().union(*(related(self.attributes[index]) for index in goals)) - held
                given = [self.attributes[index] for index, sign in signs.items() if sign * strength > 0]
                for index in self._ruled_out(given, free):
                    goals.setdefault(index, _goal(logits[:, index], -abs(strength), RULED_OUT_LOGIT))
                mask = ~self._mask(free)
            edited = edit_by_label(classifier, w, goals, keep=mask, spread=self._spread, direction=asked, styles=styles)
        return like(edited, codes)

    def edit_by_reference(
        self,
        codes: Codes,
        references: Codes | Sequence[Codes],
        attributes: str | Sequence[str],
        *,
        strength: float = 1.0,
        weights: Sequence[float] | None = None,
    ) -> Codes:
        """Give codes an attribute as the reference has it: its smile, its glasses, or their absence.

        Args:
            codes: (B, N, D) in W+.
            references: (1 or B, N, D) in W+; or a list of several such references, whose answers are averaged.
            attributes: names such as "glasses"; several are taken one after the other.
            strength: 1 is what the edit transformer answers and, as far as the model says, the reference's own trait
                carried over; and, where the reference has what the source has not, what is then missing to the model's
                `reference_target_logit`; 0 no change, others in proportion.
            weights: of several references, above 0; only their proportion counts. None weighs all alike.

        Returns:
            The edited codes. Raises AttributeNameError, MissingPartError, and UsageError for "no-glasses", since the
            reference decides, and for weights that do not fit the references.
        """
        w, sources = self._codes(codes), self._references(references)
        parts = shares(weights, len(sources))
        keep = self._mask(())
        for editor, index in self._editors(attributes):
            w = w + strength * self._change_by_references(editor, w, sources, index, parts, keep)
            keep = keep | self._mask([self.bundle.attributes[index].name])
        return like(w, codes)

    def attention(
        self, codes: Codes, references: Codes | Sequence[Codes], attributes: str | Sequence[str]
    ) -> list[list[NDArray[np.float32]]]:
        """Which source styles take from which reference styles in `edit_by_reference` at strength 1.

        Args:
            codes: (B, N, D).
            references: as of `edit_by_reference`; several weigh alike.
            attributes: as of `edit_by_reference`.

        Returns:
            For each attribute and each reference, (layers, B, heads, N, N): source styles before reference styles, each
            row with the sum 1. Raises as `edit_by_reference`.
        """
        w, sources = self._codes(codes), self._references(references)
        parts = shares(None, len(sources))
        maps, keep = [], self._mask(())
        for editor, index in self._editors(attributes):
            with torch.no_grad(), self._autocast():
                condition = condition_for(editor, w, index)
                weights = [editor.attention(w, source.expand_as(w), condition).float() for source in sources]
            w = w + self._change_by_references(editor, w, sources, index, parts, keep)
            keep = keep | self._mask([self.bundle.attributes[index].name])
            maps.append([one.cpu().numpy() for one in weights])
        return maps

    def mix(self, codes: Codes, others: Codes, *, strength: float = 0.5, layers: Sequence[int] | None = None) -> Codes:
        """Go from codes (B, N, D) towards others (1 or B, N, D), in a straight line.

        Args:
            codes: in W+.
            others: in W+.
            strength: 0 gives `codes` and 1 gives `others`, bit by bit; other numbers lie between and beyond them.
            layers: the styles that go, counted from 0; None for all of them.
        """
        return like(mix(self._codes(codes), self._codes(others), strength, self._styles(layers)), codes)

    def learn_direction(
        self, attribute: str, codes: CodeArray | None = None, labels: Sequence[bool] | None = None
    ) -> Learned:
        """Find one direction for all codes that gives them an attribute; `Directions.save` keeps it.

        Args:
            attribute: what the classifier, or without one the labels, tell apart. With labels, any name will do.
            codes: (M, N, D) in W+ to learn from; None makes some up.
            labels: which codes have the attribute; None asks the classifier.

        Returns:
            The direction, and the share of codes held back from learning that it puts on the right side.
            Raises AttributeNameError, MissingPartError, and UsageError if there are too few codes of either label.
        """
        w = self._codes(self.sample(LEARNING_CODES) if codes is None else codes)
        if labels is not None:
            return learn_from_labels(w, torch.tensor(labels, dtype=torch.bool, device=self.device))
        classifier = self._classifier
        index = self.attributes.index(resolve_attribute(attribute, self.attributes)[0])
        return learn_from_classifier(classifier, w, index, self._spread)

    def has_learned(self, attributes: str | Sequence[str]) -> bool:
        """Whether `edit_by_label` has a learned direction for all attributes. Raises AttributeNameError."""
        names = [attributes] if isinstance(attributes, str) else attributes
        return all(self._learned_editor(index) for index in self._signs(names))

    def _learned_editor(self, index: int) -> EditTransformer | None:
        editors = cast(Mapping[str, EditTransformer], self.networks)
        return learned_editor(editors, self.attributes[index], index)

    def _edit_learned(
        self, w: Tensor, signs: Mapping[int, int], strength: float, *, keep: Tensor, styles: Sequence[int] | None
    ) -> Tensor:
        """Codes (B, N, D) with one attribute after the other given or taken, where it is not so already.

        The edit transformer has learned what changes, not when nothing does: the classifier tells who has it already.
        What follows its change holds the attributes to keep, (K,); only `styles` change. Raises MissingPartError.
        """
        for index, sign in signs.items():
            present = sign * strength > 0
            lacking = self._lacks(w, index, present=present)
            edited = move_along(w, self._learned_change(w, index, present=present), None, keep=keep, styles=styles)
            goal = (1 if present else -1) * self.bundle.attributes[index].learned_target_logit
            edited = self._towards(edited, index, torch.where(lacking, goal, 0.0), keep=keep, styles=styles)
            w = torch.where(lacking[:, None, None], w + abs(strength) * (edited - w), w)
            keep = keep | self._mask([self.bundle.attributes[index].name])
        return w

    def _lacks(self, w: Tensor, index: int, *, present: bool) -> Tensor:
        """Which codes (B, N, D) the classifier does not see as asked for, (B,)."""
        return (self._logits(w)[:, index] > 0) != present

    def _learned_change(self, w: Tensor, index: int, *, present: bool) -> Tensor:
        """How the edit transformer gives codes (B, N, D) an attribute by label, or takes it."""
        editor = self._learned_editor(index)
        if editor is None:
            raise MissingPartError(
                f"the model {self.bundle.name!r} has learned no edit of {self.attributes[index]} by label: leave "
                "--direction out"
            )
        with self._autocast():
            return change_by_label(editor, w, index, present=present)

    def _change_by_references(
        self,
        editor: EditTransformer,
        w: Tensor,
        references: Sequence[Tensor],
        index: int,
        weights: Sequence[float],
        keep: Tensor,
    ) -> Tensor:
        """The change (B, N, D) that an edit by references (1 or B, N, D) of strength 1 makes.

        They are weighed by their answers, not by their codes: the edit transformer has been trained on codes of faces,
        and the mean of a face with glasses and one without is none. All answers are the source with one attribute
        exchanged, so the space between them is safe, and a weight means the same as a strength.
        """
        changes = [self._change_by_reference(editor, w, one.expand_as(w), index, keep) for one in references]
        return torch.stack([weight * change for weight, change in zip(weights, changes, strict=True)]).sum(dim=0)

    def _change_by_reference(
        self, editor: EditTransformer, w: Tensor, reference: Tensor, index: int, keep: Tensor
    ) -> Tensor:
        """The change of codes (B, N, D) by as many references.

        Where a reference has, as the classifier sees it, what the source has not, it goes on towards being sure of it.
        """
        with self._autocast():
            change = change_by_reference(editor, w, reference, index)
        if "classifier" not in self.networks:
            return change
        spec = self.bundle.attributes[index]
        if spec.transfer_weight and self._learned_editor(index):
            change = torch.lerp(change, self._trait(reference, index) - self._trait(w, index), spec.transfer_weight)
        wanted = self._logits(reference)[:, index] > 0
        differs = wanted != (self._logits(w)[:, index] > 0)
        goal = torch.where(wanted, spec.reference_target_logit, -spec.reference_target_logit)
        return self._towards(w + change, index, torch.where(differs, goal, 0.0), keep=keep) - w

    def _trait(self, w: Tensor, index: int) -> Tensor:
        """What an edit by label takes off codes (B, N, D); nothing where there is nothing to take.

        What is learned by reference is near the mean of all that one might mean; its own trait is there as it is.
        """
        present = self.attributes[index] in ABSENCES
        change = self._learned_change(w, index, present=present)
        return torch.where(self._lacks(w, index, present=present)[:, None, None], -change, 0.0)

    def _towards(
        self, w: Tensor, index: int, goal: Tensor, *, keep: Tensor, styles: Sequence[int] | None = None
    ) -> Tensor:
        """Codes (B, N, D), of which those that miss the goal (B,) of an attribute's logit go on towards it.

        What is learned from many examples is near their mean, and falls short where the right change is large. The
        preserving direction makes up for it: a greater multiple of the change would also multiply its side effects.
        Goals are reached from above or below as their sign says; 0 is one that every code has reached.
        """
        if not goal.any():
            return w
        missed = goal.sign() * self._logits(w)[:, index] < goal.abs()
        if not missed.any():
            return w
        unrelated = ~self._mask(related(self.attributes[index]))
        towards = {index: goal[missed]}
        moved = edit_by_label(
            self._classifier, w[missed], towards, keep=keep | unrelated, spread=self._spread, styles=styles
        )
        return w.index_copy(0, missed.nonzero()[:, 0], moved)

    def _mask(self, names: Collection[str]) -> Tensor:
        """Which of the model's attributes are among `names`, (K,)."""
        return torch.tensor([name in names for name in self.attributes], dtype=torch.bool, device=self.device)

    @property
    def _classifier(self) -> LatentClassifier:
        return cast(LatentClassifier, self._network("classifier"))

    @cached_property
    def _spread(self) -> Spread:
        """Multiplies flattened codes by their covariance."""
        return spread_of(cast(LatentClassifier | None, self.networks.get("classifier")), self._network("generator"))

    def _ruled_out(self, given: Sequence[str], free: frozenset[str]) -> list[int]:
        """Attributes that codes cannot have beside those given, and that are free to change."""
        names = {name for attribute in given for name in RULED_OUT.get(attribute, ())} & free
        return [index for index, name in enumerate(self.attributes) if name in names]

    def _signs(self, names: Sequence[str]) -> dict[int, int]:
        """Attribute index -> 1 for with, -1 for without. Raises AttributeNameError, MissingPartError, UsageError."""
        if names:
            self._network("classifier")
        signs: dict[int, int] = {}
        for name in names:
            attribute, sign = resolve_attribute(name, self.attributes)
            if signs.setdefault(self.attributes.index(attribute), sign) != sign:
                raise UsageError(f"{attribute} is asked for both ways: name it once")
        return signs

    def _references(self, references: Codes | Sequence[Codes]) -> list[Tensor]:
        given = references if isinstance(references, list | tuple) else [references]
        return [self._codes(cast("CodeArray | Tensor", one)) for one in given]

    def _editors(self, attributes: str | Sequence[str]) -> list[tuple[EditTransformer, int]]:
        """The edit transformer of each attribute, and the attribute's index."""
        editors = {name: network for name, network in self.networks.items() if part_type(name) == "editor"}
        names = [item.name for item in self.bundle.attributes]
        found = []
        for name in [attributes] if isinstance(attributes, str) else attributes:
            if not editors:
                self._network("editor")
            attribute = resolve_reference_attribute(name, names)
            editor = editor_for(cast(Mapping[str, EditTransformer], editors), attribute, self.bundle.name)
            found.append((editor, names.index(attribute)))
        return found


def _goal(logit: Tensor, strength: float, sure: float) -> Tensor:
    """The logit that an edit of this strength aims for (see `Engine.edit_by_label`)."""
    direction = 1.0 if strength >= 0 else -1.0
    start, amount = logit * direction, abs(strength)
    goal = torch.where(
        start < sure, start + amount * (sure - start), torch.maximum(start, start.new_tensor(amount * sure))
    )
    return goal * direction
