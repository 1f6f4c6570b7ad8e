#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Registries that break, hang and lie, each through the daemon.
# bats file_tags=once
# CTRD_SOAK=1 tries more of what hangs.
load lib
extra_config='[timeouts]
"io.containerd.timeout.registry.dial" = "1s"
"io.containerd.timeout.registry.response" = "1s"
"io.containerd.timeout.registry.stall" = "1s"'
setup() {
	common_setup
	fault_registry_start
}
teardown() { common_teardown; }

pull() { ctr images pull --plain-http --snapshotter "$snapshotter" "$host/a/b:${1:-1}"; }

# The pull fails, says $1, and leaves nothing.
fails() {
	run pull "${2:-1}"
	echo "$output"
	[ "$status" -eq 1 ]
	[[ $output == *"$1"* ]]
	[ -z "$(ctr images ls -q)" ]
	[ -z "$(ctr leases ls -q)" ]
	forget
	assert_nothing_left
}

# It goes well for all that, and what is there is right.
succeeds() {
	pull "${1:-1}"
	[ "$(ctr images check -q)" = "$host/a/b:${1:-1}" ]
	assert_nothing_left
	forget
}

# Everything goes that nothing holds.
forget() {
	ctr images ls -q | xargs -r "$ours/ctr" images rm >/dev/null
	ctr leases rm --sync "$(ctr leases create)" >/dev/null
	[ -z "$(ctr content ls -q)" ]
}

@test "what passes by itself is tried again" {
	faults '2 HEAD /manifests/ status 503' '1 GET /manifests/ reset' '1 GET /blobs/ status 502' '1 GET /blobs/ reset'
	succeeds
	faults '1 * . status 429' '3 GET /blobs/ cut'
	succeeds
	# the connection broke in the middle: only the rest is fetched
	grep -q ' bytes=[0-9]*-[0-9]* 206 ' "$dir/faulty/requests"
}

@test "what does not pass says so" {
	faults '0 HEAD . status 503 {"errors":[{"code":"UNAVAILABLE","message":"we are closed"}]}'
	fails "unexpected status from HEAD request to http://$host/v2/a/b/manifests/1: 503 Service Unavailable"
	faults '0 GET /blobs/ status 403 {"errors":[{"code":"DENIED","message":"not for you"}]}'
	fails "403 Forbidden
denied: not for you"
	faults '0 GET /blobs/ status 404 {}'
	fails "from remote: not found"
	faults '0 HEAD . garbage'
	fails "failed to do request: Head \"http://$host/v2/a/b/manifests/1\":"
	faults '0 HEAD . big-header'
	fails "net/http: server response headers exceeded"
	faults '0 GET /blobs/ redirect-loop'
	fails "stopped after 10 redirects"
	faults '0 GET /blobs/ redirect http://127.0.0.1:1/gone'
	fails "connect: connection refused"
	faults
	succeeds
}

@test "lies about ranges and lengths" {
	local lie
	for lie in no-range bad-range; do
		faults '1 GET /blobs/ cut' "1 GET /blobs/ $lie"
		succeeds
	done
	faults '0 HEAD . no-length' '0 GET . no-length'
	succeeds
	faults '0 GET /manifests/ short'
	fails "short read: expected"
	faults '0 GET /blobs/ short'
	fails "short read: expected"
	faults '0 GET /blobs/ long'
	fails "is longer than its"
	faults '0 GET /blobs/ endless'
	fails "is longer than its"
	faults '0 GET /manifests/ endless'
	fails "is longer than its"
	faults '1 GET /blobs/ cut' '1 GET /blobs/ lying-range'
	fails "unexpected commit digest"
	faults
	succeeds
}

@test "lies about digests and types" {
	faults '0 HEAD . no-digest'
	succeeds
	faults '0 HEAD . silly-digest'
	fails '"sha256:nonsense" in header not a valid digest'
	faults '0 HEAD . bad-digest'
	fails "from remote: not found"
	faults '0 GET /blobs/ wrong'
	fails "unexpected commit digest"
	faults '1 GET /manifests/ wrong'
	fails "unexpected commit digest"
	faults '0 HEAD . type application/vnd.oci.image.index.v1+json'
	fails "media-type: expected index but found manifest"
	faults
	fails "media-type: expected manifest but found index" ambiguous
	fails "media-type: expected manifest but found index" mismatch
	fails "schema 1 image manifests are no longer supported: invalid argument" schema1
	succeeds
}

