#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The mount manager, and root file systems that need it.

bats_require_minimum_version 1.5.0
load lib

setup() { common_setup; }
teardown() {
	local m
	for m in $("$ours/ctr" mounts ls -q 2>/dev/null); do "$ours/ctr" mounts deactivate "$m" >/dev/null 2>&1 || true; done
	common_teardown
}

targets() { echo "$dir/state/io.containerd.mount-manager.v1.bolt/t"; }

# An ext4 image with busybox in $1.
make_ext4() {
	[ -x "$(command -v mkfs.ext4)" ] || skip "needs mkfs.ext4"
	[ -e /dev/loop-control ] || skip "needs loop devices"
	make_rootfs "$dir/tree"
	truncate -s 16M "$1"
	mkfs.ext4 -q -d "$dir/tree" "$1"
}

# Loop devices that have $1 behind them.
loops() { grep -l -F -- "$1" /sys/block/loop*/loop/backing_file 2>/dev/null || true; }

# The daemon has a mount namespace of its own.
in_daemon() { nsenter -t "$(cat "$dir/pid")" -m "$@"; }

@test "mounts: activate, info, list, label, deactivate" {
	mkdir "$dir/lower"
	echo text >"$dir/lower/file"
	make_rootfs "$dir/tree"
	ctr containers create --rootfs "$dir/tree" owner # keeps it
	run -0 ctr mounts activate --label a=b --label containerd.io/gc.bref.container=owner --temporary one \
		"type=bind,src=$dir/lower,option=rbind" "type=format/bind,src={{ mount 0 }},option=rbind,option=ro"
	flat=$(tr -d ' \n' <<<"$output")
	[[ "$flat" == *'"name":"one"'* ]]
	[[ "$flat" == *"\"system\":[{\"type\":\"bind\",\"source\":\"$(targets)/1/2\",\"options\":[\"rbind\"]}]"* ]]
	run -0 in_daemon cat "$(targets)/1/2/file"
	[ "$output" = text ]
	run -1 ctr mounts activate one type=loop,src=/x
	[ "$output" = 'ctr: mount "one": already exists' ]
	run -1 ctr mounts activate two type=bind,src=/x
	[ "$output" = 'ctr: not implemented' ]
	run -0 ctr mounts ls
	[[ "${lines[1]}" =~ ^one\ +bind,bind\ +bind\ +a=b, ]]
	run -0 ctr mounts label one a=c
	[[ "$output" == a=c,* ]]
	run -0 ctr mounts ls -q labels.a==b
	[ -z "$output" ]
	run -0 ctr mounts deactivate one
	run -1 ctr mounts deactivate one
	[ "$output" = 'ctr: missing mount "one" bucket: not found' ]
	run -1 ctr mounts info one
	[ "$output" = 'ctr: mount "one" not found' ]
	[ -z "$(in_daemon ls "$(targets)")" ]
}

@test "mounts: nobody keeps it: the collector takes it away; a lease that is deleted too" {
	make_ext4 "$dir/disk.img"
	ctr leases create --id keep
	# nothing refers to it
	ctr mounts activate lost "type=loop,src=$dir/disk.img" >/dev/null
	ctr leases create --id other
	ctr leases rm --sync other
	[ -z "$(ctr mounts ls -q)" ]
	[ -z "$(loops "$dir/disk.img")" ]
	[ -z "$(in_daemon ls "$(targets)")" ]
}

@test "mounts: a container's root is an ext4 file" {
	make_ext4 "$dir/disk.img"
	root=(--rootfs --rootfs-mount "type=loop,src=$dir/disk.img" --rootfs-mount 'type=format/ext4,src={{ mount 0 }}')
	run -0 ctr run --rm $(run_flags) "${root[@]}" "$dir/tree" one /bin/sh -c 'echo hi >/f; cat /f; busybox grep " / " /proc/mounts'
	[ "${lines[0]}" = hi ]
	[[ "${lines[1]}" == *" / ext4 "* ]]
	[ -z "$(ctr mounts ls -q)" ]
	[ -z "$(loops "$dir/disk.img")" ]
	assert_clean

	# what was written is there the next time
	ctr run -d $(run_flags) "${root[@]}" "$dir/tree" two /bin/sh -c 'cat /f; sleep 1000'
	run -0 ctr mounts ls
	[[ "${lines[1]}" =~ ^two\ +loop\ +ext4\ +containerd.io/gc.bref.container=two ]]
	# a daemon that is killed finds it again, and the container's end frees it
	daemon_stop -KILL
	daemon_start
	[ "$(ctr mounts ls -q)" = two ]
	ctr tasks rm -f two
	[ -z "$(ctr mounts ls -q)" ]
	ctr containers rm two
	[ -z "$(loops "$dir/disk.img")" ]
	assert_clean
}

