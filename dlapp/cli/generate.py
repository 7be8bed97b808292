"""``dlapp generate``: a language model's bundle -> texts, with ONNX Runtime and NumPy alone."""

import argparse
import sys
from collections.abc import Sequence

from dlapp.cli.arguments import at_least_zero, positive

HELP = "Makes texts with the bundle of a language model, token by token; the same seed makes the same."
_MOST_TOLD = 20  # unknown tokens of a prompt


def main(arguments: Sequence[str]) -> int:
    """Runs the verb and gives its exit status."""
    options = _parser().parse_args(arguments)

    import secrets

    import numpy as np

    from dlapp import texts
    from dlapp.cli.console import find_bundle, print_json
    from dlapp.inference.bundle import Bundle
    from dlapp.inference.generating import generate

    bundle = Bundle(find_bundle(options.bundle))
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    random = np.random.default_rng(seed)
    vocabulary = bundle.signature.preprocessing.vocabulary
    unknown = texts.unknown_tokens(options.prompt, vocabulary) if vocabulary is not None else []
    if unknown:
        told = ", ".join(map(repr, unknown[:_MOST_TOLD]))
        print(f"Note: train has no {told}: it counts as unknown.", file=sys.stderr)
    made = []
    for _ in range(options.count):
        pieces = generate(
            bundle,
            options.prompt,
            random=random,
            length=options.length,
            temperature=options.temperature,
            top_k=options.top_k,
        )
        if options.json:
            made.append(options.prompt + "".join(pieces))
            continue
        print(options.prompt, end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=sys.stdout.isatty())
        print()
    if options.json:
        print_json({"bundle": str(bundle.folder), "prompt": options.prompt, "seed": seed, "texts": made})
    elif options.seed is None:
        print(f"The same again: --seed {seed}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    from dlapp.inference.generating import LENGTH

    parser = argparse.ArgumentParser(prog="dlapp generate", description=HELP, allow_abbrev=False)
    parser.add_argument("bundle", metavar="BUNDLE", help="a folder, or its name below export/")
    parser.add_argument("--prompt", metavar="TEXT", default="", help="what the text begins with")
    parser.add_argument("--length", metavar="N", type=positive, default=LENGTH, help=f"tokens at most; {LENGTH}")
    parser.add_argument(
        "--temperature",
        metavar="T",
        type=at_least_zero,
        default=1.0,
        help="1 draws as the model says, less makes the likely likelier, 0 takes the likeliest; 1",
    )
    parser.add_argument("--top-k", metavar="K", type=positive, help="draw among the K likeliest tokens; all")
    parser.add_argument("--count", metavar="N", type=positive, default=1, help="how many texts; 1")
    parser.add_argument("--seed", metavar="N", type=int, help="of the draws; another each time")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser
