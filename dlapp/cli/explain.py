"""``dlapp explain``: where does a network look?"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from dlapp.exporting.explaining import Explainer

_TOP = 3  # classes in the title


def command(
    name: Annotated[
        str, typer.Argument(metavar="BUNDLE|MODEL", help="A folder, or its name below export/ or models/.")
    ],
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="Of any size.")],
    label: Annotated[
        str | None, typer.Option("--class", metavar="LABEL", help="Explain this class instead of the predicted one.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Draw what this layer gives, instead of the first convolution.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw into this file; else PICTURE-explained.png.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Draws where a classifier of pictures looks (Grad-CAM), its first filters, and what a layer makes of it all."""
    from dlapp.cli.console import import_tensorflow, print_json

    import_tensorflow()
    import numpy as np

    from dlapp import pictures
    from dlapp.errors import DlappError, UnknownName
    from dlapp.files import next_free
    from dlapp.reporting.explanation import draw

    folder, explainer = _open(name)
    labels = explainer.signature.labels
    if label is not None and label not in labels:
        raise UnknownName("class", label, labels)
    if label is not None and explainer.feature_layer is None:
        raise DlappError(f"--class needs a convolution, for Grad-CAM; {explainer.name} has none. Leave it out.")
    batch = pictures.read(picture, explainer.signature.preprocessing.channels)[np.newaxis]
    if explainer.feature_layer is None:
        heat, told = None, f"Grad-CAM needs a convolution;\n{explainer.name} has none"
        answers = explainer.probabilities(batch)[0]
    else:
        found = explainer.grad_cam(batch, None if label is None else np.array([labels.index(label)]))
        heat, answers, label = found.maps[0], found.probabilities[0], labels[found.classes[0]]
        rows, columns = heat.shape
        what = "what speaks for" if heat.any() else "nothing here speaks for"
        told = f"{what} {label}\nGrad-CAM at {explainer.feature_layer}, {rows} x {columns}"
    top = [(labels[k], float(answers[k])) for k in np.argsort(-answers, kind="stable")[:_TOP]]
    maps = _maps(explainer, batch, layer)
    path = output or next_free(Path(f"{picture.stem}-explained"), suffix=".png")
    title = f"{folder.name} says {top[0][0]} ({top[0][1]:.4f})"
    if label is not None and label != top[0][0]:
        title += f"; asked for {label} ({float(answers[labels.index(label)]):.4f})"
    draw(path, batch[0], title=title, heat=heat, told=told, maps=list(maps.values()))
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "input": str(picture),
                "top": [{"label": one, "probability": share} for one, share in top],
                "explained": label,
                "layer": explainer.feature_layer,
                "grad_cam": None if heat is None else heat.tolist(),
                "drawn": {kind: {"title": one.title, "maps": len(one.values)} for kind, one in maps.items()},
                "wrote": str(path),
            }
        )
        return
    print(f"{picture}  " + "  ".join(f"{one} {share:.4f}" for one, share in top))
    if heat is None:
        print(f"Note: Grad-CAM needs a convolution; {explainer.name} has none. Its first weights are drawn alone.")
    print(f"Wrote {path}")
    print(f"Next: {_next(name, picture, top, label)}")


def _open(name: str) -> "tuple[Path, Explainer]":
    """The bundle of that name, or else the model."""
    from dlapp.cli.console import find_bundle
    from dlapp.errors import BundleError, UnknownName
    from dlapp.exporting.explaining import Explainer
    from dlapp.training.model_folder import ModelFolder

    try:
        folder = find_bundle(name)
    except BundleError:  # it is a model
        model = ModelFolder.find(name)
        return model.path, Explainer.of_model(model.load_model(), model.read_signature())
    except UnknownName as error:
        known = [found.parent.name for root in ("export", "models") for found in Path(root).glob("*/signature.json")]
        raise UnknownName("bundle or model", name, set(known)) from error
    return folder, Explainer.of_bundle(folder)


def _maps(explainer: "Explainer", batch: "np.ndarray", layer: str | None) -> dict[str, Any]:
    """The filters of the first layer, and the activations of ``layer`` or the first convolution."""
    from dlapp.reporting.explanation import Maps, filter_maps

    drawn = {}
    filters = explainer.filters()
    if filters is not None:
        labels = explainer.signature.labels
        colour = filters.weights.shape[-1] == 3
        of_classes = filters.dense and len(filters.weights) == len(labels)
        drawn["filters"] = Maps(
            f"{'weights' if filters.dense else 'filters'} of {filters.layer}{', zero is grey' if colour else ''}",
            filter_maps(filters.weights),
            labels if of_classes else (),
        )
    layer = layer or explainer.first_convolution
    if layer is not None:
        activations = explainer.activations(batch, layer)[0].transpose(2, 0, 1)
        drawn["activations"] = Maps(f"what {layer} gives", activations)
    return drawn


def _next(name: str, picture: Path, top: list[tuple[str, float]], label: str | None) -> str:
    """The other of the two likeliest classes, or where there are no maps, a network that has them."""
    command = f"dlapp explain {shlex.quote(name)} {shlex.quote(str(picture))}"
    if label is None:
        return "dlapp train lenet5 --data SOURCE"
    return f"{command} --class {shlex.quote(next(one for one, _ in top if one != label))}"
