#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=once
# The daemon is killed in the middle of pulls, the power goes, the disk is full or read-only. CTRD_SOAK=50 is how many times.
load lib
setup() {
	common_setup
	fault_registry_start 1500000
	ref=$host/a/b:1
	times=${CTRD_SOAK:-4}
}
teardown() { common_teardown; }

pull() { ctr images pull --plain-http --snapshotter "$snapshotter" "$ref"; }
# Somewhere in the first second.
doze() { sleep "0.$(printf %03d $((RANDOM % 1000)))"; }

forget() {
	ctr images ls -q | xargs -r "$ours/ctr" images rm >/dev/null
	ctr leases ls -q | xargs -r -n 1 "$ours/ctr" leases rm >/dev/null
	ctr leases rm --sync "$(ctr leases create)" >/dev/null
}

# After forget: no blob, ingest, snapshot, directory, lock or mount is left.
assert_empty() {
	local i dirs
	assert_nothing_left
	[ -z "$(ctr content ls -q)" ]
	[ "$(ctr snapshots ls | wc -l)" -eq 1 ]
	[ -z "$(find "$dir/root/io.containerd.content.v1.content/blobs" -type f)" ]
	for i in $(seq 100); do # directories of removed snapshots go in the background
		dirs=$(ls "$dir/root/io.containerd.snapshotter.v1.$snapshotter/snapshots")
		[ -n "$dirs" ] || break
		sleep 0.05
	done
	[ -z "$dirs" ]
	run grep -e extract -e " $dir/root/.*tmp" "/proc/$(cat "$dir/pid")/mountinfo"
	[ "$status" -eq 1 ]
}

@test "kill -9 at random moments of a pull" {
	local i blobs digest asked
	for i in $(seq "$times"); do
		faults '0 GET /blobs/ pace 2500000'
		pull >/dev/null 2>&1 3>&- &
		doze
		daemon_stop -KILL
		wait $! || true
		daemon_start
		blobs=$(ctr content ls -q)
		faults
		pull >"$dir/out"
		[ "$(ctr images check -q)" = "$ref" ]
		# what was complete does not come again
		for digest in $blobs; do
			run grep "GET .*$digest" "$dir/faulty/requests"
			[ "$status" -eq 1 ]
		done
		# the killed pull's lease is there until it expires, and nothing else
		[ "$(ctr leases ls -q | wc -l)" -le 1 ]
		forget
		assert_empty
	done
}

# The daemon's root becomes an ext4 of its own, on a disk of which copies can be made at once.
disk_start() {
	local outer=$dir/outer
	daemon_stop
	rm -rf "$dir/root"
	mkdir "$dir/root" "$outer"
	truncate -s 8G "$dir/outer.img" # sparse
	mkfs.btrfs -q "$dir/outer.img"
	mount -o loop "$dir/outer.img" "$outer" || skip "no btrfs in this kernel"
	truncate -s 300M "$outer/disk"
	mkfs.ext4 -qF "$outer/disk"
	mount -o loop "$outer/disk" "$dir/root"
	daemon_start
}

@test "the power goes in the middle of a pull" {
	[ "$snapshotter" = overlayfs ] || skip "layers can be compared there"
	local i n=0
	disk_start
	for i in $(seq "$times"); do
		forget
		faults '0 GET /blobs/ pace 2500000'
		pull >/dev/null 2>&1 3>&- &
		doze
		[ $((i % 3)) -ne 0 ] || doze
		cp --reflink=always "$dir/outer/disk" "$dir/outer/cut$i"
		wait $!
	done
	# and in the moments after a pull
	forget
	faults
	pull >/dev/null
	cp --reflink=always "$dir/outer/disk" "$dir/outer/cut0"
	for i in $(seq 0 "$times"); do
		mkdir "$dir/cut$i"
		mount -o loop "$dir/outer/cut$i" "$dir/cut$i"
		"$BATS_TEST_DIRNAME/check-root.py" "$dir/cut$i" "$dir/faulty"
	done
	# all of it is there once the pull was said to be done
	[[ $("$BATS_TEST_DIRNAME/check-root.py" "$dir/cut0" "$dir/faulty") == *", 3 committed snapshots" ]]
	# and a daemon on such a disk goes on
	daemon_stop
	umount "$dir/root"
	for i in $(seq 0 "$times"); do
		umount "$dir/cut$i"
		mount -o loop "$dir/outer/cut$i" "$dir/root"
		daemon_start
		pull >/dev/null
		[ "$(ctr images check -q)" = "$ref" ]
		forget
		assert_empty
		daemon_stop
		umount "$dir/root"
		rm "$dir/outer/cut$i"
	done
}

small_disk_start() {
	daemon_stop
	rm -rf "$dir/root"
	mkdir "$dir/root"
	truncate -s "$1" "$dir/disk"
	mkfs.ext4 -qF "$dir/disk"
	mount -o loop "$dir/disk" "$dir/root"
	daemon_start
}

@test "a full disk" {
	small_disk_start 16M
	local room
	for room in 300 1000 3000; do
		fallocate -l "$(($(df --output=avail -k "$dir/root" | tail -1) - room))K" "$dir/root/ballast"
		run pull
		echo "$output"
		[ "$status" -eq 1 ]
		[[ $output == *"no space left on device"* || $output == *"database or disk is full"* ]]
		# the daemon serves others, and their metadata
		ctr version >/dev/null
		rm "$dir/root/ballast"
		ctr namespaces create "full-$room"
		forget
		assert_empty
	done
	pull >/dev/null
	[ "$(ctr images check -q)" = "$ref" ]
}

@test "a disk that becomes read-only" {
	small_disk_start 100M
	pull >/dev/null
	local device
	device=$(findmnt -no SOURCE "$dir/root")
	mount -o remount,errors=remount-ro "$dir/root"
	[ -w "/sys/fs/ext4/${device##*/}/trigger_fs_error" ] || skip "the kernel cannot fake a disk error"
	echo "of a test" >"/sys/fs/ext4/${device##*/}/trigger_fs_error"
	ref=$host/a/b:plain
	run pull
	echo "$output"
	[ "$status" -eq 1 ]
	[[ $output == *"read-only"* || $output == *"readonly"* || $output == *"disk I/O error"* ]]
	# what is there can be read
	[ "$(ctr images ls -q)" = "$host/a/b:1" ]
	[ "$(ctr images check -q)" = "$host/a/b:1" ]
	# from the start
	daemon_stop
	umount "$dir/root"
	# the device goes when the last of the daemon's mount namespace has gone
	while losetup -j "$dir/disk" | grep -q .; do sleep 0.05; done
	e2fsck -fy "$dir/disk" >/dev/null 2>&1 || true
	mount -o loop,ro "$dir/disk" "$dir/root"
	: >"$dir/log"
	run daemon_start
	echo "$output"
	[ "$status" -eq 1 ]
	grep -i "read-only" "$dir/log"
	umount "$dir/root"
	while losetup -j "$dir/disk" | grep -q .; do sleep 0.05; done
	mount -o loop "$dir/disk" "$dir/root"
	daemon_start
	pull >/dev/null
	[ "$(ctr images check -q | wc -l)" -eq 2 ]
	assert_nothing_left
}
