"""`stedit weights convert`: checkpoints of other projects become a model, or a file of directions."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE
from stedit.cli.weights_result import ResultOptions, save_model

_about_model = partial(typer.Option, rich_help_panel="Model")

_ATTRIBUTE = "What a reference-edit checkpoint was trained to take over, such as Bangs; the file does not tell."
_ENCODER_TYPE = "Which encoder a file without options holds: psp or e4e, or the name of its class."
_INPUT_SIZE = "The size of the images that an encoder was trained on, such as 256x192."
_CLASS = "The class that a class-conditional generator is to render."

Files = Annotated[
    list[Path], typer.Argument(metavar="FILES", show_default=False, help="Checkpoints: .pt, .pth, .pkl, .safetensors.")
]


@flatten_options
def convert(
    result: ResultOptions,
    console: Console,
    files: Files,
    precision: Annotated[
        Literal["float32", "float16", "bfloat16"],
        _about_model("--precision", help="Numbers on disk; float16 halves the size and rounds the weights."),
    ] = "float32",
    encoder_type: Annotated[
        str | None, _about_model("--encoder-type", metavar="TYPE", show_default="as the file says", help=_ENCODER_TYPE)
    ] = None,
    input_size: Annotated[
        str | None, _about_model("--input-size", metavar="WxH", show_default="as the file says", help=_INPUT_SIZE)
    ] = None,
    label: Annotated[int | None, _about_model("--class", metavar="N", show_default=False, help=_CLASS)] = None,
    attribute: Annotated[str, _about_model("--attribute", metavar="NAME", show_default=False, help=_ATTRIBUTE)] = "",
) -> int:
    """Make a model of checkpoints from other projects. Nothing in them is executed.

    Style Transformer, LCNet, pSp, e4e, ReStyle, rosinality's and NVIDIA's StyleGAN2 (of TensorFlow, too) and ArcFace
    are recognised by their tensors; InterFaceGAN's and GANSpace's directions become a file of directions.

    [bold]Examples[/]
    stedit weights convert style_transformer_ffhq.pt -o my-face
    stedit weights convert inversion.pt classifier.pt editor.pt -o my-face
    stedit weights convert model_ir_se50.pth -o my-face              [dim]# added to the model[/]
    stedit weights convert stylegan2-ffhq.pkl e4e_ffhq_encode.pt -o e4e
    stedit weights convert age.pt smile.pt -o directions.safetensors
    """
    from stedit.checkpoints.conversion import find_target, hints_of, read_checkpoints, save_directions

    result.facts()  # what is wrong with them is said before anything is read
    target = find_target(result.output)
    sources, found = read_checkpoints(
        files, precision=precision, attribute=attribute, hints=hints_of(encoder_type, input_size, label)
    )
    for source in sources:
        console.verbose_note(f"{source.label}: {', '.join(source.parts)}")
    if not found:
        return save_model(sources, target, result, console)
    save_directions(result.output, found, overwrite=result.overwrite)
    shapes = {name: list(tensor.shape) for name, tensor in found.items()}
    console.emit({"path": str(result.output), "directions": shapes}, str(result.output))
    console.note(f"{len(found)} directions")
    return DONE
