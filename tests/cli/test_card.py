"""``dlapp card``: what the other verbs measured, on one page."""

import json
import shutil

import numpy as np
import pytest

from dlapp.reporting.model_card import number


def test_a_card_tells_what_was_measured_and_names_what_was_not(dlapp, copy_of_trained):
    status, out, err = dlapp("card", "stripes", "--data-license", "CC0")
    assert status == 0, err
    card = (copy_of_trained / "models/stripes/README.md").read_text()
    metrics = json.loads((copy_of_trained / "models/stripes/metrics.json").read_text())
    low, high = metrics["test"]["accuracy_interval"]
    assert (
        f"| test accuracy | {metrics['test']['accuracy']:.4f} (95 %: {low:.4f} to {high:.4f}) on 12 examples |" in card
    )
    assert "| parameters | 257 |" in card  # 16 x 16 weights and a bias
    assert "| multiply-adds of one input | 256 |" in card
    assert "Origin and license: CC0." in card
    assert "Not measured: `dlapp diagnose stripes`." in card
    assert "| onnxruntime | " in card
    assert "Next: dlapp diagnose stripes, and dlapp card again" in out
    for name in ("README.md", "results.json", "curves.svg", "confusion.svg"):
        assert f"models/stripes/{name}" in out
        assert (copy_of_trained / "models/stripes" / name).is_file()

    assert dlapp("diagnose", "stripes")[0] == 0
    status, out, err = dlapp("card", "stripes", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["data"]["license"] is None, "what was not said again is not known"
    diagnosis = json.loads((copy_of_trained / "models/stripes/diagnosis.json").read_text())
    card = (copy_of_trained / "models/stripes/README.md").read_text()
    assert diagnosis["headline"] in card
    assert all(f"- {finding['sentence']}\n" in card for finding in diagnosis["findings"])
    assert all(advice["command"] in card for advice in diagnosis["next"][:3])
    assert (copy_of_trained / "models/stripes/errors.svg").read_text().startswith('<svg style="background: white" ')
    assert "--data-license TEXT` says it" in card


def test_results_alone_are_enough_for_the_card(dlapp, copy_of_trained):
    assert dlapp("card", "stripes")[0] == 0
    kept = copy_of_trained / "models/kept"
    kept.mkdir()
    for name in ("recipe.toml", "results.json"):
        shutil.copy(copy_of_trained / "models/stripes" / name, kept / name)
    status, out, err = dlapp("card", "kept")
    assert status == 0, err
    assert (kept / "README.md").read_text() == (copy_of_trained / "models/stripes/README.md").read_text()
    assert out.startswith("Wrote models/kept/README.md\n")
    status, _, err = dlapp("card", "kept", "--data-license", "CC0")
    assert (status, "models/kept holds results alone" in err) == (2, True)


def test_a_bundle_of_another_run_is_not_told(dlapp, copy_of_trained):
    assert dlapp("train", "models/stripes/recipe.toml", "--name", "stripes", "--overwrite", "--seed", 1)[0] == 0
    assert dlapp("card", "stripes")[0] == 0
    found = json.loads((copy_of_trained / "models/stripes/results.json").read_text())
    assert found["parity"] is None, "the bundle was exported from the weights before"
    status, _, err = dlapp("card", "stripes", "--bundle", "stripes")
    assert (status, "export/stripes was not exported from models/stripes as it is now" in err) == (2, True)


def test_what_a_person_wrote_stays(dlapp, copy_of_trained):
    readme = copy_of_trained / "models/stripes/README.md"
    readme.write_text("# Mine\n")
    status, _, err = dlapp("card", "stripes")
    assert (status, "was not written by dlapp card: move it away first" in err) == (2, True)
    assert readme.read_text() == "# Mine\n"


def test_a_run_that_goes_on_forgets_what_was_measured(dlapp, copy_of_trained):
    assert dlapp("diagnose", "stripes")[0] == 0
    assert dlapp("card", "stripes")[0] == 0
    assert dlapp("train", "models/stripes/recipe.toml", "--resume", "--epochs", 4)[0] == 0
    assert not (copy_of_trained / "models/stripes/diagnosis.json").exists()
    assert dlapp("card", "stripes")[0] == 0
    found = json.loads((copy_of_trained / "models/stripes/results.json").read_text())
    assert (found["training"]["epochs"], found["diagnosis"], found["parity"]) == (4, None, None)


@pytest.mark.parametrize("damage", ["{", '{"name": "x"}', '{"format": 99}'])
def test_results_that_cannot_be_read_are_an_error(dlapp, copy_of_trained, damage):
    kept = copy_of_trained / "models/kept"
    kept.mkdir()
    shutil.copy(copy_of_trained / "models/stripes/recipe.toml", kept)
    (kept / "results.json").write_text(damage)
    status, _, err = dlapp("card", "kept")
    assert (status, "models/kept/results.json" in err) == (2, True)


def test_a_card_knows_latencies_of_the_exported_file_and_not_of_its_variants(dlapp, copy_of_trained):
    latency = {size: {"median_s": 0.001} for size in ("1", "32")}
    rows = [{"variant": "float32", "runtime": "onnxruntime", "latency": latency, "error": ""}]
    rows += [{**rows[0], "variant": "int8", "latency": {size: {"median_s": 0.9} for size in ("1", "32")}}]
    measured = {"processor": {"name": "P"}, "threads": 1, "input_shape": [16, 16, 3], "results": rows}
    (copy_of_trained / "export/stripes/benchmark.json").write_text(json.dumps(measured))
    assert dlapp("card", "stripes")[0] == 0
    card = (copy_of_trained / "models/stripes/README.md").read_text()
    assert " | 1 | 1 |" in card
    assert "900" not in card


def test_without_a_finished_run_there_is_none(dlapp, copy_of_trained):
    (copy_of_trained / "models/stripes/metrics.json").unlink()
    status, _, err = dlapp("card", "stripes")
    assert status == 2
    assert "is not finished" in err
    assert not (copy_of_trained / "models/stripes/README.md").exists()


def test_a_regression_is_told_in_its_own_unit(dlapp, workplace):
    random = np.random.default_rng(0)
    x = random.uniform(30, 200, (120, 1))
    np.savez("prices.npz", x=x, y=x[:, 0] * 2.5 + random.normal(0, 9, 120))
    assert dlapp("train", "linear_unit", "--data", "npz:prices.npz", "--epochs", 3, "--name", "prices")[0] == 0
    status, _, err = dlapp("card", "prices")
    assert status == 0, err
    card = (workplace / "models/prices/README.md").read_text()
    test = json.loads((workplace / "models/prices/metrics.json").read_text())["test"]
    assert f"| test mean absolute error | {number(test['mean_absolute_error'])} (95 %: " in card
    assert "confusion.svg" not in card
    assert "R\u00b2" in (workplace / "models/prices/curves.svg").read_text(encoding="utf-8")
