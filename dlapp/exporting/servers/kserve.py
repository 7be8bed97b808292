"""KServe: an InferenceService, which starts one of the other servers in a cluster.

https://kserve.github.io/website/docs/reference/crd-api
"""

from pathlib import Path
from typing import Any

import yaml

from dlapp.exporting.servers import triton
from dlapp.exporting.servers.names import service_name
from dlapp.files import write_text

MANIFEST = "kserve/inference_service.yaml"
# layout: the part of the bundle that its server reads, and how KServe is told
_SERVED: dict[str, tuple[str, dict[str, Any]]] = {
    "tfserving": (
        "saved_model",
        {
            "modelFormat": {"name": "tensorflow", "version": "2"},
            "runtime": "kserve-tensorflow-serving",
            "runtimeVersion": "2.19.1",  # KServe's own is years older than the SavedModel
            "protocolVersion": "v1",
        },
    ),
    "triton": (
        "triton",
        {
            "modelFormat": {"name": "triton", "version": "2"},  # a whole repository, of whatever formats
            "runtime": "kserve-tritonserver",
            "runtimeVersion": f"{triton.RELEASE}-py3",
            "protocolVersion": "v2",
        },
    ),
}
_COMMENT = """\
# kubectl apply -f {manifest}
# storageUri is the folder {part}/ of this bundle where the cluster finds it (pvc://, s3://, gs://, https://);
# {change}.
"""


def write(bundle: Path, name: str, storage_uri: str | None, *, served_by: str) -> None:
    """Writes ``kserve/inference_service.yaml``.

    Args:
        bundle: a folder.
        name: of the bundle.
        storage_uri: where its folder lies in the storage of the cluster; a claim called ``models`` where it is None.
        served_by: ``tfserving`` or ``triton``.
    """
    part, model = _SERVED[served_by]
    root = f"pvc://models/{name}" if storage_uri is None else storage_uri.rstrip("/")
    manifest: dict[str, Any] = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": service_name(name)},
        "spec": {"predictor": {"model": {**model, "storageUri": f"{root}/{part}"}}},
    }
    change = "copy it there, or change the line" if storage_uri else "it is an example: change it, or use --storage-uri"
    comment = _COMMENT.format(manifest=MANIFEST, part=part, change=change)
    (bundle / MANIFEST).parent.mkdir()
    write_text(bundle / MANIFEST, comment + yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=1000))
