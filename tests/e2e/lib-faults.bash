# SPDX-License-Identifier: Apache-2.0
# Walking through failpoints (src/base/failpoint.h): each makes one step fail, wait or kill its program; after it nothing
# may be left and the next run of the same container must work. Used by 3100-tasks-failpoints.bats (a part) and
# tests/soak/walk (all).

failpoints_of() { CONTAINERD_FAILPOINTS=list "$daemon_dir/$1"; }

# Its own socket folder, so that what is left there is ours, and an argument of sleep that nobody else has.
faults_config() {
	extra_config="[plugins.\"io.containerd.shim.v1.manager\"]
socket_dir = \"$dir/s\""
	nap=7${dir//[^0-9]/}$$
	hits=$dir/hits
	export CONTAINERD_FAILPOINTS_HITS=$hits
}

faults_daemon() {
	if [ -n "${1:-}" ]; then CONTAINERD_FAILPOINTS=$1 daemon_start; else daemon_start; fi
}

# For a command that may fail: bounded, quiet.
try() { timeout 30 "$ours/ctr" "$@" >>"$dir/tried" 2>&1 3>&- || true; }

status_of() { "$ours/ctr" tasks ls 2>/dev/null | awk -v id="$1" '$1 == id {print $3}'; }

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}
gone() { [ -z "$(status_of "$1")" ]; }
bundle_gone() { [ ! -e "$dir/state/io.containerd.runtime.v2.task/$CONTAINERD_NAMESPACE/$1" ]; }
stopped() { [ "$(status_of "$1")" = STOPPED ]; }
running() { [ "$(status_of "$1")" = RUNNING ]; }
ended() { ! kill -0 "$1" 2>/dev/null; }
stopped_or_gone() { gone "$1" || stopped "$1"; }

count() { find "$@" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l; }

