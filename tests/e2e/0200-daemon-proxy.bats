#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Proxy plugins: snapshots, content and a differ in another process.
load lib

write_config() {
	config_v4 "$top"
	if [ -e "$dir/extra.toml" ]; then cat "$dir/extra.toml" >>"$dir/config.toml"; fi
}

# A process with a snapshotter "there", a content store and a differ.
peer_start() {
	"$CTRD_BUILD/src/services/proxy-peer" "$dir/peer.sock" "$dir/peer" there >>"$dir/peer.log" 2>&1 3>&- &
	peer=$!
	local i
	for i in $(seq 100); do
		[ ! -S "$dir/peer.sock" ] || return 0
		sleep 0.02
	done
	cat "$dir/peer.log" >&2
	return 1
}
peer_stop() {
	[ -n "${peer:-}" ] || return 0
	kill "$peer" 2>/dev/null || true
	wait "$peer" 2>/dev/null || true
	rm -f "$dir/peer.sock"
	peer=
}

setup() {
	top=
	[ "$snapshotter" = overlayfs ] || skip "the snapshotter is the peer's"
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	dir=$(mktemp -d /tmp/ctrd-e2e.XXXXXX)
	export CONTAINERD_ADDRESS=$dir/c.sock CONTAINERD_NAMESPACE=e2e-${dir##*.}
	peerctr() { "$ours/ctr" -a "$dir/peer.sock" "$@"; }
	fails() { if "$@" >/dev/null 2>&1; then return 1; fi; }
}
teardown() {
	peer_stop
	common_teardown
}

proxies() {
	cat >"$dir/extra.toml" <<-TOML
		[proxy_plugins.there]
		type = "snapshot"
		address = "$dir/peer.sock"
		platform = "linux/arm64"
		capabilities = ["rebase", "remap-ids"]
		exports = {root = "$dir/peer/x", enable_remote_snapshot_annotations = "true"}
		[proxy_plugins.again]
		type = "io.containerd.differ.v1"
		address = "unix://$dir/peer.sock"
		[proxy_plugins.odd]
		type = "telescope"
		address = "$dir/peer.sock"
	TOML
}

@test "a snapshotter elsewhere: pull, run, remove; namespaces and names of the peer" {
	proxies
	peer_start
	daemon_start
	make_image "$dir/image.tar"
	ctr images import --snapshotter there "$dir/image.tar" >/dev/null
	[ "$(ctr run --rm --snapshotter there $(run_flags) demo.local/bb:1 r1 /bin/echo over there)" = "over there" ]
	# the peer has it under our namespace's name, and only there
	[[ $(peerctr -n "$CONTAINERD_NAMESPACE" snapshots --snapshotter there ls) == *"$CONTAINERD_NAMESPACE/"* ]]
	ctr snapshots --snapshotter there prepare mine >/dev/null
	[[ $(ctr snapshots --snapshotter there ls) == *mine* ]]
	[[ $(ctr -n other snapshots --snapshotter there ls) != *mine* ]]
	ctr snapshots --snapshotter there rm mine
	fails ctr snapshots --snapshotter there info mine
	ctr images rm --sync demo.local/bb:1
	for _ in $(seq 50); do
		[[ $(peerctr -n "$CONTAINERD_NAMESPACE" snapshots --snapshotter there ls) == *"$CONTAINERD_NAMESPACE/"* ]] || break
		sleep 0.1
	done
	[[ $(peerctr -n "$CONTAINERD_NAMESPACE" snapshots --snapshotter there ls) != *"$CONTAINERD_NAMESPACE/"* ]]
}

@test "introspection shows a proxy's platform, exports and capabilities; an unknown type is a warning" {
	proxies
	daemon_start
	run ctr plugins ls -d id==there
	[[ $output == *"linux/arm64"* ]]
	[[ $output == *rebase*remap-ids* || $output == *remap-ids*rebase* ]]
	[[ $output == *"$dir/peer.sock"* ]]
	[[ $output == *enable_remote_snapshot_annotations* ]]
	grep -q 'unknown proxy plugin type' "$dir/log"
}

@test "a peer that is not there yet, goes, and comes back: calls fail with its address, then succeed" {
	proxies
	daemon_start
	run ctr snapshots --snapshotter there prepare zero
	[ "$status" -ne 0 ]
	[[ $output == *"dial unix $dir/peer.sock: connect: no such file or directory"* ]]
	ctr snapshots --snapshotter overlayfs ls
	peer_start
	ctr snapshots --snapshotter there prepare one >/dev/null
	peer_stop
	run ctr --timeout 5s snapshots --snapshotter there prepare two
	[ "$status" -ne 0 ]
	ctr version >/dev/null
	peer_start
	ctr snapshots --snapshotter there prepare two >/dev/null
	[[ $(ctr snapshots --snapshotter there ls) == *one*two* ]]
}

@test "content elsewhere, in place of our own" {
	# no collection soon after the start: what is ingested belongs to nothing
	cat >"$dir/extra.toml" <<-TOML
		[proxy_plugins.store]
		type = "content"
		address = "$dir/peer.sock"
		[plugins."io.containerd.gc.v1.scheduler"]
		startup_delay = "1h"
	TOML
	top='disabled_plugins = ["io.containerd.content.v1.content"]'
	peer_start
	daemon_start
	echo hello >"$dir/hello"
	digest=sha256:$(sha256sum "$dir/hello" | cut -d' ' -f1)
	ctr content ingest ref <"$dir/hello"
	[ "$(ctr content get "$digest")" = hello ]
	[ "$(peerctr -n "$CONTAINERD_NAMESPACE" content get "$digest")" = hello ]
	make_image "$dir/image.tar"
	ctr images import --snapshotter overlayfs "$dir/image.tar" >/dev/null
	[ "$(ctr run --rm --snapshotter overlayfs $(run_flags) demo.local/bb:1 r1 /bin/echo here)" = here ]
}

@test "two content stores are one too many, as upstream" {
	cat >"$dir/extra.toml" <<-TOML
		[proxy_plugins.store]
		type = "content"
		address = "$dir/peer.sock"
	TOML
	run daemon_start
	grep -q 'multiple plugins registered for io.containerd.content.v1: plugin: multiple instances' "$dir/log"
}

@test "a differ elsewhere applies and compares; without it the client hears why" {
	cat >"$dir/extra.toml" <<-TOML
		[plugins."io.containerd.service.v1.diff-service"]
		default = ["there", "walking"]
		[proxy_plugins.there]
		type = "diff"
		address = "$dir/peer.sock"
	TOML
	peer_start
	daemon_start
	ctr snapshots --snapshotter overlayfs prepare a >/dev/null
	ctr snapshots --snapshotter overlayfs prepare b >/dev/null
	touch "$dir"/root/io.containerd.snapshotter.v1.overlayfs/snapshots/2/fs/new
	# the blob is where the differ put it; the client then looks for it with us
	run peer_ctr -a "$dir/c.sock" -n "$CONTAINERD_NAMESPACE" snapshots --snapshotter overlayfs diff \
		--media-type application/vnd.oci.image.layer.v1.tar a b
	[[ $output == *sha256:*"not found"* ]]
	tar -tf "$dir"/peer/content/blobs/sha256/* | grep -qx new
	peer_stop
	run peer_ctr -a "$dir/c.sock" -n "$CONTAINERD_NAMESPACE" snapshots --snapshotter overlayfs diff a b
	[[ $output == *"dial unix $dir/peer.sock"* ]]
}
