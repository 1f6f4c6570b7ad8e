#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Bad input, bad names, bad programs: a clear error, and nothing lost or left. Registries and disks that misbehave are in 51*.bats,
# frames byte by byte in src/rpc/test-*-frames.c.
load lib
setup() {
	once
	common_setup
	make_image "$dir/bb.tar"
	ctr images import "$dir/bb.tar"
	ref=demo.local/bb:1
}
teardown() { common_teardown; }
must="must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*\$: invalid argument"

# A program that never ends, whatever it is told.
make_hanging() {
	printf '#!/bin/sh\nexec sleep 1000\n' >"$1"
	chmod +x "$1"
}
# All of it goes away by itself.
eventually_clean() {
	local i
	for i in $(seq 450); do
		pgrep -f -- "containerd-shim-.*$dir" >/dev/null || [ -n "$(ls "$dir"/state/io.containerd.runtime.v2.task/*/)" ] || break
		sleep 0.1
	done
	assert_clean
}

@test "garbage and frames that are cut off cost their connection only" {
	preface='PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
	for socket in "$dir/c.sock" "$dir/c.sock.ttrpc"; do
		head -c 100000 /dev/urandom | socat -t 1 - "UNIX-CONNECT:$socket" >/dev/null 2>&1 || true
		printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' | socat -t 1 - "UNIX-CONNECT:$socket" >/dev/null 2>&1 || true
		# SETTINGS, then a HEADERS frame that says 16 bytes and brings 4
		printf "$preface"'\0\0\0\4\0\0\0\0\0\0\0\20\1\4\0\0\0\1abcd' | socat -t 1 - "UNIX-CONNECT:$socket" >/dev/null 2>&1 || true
		# a ttrpc frame of 4 GB, and one that ends in the middle
		printf '\377\377\377\377\0\0\0\1\1\0' | socat -t 1 - "UNIX-CONNECT:$socket" >/dev/null 2>&1 || true
		printf '\0\0\0\100\0\0\0\1\1\0abc' | socat -t 1 - "UNIX-CONNECT:$socket" >/dev/null 2>&1 || true
	done
	[ "$(ctr run --rm "$ref" c1)" = hello ]
	[ "$(cat "$dir/pid")" = "$daemon" ]
	kill -0 "$daemon"
}

@test "a namespace that is missing or invalid" {
	run ctr -n "" images ls
	[ "$output" = "ctr: failed to list images: namespace is required: failed precondition" ]
	run ctr -n a/b images ls
	[ "$output" = "ctr: failed to list images: namespace validation: identifier \"a/b\" $must" ]
	run ctr -n .. containers ls
	[ "$output" = "ctr: namespace validation: identifier \"..\" $must" ]
	long=$(printf 'n%.0s' {1..77})
	run ctr -n "$long" containers ls
	[ "$output" = "ctr: namespace validation: identifier \"$long\" greater than maximum length (76 characters): invalid argument" ]
	[ -z "$(ls -A "$dir/state/io.containerd.runtime.v2.task" 2>/dev/null | grep -v "^$CONTAINERD_NAMESPACE$")" ]
}

@test "names of containers, tasks and processes" {
	long=$(printf 'n%.0s' {1..77})
	for id in a/b .. . 'a b' ../../etc; do
		run ctr containers create "$ref" "$id"
		[ "$output" = "ctr: create container failed validation: container.ID: identifier \"$id\" $must" ]
	done
	run ctr containers create "$ref" "$long"
	[[ $output == *"identifier \"$long\" greater than maximum length (76 characters): invalid argument" ]]
	# a snapshot that was made for it is taken back
	[ "$(ctr snapshots ls | wc -l)" -eq 2 ]
	ctr run -d "$ref" one sleep 1000
	run ctr tasks exec --exec-id .. one true
	[[ $output == *"identifier \"..\" $must" ]]
	ctr tasks rm -f one
	ctr containers rm one
	# snapshots and leases may have any name; nothing of it becomes a path
	ctr snapshots prepare ../../../escape
	ctr leases create --id ../../../escape
	[ -z "$(find "$dir" -name '*escape*')" ]
	ctr snapshots rm ../../../escape
	ctr leases rm ../../../escape
	run ctr snapshots prepare ""
	[ "$status" -eq 1 ]
}

