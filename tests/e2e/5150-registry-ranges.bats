#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=once
# Large layers that come over several connections, from registries that break and lie about the parts.
load lib
extra_config="[timeouts]
'io.containerd.timeout.registry.response' = '1s'
'io.containerd.timeout.registry.stall' = '1s'
[plugins.'io.containerd.transfer.v1.local']
  concurrent_layer_fetch_buffer = 1048576"
setup() {
	common_setup
	fault_registry_start 8000000
	ref=$host/a/b:1
}
teardown() { common_teardown; }

pull() { ctr images pull --plain-http --snapshotter "$snapshotter" "$ref"; }

@test "parts of a layer that break and lie" {
	local fault slow='0 GET /blobs/ pace 8000000'
	for fault in '0 RANGE /never/ reset' '0 RANGE . reset' '1 RANGE . reset' '5 RANGE . cut' '0 RANGE . no-range' '0 RANGE . bad-range' \
		'5 RANGE . short' '0 RANGE . status 400 {}' '2 RANGE . hang-body' '1 RANGE . lying-range'; do
		# as slow as it takes for parts to be worth it on any machine
		[[ $fault != *never* ]] || slow='0 GET /blobs/ pace 2500000'
		faults "$fault" "$slow"
		slow='0 GET /blobs/ pace 8000000'
		if [[ $fault == *lying* ]]; then
			run pull
			[ "$status" -eq 1 ]
			[[ $output == *"unexpected commit digest"* ]]
			faults
		fi
		pull >/dev/null
		[ "$(ctr images check -q)" = "$ref" ]
		assert_nothing_left
		[[ $fault != *never* ]] || grep -q " bytes=[0-9]*-[0-9][0-9]* 206 " "$dir/faulty/requests" # it was in parts
		# one that refuses parts sends each blob once
		[[ $fault != *400* ]] || [ "$(grep -c "^GET .*/blobs/.* - 200 " "$dir/faulty/requests")" -eq 4 ]
		ctr images rm --sync "$ref" >/dev/null
		[ -z "$(ctr content ls -q)" ]
	done
}
