// Runs a dlapp bundle: node client.mjs BUNDLE picture.png|rows.csv ...
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as ort from "onnxruntime-node"
import sharp from "sharp"

const FORMAT = 4
const TASKS = ["classification", "regression", "localization", "detection"]
const MISSING = new Set("|?|#N/A|#N/A N/A|#NA|-NaN|-nan|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null".split("|"))
const LARGEST = 3.4028234663852886e38 // that float32 holds

/** What signature.json says of a bundle that this client can run. */
function readSignature(path) {
  const signature = JSON.parse(readFileSync(path, "utf8"))
  if (!TASKS.includes(signature.task) || signature.inputs[0].name === "tokens")
    throw Error(`${path} is for ${signature.task}, or for texts; this client takes pictures and rows.`)
  if (!(signature.format <= FORMAT))
    throw Error(`${path} has format ${signature.format}; this client reads up to ${FORMAT}.`)
  if (signature.windows) throw Error(`${path} slides over pictures and gives a map, which this client does not print.`)
  return signature
}

/** A tensor of (1, height, width, channels) uint8, upright; what is transparent lies on white. */
async function readPicture(path, channels) {
  const picture = sharp(path, { failOn: "error", ignoreIcc: true })
  const reading = picture.metadata().then(({ depth }) => {
    if (depth !== "uchar") throw Error("it has more than 8 bits: save it with 8.")
    return picture.autoOrient().raw().toBuffer({ resolveWithObject: true })
  })
  const { data, info } = await reading.catch((error) => { throw Error(`${path} cannot be read: ${error.message}`) })
  const pixels = new Uint8Array(info.width * info.height * channels)
  for (let from = 0, to = 0; from < data.length; from += info.channels, to += channels) {
    let [r, g, b, a] = data.subarray(from, from + info.channels)
    if (channels !== 4) [r, g, b] = [r, g, b].map((value) => onWhite(value, a ?? 255))
    const grey = (19595 * r + 38470 * g + 7471 * b + 32768) >> 16 // the luma of ITU-R 601, as Pillow rounds it
    pixels.set(channels === 1 ? [grey] : [r, g, b, a ?? 255].slice(0, channels), to)
  }
  return new ort.Tensor("uint8", pixels, [1, info.height, info.width, channels])
}

const onWhite = (value, alpha) => Math.round((value * alpha + 255 * (255 - alpha)) / 255)

/** Name and tensor of (1, columns) float32 of every row of a CSV file. */
function* readRows(path, { columns, layout, mean }) {
  const delimiter = layout?.delimiter ?? ","
  const rows = split(path, readFileSync(path, "utf8"), delimiter)
  if (!rows.length) throw Error(`${path} is empty.`)
  const wanted = columns.length ? columns : mean.map(() => ({ name: "", categories: null }))
  const [hasHeader, places] = findColumns(path, rows[0].cells, wanted, layout)
  for (const { line, cells } of rows.slice(Number(hasHeader))) {
    if (cells.length !== rows[0].cells.length)
      throw Error(`line ${line} of ${path} has ${cells.length} cells; the first row has ${rows[0].cells.length}.`)
    const values = wanted.map(({ categories }, k) => {
      const value = encode(cells[places[k]], categories, delimiter)
      if (value === null || (Number.isNaN(value) && !columns.length))
        throw Error(`line ${line} of ${path}: '${cells[places[k]]}' must be a number.`)
      return value
    })
    yield [`${path}:${line}`, new ort.Tensor("float32", values, [1, values.length])]
  }
}

