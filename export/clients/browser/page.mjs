// The page: ?bundle=FOLDER, or the files of a bundle; then pictures, drawings or a row.
import { ask, openBundle, pixels, row } from "./bundle.mjs"
import { show } from "./show.mjs"

const SIDE = 480 // pixels of the longer side of what is shown
const NAMED = 10 // labels in the heading
const get = (id) => document.getElementById(id)
const [paper, overlay] = [get("paper"), get("overlay")]
const pen = paper.getContext("2d", { willReadFrequently: true })
let bundle
let colours = ["black", "white"] // of the ground and the ink

/** One task after the other; the page tells its state, and what went wrong. */
let last = Promise.resolve()
function inTurn(work) {
  const end = (state, text) => {
    get("error").textContent = text
    document.body.dataset.state = state
  }
  document.body.dataset.state = "busy"
  last = last.then(work).then(() => end("done", ""), (error) => end("error", error.message))
}

async function fetched(url) {
  const response = await fetch(url)
  if (!response.ok) throw Error(`${url} cannot be read: ${response.status} ${response.statusText}`)
  return response
}

async function openFolder(folder) {
  const signature = await (await fetched(`${folder}/signature.json`)).json()
  return welcome(await openBundle(signature, await (await fetched(`${folder}/model.onnx`)).arrayBuffer()))
}

async function openFiles(files) {
  const [json, onnx] = ["json", "onnx"].map((end) => files.find(({ name }) => name.endsWith(`.${end}`)))
  if (!json || !onnx) throw Error("Open both files at once, model.onnx and signature.json.")
  return welcome(await openBundle(JSON.parse(await json.text()), await onnx.arrayBuffer()))
}

function welcome(opened) {
  bundle = opened
  const { task, labels, target, provenance, preprocessing } = bundle.signature
  const pictures = Boolean(preprocessing.size)
  const answers = target?.name ?? labels.slice(0, NAMED).join(", ") + (labels.length > NAMED ? ", ..." : "")
  get("name").textContent = document.title = provenance.name ?? "A dlapp bundle"
  get("about").textContent = `${provenance.architecture ?? "A network"}, ${task}: ${answers}`
  get("asked").textContent = pictures ? "Drop a picture here, or draw one" : "A row of the table"
  get("work").hidden = false
  for (const part of document.querySelectorAll(".for-pictures")) part.hidden = !pictures
  get("row").hidden = pictures
  return pictures ? clear() : makeForm(preprocessing)
}

const answer = async (name, tensor, scale) => show(bundle.signature, await ask(bundle, name, tensor), overlay, scale)

function resize(width, height) {
  const scale = SIDE / Math.max(width, height)
  for (const canvas of [paper, overlay])
    Object.assign(canvas, { width: Math.ceil(width * scale), height: Math.ceil(height * scale) })
  return [paper.height / height, paper.width / width]
}

async function answerFile(file) {
  const wanted = { colorSpaceConversion: "none", premultiplyAlpha: "none" }
  const picture = await createImageBitmap(file, wanted).catch(() => {
    throw Error(`${file.name} is no picture that this browser reads.`)
  })
  const scale = resize(picture.width, picture.height)
  pen.imageSmoothingEnabled = scale[0] < 2 // the pixels of a tiny picture stay to be seen
  pen.drawImage(picture, 0, 0, paper.width, paper.height)
  return answer(file.name, pixels(bundle, picture, picture.width, picture.height), scale)
}

/** A drawing reaches the network in the size that it works with: each pixel is the mean of many. */
function answerDrawing() {
  const [height, width] = bundle.signature.preprocessing.size
  return answer("drawing", pixels(bundle, paper, width, height), [paper.height / height, paper.width / width])
}

function clear() {
  const [height, width] = bundle.signature.preprocessing.size
  resize(width, height)
  pen.fillStyle = colours[0]
  pen.fillRect(0, 0, paper.width, paper.height)
  forget()
}

function forget() {
  for (const id of ["value", "lines", "bars"]) get(id).replaceChildren()
}

function draw(event) {
  if (!bundle || !(event.buttons & 1)) return
  const scale = paper.width / paper.clientWidth
  if (event.type !== "pointermove") pen.beginPath()
  Object.assign(pen, { strokeStyle: colours[1], lineWidth: SIDE / 12, lineCap: "round", lineJoin: "round" })
  pen.lineTo(event.offsetX * scale, event.offsetY * scale)
  pen.stroke()
}

function makeForm({ columns, mean }) {
  forget()
  const wanted = columns.length ? columns : mean.map((_, k) => ({ name: `column${k + 1}` }))
  get("row").replaceChildren(...wanted.map(({ name, categories }) => {
    const [label, field] = ["label", categories ? "select" : "input"].map((kind) => document.createElement(kind))
    if (categories) field.append(...[...categories.map((text, k) => new Option(text, k)), new Option("(another)", -1)])
    if (categories) field.append(new Option("(missing)", ""))
    else Object.assign(field, { type: "number", step: "any", required: !columns.length })
    label.append(name, field)
    return label
  }))
}

function answerRow() {
  const fields = [...get("row").elements]
  if (!get("row").checkValidity()) throw Error("Every column wants a number.")
  return answer("row", row(fields.map(({ value }) => (value === "" ? NaN : Number(value)))))
}

const opens = (files) => files.some(({ name }) => /\.(json|onnx)$/.test(name))
const take = (files) => files.length && inTurn(() => {
  if (opens(files)) return openFiles(files)
  if (!bundle?.signature.preprocessing.size) throw Error("Open a bundle that takes pictures first.")
  return answerFile(files[0])
})
for (const type of ["pointerdown", "pointerenter", "pointermove"]) paper.addEventListener(type, draw)
for (const type of ["pointerup", "pointerleave"])
  paper.addEventListener(type, ({ button, buttons }) => bundle && (buttons & 1 || !button) && inTurn(answerDrawing))
for (const id of ["file", "files"]) get(id).addEventListener("change", ({ target }) => take([...target.files]))
get("clear").addEventListener("click", () => inTurn(clear))
get("ink").addEventListener("click", () => inTurn(() => { colours.reverse(); clear() }))
get("row").addEventListener("input", () => inTurn(answerRow))
get("row").addEventListener("submit", (event) => event.preventDefault())
for (const type of ["dragover", "drop"]) addEventListener(type, (event) => event.preventDefault())
addEventListener("drop", ({ dataTransfer }) => take([...dataTransfer.files]))
const folder = new URLSearchParams(location.search).get("bundle")
if (folder) inTurn(() => openFolder(folder))
