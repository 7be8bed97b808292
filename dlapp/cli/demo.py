"""``dlapp demo``: the whole way, on real digits that need no network."""

from typing import Annotated

import typer

_PICTURES = 3


def command(
    seed: Annotated[int, typer.Option(help="Of training.")] = 0,
) -> None:
    """Trains LeNet-5 on handwritten digits, diagnoses it, exports it, proves it and predicts with it."""
    from dlapp.cli.console import import_tensorflow

    import_tensorflow()
    from PIL import Image

    from dlapp.cli.diagnose import diagnose_folder, print_diagnosis
    from dlapp.cli.export import export_folder
    from dlapp.cli.train import train_and_report
    from dlapp.cli.verify import print_parity
    from dlapp.files import next_free, replacing
    from dlapp.inference.bundle import ROOT, Bundle
    from dlapp.inference.predicting import predict
    from dlapp.recipe import Recipe
    from dlapp.training.model_folder import ROOT as MODELS
    from dlapp.training.model_folder import ModelFolder
    from dlapp.training.preparing import load_data

    recipe = Recipe.from_values(
        {
            "architecture": "lenet5",
            "data": "digits",
            "preprocessing": {"augment": {"shift": 0.1}},
            "training": {"seed": seed},
        }
    )
    folder = ModelFolder(next_free(MODELS / "demo"))
    name = folder.path.name
    print("1. Train LeNet-5 (LeCun et al. 1998) on 8 x 8 digits, resized to the 32 x 32 that it was made for.")
    train_and_report(recipe, folder)
    test = folder.read_metrics()["test"]
    print(f"   test accuracy {test['accuracy']:.4f} on {test['examples']} digits that it has never seen\n")

    print("2. Is it good, and what next?")
    print_diagnosis(diagnose_folder(folder))

    print("\n3. Export, and prove that every runtime computes the same.")
    bundle = next_free(ROOT / name)
    print_parity(export_folder(folder, bundle).to_dict())

    print(f"\n4. Predict {_PICTURES} test digits with the ONNX file.")
    data = load_data(recipe)
    pictures = []
    for index in range(_PICTURES):
        path = folder.path / f"digit{index}-is-{data.labels[data.test.targets[index]]}.png"
        with replacing(path) as beside:
            Image.fromarray(data.test.read(index)[..., 0]).save(beside)
        pictures.append(path)
    for prediction in predict(Bundle(bundle), pictures, top=2):
        print(f"   {prediction.input}  " + "  ".join(f"{label} {share:.4f}" for label, share in prediction.top))

    print(f"\nReport: {folder.report}\nBundle: {bundle}\n\nNext:")
    print(f"  dlapp predict {bundle.name} {folder.path} --top 3")
    print(f"  dlapp evaluate {name}")
    print("  dlapp train lenet5 --data folder:PATH/TO/YOUR/PICTURES")
