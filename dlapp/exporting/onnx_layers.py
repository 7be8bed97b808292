"""An ONNX file as the layers of the network that it was made of."""

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx

from dlapp.files import sha256
from dlapp.inference.bundle import ONNX, SIGNATURE
from dlapp.signature import Signature, Tensor

PREPROCESSING = "preprocessing"  # what stands before the first layer
_SCOPE = re.compile(r"([^/]+)/([^/]+?)(_\d+)?/")  # network and layer, each with the number that tf.name_scope adds
_WEIGHTED = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_KINDS: dict[int, str] = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.INT32: "int32"}


class LayeredGraph:
    """Which tensors are outputs of layers, and what they depend on.

    Attributes:
        outputs: of the graph.
        tensors: that can be looked at, each behind all that it depends on.
    """

    def __init__(self, path: Path) -> None:
        self._proto = onnx.load(path)
        graph = self._proto.graph
        self.outputs = [output.name for output in graph.output]
        known = onnx.shape_inference.infer_shapes(self._proto).graph
        types = {one.name: one.type.tensor_type for one in (*known.value_info, *known.output)}
        self._kinds = {name: one.elem_type for name, one in types.items()}
        self._axes = {name: len(one.shape.dim) for name, one in types.items() if one.HasField("shape")}
        self._sizes = {one.name: int(np.prod(one.dims)) for one in graph.initializer}
        self._floats = {one.name for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT}
        self._uses = Counter(name for node in graph.node for name in node.input)
        self._makers = {name: node for node in graph.node for name in node.output if name}
        self.tensors = [
            name
            for name in self._makers
            if self._kinds.get(name) in _KINDS and (self._uses[name] or name in self.outputs)
        ]
        names = (*(node.name for node in graph.node), *self._sizes)
        networks = Counter(found[1] for found in map(_SCOPE.match, names) if found)
        self._network = networks.most_common(1)[0][0] if networks else ""

    def layers(self, tensor: str) -> tuple[str, ...]:
        """The layers that the operator of a tensor computes: a convolution can hold the normalization behind it.

        tf2onnx leaves such a convolution without a scope of its own, but not its weights.
        """
        node = self._makers[tensor]
        own = next(filter(None, map(self._layer, (node.name, *node.output))), "")
        weights = node.input if not own else node.input[1:2] if node.op_type in _WEIGHTED else ()
        # equal constants are kept once, under the name of one of the layers that use them
        sure = [name for name in weights if self._sizes.get(name, 0) > 1 and self._uses[name] == 1]
        return tuple(dict.fromkeys(filter(None, (*map(self._layer, sure), own))))

    def _layer(self, name: str) -> str:
        found = _SCOPE.match(name)
        return found[2] if found and found[1] == self._network else ""

    def weighted(self, tensor: str) -> bool:
        """Whether its operator has weights, which may be wrong."""
        return any(self._sizes.get(name, 0) > 1 and name in self._floats for name in self._makers[tensor].input)

    @functools.cached_property
    def ends(self) -> dict[str, str]:
        """The last tensor of each layer, in the order of the graph; that of the preprocessing first."""
        last = {}
        for tensor in self.tensors:
            for layer in self.layers(tensor)[-1:]:
                last.pop(layer, None)
                last[layer] = tensor
        first = next((tensor for tensor in self.tensors if self.layers(tensor)), None)
        before = [] if first is None else [name for name in self._makers[first].input if name in self.tensors]
        return {PREPROCESSING: before[0], **last} if before else last

    def name(self, tensor: str) -> tuple[str, ...]:
        """Its layers, the preprocessing, or nothing where it is neither."""
        return self.layers(tensor) or ((PREPROCESSING,) if self.ends.get(PREPROCESSING) == tensor else ())

    def node(self, tensor: str) -> tuple[str, str]:
        """The name of the node that gives it, and its operator."""
        return self._makers[tensor].name, self._makers[tensor].op_type

    def before(self, tensor: str) -> frozenset[str]:
        """All that it depends on."""
        return self._before[tensor]

    @functools.cached_property
    def _before(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for name, node in self._makers.items():
            given = [one for one in node.input if one in found]
            found[name] = frozenset(given).union(*(found[one] for one in given))
        return found

    def between(self, tensor: str, agreeing: Collection[str]) -> list[str]:
        """What leads to a tensor, itself the last, and to none of those that agree."""
        known = frozenset(agreeing).union(*map(self.before, agreeing))
        return [name for name in self._makers if name in {tensor, *self.before(tensor)} - known]

    def nearest(self, tensor: str, agreeing: Collection[str]) -> list[str]:
        """Those among ``agreeing`` that a tensor depends on without another in between."""
        found = [name for name in agreeing if name in self.before(tensor)]
        beyond = frozenset().union(*map(self.before, found))
        return [name for name in found if name not in beyond]

    def write(self, folder: Path, tensors: Iterable[str], signature: Signature, inputs: Sequence[Tensor]) -> "Copy":
        """A bundle of a file that gives these tensors too.

        Args:
            folder: empty.
            tensors: beside the outputs of the graph.
            signature: of the bundle.
            inputs: of the graph.
        """
        proto = onnx.ModelProto()
        proto.CopyFrom(self._proto)
        # names of a plain form: some runtimes read more into others
        names = {name: f"tensor{number}" for number, name in enumerate(tensors) if name not in self.outputs}
        for node in proto.graph.node:
            for given in (node.input, node.output):
                for place, name in enumerate(given):
                    given[place] = names.get(name, name)
        for told in proto.graph.value_info:
            told.name = names.get(told.name, told.name)
        for old, new in names.items():  # OpenCV wants to know how many axes there are
            axes = [None] * self._axes[old] if old in self._axes else None
            proto.graph.output.append(onnx.helper.make_tensor_value_info(new, self._kinds[old], axes))
        names = {name: name for name in self.outputs} | names  # in their order, which tract goes by
        told = [Tensor(new, _KINDS.get(self._kinds[old], "float32"), ()) for old, new in names.items()]
        signature = dataclasses.replace(
            signature, inputs=tuple(inputs), outputs=tuple(told), windows=None, detection=None, step=None, files={}
        )
        del proto.metadata_props[:]
        onnx.helper.set_model_props(proto, signature.metadata())
        onnx.save(proto, folder / ONNX)
        signature = dataclasses.replace(signature, files={ONNX: sha256(folder / ONNX)})
        signature.write(folder / SIGNATURE)
        return Copy(folder, signature, names)


@dataclasses.dataclass(frozen=True)
class Copy:
    """A bundle that gives more tensors than another.

    Attributes:
        folder: where it lies.
        signature: of it; without thresholds and steps.
        names: of the outputs, by those they had.
    """

    folder: Path
    signature: Signature
    names: dict[str, str]
