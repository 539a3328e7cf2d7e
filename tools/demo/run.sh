#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The demo: handwritten digits on the simulated chip, in fp32 and with bf16 matrix products. Called by `./dev demo`, or by hand
# after `./dev build`.
#   OPENNRT_PREFIX    where OpenNRT is installed           (default: build/install of this checkout)
#   OPENNRT_DEMO_OUT  where NEFFs, traces and numbers go   (default: out/demo of this checkout; overwritten)
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
prefix=${OPENNRT_PREFIX:-$root/build/install}
out=${OPENNRT_DEMO_OUT:-$root/out/demo}
zoo=$root/models/zoo/digits

for program in opennrt opennrt-demo-digits; do
  if [ ! -x "$prefix/bin/$program" ]; then
    echo "error: $prefix/bin/$program is not there; run ./dev build first" >&2
    exit 1
  fi
done
PATH=$prefix/bin:$PATH
mkdir -p "$out"

# one_pass <name> <what> <auto-cast> <pictures>
one_pass() {
  local name=$1 what=$2 cast=$3 pictures=$4 images
  printf '\n=== digits, %s ===\n\n' "$what"
  opennrt compile "$zoo/digits.onnx" -o "$out/$name.neff" --auto-cast "$cast" --name "$name"
  echo
  rm -f "$out/$name.trace.json" "$out/$name.stats.json"
  OPENNRT_BACKEND=sim OPENNRT_SIM_TRACE=$out/$name.trace.json OPENNRT_SIM_STATS=$out/$name.stats.json \
    opennrt-demo-digits "$out/$name.neff" "$zoo" "$pictures" | tee "$out/$name.txt"
  images=$(sed -n 's/^  images *\([0-9]*\),.*/\1/p' "$out/$name.txt")
  echo
  opennrt stats "$out/$name.stats.json" --inferences "$images"
}

one_pass digits-fp32 "everything in fp32" none 6
one_pass digits-bf16 "matrix products in bf16 (--auto-cast matmult)" matmult 0

cat <<END

Traces of the simulated chip, what each engine and DMA queue did when:
  $out/digits-fp32.trace.json
  $out/digits-bf16.trace.json
Open https://ui.perfetto.dev in a browser and drop one in; nothing is uploaded.
END
