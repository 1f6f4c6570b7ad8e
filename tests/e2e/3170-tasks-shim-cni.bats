#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
load lib
setup() {
	once
	common_setup
	make_image "$dir/bb.tar"
	ctr images import "$dir/bb.tar"
	ref=demo.local/bb:1
}
teardown() { common_teardown; }

@test "a shim is spoken with directly" {
	ctr run -d "$ref" one sleep 1000
	pid=$(ctr tasks ls | awk '$1 == "one" {print $2}')
	[ "$(ctr shim --id one state | jq .pid)" = "$pid" ]
	[ "$(ctr shim --id one state --api-version 2 | jq .pid)" = "$pid" ]
	echo '{"args":["echo","from an exec"],"cwd":"/","env":["PATH=/bin"],"user":{"uid":0,"gid":0}}' >"$dir/process.json"
	run ctr shim --id one exec --stdout "$dir/out" --stderr "$dir/err" --spec "$dir/process.json" --attach e1
	[ "$status" -eq 0 ]
	[[ $output == *"from an exec"* ]]
	# it has a container: nothing ends
	ctr shim --id one shutdown
	[ "$(ctr shim --id one state | jq .pid)" = "$pid" ]
	run ctr shim --id none state
	[[ $output == "ctr: fail to connect to container shim with sockets: "* ]]
	run ctr shim state
	[ "$output" = "ctr: shim ID (--id) or address (--shim-address) must be specified" ]
}

@test "what a runtime says of itself" {
	ctr plugins inspect-runtime | jq -e '.Name == "io.containerd.runc.v2" and (.Features.ociVersionMax | startswith("1."))'
	run ctr plugins inspect-runtime --runtime io.containerd.none.v1
	[ "$output" = 'ctr: failed to resolve runtime path: runtime "io.containerd.none.v1" binary not installed "containerd-shim-none-v1": file does not exist' ]
}

@test "run --cni puts the container into a network and takes it out" {
	[ -x /usr/lib/cni/bridge ] || skip "containernetworking-plugins is not installed"
	bridge=e2e${dir##*.}
	mkdir "$dir/net.d"
	cat >"$dir/net.d/10-test.conflist" <<-JSON
		{"cniVersion": "0.4.0", "name": "$bridge", "plugins": [
		 {"type": "bridge", "bridge": "$bridge", "ipam": {"type": "host-local", "dataDir": "$dir/ipam", "ranges": [[{"subnet": "10.231.9.0/24"}]]}},
		 {"type": "tuning"}]}
	JSON
	run env NETCONFPATH="$dir/net.d" "$ours/ctr" run --cni --rm "$ref" n1 cat /proc/net/dev
	ip link del "$bridge"
	[ "$status" -eq 0 ]
	[[ $output == *eth0:* ]]
	# the address was given back
	[ -z "$(find "$dir/ipam" -name '10.231.9.*')" ]
	echo '{"cniVersion": "0.4.0", "name": "x", "type": "nothing"}' >"$dir/net.d/10-test.conflist"
	run env NETCONFPATH="$dir/net.d" "$ours/ctr" run --cni --rm "$ref" n1
	[ "$status" -eq 1 ]
	[[ $output == 'ctr: failed to find plugin "nothing" in path ['*']' ]]
	[ -z "$(ctr containers ls -q)" ]
	run env NETCONFPATH="$dir" "$ours/ctr" run --cni --rm "$ref" n1
	[[ $output == "ctr: cni plugin not initialized: "* ]]
	assert_clean
}

@test "classes of resources" {
	ctr run --rm --rdt-class gold --dump-config "$dir/config.json" "$ref" r1
	[ "$(jq -r .linux.intelRdt.closID "$dir/config.json")" = gold ]
	run ctr run --rm --blockio-class slow "$ref" r1
	[ "$output" = 'ctr: blockio-class error: no OCI BlockIO parameters for class "slow"' ]
	[ -z "$(ctr containers ls -q)" ]
}
