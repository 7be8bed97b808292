// A dlapp bundle in ONNX Runtime Web: what it takes, and what it says.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs"

const FORMAT = 4
const TASKS = ["classification", "regression", "localization", "detection"]
ort.env.wasm.numThreads = 1 // more would want the server to isolate the page

/** The signature, once it is known that this page can run it, and the network. */
export async function openBundle(signature, model) {
  if (!TASKS.includes(signature.task) || signature.inputs[0].name === "tokens")
    throw Error(`The bundle is for ${signature.task}, or for texts; this page takes pictures and rows.`)
  if (!(signature.format <= FORMAT))
    throw Error(`The bundle has format ${signature.format}; this page reads up to ${FORMAT}.`)
  if (signature.windows) throw Error("The bundle slides over pictures and gives a map, which this page does not show.")
  const session = await ort.InferenceSession.create(model, { logSeverityLevel: 3 }) // inputs may have defaults
  return { signature, session }
}

/**
 * What the network says of an input: the shares of classes or the objects, largest first, a value, and the lines
 * that the other clients print.
 */
export async function ask({ signature, session }, name, tensor) {
  const { task, labels, target, inputs } = signature
  const { value, probabilities, boxes, scores, classes, count } = await session.run({ [inputs[0].name]: tensor })
  if (task === "regression") {
    const text = `${+value.data[0].toPrecision(6)}`
    return { found: [], value: `${target.name}: ${text}`, lines: [`${name}\t${text}`] }
  }
  if (task === "classification") {
    const found = [...probabilities.data].map((share, index) => ({ share, index })).sort((a, b) => b.share - a.share)
    return { found, value: "", lines: [`${name}\t${labels[found[0].index]}\t${found[0].share.toFixed(4)}`] }
  }
  const found = Array.from({ length: count.data[0] }, (_, k) => ({
    index: classes.data[k], share: scores.data[k], box: [...boxes.data.subarray(4 * k, 4 * k + 4)],
  }))
  const lines = found.map(({ index, share, box }) =>
    [name, labels[index], share.toFixed(4), ...box.map((corner) => corner.toFixed(2))].join("\t"))
  return { found, value: found.length ? "" : "Nothing was found.", lines }
}

/** (1, height, width, channels) uint8 of a picture or canvas; what is transparent lies on white. */
export function pixels({ signature }, source, width, height) {
  const { channels } = signature.preprocessing
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })
  Object.assign(context, { imageSmoothingQuality: "high", fillStyle: "white" })
  if (channels !== 4) context.fillRect(0, 0, width, height)
  context.drawImage(source, 0, 0, width, height)
  const { data } = context.getImageData(0, 0, width, height)
  const values = new Uint8Array(width * height * channels)
  for (let from = 0, to = 0; from < data.length; from += 4, to += channels) {
    if (channels > 1) values.set(data.subarray(from, from + channels), to)
    else values[to] = (19595 * data[from] + 38470 * data[from + 1] + 7471 * data[from + 2] + 32768) >> 16 // ITU-R 601
  }
  return new ort.Tensor("uint8", values, [1, height, width, channels])
}

/** (1, columns) float32: numbers, the index of a category, -1 for any other, NaN where a cell is missing. */
export const row = (values) => new ort.Tensor("float32", values, [1, values.length])
