// node node.js PACKAGE CASES.json RESULTS FROM: runs cases from number FROM on with the package onnxruntime-node in the folder PACKAGE and appends a line for each to RESULTS.
const fs = require('fs'), path = require('path');
const { runCase } = require(path.join(__dirname, 'cases.js'));
const [folder, casesFile, results, from] = process.argv.slice(2);
const ort = require(folder);
(async () => {
  const cases = JSON.parse(fs.readFileSync(casesFile));
  for (const c of cases.slice(Number(from))) fs.appendFileSync(results, JSON.stringify(await runCase(ort, c.model, c.inputs, {})) + '\n');
})();