/** The rows of a CSV file that are not blank: the line where each begins, and its cells. */
function split(path, text, delimiter) {
  const rows = []
  let [line, begins, cells, cell, quoted] = [1, 1, [], "", false]
  text = text.replace(/^\ufeff/, "").replace(/\r\n?/g, "\n").replace(/\n?$/, "\n")
  for (let k = 0; k < text.length; k++) {
    const letter = text[k]
    line += letter === "\n"
    if (letter === '"' && quoted && text[k + 1] === '"') cell += text[k++]
    else if (letter === '"' && (quoted || !cell)) quoted = !quoted
    else if (quoted || (letter !== delimiter && letter !== "\n")) cell += letter
    else {
      cells.push(cell.trim())
      cell = ""
      if (letter !== "\n") continue
      if (cells.some(Boolean)) rows.push({ line: begins, cells })
      cells = []
      begins = line
    }
  }
  if (quoted) throw Error(`${path}: a quote in the row that begins in line ${begins} is never closed.`)
  return rows
}

/** Whether the first row is a header, and where each column stands. */
function findColumns(path, first, columns, layout) {
  const names = columns.map(({ name }) => name)
  if (layout && names.every((name) => first.includes(name))) return [true, names.map((name) => first.indexOf(name))]
  if (layout?.header) throw Error(`the first row of ${path} must name the columns ${names.join(", ")}.`)
  if (first.length === columns.length)
    return [!layout && first.some((cell) => encode(cell, null, ",") === null), [...names.keys()]]
  for (const given of layout ? [layout.names, layout.names.filter((name) => name !== layout.target)] : [])
    if (first.length === given.length) return [false, names.map((name) => given.indexOf(name))]
  throw Error(`${path} has ${first.length} columns; the bundle takes ${columns.length}.`)
}

/** A cell as the network takes it: NaN where it is missing, null where it should be a number and is none. */
function encode(cell, categories, delimiter) {
  if (MISSING.has(cell)) return NaN
  if (!categories) return number(cell, delimiter)
  if (categories.includes(cell)) return categories.indexOf(cell)
  const value = number(cell, ",") // a column with a gap comes as 1.0 where another has 1
  return value === null ? -1 : categories.findIndex((name) => number(name, ",") === value)
}

/** A finite number, or null; beside another delimiter the comma may be the decimal point. */
function number(cell, delimiter) {
  if (delimiter !== "," && !cell.includes(".")) cell = cell.replace(/^([^,]*),([^,]*)$/, "$1.$2")
  const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(cell) ? Number(cell) : NaN
  return Math.abs(value) <= LARGEST ? value : null
}

/** What is printed of one picture or row. */
function lines({ task, labels }, { value, probabilities, boxes, scores, classes, count }) {
  if (task === "regression") return [`${+value.data[0].toPrecision(6)}`]
  if (task === "classification") {
    const best = probabilities.data.indexOf(Math.max(...probabilities.data))
    return [`${labels[best]}\t${probabilities.data[best].toFixed(4)}`]
  }
  return Array.from({ length: count.data[0] }, (_, k) => {
    const corners = [...boxes.data.subarray(4 * k, 4 * k + 4)].map((corner) => corner.toFixed(2))
    return [labels[classes.data[k]], scores.data[k].toFixed(4), ...corners].join("\t")
  })
}

async function main(folder, ...files) {
  if (!files.length) throw Error("node client.mjs BUNDLE picture.png|rows.csv ...")
  const signature = readSignature(join(folder, "signature.json"))
  const { preprocessing, inputs, outputs } = signature
  const session = await ort.InferenceSession.create(join(folder, "model.onnx"), { logSeverityLevel: 3 })
  for (const file of files) {
    const given = preprocessing.size
      ? [[file, await readPicture(file, preprocessing.channels)]]
      : readRows(file, preprocessing)
    for (const [name, tensor] of given) {
      const found = await session.run({ [inputs[0].name]: tensor }, outputs.map((output) => output.name))
      for (const line of lines(signature, found)) console.log(`${name}\t${line}`)
    }
  }
}

const [folder, ...files] = process.argv.slice(2)
await main(folder, ...files).catch((error) => {
  console.error(`Error: ${error.message}`)
  process.exitCode = 1
})
