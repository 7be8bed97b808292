"""``dlapp diagnose`` calls what was built into the data by its name."""

import json
import shlex

import numpy as np
import pytest

from dlapp.cli import main
from dlapp.recipe import Recipe


def blobs(count, *, seed, shift=0.0, spread=1.0, columns=8):
    random = np.random.default_rng(seed)
    targets = np.arange(count) % 2
    return random.normal(0, spread, (count, columns)) + targets[:, None] * 2.0 + shift, targets


@pytest.fixture
def train(dlapp):
    def run(name, *options):
        status, _, err = dlapp("train", *options, "--name", name)
        assert status == 0, err

    return run


def diagnosed(dlapp, name, *options):
    status, out, err = dlapp("diagnose", name, *options, "--json")
    assert status == 0, err
    return json.loads(out)


def verdicts(found):
    return {finding["name"]: finding["verdict"] for finding in found["findings"]}


def test_a_network_that_cannot_fit_has_bias(dlapp, workplace, train):
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (1200, 2))
    np.savez("xor.npz", x=x, y=(x[:, 0] * x[:, 1] > 0).astype(int))  # no straight line separates it
    train("line", "softmax_regression", "--data", "npz:xor.npz", "--epochs", 5)
    found = diagnosed(dlapp, "line")
    assert verdicts(found)["avoidable_bias"] == "yes"
    assert found["headline"].startswith("Verdict: high bias (underfitting)")
    assert "above a Bayes error taken as 0 (" in found["findings"][0]["sentence"]
    assert {advice["against"] for advice in found["next"]} == {"bias"}
    assert json.loads((workplace / "models/line/diagnosis.json").read_text()) == found
    assert "high bias (underfitting)" in (workplace / "models/line/report.html").read_text()
    assert verdicts(diagnosed(dlapp, "line", "--bayes-error", "0.6"))["avoidable_bias"] == "no"


def test_what_was_learnt_by_heart_has_variance_and_the_advice_is_a_command(dlapp, workplace, train, monkeypatch):
    random = np.random.default_rng(0)
    np.savez("noise.npz", x=random.normal(size=(500, 60)), y=random.integers(0, 2, 500))
    settings = ["--set", "architecture_options.units=[256]", "--set", "training.early_stopping=0"]
    train("heart", "deep_network", "--data", "npz:noise.npz", "--epochs", 15, "--learning-rate", 0.01, *settings)
    found = diagnosed(dlapp, "heart")
    assert "overfitting" in found["headline"]
    assert "yes" in (verdicts(found)["variance"], verdicts(found)["overtraining"])
    assert found["next"][0]["against"] == "variance"
    monkeypatch.setattr("sys.argv", shlex.split(found["next"][0]["command"]))
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert Recipe.read(workplace / "models/heart-dropout/recipe.toml").training.dropout == 0.4


def test_a_poisoned_dev_is_called_a_mismatch(dlapp, workplace, train):
    x, y = blobs(400, seed=0)
    dev_x, dev_y = blobs(120, seed=1, shift=3.0)
    test_x, test_y = blobs(120, seed=2)
    np.savez("poison.npz", x_train=x, y_train=y, x_dev=dev_x, y_dev=dev_y, x_test=test_x, y_test=test_y)
    train("poisoned", "softmax_regression", "--data", "npz:poison.npz", "--epochs", 10, "--learning-rate", 0.05)
    found = diagnosed(dlapp, "poisoned")
    assert "data mismatch (train and dev" in found["headline"]
    assert verdicts(found)["mismatch"] == "yes"
    assert verdicts(found)["variance"] != "yes", "train-dev is of train's kind"
    assert [pair["verdict"] for pair in found["splits"]] == ["yes", "yes"]
    assert found["next"][0]["command"].endswith("--set split.own=false --name poisoned-redrawn")
    more_x, more_y = blobs(120, seed=3)
    more_x[:5] = x[:5]
    np.savez("clean.npz", x_train=x, y_train=y, x_dev=test_x, y_dev=test_y, x_test=more_x, y_test=more_y)
    train("clean", "softmax_regression", "--data", "npz:clean.npz", "--epochs", 10, "--learning-rate", 0.05)
    found = diagnosed(dlapp, "clean")
    assert [pair["verdict"] for pair in found["splits"]] == ["no", "no"]
    leak = "5 groups of the same or nearly the same examples lie in more than one split and flatter the error on test"
    assert found["repeats"][0].startswith(leak)


