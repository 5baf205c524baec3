# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the checks written in shell share. Sets TOP: the tree to check, the first argument or this checkout.

set -euo pipefail

if [ $# -gt 1 ] || [ "${1:-}" = --help ]; then
  sed -n 's/^# //p' "$0" | tail -n +2
  exit 2
fi
TOP=$(cd "${1:-$(dirname "${BASH_SOURCE[0]}")/../..}" && pwd)

# c_files NAME...: C files of the tree whose name matches one of the patterns, one a line; none is an error.
c_files() {
  local folders=() folder names=(-false) name found
  for folder in src client examples tools bench tests; do
    [ ! -d "$TOP/$folder" ] || folders+=("$TOP/$folder")
  done
  for name in "$@"; do names+=(-o -name "$name"); done
  found=$(find "${folders[@]}" -type f \( "${names[@]}" \) | sort)
  [ -n "$found" ] || { echo "nothing to look at in $TOP" >&2; return 1; }
  printf '%s\n' "$found"
}

# The generated protocol header, for what includes it; sets PROTO_INCLUDE. Remove the folder when done.
make_proto() {
  PROTO_INCLUDE=$(mktemp -d)
  trap 'rm -rf "$PROTO_INCLUDE"' EXIT
  if [ -f "$TOP/proto/pasid.proto" ]; then
    protoc-c --proto_path="$TOP/proto" --c_out="$PROTO_INCLUDE" pasid.proto
  fi
}
