// What the network says, as bars and boxes.
const BARS = 10
const get = (id) => document.getElementById(id)
const colour = (index) => `hsl(${(215 + 137.5 * index) % 360} 75% 42%)`

/** Shows an answer; scale is how much higher and wider the overlay is than the picture. */
export function show({ labels }, { found, value, lines }, overlay, scale) {
  get("value").textContent = value
  get("lines").textContent = lines.join("\n")
  get("bars").replaceChildren(...found.slice(0, BARS).map(({ index, share }) => {
    const [bar, back, label, number] = ["li", "i", "span", "span"].map((kind) => document.createElement(kind))
    Object.assign(back.style, { width: `${100 * share}%`, background: colour(index) })
    label.textContent = labels[index]
    number.textContent = share.toFixed(4)
    bar.append(back, label, number)
    return bar
  }))
  const context = overlay.getContext("2d")
  context.clearRect(0, 0, overlay.width, overlay.height)
  Object.assign(context, { lineWidth: 3, font: "600 14px system-ui, sans-serif", textBaseline: "top" })
  for (const { index, share, box } of found.toReversed()) // the surest on top
    if (box) drawBox(context, `${labels[index]} ${share.toFixed(2)}`, colour(index),
      box.map((corner, k) => corner * scale[k % 2]))
}

function drawBox(context, text, paint, [y1, x1, y2, x2]) {
  const width = context.measureText(text).width + 10
  const left = Math.max(0, Math.min(x1 - 1.5, overlay.width - width))
  const top = y1 > 20 ? y1 - 20 : Math.min(y1, overlay.height - 20)
  context.fillStyle = context.strokeStyle = paint
  context.strokeRect(x1, y1, x2 - x1, y2 - y1)
  context.fillRect(left, top, width, 20)
  context.fillStyle = "white"
  context.fillText(text, left + 5, top + 3)
}
