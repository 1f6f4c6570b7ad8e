#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
load lib
setup() { common_setup; }
teardown() { common_teardown; }

@test "prepare, commit, view, tree, usage, remove" {
	sleep 0.3 # the collection after the start would take a view, which nothing holds
	ctr snapshots prepare --mounts one | jq -e '.[0].Type == "bind"'
	ctr snapshots commit base one
	ctr snapshots prepare two base
	ctr snapshots view three base
	[ "$(ctr snapshots tree | head -1)" = " base" ]
	ctr snapshots info two | jq -e '.Kind == "Active" and .Parent == "base"'
	ctr snapshots usage base
	run ctr snapshots rm base
	[ "$status" -eq 1 ]
	[[ $output == *"failed precondition" ]]
	run ctr snapshots prepare two base
	[ "$status" -eq 1 ]
	[[ $output == *"already exists" ]]
	peer_ctr snapshots --snapshotter "$snapshotter" rm three two base
	[ "$(ctr snapshots ls | wc -l)" -eq 1 ]
}