def test_sixty_digits_are_too_few_to_tell(dlapp, workplace, train):
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = np.concatenate([np.flatnonzero(digits.target == k)[:6] for k in range(10)])
    np.savez("sixty.npz", x=(digits.images[chosen] * 15.9).astype(np.uint8), y=digits.target[chosen])
    train("sixty", "lenet5", "--data", "npz:sixty.npz", "--epochs", 20)
    found = diagnosed(dlapp, "sixty")
    assert "ot enough examples to tell" in found["headline"]
    assert verdicts(found)["variance"] == "cannot tell"
    assert verdicts(found)["dev_overfitting"] == "cannot tell"


def test_planted_mistakes_are_found(dlapp, workplace, train):
    lines = ["size,district,kind"]
    random = np.random.default_rng(0)
    for number in range(600):
        kind, district = number % 2, random.choice(["north", "south", "west"])
        size = random.normal(3 * kind, 1) if district != "west" else random.normal(0, 1)  # west says nothing
        lines.append(f"{size:.4f},{district},{'large' if kind else 'small'}")
    twice = lines[1].rpartition(",")[0]
    lines += [f"{twice},small", f"{twice},large"]
    (workplace / "houses.csv").write_text("\n".join(lines))
    train("houses", "deep_network", "--data", "csv:houses.csv?target=kind", "--epochs", 15, "--batch-size", 16)
    found = diagnosed(dlapp, "houses")
    assert ("district", "west") in {(segment["name"], segment["value"]) for segment in found["segments"]}
    assert any("same examples has different labels" in line for line in found["repeats"])
    assert found["confused"][0]["count"] > 0


def test_labels_that_were_flipped_are_suspected(dlapp, workplace, train):
    x, y = blobs(400, seed=0, spread=0.7)
    flipped = np.random.default_rng(5).permutation(400)[:12]
    wrong = y.copy()
    wrong[flipped] = 1 - wrong[flipped]
    np.savez("flipped.npz", x=x, y=wrong)
    train("flipped", "softmax_regression", "--data", "npz:flipped.npz", "--epochs", 20, "--learning-rate", 0.05)
    found = diagnosed(dlapp, "flipped")
    assert 9 <= len(found["labels"]) <= 15
    assert {(label["given"], label["suggested"]) for label in found["labels"]} <= {("0", "1"), ("1", "0")}


@pytest.mark.slow
def test_the_learning_curve_of_a_regression(dlapp, workplace, train):
    train("line", "linear_unit", "--data", "diabetes", "--epochs", 8, "--learning-rate", 0.05, "--batch-size", 32)
    found = diagnosed(dlapp, "line", "--learning-curve", "--seeds", "1")
    curve = found["learning_curve"]
    assert curve["sizes"] == [31, 62, 124, 217, 310]
    assert np.shape(curve["train"]) == np.shape(curve["dev"]) == (1, 5)
    assert np.mean(curve["dev"], axis=0)[-1] < np.mean(curve["dev"], axis=0)[0]
    assert (
        "wice the examples" in curve["extrapolation"]["sentence"]
        or "does not tell" in curve["extrapolation"]["sentence"]
    )
    assert "number of training examples" in (workplace / "models/line/report.html").read_text()
    status, out, _ = dlapp("diagnose", "line")
    assert status == 0
    assert out.startswith("Verdict: ")
    assert out.splitlines()[-1].startswith("Next: dlapp ")


def test_a_share_of_wrong_answers_is_below_one(dlapp, copy_of_trained):
    status, _, err = dlapp("diagnose", "stripes", "--bayes-error", "2")
    assert status == 2
    assert "--bayes-error is a share of wrong answers, 0.02 for 2 %; got 2" in err


def test_data_that_changed_are_refused(dlapp, copy_of_trained):
    (copy_of_trained / "pictures/above/00.png").unlink()
    status, _, err = dlapp("diagnose", "stripes")
    assert status == 2
    assert "folder:pictures has changed since models/stripes was trained" in err


def test_pictures_are_diagnosed(dlapp, copy_of_trained):
    found = diagnosed(dlapp, "stripes")
    assert found["errors"]["train"]["examples"] == 56
    assert set(found["errors"]) == {"train", "dev", "test"}
