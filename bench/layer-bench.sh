#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Applies layers beside GNU tar, on an ext4 of its own (a loop device: root is needed).
# usage: bench/layer-bench.sh BUILD-DIR [TREE]   TREE: what the large layer holds, /usr/lib by default
set -eu
bench=$(realpath "$1")/src/diff/layer-bench
tree=${2:-/usr/lib}
[ -x "$bench" ] || { echo "build it: ninja -C $1 src/diff/layer-bench"; exit 1; }
dir=$(mktemp -d /tmp/layer-bench-XXXXXX)
trap 'cd /; umount "$dir/mnt" 2>/dev/null || true; rm -rf "$dir"' EXIT
truncate -s 8G "$dir/ext4"
mkfs.ext4 -q -F "$dir/ext4"
mkdir "$dir/mnt"
mount -o loop "$dir/ext4" "$dir/mnt"

"$bench" small 60000 "$dir/small.tar" >/dev/null
tar -C "$tree" --exclude=./debug -cf - . 2>/dev/null | head -c 600M >"$dir/cut.tar" || true
# whole entries only: what a reader of a cut archive has seen
mkdir "$dir/mnt/large"
tar -C "$dir/mnt/large" -xf "$dir/cut.tar" 2>/dev/null || true
tar -C "$dir/mnt/large" -cf "$dir/large.tar" .
rm -rf "$dir/mnt/large" "$dir/cut.tar"
for f in small large; do
  gzip -k "$dir/$f.tar"
  command -v zstd >/dev/null && zstd -qk "$dir/$f.tar"
done

TIMEFORMAT='%R s, %U + %S s CPU'
for f in "$dir"/{small,large}.tar{,.gz,.zst}; do
  [ -e "$f" ] || continue
  cat "$f" >/dev/null
  echo "== ${f##*/}, $(stat -c %s "$f") bytes"
  for who in ours ours tar; do
    mkdir "$dir/mnt/root"
    sync -f "$dir/mnt"
    printf '%-5s' $who
    if [ $who = ours ]; then "$bench" apply "$f" "$dir/mnt/root" | tail -1; else { time tar -C "$dir/mnt/root" -xf "$f"; } 2>&1; fi
    rm -rf "$dir/mnt/root"
    sync -f "$dir/mnt"
  done
done
