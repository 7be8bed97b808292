"""Classifiers that help to train a deep network and are gone when it is used.

Szegedy, C. et al. (2014), Going deeper with convolutions, section 5. https://arxiv.org/abs/1409.4842
"""

from typing import Any

import keras


@keras.saving.register_keras_serializable("dlapp")
class WithAuxiliaryClassifiers(keras.Model):
    """A functional model whose outputs beyond the first only help to train it.

    It is compiled, fitted and evaluated like a model with one output and one target. In training the loss of
    each auxiliary output, on the same target, is added with ``WEIGHT``; in inference they are not computed.
    """

    WEIGHT = 0.3

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        outputs = super().call(inputs, training=training, mask=mask)
        return outputs if training else outputs[0]

    def compute_output_spec(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        outputs = super().compute_output_spec(inputs, training=training, mask=mask)
        return outputs if training else outputs[0]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        main, auxiliary = _apart(y_pred)
        loss = super().compute_loss(x, y, main, sample_weight, training)
        penalties = sum(self.losses)  # which Keras adds each time
        for output in auxiliary:
            loss += self.WEIGHT * (super().compute_loss(x, y, output, sample_weight, training) - penalties)
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        return super().compute_metrics(x, y, _apart(y_pred)[0], sample_weight)


def _apart(outputs: Any) -> tuple[Any, list[Any]]:
    """The first output, and those that only training computes."""
    first, *others = outputs if isinstance(outputs, list | tuple) else [outputs]
    return first, others