@test "mounts: a create that fails takes the activation back" {
	make_ext4 "$dir/disk.img"
	run -1 ctr run --rm $(run_flags) --rootfs --rootfs-mount "type=loop,src=$dir/disk.img" \
		--rootfs-mount 'type=format/ext4,src={{ mount 7 }}' "$dir/tree" one /bin/true
	[[ "$output" == *'error calling mount: index out of bounds: 7, has 1 active mounts'* ]]
	run -1 ctr run --rm $(run_flags) --rootfs --rootfs-mount "type=loop,src=$dir/disk.img" \
		--rootfs-mount 'type=format/ext4,src={{ mount 0 }}' "$dir/tree" two /bin/nothing-here
	[ -z "$(ctr mounts ls -q)" ]
	run -1 ctr run --rm $(run_flags) --rootfs --rootfs-mount "type=loop,src=$dir/nothing.img" "$dir/tree" three /bin/true
	[[ "$output" == *"mount handler failed {loop $dir/nothing.img  []}: could not open backing file: $dir/nothing.img: no such file or directory"* ]]
	[ -z "$(loops "$dir/disk.img")" ]
	[ -z "$(in_daemon ls "$(targets)")" ]
	assert_clean
}

@test "mounts: a file system is made for a container" {
	make_ext4 "$dir/disk.img"
	run -0 ctr run --rm $(run_flags) --rootfs \
		--rootfs-mount "type=mkfs/loop,src=$dir/root/new.img,option=X-containerd.mkfs.size=8MiB" \
		--rootfs-mount 'type=format/ext4,src={{ mount 0 }}' \
		--rootfs-mount "type=bind,src=$dir/tree,option=rbind" "$dir/tree" one /bin/echo made
	[ "$output" = made ]
	[ "$(stat -c %s "$dir/root/new.img")" -eq 8388608 ]
	run -1 ctr mounts activate x "type=mkfs/loop,src=/etc/new.img,option=X-containerd.mkfs.size=8MiB"
	[ "$output" = 'ctr: no root "/etc/new.img" configured for mkfs: not implemented' ]
	assert_clean
}

@test "mounts: a shim that does a type itself gets it" {
	make_ext4 "$dir/disk.img"
	# its -info is ours with the annotation behind it: field 5, {key, value}
	local key=containerd.io/runtime-allow-mounts value='loop,format/*'
	field() { printf "\\x$(printf %02x "$1")\\x$(printf %02x ${#2})%s" "$2"; }
	{
		printf "\\x2a\\x$(printf %02x $((4 + ${#key} + ${#value})))"
		field 10 "$key"
		field 18 "$value"
	} >"$dir/annotation"
	cat >"$dir/containerd-shim-own-v1" <<-SH
		#!/bin/sh
		[ "\$1" = -info ] || exec $daemon_dir/containerd-shim-runc-v2 "\$@"
		$daemon_dir/containerd-shim-runc-v2 "\$@" && cat $dir/annotation
	SH
	chmod +x "$dir/containerd-shim-own-v1"
	run -1 ctr run --rm --runtime "$dir/containerd-shim-own-v1" --rootfs \
		--rootfs-mount "type=loop,src=$dir/disk.img" --rootfs-mount 'type=format/ext4,src={{ mount 0 }}' "$dir/tree" own /bin/true
	[[ "$output" == *"failed to mount rootfs component: mount source: \"$dir/disk.img\", target: "*", fstype: loop, "* ]]
	[ -z "$(ctr mounts ls -q)" ]
	assert_clean
}
