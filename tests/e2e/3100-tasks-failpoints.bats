#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A part of the walk over all failpoints (`make check-soak` walks them all): with crun on overlayfs, for time.
load lib
load lib-faults
setup() {
	[ "$runtime-$snapshotter" = crun-overlayfs ] || skip "one combination is enough"
	common_setup
	daemon_stop
	make_image "$dir/bb.tar"
	faults_config
	faults_daemon ""
	ctr images import --snapshotter "$snapshotter" "$dir/bb.tar"
}
teardown() { common_teardown; }

@test "errors at the steps of a task" {
	walk 'error(injected)' task.create.connect task.create.done shim.create.mounted shim.create.created shim.exec.runc \
		shim.delete.unmounted task.delete.done
}

@test "death of the shim at the steps of a task" {
	walk kill shim.boot.spawned shim.create.created shim.exec.pid shim.exit shim.delete.deleted shim.shutdown.begin shim.cleanup.begin
}

@test "death of the daemon at the steps of a task" {
	walk kill task.create.connect task.create.done bundle.delete.renamed task.cleanup.call meta.committed snapshot.commit.synced \
		content.commit.renamed
}