# What is on this node of our container, one line for each thing; nothing where all is well.
faults_left() {
	local ns=$CONTAINERD_NAMESPACE base=$dir/state/io.containerd.runtime.v2.task pid
	pid=$(cat "$dir/pid")
	pgrep -af -- "containerd-shim-runc-v2.*$dir" | sed 's/^/shim /'
	pgrep -af -- "sleep $nap" | grep -v "ctr run" | sed 's/^/process /'
	ls -A "$base/$ns" 2>/dev/null | sed 's/^/bundle /'
	ls -A "$dir/root/io.containerd.runtime.v2.task/$ns" 2>/dev/null | sed 's/^/work directory /'
	find /sys/fs/cgroup/*/"$ns" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | sed 's/^/cgroup /'
	ls -A "$dir/s" 2>/dev/null | sed 's/^/socket /'
	ls -A /run/containerd/runc/"$ns" 2>/dev/null | sed 's/^/state of the runtime /'
	awk -v d="$dir/" 'index($5, d) == 1 {print "mount", $5}' "/proc/$pid/mountinfo" | grep -v 'tmpmounts$'
	"$ours/ctr" tasks ls -q | sed 's/^/task /'
	"$ours/ctr" containers ls -q | sed 's/^/container /'
	"$ours/ctr" leases ls -q | sed 's/^/lease /'
	"$ours/ctr" snapshots ls | awk 'NR > 1 && $NF == "Active" {print "snapshot", $1}'
	ls -A "$dir/root/io.containerd.content.v1.content/ingest" 2>/dev/null | sed 's/^/ingest /'
	[ "$(count "$dir/root/io.containerd.snapshotter.v1.$snapshotter/snapshots")" -eq "$("$ours/ctr" snapshots ls | tail -n +2 | wc -l)" ] ||
		echo "snapshot directories: $(ls "$dir/root/io.containerd.snapshotter.v1.$snapshotter/snapshots" | tr '\n' ' ')"
}
nothing_left() { [ -z "$(faults_left 2>&1)" ]; }

# Garbage that the collector takes away is no leak: ask for it. What a transfer had when the daemon was killed hangs on
# a lease that expires, so that the next one can go on with it.
collect() {
	"$ours/ctr" leases ls | awk '/containerd.io\/gc.expire/ {print $1}' | xargs -r "$ours/ctr" leases rm >/dev/null
	try leases create --id collect-garbage
	try leases rm --sync collect-garbage
}

scenario_life() {
	try run -d $(run_flags) demo.local/bb:1 c1 /bin/sleep "$nap"
	try tasks exec --exec-id e1 c1 /bin/echo hi
	try tasks kill -s KILL c1
	wait_for 10 stopped_or_gone c1
	try tasks rm c1
	try containers rm c1
	return 0
}

scenario_import() {
	try images rm --sync demo.local/bb:1
	try images import --snapshotter "$snapshotter" "$dir/bb.tar"
	scenario_life
}

# The shim dies, alone; perhaps the daemon with it.
orphan_done() { bundle_gone c1 || ended "$(cat "$dir/pid")"; }
scenario_orphan() {
	try run -d $(run_flags) demo.local/bb:1 c1 /bin/sleep "$nap"
	pkill -9 -f -- "containerd-shim-runc-v2.*$dir"
	wait_for 20 orphan_done
	sleep 0.1 # the exit is told after that
	try containers rm c1
	return 0
}

# A daemon that starts finds a container.
scenario_load() { :; }

scenario_of() {
	case $1 in
	content.* | unpack.* | snapshot.* | meta.* | transfer.*) echo import ;;
	shim.cleanup.* | task.cleanup.*) echo orphan ;;
	task.load) echo load ;;
	*) echo life ;;
	esac
}

faults_fail() {
	echo "# $*: is left or wrong:" >&2
	faults_left 2>&1 | sed 's/^/#   /' >&2
	echo "# tried:" >&2
	tail -12 "$dir/tried" 2>/dev/null | sed 's/^/#   /' >&2
	echo "# log:" >&2
	grep -vE 'level=debug|loading plugin|serving|booted|starting containerd' "$dir/log" | tail -15 | sed 's/^/#   /' >&2
	return 1
}

next_run_works() {
	[ "$(timeout 30 "$ours/ctr" run --rm $(run_flags) demo.local/bb:1 c1 2>&1)" = hello ]
}

# After a failure: takes away what is left, so that it does not count against the next point.
faults_reset() {
	local ns=$CONTAINERD_NAMESPACE f
	pgrep -f -- "containerd-shim-runc-v2.*$dir" | xargs -r kill -9
	pgrep -f -- "sleep $nap" | xargs -r kill -9
	daemon_stop -KILL
	for f in $(awk -v d="$dir/state" 'index($5, d) == 1 {print $5}' /proc/self/mountinfo | sort -r); do umount -l "$f"; done
	rm -rf "$dir"/state/io.containerd.runtime.v2.task "$dir"/root/io.containerd.runtime.v2.task "$dir"/s /run/containerd/runc/"$ns"
	sleep 0.2
	rmdir /sys/fs/cgroup/*/"$ns"/* 2>/dev/null
	faults_daemon ""
	try containers rm c1
	ctr snapshots ls | awk 'NR > 1 && $NF == "Active" {print $1}' | xargs -r "$ours/ctr" snapshots rm >/dev/null
	collect
}

# walk_point POINT ACTION: a daemon is running without failpoints, and is again after it.
walk_point() { walk_point_once "$@" || { faults_reset; return 1; }; }

walk_point_once() {
	local point=$1 action=$2 scenario
	scenario=$(scenario_of "$point")
	: >"$dir/log" && : >"$dir/tried" && rm -f "$hits"
	[ "$scenario" != load ] || try run -d $(run_flags) demo.local/bb:1 c1 /bin/sleep "$nap"
	daemon_stop
	faults_daemon "$point=1*$action" || [ -s "$hits" ] || { faults_fail "$point=$action: the daemon does not start" || return; }
	"scenario_$scenario"
	[ "$scenario" != load ] || wait_for 10 grep -qs . "$hits"
	! grep -a -A3 "^ERROR:\|ERROR \*\*\|Sanitizer\|runtime error:" "$dir/log" || { faults_fail "$point=$action: a program broke"; return 1; }
	grep -qsx "$point" "$hits" || { faults_fail "$point=$action: was never reached"; return 1; }
	# a client repeats what failed; the daemon may be gone, and what shims still have to do is theirs
	daemon_stop
	faults_daemon "" || { faults_fail "$point=$action: no restart"; return 1; }
	try images import --snapshotter "$snapshotter" "$dir/bb.tar"
	try tasks rm -f c1
	try containers rm c1
	collect
	wait_for 15 nothing_left || { faults_fail "$point=$action"; return 1; }
	next_run_works || { faults_fail "$point=$action: the next run"; return 1; }
	wait_for 10 nothing_left || { faults_fail "$point=$action, after the next run"; return 1; }
}

# walk ACTION POINT...: all of them; says what fails and how many did.
walk() {
	local action=$1 failed=0 point
	shift
	for point in "$@"; do
		walk_point "$point" "$action" || failed=$((failed + 1))
	done
	[ "$failed" -eq 0 ] || { echo "# $failed of $# points failed with $action" >&2; return 1; }
}