@test "kinds of images" {
	local kind
	for kind in plain list index nested foreign; do succeeds "$kind"; done
	[ ! -x /usr/bin/zstd ] || succeeds zstd
	# an artifact has no configuration and no layers to unpack
	pull artifact
	assert_nothing_left
	[ "$(ctr snapshots ls | wc -l)" -eq 1 ]
}

# $1 hangs, so what is left fails, while the daemon serves others.
hangs() {
	faults "0 $1"
	shift
	"$@" >"$dir/out" 2>&1 3>&- &
	ctr version >/dev/null
	ctr images ls -q >/dev/null
	status=0
	wait $! || status=$?
	cat "$dir/out"
	[ "$status" -eq 1 ]
	grep -e "timeout awaiting response headers" -e "no progress: .* bytes in 1s" "$dir/out"
	[ -z "$(ctr leases ls -q)" ]
}

@test "a registry that hangs at each step of a pull" {
	local step steps=('HEAD . hang' 'GET /manifests/ hang-body' 'GET /blobs/ trickle')
	[ -z "${CTRD_SOAK:-}" ] || steps+=('HEAD . hang-header' 'GET /manifests/ hang' 'GET /blobs/ hang' 'GET /blobs/ hang-header' 'GET /blobs/ hang-body')
	for step in "${steps[@]}"; do
		hangs "$step" pull
		forget
		assert_nothing_left
	done
	faults
	succeeds
}

@test "a registry that hangs at each step of a push" {
	local step steps=('POST . hang' 'PUT /blobs/ hang-body')
	[ -z "${CTRD_SOAK:-}" ] || steps+=('HEAD /blobs/ hang' 'PUT /blobs/ hang' 'PUT /manifests/ hang')
	pull
	rm "$dir"/faulty/blobs/sha256/*
	for step in "${steps[@]}"; do
		hangs "$step" ctr images push --plain-http "$host/a/b:new" "$host/a/b:1"
		assert_nothing_left
	done
	faults
	ctr images push --plain-http "$host/a/b:new" "$host/a/b:1"
}

@test "a registry that says nothing, and one that does not even accept" {
	python3 -c 'import socket, sys, time
s = socket.create_server(("127.0.0.1", 0))
full = socket.create_server(("127.0.0.1", 0), backlog=0)
fill = [socket.socket() for _ in range(4)]
for c in fill:
    c.setblocking(False)
    c.connect_ex(full.getsockname())
open(sys.argv[1], "w").write("mute=%d full=%d\n" % (s.getsockname()[1], full.getsockname()[1]))
time.sleep(60)' "$dir/ports" 3>&- &
	local pid=$! mute full
	while [ ! -s "$dir/ports" ]; do sleep 0.05; done
	eval "$(cat "$dir/ports")"
	# in the TLS handshake
	run ctr images pull "127.0.0.1:$mute/a:1"
	echo "$output"
	[ "$status" -eq 1 ]
	[[ $output == *": net/http: TLS handshake timeout" ]]
	run ctr images pull --plain-http "127.0.0.1:$full/a:1"
	echo "$output"
	[ "$status" -eq 1 ]
	[[ $output == *"dial tcp 127.0.0.1:$full: i/o timeout"* ]]
	kill $pid
	assert_nothing_left
}

@test "a client that goes away in the middle" {
	local i client
	faults '0 GET /blobs/ hang-body'
	pull >/dev/null 2>&1 3>&- &
	client=$!
	for i in $(seq 200); do
		! grep -q "^GET .*/blobs/" "$dir/faulty/requests" && [ -z "$(ctr content active | tail -n +2)" ] || break
		sleep 0.02
	done
	pkill -KILL -P $client ctr || kill -KILL $client
	wait $client || true
	for i in $(seq 200); do
		[ -n "$(ctr leases ls -q)" ] || break
		sleep 0.05
	done
	forget
	assert_nothing_left
	[ -z "$(ctr images ls -q)" ]
	faults
	succeeds
}
