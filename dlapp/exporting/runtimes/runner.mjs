// Runs ONNX files for a caller that asks in JSON, in Node and in a page alike: {open, bytes} or {run, inputs}.

const ARRAYS = { uint8: Uint8Array, int32: Int32Array, int64: BigInt64Array, float32: Float32Array, bool: Uint8Array };

function decode(text) {
  if (typeof Buffer !== "undefined") return Uint8Array.from(Buffer.from(text, "base64"));
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function encode(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  if (typeof Buffer !== "undefined") return Buffer.from(bytes).toString("base64");
  let text = "";
  for (let start = 0; start < bytes.length; start += 32768) {
    text += String.fromCharCode(...bytes.subarray(start, start + 32768)); // a call takes only so many arguments
  }
  return btoa(text);
}

export function runner(ort, options) {
  const sessions = {};

  async function open({ open: name, bytes }) {
    sessions[name] = await ort.InferenceSession.create(bytes, options);
    return {};
  }

  async function run({ run: name, inputs }) {
    const feeds = {};
    for (const [input, { dtype, shape, data }] of Object.entries(inputs)) {
      feeds[input] = new ort.Tensor(dtype, new ARRAYS[dtype](decode(data).buffer), shape);
    }
    const started = performance.now();
    const results = await sessions[name].run(feeds);
    const seconds = (performance.now() - started) / 1000;
    const answers = {};
    for (const [output, tensor] of Object.entries(results)) {
      answers[output] = { dtype: tensor.type, shape: tensor.dims, data: encode(tensor.data) };
    }
    return { seconds, outputs: answers };
  }

  return async (request) => {
    try {
      return await (request.open ? open(request) : run(request));
    } catch (error) {
      return { error: String(error.message ?? error) };
    }
  };
}