@test "wrong digests and sizes of ingested content" {
	zeros=$(printf '0%.0s' {1..64})
	run bash -c "echo data | '$ours/ctr' content ingest --expected-digest sha256:$zeros one"
	[[ $output == 'ctr: failed commit on ref "one": commit failed: unexpected commit digest sha256:'*", expected sha256:$zeros: failed precondition" ]]
	run bash -c "echo data | '$ours/ctr' content ingest --expected-size 7 two"
	[ "$output" = 'ctr: failed commit on ref "two": commit failed: "two" failed size validation: 5 != 7: failed precondition' ]
	for digest in sha256:abc md5:d41d8cd98f00b204e9800998ecf8427e nonsense "sha256:${zeros}0" "sha256:../../x"; do
		run bash -c "echo data | '$ours/ctr' content ingest --expected-digest '$digest' three"
		[ "$status" -eq 1 ]
	done
	[ -z "$(ctr content ls -q | grep "$zeros")" ]
	# the same refs take the right content afterwards
	echo data | ctr content ingest --expected-size 5 two
	ctr content get "sha256:$(echo data | sha256sum | cut -d' ' -f1)"
}

@test "of eight creates at once one wins" {
	for what in "containers create $ref twin" "namespaces create twins" "leases create --id twin" "snapshots prepare twin2"; do
		pids=()
		for i in 1 2 3 4 5 6 7 8; do
			ctr $what >"$dir/out.$i" 2>&1 3>&- &
			pids+=($!)
		done
		won=0
		for p in "${pids[@]}"; do ! wait "$p" || won=$((won + 1)); done
		[ "$won" -eq 1 ]
		[ "$(cat "$dir"/out.* | grep -c 'already exists$')" -eq 7 ]
	done
}

@test "a runtime that is missing or fails" {
	run ctr run --rm --runc-binary "$dir/none" "$ref" c1
	[[ $output == *"fork/exec $dir/none: no such file or directory" ]]
	run ctr run --rm --runc-binary no-such-runtime "$ref" c1
	[[ $output == *'exec: "no-such-runtime": executable file not found in $PATH' ]]
	run ctr run --rm --runc-binary /bin/false "$ref" c1
	[ "$status" -eq 1 ]
	run ctr run --rm --runtime "$dir/none" "$ref" c1
	[ "$output" = "ctr: failed to start shim: failed to resolve runtime path: invalid custom binary path: stat $dir/none: no such file or directory" ]
	run ctr run --rm --runtime /bin/false "$ref" c1
	[[ $output == "ctr: failed to start shim: start failed: "*"exit status 1" ]]
	run ctr run --rm --runtime /bin/true "$ref" c1
	[ "$status" -eq 1 ]
	[ -z "$(ctr containers ls -q)" ]
	[ "$(ctr snapshots ls | wc -l)" -eq 2 ]
	assert_clean
}

@test "a runtime that hangs delays nobody, and goes with who wanted it" {
	make_hanging "$dir/hang"
	timeout -s KILL 2 "$ours/ctr" run --runc-binary "$dir/hang" "$ref" c1 >/dev/null 2>&1 3>&- &
	waiting=$!
	sleep 1
	[ "$(ctr run --rm "$ref" c2)" = hello ]
	[ -z "$(ctr tasks ls -q)" ]
	wait $waiting || true
	eventually_clean
	ctr containers rm c1
	[ "$(ctr snapshots ls | wc -l)" -eq 2 ]
}

@test "a shim that hangs when it is started" {
	make_hanging "$dir/containerd-shim-hang-v1"
	timeout -s KILL 2 "$ours/ctr" run --runtime "$dir/containerd-shim-hang-v1" "$ref" c1 >/dev/null 2>&1 3>&- &
	waiting=$!
	sleep 1
	[ "$(ctr run --rm "$ref" c2)" = hello ]
	wait $waiting || true
	eventually_clean
	ctr containers rm c1
	# the name is free again
	[ "$(ctr run --rm "$ref" c1)" = hello ]
}

@test "bundles that are no bundles are cleaned up at the start" {
	ctr run -d "$ref" alive sleep 1000
	pid=$(ctr tasks ls | awk '$1 == "alive" {print $2}')
	daemon_stop -KILL
	bundles=$dir/state/io.containerd.runtime.v2.task/$CONTAINERD_NAMESPACE
	mkdir -p "$bundles/empty" "$bundles/garbage" "$bundles/dead" "$dir/state/io.containerd.runtime.v2.task/other/none"
	head -c 1000 /dev/urandom >"$bundles/garbage/bootstrap.json"
	head -c 1000 /dev/urandom >"$bundles/garbage/config.json"
	echo "unix:///run/containerd/s/none" >"$bundles/dead/address"
	echo "not a directory" >"$bundles/file"
	daemon_start
	[ "$(ctr tasks ls | awk '$1 == "alive" {print $2, $3}')" = "$pid RUNNING" ]
	for i in $(seq 100); do
		[ -d "$bundles/empty" ] || [ -d "$bundles/garbage" ] || [ -d "$bundles/dead" ] || break
		sleep 0.1
	done
	[ ! -d "$bundles/empty" ]
	[ ! -d "$bundles/garbage" ]
	[ ! -d "$bundles/dead" ]
	rm -f "$bundles/file"
	[ "$(ctr run --rm "$ref" garbage)" = hello ]
}
