#!/usr/bin/env bash
# Runs models in our runtime and in ONNX Runtime in turn, in one process and on one thread each, and prints medians and ratios of the clock's time
# and of the time that the thread had a processor, which other work on the machine does not blur.
#
#   bench/runtime.sh LIBRARY [MODEL:INPUT=D0xD1x…,… …]
#
# LIBRARY is ONNX Runtime's shared library, for instance libonnxruntime.so.1 of the npm package onnxruntime-node. Beside the models given,
# an LSTM of 256 units over 32 steps of a batch of 64 is measured ("lstm_…"), the models of ../shared/models/visible where they are, and a model
# that does nothing ("glue"). COUNT (default 3) is how often, TIME (default 3s) how long each case runs, and CASES a regular expression that their
# names must match.
set -euo pipefail
if (($# < 1)); then
  sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
TRCONVERT_ORT_LIBRARY=$(realpath "$1")
shift
models=()
for spec in "$@"; do
  models+=("$(realpath "${spec%%:*}"):${spec#*:}")
done
export TRCONVERT_ORT_LIBRARY TRCONVERT_BENCH_MODELS="${models[*]-}"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec go test ./runtime -run '^$' -bench "^BenchmarkBesideONNXRuntime$/(${CASES:-.})" -benchtime "${TIME:-3s}" -count "${COUNT:-3}"
