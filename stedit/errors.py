"""Every exception that stedit raises on purpose.

SteditError                  one sentence for a person: what is wrong and what to do next
├── InputError               an input file cannot be used; the other inputs of a batch still can
│   ├── ImageError           not an image, truncated, empty or too large
│   └── LatentError          not a latent file, damaged, or made with another model
├── OutputError              an output cannot be written: no permission, disk full, unknown format
├── BundleError              a model folder is missing, damaged or of an unknown format version
│   ├── MissingPartError     the model has no such part: a classifier, an editor
│   └── HubError             a model cannot be fetched from the Hub, kept in its cache, or shared there
├── AttributeNameError       an attribute that the model does not know
├── DeviceError              a device or precision that this machine does not offer
├── TrainingError            a training cannot begin or go on: it diverged, or its checkpoint is damaged
└── UsageError               a request that contradicts itself, such as two inputs for one output (also a ValueError)

Nothing here imports anything, so that any module may raise any of these.
"""


class SteditError(Exception):
    """Base of all errors below; `str(error)` is one sentence, ready to be shown to a person."""

    def __init__(self, sentence: str = "", *, argument: str = "", action: str = "", on: str = "") -> None:
        """Say what is wrong, and what to do next.

        Args:
            sentence: without a full stop. It ends in what to do, where one of the following says how.
            argument: the parameter to set, as the library calls it; the command line appends its own flag for it.
            action: what to do, in a word, as "pull"; the command line appends its own command for it.
            on: what to do it to, as the name of a model.
        """
        super().__init__(sentence)
        self.argument, self.action, self.on = argument, action, on


class InputError(SteditError):
    """An input file cannot be used."""


class ImageError(InputError):
    """A file is not an image that can be read: wrong format, truncated, empty or too large."""


class LatentError(InputError):
    """A file is not a latent code, is damaged, or was made with another model."""


class OutputError(SteditError):
    """An output cannot be written."""


class BundleError(SteditError):
    """A model folder is missing, damaged, or of a format version that this stedit does not know."""


class MissingPartError(BundleError):
    """A model is sound but has no such part."""


class HubError(BundleError):
    """A model cannot be fetched from the Hub, kept in its cache, or shared there."""


class AttributeNameError(SteditError):
    """A name is no attribute of the model."""


class DeviceError(SteditError):
    """A device or precision is not available on this machine."""


class TrainingError(SteditError):
    """A training cannot begin or go on: its extra is not installed, it diverged, or its checkpoint is damaged."""


class UsageError(SteditError, ValueError):
    """A request contradicts itself, so nothing was done."""


def describe_cause(error: Exception) -> str:
    """What a library or the system said, fit to stand inside a sentence of ours.

    A library may say nothing, or quote a stranger's file at length, with line breaks and codes that rewrite a terminal;
    the system says a number, a reason, and a file that the sentence names already.
    """
    reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(reason.split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return (text if len(text) <= 300 else text[:300] + "...") or type(error).__name__
