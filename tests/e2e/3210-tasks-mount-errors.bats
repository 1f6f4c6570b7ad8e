#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Mounts of a spec that cannot work are said before the runtime is started, with both sides; what works goes on to work.

bats_require_minimum_version 1.5.0
load lib

setup() {
	common_setup
	make_image "$dir/image.tar"
	ctr images import "$dir/image.tar" >/dev/null
	mkdir "$dir/host-dir"
	echo text >"$dir/host-file"
}
teardown() { common_teardown; }

# A container with these mounts (src:dst:options) fails to be created, and nothing is left of it.
refused() {
	local text=$1
	shift
	run -1 ctr run --rm $(run_flags) "$@" demo.local/bb:1 bad /bin/true
	[ "$output" = "ctr: failed to create shim task: $text: invalid argument" ]
	[ ! -e "$dir/state/io.containerd.runtime.v2.task/$CONTAINERD_NAMESPACE/bad" ]
	assert_clean
}

bind() { echo "--mount type=bind,src=$1,dst=$2,options=${3:-rbind:ro}"; }

@test "mount errors: a directory onto a file, a file onto a directory" {
	refused "cannot mount \"$dir/host-dir\" onto \"/etc/passwd\" (bind): the source is a directory, the target in the container is a file: not a directory" \
		$(bind "$dir/host-dir" /etc/passwd)
	refused "cannot mount \"$dir/host-file\" onto \"/etc\" (bind): the source is a file, the target in the container is a directory: not a directory" \
		$(bind "$dir/host-file" /etc)
	refused "cannot mount \"tmpfs\" onto \"/etc/passwd\" (tmpfs): the target in the container is a file: not a directory" \
		--mount type=tmpfs,src=tmpfs,dst=/etc/passwd
	refused "cannot mount \"$dir/host-dir\" onto \"/etc/passwd/sub\" (bind): the target's parent in the container is a file: not a directory" \
		$(bind "$dir/host-dir" /etc/passwd/sub)
}

@test "mount errors: the source is not there; the kernel does not know the type" {
	refused "cannot mount \"$dir/none\" onto \"/data\" (bind): the source on the host: no such file or directory" \
		$(bind "$dir/none" /data)
	refused "cannot mount \"x\" onto \"/data\" (nofs): the kernel does not know this type of file system: no such device" \
		--mount type=nofs,src=x,dst=/data
}

@test "mount errors: what the runtimes accept is not refused" {
	# targets that do not exist are made; an earlier mount hides what the root has
	make_rootfs "$dir/tree"
	mkdir "$dir/tree/opt"
	touch "$dir/tree/opt/file"
	run -0 ctr run --rm $(run_flags) --rootfs $(bind "$dir/host-dir" /new/dir) $(bind "$dir/host-file" /new/file) \
		--mount type=tmpfs,src=tmpfs,dst=/opt $(bind "$dir/host-dir" /opt/file) \
		"$dir/tree" good /bin/sh -c 'cat /new/file; ls -d /opt/file/. /new/dir'
	[ "${lines[0]}" = text ]
	[ "${lines[1]}" = /new/dir ]
	[ "${lines[2]}" = /opt/file/. ]
	run -0 ctr run --rm $(run_flags) $(bind "$dir/host-file" /etc/passwd) demo.local/bb:1 good /bin/cat /etc/passwd
	[ "$output" = text ]
	# a link of the image leads nowhere else than into the image
	run -0 ctr run --rm $(run_flags) $(bind "$dir/host-file" /proc/../etc/../../../etc/group) demo.local/bb:1 good /bin/cat /etc/group
	[ "$output" = text ]
	assert_clean
}

@test "mount errors: a root file system that cannot be mounted says why" {
	mkdir "$dir/tree"
	run -1 ctr run --rm $(run_flags) --rootfs --rootfs-mount "type=overlay,src=overlay,options=lowerdir=$dir/lost" "$dir/tree" bad /bin/true
	[[ "$output" == "ctr: failed to create shim task: failed to mount rootfs component: mount source: \"overlay\", target: "*": lower directory $dir/lost: no such file or directory" ]]
	run -1 ctr run --rm $(run_flags) --rootfs --rootfs-mount "type=nofs,src=x" "$dir/tree" bad /bin/true
	[[ "$output" == *", fstype: nofs, flags: 0, data: \"\", err: the kernel does not know this type of file system: no such device" ]]
	assert_clean
}

@test "mount errors: a runtime that does not know id-mapped mounts is not asked for them" {
	[ "$runtime" = runc ] || skip "crun knows them"
	! runc features | grep -q mountExtensions || skip "this runc knows them"
	run -1 ctr run --rm $(bind "$dir/host-dir" /data rbind:idmap) demo.local/bb:1 bad /bin/true
	[ "$output" = 'ctr: failed to validate OCI runtime features: idmap mounts not supported: missing `mountExtensions.idmap` entry in `features` command' ]
	assert_clean
}

@test "mount errors: a file system that cannot map ids" {
	[ "$runtime" = crun ] || skip "Debian's runc cannot at all"
	refused "cannot mount \"/proc/sys\" onto \"/data\" (bind): file system proc does not support id-mapped mounts: invalid argument" \
		--uidmap 0:100000:65536 --gidmap 0:100000:65536 $(bind /proc/sys /data rbind:idmap)
}
