#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Debian's dockerd with our daemon for its containerd: it starts, restarts, loses and watches containers through us.
# bats file_tags=once
bats_require_minimum_version 1.5.0
load lib
shared_mounts=1 # dockerd mounts what our daemon runs

setup() {
	command -v dockerd >/dev/null || skip "docker.io is not installed"
	common_setup
	make_rootfs "$dir/bb"
	dockerd --containerd "$dir/c.sock" --data-root "$dir/docker" --exec-root "$dir/docker-exec" -H "unix://$dir/d.sock" \
		--pidfile "$dir/docker.pid" --bridge none --iptables=false --ip6tables=false >"$dir/docker.log" 2>&1 3>&- &
	dockerd=$!
	local i
	for i in $(seq 300); do
		docker version >/dev/null 2>&1 && break
		kill -0 $dockerd
		sleep 0.1
	done
	tar -C "$dir/bb" -c . | docker import - bb:1
}

teardown() {
	if [ -n "${dockerd:-}" ]; then
		docker ps -aq | xargs -r "$docker" -H "unix://$dir/d.sock" rm -f >/dev/null || true
		kill $dockerd || true
		wait $dockerd || true
		umount -l "$dir"/docker-exec/netns/* 2>/dev/null || true
	fi
	common_teardown
}

docker=/usr/bin/docker
docker() { "$docker" -H "unix://$dir/d.sock" "$@"; }
run_detached() { docker run -d --network none --name "$@" >/dev/null; }

@test "docker run, exec, pause, top, stats, kill, wait, logs" {
	[ "$(docker run --rm --network none bb:1 /bin/echo hi)" = hi ]
	[ "$(echo in | docker run --rm -i --network none bb:1 /bin/cat)" = in ]
	run docker run --rm --network none bb:1 /bin/sh -c 'exit 7'
	[ "$status" -eq 7 ]
	run -127 docker run --rm --network none bb:1 /bin/nothing
	[ "$status" -eq 127 ]
	[[ $output == *'exec: "/bin/nothing": stat /bin/nothing: no such file or directory'* ]]
	run_detached one bb:1 /bin/sh -c 'echo said; sleep 1000'
	[ "$(docker exec one /bin/echo inside)" = inside ]
	run docker exec one /bin/sh -c 'exit 4'
	[ "$status" -eq 4 ]
	docker pause one
	[ "$(docker inspect -f '{{.State.Status}}' one)" = paused ]
	docker unpause one
	[[ $(docker top one) == *"sleep 1000"* ]]
	[[ $(docker stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' one) =~ [1-9].*iB\ /.*\ [12]$ ]]
	docker update --memory 50m --memory-swap 60m one
	docker kill one
	[ "$(docker wait one)" = 137 ]
	[ "$(docker logs one)" = said ]
	docker rm one
	[ -z "$(ctr -n moby containers ls -q)" ]
}

@test "archives go both ways with docker save and load" {
	docker tag bb:1 demo.local/bb:1
	docker save -o "$dir/saved.tar" demo.local/bb:1
	ctr images import --snapshotter "$snapshotter" "$dir/saved.tar"
	[ "$(ctr images ls -q)" = demo.local/bb:1 ]
	[ "$(ctr images check -q)" = demo.local/bb:1 ]
	[ "$(ctr run --rm $(run_flags) demo.local/bb:1 c1 /bin/echo from docker)" = "from docker" ]
	ctr images tag demo.local/bb:1 demo.local/ours:2
	ctr images export "$dir/exported.tar" demo.local/ours:2
	docker load -i "$dir/exported.tar"
	[ "$(docker run --rm --network none demo.local/ours:2 /bin/echo from us)" = "from us" ]
	# and what an OCI archive with a list of one platform becomes
	make_image "$dir/bb.tar"
	ctr images import --snapshotter "$snapshotter" "$dir/bb.tar"
	ctr images tag --force demo.local/bb:1 demo.local/oci:3
	ctr images export "$dir/oci.tar" demo.local/oci:3
	docker load -i "$dir/oci.tar"
	[ "$(docker run --rm --network none demo.local/oci:3 /bin/echo of us)" = "of us" ]
}

@test "restart policy and out of memory" {
	run_detached again --restart=on-failure:2 bb:1 /bin/sh -c 'exit 3'
	run docker run --network none --memory 20m --name oom bb:1 /bin/sh -c 'x=a; while true; do x=$x$x; done'
	[ "$status" -eq 137 ]
	[ "$(docker inspect -f '{{.State.OOMKilled}}' oom)" = true ]
	local i
	for i in $(seq 100); do
		[ "$(docker inspect -f '{{.RestartCount}} {{.State.ExitCode}} {{.State.Status}}' again)" = "2 3 exited" ] && break
		sleep 0.1
	done
	[ "$(docker inspect -f '{{.RestartCount}} {{.State.ExitCode}} {{.State.Status}}' again)" = "2 3 exited" ]
}

@test "containers live through a kill -9 of our daemon, and dockerd goes on with the next one" {
	run_detached lives bb:1 /bin/sleep 1000
	run_detached ends bb:1 /bin/sh -c 'sleep 1; exit 5'
	daemon_stop -KILL
	sleep 1.2
	daemon_start
	local i
	for i in $(seq 100); do
		[ "$(docker exec lives /bin/echo alive 2>&1)" = alive ] && break
		sleep 0.1
	done
	[ "$(docker exec lives /bin/echo alive)" = alive ]
	run_detached next bb:1 /bin/sleep 1000
	[ "$(docker inspect -f '{{.State.Status}}' lives)" = running ]
	docker stop -t 0 lives
	[ "$(docker inspect -f '{{.State.ExitCode}}' lives)" = 137 ]
}
