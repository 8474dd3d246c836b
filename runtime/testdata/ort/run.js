// Runs every case that generate.py wrote in ONNX Runtime:  node run.js FOLDER  (onnxruntime-node 1.30.0 on NODE_PATH).
const fs = require('fs'), path = require('path'), ort = require('onnxruntime-node');
const arrays = { float32: Float32Array, float64: Float64Array, int64: BigInt64Array, int32: Int32Array, uint8: Uint8Array, int8: Int8Array, bool: Uint8Array };
(async () => {
  for (const name of fs.readdirSync(process.argv[2]).sort()) {
    const d = path.join(process.argv[2], name), feeds = {};
    try {
      const s = await ort.InferenceSession.create(path.join(d, 'model.onnx'), { intraOpNumThreads: 1, logSeverityLevel: 4 });
      for (const [input, { type, dims }] of Object.entries(JSON.parse(fs.readFileSync(path.join(d, 'spec.json'))))) {
        const b = fs.readFileSync(path.join(d, input + '.bin'));
        feeds[input] = new ort.Tensor(type, new arrays[type](b.buffer.slice(b.byteOffset, b.byteOffset + b.length)), dims);
      }
      const r = await s.run(feeds);
      const outputs = s.outputNames.map((o, k) => {
        fs.writeFileSync(path.join(d, `out_${k}.bin`), Buffer.from(r[o].data.buffer, r[o].data.byteOffset, r[o].data.byteLength));
        return { type: r[o].type, dims: r[o].dims };
      });
      fs.writeFileSync(path.join(d, 'out.json'), JSON.stringify(outputs));
    } catch (e) {
      console.error(name, String(e.message || e).split('\n')[0]);
    }
  }
})();
