#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the overlayfs snapshotter can be configured to, and id maps.

bats_require_minimum_version 1.5.0
load lib

setup() { [ "$snapshotter" = overlayfs ] || skip "options of overlayfs"; }
teardown() { common_teardown; }

# Options of the snapshotter, then a daemon with the image.
start_with() {
	extra_config="[plugins.'io.containerd.snapshotter.v1.overlayfs']"$'\n'"$1"
	common_setup
	chmod 711 "$dir" # root of a container whose ids are mapped looks for its root here
	make_image "$dir/image.tar"
	ctr images import "$dir/image.tar" >/dev/null
	layer=$(ctr snapshots ls | awk '$NF == "Committed" {print $1}' | head -1)
	snapshots=$dir/root/io.containerd.snapshotter.v1.overlayfs/snapshots
}

@test "overlayfs: upperdir_label" {
	start_with 'upperdir_label = true'
	ctr snapshots prepare one "$layer" >/dev/null
	run -0 ctr snapshots info one
	[[ "$output" == *'"containerd.io/snapshot/overlay.upperdir": "'"$snapshots"/*/fs'"'* ]]
	ctr snapshots rm one
}

@test "overlayfs: mount_options reach the mount, and volatile ones can be mounted again" {
	start_with 'mount_options = ["volatile", "index=off"]'
	run -0 ctr snapshots prepare --mounts one "$layer"
	[[ "$output" == *volatile*index=off* ]]
	ctr snapshots rm one
	run -0 ctr run --rm $(run_flags) demo.local/bb:1 c /bin/sh -c 'echo x >/f; cat /proc/mounts'
	[[ "$output" == *" / overlay "*volatile* ]]
	assert_clean
}

@test "overlayfs: sync_remove: the directory is gone when the call returns" {
	start_with 'sync_remove = true'
	ctr snapshots prepare one "$layer" >/dev/null
	n=$(ls "$snapshots" | wc -l)
	ctr snapshots rm one
	[ "$(ls "$snapshots" | wc -l)" -eq $((n - 1)) ]
}

@test "overlayfs: ids are mapped by the kernel" {
	start_with ''
	ctr plugins ls -d id==overlayfs | grep -q remap-ids || skip "this kernel cannot"
	run ctr run --rm $(run_flags) --uidmap 0:100000:65536 --gidmap 0:100000:65536 --remap-labels demo.local/bb:1 c \
		/bin/sh -c 'ls -ln /etc/passwd; >/mine; ls -ln /mine; cat /proc/self/uid_map'
	echo "$output"
	[ "$status" -eq 0 ]
	[[ "${lines[0]}" =~ ^-rw-r--r--\ +1\ 0\ +0\  ]]
	[[ "${lines[1]}" =~ ^-rw-r--r--\ +1\ 0\ +0\  ]]
	[[ "${lines[2]}" =~ ^\ *0\ +100000\ +65536$ ]]
	# the layer itself is as it was
	[ "$(stat -c %u "$snapshots"/*/fs/etc/passwd)" = 0 ]
	assert_clean
}

@test "overlayfs: ids are mapped by chown" {
	start_with 'slow_chown = true'
	run -0 ctr plugins ls -d id==overlayfs
	[[ "$output" != *only-remap-ids* ]]
	run ctr run --rm $(run_flags) --uidmap 0:100000:65536 --gidmap 0:100000:65536 demo.local/bb:1 c \
		/bin/sh -c 'ls -ln /etc/passwd; >/mine; ls -ln /mine; cat /proc/self/uid_map'
	echo "$output"
	[ "$status" -eq 0 ]
	[[ "${lines[0]}" =~ ^-rw-r--r--\ +1\ 0\ +0\  ]]
	[[ "${lines[1]}" =~ ^-rw-r--r--\ +1\ 0\ +0\  ]]
	assert_clean
}
