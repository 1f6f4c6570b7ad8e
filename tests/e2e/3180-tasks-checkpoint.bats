#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Checkpoint and restore with CRIU, which Debian 12 has in a version that does not start on newer kernels: `criu check` decides.
load lib
setup() { common_setup; make_image "$dir/bb.tar"; ctr images import --snapshotter "$snapshotter" "$dir/bb.tar"; }
teardown() { common_teardown; }

need_criu() {
	[ "$runtime" = runc ] || skip "Debian's crun is built without CRIU"
	command -v criu >/dev/null || skip "criu is not installed"
	criu check >"$dir/criu" 2>&1 || skip "criu does not work on this kernel: $(tail -1 "$dir/criu")"
}

# A process that counts into a file of its root.
counter='i=0; while :; do i=$((i + 1)); echo $i >/tmp/count; sleep 0.05; done'
count() { # the file is empty for a moment at each step
	local n=
	until [ -n "$n" ]; do n=$(cat "/proc/$(pid_of "$1")/root/tmp/count"); done
	echo "$n"
}
pid_of() { ctr tasks ls | awk -v c="$1" '$1 == c {print $2}'; }

@test "without CRIU, or where it refuses: an error that says so, and the task goes on" {
	ctr run -d $(run_flags) demo.local/bb:1 c1 /bin/sleep 1000
	if [ "$runtime" = runc ] && command -v criu >/dev/null && criu check >/dev/null 2>&1; then
		skip "criu works here"
	fi
	run ctr tasks checkpoint c1
	[ "$status" -eq 1 ]
	[[ $output == *" path= "*criu-dump.log ]]
	[ "$(ctr images ls -q | grep -c checkpoint)" -eq 0 ]
	[[ $(ctr tasks ls) == *RUNNING* ]]
	[ -z "$(ls -d "${TMPDIR:-/tmp}"/ctrd-checkpoint* 2>/dev/null)" ]
	ctr tasks rm -f c1
	ctr containers rm c1
	assert_clean
}

@test "what has no task, and what is no checkpoint" {
	ctr containers create demo.local/bb:1 c1
	run ctr tasks checkpoint c1
	[ "$status" -eq 1 ]
	[[ $output == *"task c1 not found" ]]
	run ctr containers restore c2 demo.local/bb:1
	[ "$status" -eq 1 ]
	ctr containers checkpoint c1 demo.local/cp:1
	run ctr containers restore c2 demo.local/cp:1
	[ "$status" -eq 1 ]
	[[ $output == *"media type not found" ]]
	run ctr containers restore --live c2 demo.local/cp:1
	[[ $output == *"checkpoint not found in index demo.local/cp:1" ]]
	[ "$(ctr snapshots --snapshotter "$snapshotter" ls | grep -c Active)" -eq 1 ]
	ctr containers rm c1
}

@test "tasks checkpoint: an image with what CRIU wrote, spec, image and writable layer" {
	need_criu
	ctr run -d $(run_flags) --null-io demo.local/bb:1 c1 /bin/sh -c "$counter"
	sleep 0.5
	name=$(ctr tasks checkpoint c1)
	[[ $name == containerd.io/checkpoint/c1:* ]]
	[[ $(ctr images ls) == *"containerd.io/checkpoint=true"* ]]
	[[ $(ctr tasks ls) == *RUNNING* ]]
	ctr tasks checkpoint --image-path "$dir/image" --work-path "$dir/work" --exit c1
	[ -e "$dir/image/inventory.img" ]
	for _ in $(seq 100); do [[ $(ctr tasks ls) == *STOPPED* ]] && break; sleep 0.05; done
	[[ $(ctr tasks ls) == *STOPPED* ]]
	ctr tasks rm c1 || true
	ctr containers rm c1
	[ -z "$(ls -d "${TMPDIR:-/tmp}"/ctrd-checkpoint* 2>/dev/null)" ]
	assert_clean
}

@test "containers checkpoint and restore --live: the process goes on where it was" {
	need_criu
	ctr run -d $(run_flags) --null-io demo.local/bb:1 c1 /bin/sh -c "$counter"
	sleep 1
	ctr containers checkpoint --task --image --rw c1 demo.local/cp:1
	before=$(count c1)
	ctr tasks rm -f c1 || true
	ctr containers rm c1
	ctr containers restore --live --rw c2 demo.local/cp:1
	sleep 0.5
	after=$(count c2)
	[ "$after" -ge "$((before - 2))" ]
	[ "$before" -gt 5 ]
	[[ $(ctr tasks ls) == *c2*RUNNING* ]]
	[ "$(ctr tasks exec --exec-id e c2 /bin/echo there)" = there ]
	ctr tasks rm -f c2 || true
	ctr containers rm c2
	# from a restored state that nobody starts
	assert_clean
}
