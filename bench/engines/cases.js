// Runs cases in a copy of ONNX Runtime for JavaScript, in node and in a browser alike: node.js and page.html load it.
//
// A case is {model, inputs: {name: {type, dims, data}}}, data being the elements' bytes in base64; its result {outputs} of the same form, or {failed}.

const arrays = {
  float32: Float32Array, float64: Float64Array, float16: Uint16Array, int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array, bool: Uint8Array,
};

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

function base64Of(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let s = '';
  for (let k = 0; k < bytes.length; k += 4096) s += String.fromCharCode(...bytes.subarray(k, k + 4096));
  return btoa(s);
}

async function runCase(ort, model, inputs, options) {
  try {
    const session = await ort.InferenceSession.create(model, { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 4, ...options });
    const feeds = {};
    for (const [name, i] of Object.entries(inputs)) feeds[name] = new ort.Tensor(i.type, new arrays[i.type](bytesOf(i.data).buffer), i.dims);
    const results = await session.run(feeds);
    const outputs = {};
    for (const name of session.outputNames) outputs[name] = { type: results[name].type, dims: [...results[name].dims], data: base64Of(results[name].data) };
    await session.release?.();
    return { outputs };
  } catch (e) {
    return { failed: String(e.message || e) };
  }
}

if (typeof module !== 'undefined') module.exports = { runCase };
