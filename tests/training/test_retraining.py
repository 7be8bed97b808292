"""Copies that are trained again: what their recipes say, and in which precision they are measured."""

import numpy as np

from dlapp.recipe import Recipe
from dlapp.training import answering, retraining
from dlapp.training.preparing import load_data
from dlapp.training.retraining import learning_curve, split_by_retraining


def test_every_stage_of_a_smaller_part_is_trained_for_longer(rows, monkeypatch):
    training = {"epochs": 6, "early_stopping": 4}
    values = {"architecture": "softmax_regression", "data": rows, "training": training}
    data = load_data(Recipe.from_values(values))
    recipe = Recipe.from_values(values | {"transfer": {"model": "base", "unfreeze": 1, "epochs": 2}})
    seen = []

    def trained(wanted, data, parts):
        seen.append((len(parts["train"]), wanted))
        return {name: np.zeros(len(part)) for name, part in parts.items()}

    monkeypatch.setattr(retraining, "_errors_after_training", trained)
    learning_curve(recipe, data, seeds=2, tell=lambda _: None)
    whole = len(data.train)
    assert [wanted.training.seed for _, wanted in seen] == [0] * 5 + [1] * 5
    for size, wanted in seen:
        found = (wanted.training.epochs, wanted.training.early_stopping, wanted.transfer.epochs)
        assert found == tuple(round(epochs * min(whole / size, 10)) for epochs in (6, 4, 2))
    assert seen[4][1].transfer == recipe.transfer, "all of train is trained as the recipe says"


def test_a_copy_is_measured_in_float32(rows, monkeypatch):
    training = {"epochs": 1, "mixed_precision": True}
    recipe = Recipe.from_values({"architecture": "shallow_network", "data": rows, "training": training})
    networks = []

    def look(network, *args):
        networks.append(network)
        return answering.answer(network, *args)

    monkeypatch.setattr(retraining, "answer", look)
    split_by_retraining(recipe, load_data(recipe))
    assert {layer.compute_dtype for network in networks for layer in network.layers} == {"float32"}
