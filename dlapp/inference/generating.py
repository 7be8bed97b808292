"""Texts that a language model makes, one token at a time, each for one step of the network."""

from collections.abc import Iterator

import numpy as np

from dlapp import texts
from dlapp.errors import BundleError
from dlapp.inference.bundle import Bundle
from dlapp.inference.decoding import sample

LENGTH = 300  # tokens, where nothing is said


def generate(
    bundle: Bundle,
    prompt: str = "",
    *,
    random: np.random.Generator,
    length: int = LENGTH,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> Iterator[str]:
    """A text that goes on from a prompt, in pieces as they are drawn.

    A model of lines ends by itself; one of running text is begun behind a new line where there is no prompt.

    Args:
        bundle: of a language model.
        prompt: what the text begins with; it is not given back.
        random: draws.
        length: tokens at most, those of the prompt not counted.
        temperature: below 1 the likely becomes likelier; 0 takes the likeliest token each time.
        top_k: draw among that many of the likeliest; None for all.

    Raises:
        BundleError: it is no language model, or nothing tells how a text begins.
    """
    vocabulary = bundle.signature.preprocessing.vocabulary
    if bundle.signature.task != "language_model" or vocabulary is None:
        raise BundleError(f"{bundle.folder} does {bundle.signature.task}; only a language model makes texts: predict.")
    states = bundle.start()
    begin = texts.encode(prompt, vocabulary).tolist()
    if vocabulary.marked:
        begin = begin[:-1]  # without the end
    elif not begin:
        if "\n" not in vocabulary.ids:
            raise BundleError(f"{bundle.folder} knows no beginning of a text: give a prompt.")
        begin = [vocabulary.ids["\n"]]
    *before, last = begin
    for token in before:
        _, states = bundle.step(np.array([token], np.int32), states)
    drawn = sample(
        bundle.step,
        states,
        token=last,
        start=vocabulary.start,
        end=vocabulary.end,
        length=length,
        random=random,
        temperature=temperature,
        top_k=top_k,
    )
    blank = bool(prompt)
    for token in drawn:
        text = vocabulary.tokens[token]
        yield f" {text}" if vocabulary.unit == "word" and blank else text
        blank = True
