// node node_runner.mjs NODE_MODULES THREADS: a request a line on standard input, an answer a line on standard output.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

import { runner } from "./runner.mjs";

const [modules, threads] = process.argv.slice(2);
const ort = createRequire(`${modules}/`)("onnxruntime-node");
const options = { logSeverityLevel: 3, ...(Number(threads) && { intraOpNumThreads: Number(threads) }) };
const answer = runner(ort, options);

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  if (request.open) request.bytes = request.path; // external data lie beside it
  console.log(JSON.stringify(await answer(request)));
}
