#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The restart monitor: labels, policies, what it does at a daemon's start.
load lib

write_config() {
	config_v4
	cat >>"$dir/config.toml" <<-TOML
		[plugins."io.containerd.monitor.container.v1.restart"]
		interval = "100ms"
	TOML
}

setup() {
	common_setup
	rootfs=$dir/bb
	make_rootfs "$rootfs"
}
teardown() {
	local c
	# or the monitor would start again what is deleted
	for c in $("$ours/ctr" containers ls -q 2>/dev/null); do
		"$ours/ctr" containers label "$c" containerd.io/restart.status= >/dev/null 2>&1 || true
	done
	sleep 0.2
	common_teardown
}

# keep ID POLICY COMMAND...
keep() {
	local id=$1 policy=$2
	shift 2
	ctr run -d $(run_flags) --label containerd.io/restart.status=running --label "containerd.io/restart.policy=$policy" \
		--rootfs "$rootfs" "$id" "$@"
}
pid_of() { ctr tasks ls | awk -v id="$1" '$1 == id {print $2}'; }
state_of() { ctr tasks ls | awk -v id="$1" '$1 == id {print $3}'; }
count_of() { ctr containers info "$1" | jq -r '.Labels["containerd.io/restart.count"] // "0"'; }
until_true() {
	local i
	for i in $(seq 150); do
		! eval "$1" || return 0
		sleep 0.05
	done
	echo "never: $1" >&2
	tail -5 "$dir/log" >&2
	return 1
}

@test "always: a task that is killed or deleted is started again, with its log, also by the next daemon" {
	ctr run -d $(run_flags) --label containerd.io/restart.status=running --label "containerd.io/restart.loguri=file://$dir/out" \
		--rootfs "$rootfs" a /bin/sh -c 'echo started; exec sleep 1000'
	first=$(pid_of a)
	ctr tasks kill -s KILL a
	until_true '[ "$(state_of a)" = RUNNING ] && [ "$(pid_of a)" != "$first" ]'
	[ "$(count_of a)" = 1 ]
	until_true 'grep -q started "$dir/out"'
	second=$(pid_of a)
	ctr tasks rm -f a || true # the monitor may take what was killed before we do
	until_true '[ "$(state_of a)" = RUNNING ] && [ "$(pid_of a)" != "$second" ]'
	n=$(count_of a)
	[ "$n" -ge 2 ]
	sleep 1
	# the daemon is away while the task ends
	daemon_stop KILL
	kill -9 "$(pgrep -f -- "containerd-shim-runc-v2.*-id a.*$dir")"
	daemon_start
	until_true '[ "$(state_of a)" = RUNNING ] && [ "$(count_of a)" -gt "$n" ]'
	# no label, no monitor
	ctr containers label a containerd.io/restart.status= >/dev/null
	ctr tasks rm -f a
	sleep 0.5
	[ -z "$(state_of a)" ]
	ctr containers rm a
	assert_clean
}

@test "on-failure counts, and a good end is the end" {
	keep f on-failure:2 /bin/false
	until_true '[ "$(count_of f)" = 2 ] && [ "$(state_of f)" = STOPPED ]'
	sleep 0.5
	[ "$(count_of f)" = 2 ]
	keep g on-failure /bin/true
	sleep 0.5
	[ "$(count_of g)" = 0 ]
	[ "$(state_of g)" = STOPPED ]
	keep n no /bin/false
	sleep 0.3
	[ "$(count_of n)" = 0 ]
}

@test "unless-stopped, stopped, paused, and a policy that does not exist" {
	keep u unless-stopped /bin/sleep 1000
	ctr containers label u containerd.io/restart.explicitly-stopped=true >/dev/null
	ctr tasks kill -s KILL u
	sleep 0.5
	[ "$(state_of u)" = STOPPED ]
	ctr containers label u containerd.io/restart.explicitly-stopped=false >/dev/null
	until_true '[ "$(state_of u)" = RUNNING ]'
	ctr tasks pause u
	sleep 0.4
	[ "$(state_of u)" = PAUSED ]
	ctr tasks resume u
	# what shall be stopped is killed and removed
	ctr containers label u containerd.io/restart.status=stopped >/dev/null
	until_true '[ -z "$(state_of u)" ]'
	sleep 0.3
	[ -z "$(state_of u)" ]
	ctr containers label u containerd.io/restart.status=running containerd.io/restart.policy=sometimes >/dev/null
	until_true 'grep -q "restart policy .*sometimes.* not supported" "$dir/log"'
	sleep 0.5
	[ "$(grep -c "restart policy .*sometimes.* not supported" "$dir/log")" = 1 ]
	[ -z "$(state_of u)" ]
}

@test "a container that never starts, and a mute shim, keep no other from being restarted; less and less often" {
	keep ok always /bin/sleep 1000
	ctr containers create $(run_flags) --label containerd.io/restart.status=running --rootfs "$rootfs" bad /bin/nothing
	ctr run -d $(run_flags) --label containerd.io/restart.status=running --rootfs "$rootfs" mute /bin/sleep 1000
	shim=$(pgrep -f -- "containerd-shim-runc-v2.*-id mute.*$dir")
	kill -STOP "$shim"
	until_true '[ "$(count_of bad)" -ge 3 ]'
	first=$(pid_of ok)
	ctr tasks kill -s KILL ok
	until_true '[ "$(count_of ok)" = 1 ]'
	n=$(count_of bad)
	sleep 1
	[ "$(count_of bad)" -le $((n + 4)) ] # 10 without back-off
	kill -CONT "$shim"
	[ "$(count_of mute)" = 0 ]
}

@test "SIGHUP changes the interval" {
	sed -i 's/100ms/1h/' "$dir/config.toml"
	kill -HUP "$(cat "$dir/pid")"
	until_true 'grep -q "applied=plugins.io.containerd.monitor.container.v1.restart.interval" "$dir/log"'
	keep a always /bin/sleep 1000
	ctr tasks kill -s KILL a
	sleep 0.6
	[ "$(count_of a)" = 0 ]
	sed -i 's/1h/100ms/' "$dir/config.toml"
	kill -HUP "$(cat "$dir/pid")"
	until_true '[ "$(count_of a)" = 1 ]'
	[[ $(ctr plugins ls -d type==io.containerd.monitor.container.v1) == *unless-stopped* ]]
}
