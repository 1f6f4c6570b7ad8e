# SPDX-License-Identifier: Apache-2.0
# What tests/e2e/compare runs for each pair of a client and a daemon. `step` runs one command; `allow` names lines that may differ.
# $ref is in the registry; $manifest, $config, $layer and $chain (the snapshot) are its digests.

# ---- what may differ ----

# Versions.
allow both version '(Version|Revision|Go version|WARNING: .* mismatch)' 'the programs are not of one version'

# Upstream 1.6 -> 2.3, in the daemon.
allow both snapshots-mounts-committed 'requested snapshot .* not active or view' 'upstream shows the key inside its database, ours the name'
allow both snapshots-commit-view 'is not active' 'upstream shows the key inside its database, ours the name; 2.x names it twice'
allow both snapshots-view-parent-active 'parent .* is not committed snapshot' 'upstream shows the key inside its database, ours the name'
allow both events '/tasks/create' '2.x puts index=off behind the other options of overlayfs'
allow both run-bad-runtime-name 'invalid runtime name nonsense' '2.x gives io.containerd.runc.v2 as the example'

# Upstream 1.6 -> 2.3, in ctr.
allow client pull-missing 'not found|trying next host' '2.x pulls in the daemon: "failed to resolve image"'
allow client content-fetch-missing 'trying next host' 'ours: no log of each host'
allow client pull-bad-name 'invalid character' '2.x pulls in the daemon: "failed to resolve image"'
allow client images-tag-again . '2.x tags in the daemon, which replaces'
allow client images-export-index 'distribution.source|"mediaType": "application/vnd.oci.image.index' '2.x writes the media type and the source into index.json'
allow client 'images-ls-after-import|images-rm-all' 'digests@' '2.3 names the index of --digests, too'
allow client 'content-ls*' '^out: sha256:[0-9a-f]{64}( 2[0-9][0-9]B AGE containerd.io/gc.ref.content.m.0=.*)?$' '2.3 keeps the index of --digests'
allow client images-rm-all 'pushed:1' 'fetch by the daemon of 2.x'
allow client images-push-missing 'none.local/none:1' '2.x pushes in the daemon'
allow client snapshots-info 'Labels|containerd.io/snapshot|^out:     },' '2.x keeps labels on unpacked snapshots'
allow client events '"snapshotter":|/snapshot/' '2.x names the snapshotter in events'
allow client events '/tasks/(exit|delete)' '2.x prints times as encoding/json prints the message'
allow client 'run-no-command|run-bad-runtime|tasks-exec-no-program|tasks-pause*|tasks-exec-paused|tasks-exec-stopped|tasks-resume-again' '^err: ctr: ' '2.x does not end a message of class UNKNOWN with ": unknown"'
allow client 'run-user|run-user-missing|run-hostname' . '1.6 does not have the flag'
allow client 'containers-info|containers-info-values' '(Sandbox|Extensions)' '2.x has sandboxes; extensions are an empty object'
allow client tasks-exec-no-id '^out:' '2.x prints no help with the error'
allow client tasks-ps-exec 'ProcessDetails|exec_id' '2.x prints the message in the text format of protobuf'

# Ours: errors are one line on stderr, not one in the log and one from main; the same words.
allow client 'images-rm-missing' 'image not found' 'ours: no log format'
allow client 'content-rm-bad' 'invalid checksum digest format' 'ours: one line'
allow client 'containers-rm-running' 'cannot delete a non stopped container' 'ours: one line, with what to do'
allow client 'containers-rm-missing|tasks-rm-*|tasks-rm' '^err: ' 'ours: one line'
allow client ns-rm-busy 'level=error' 'ours: one line'

scenario() {
	local other=127.0.0.1:${ref#*:}
	other=${other%/*}
	local pty="tr -d '\\r' | sed 's/\\^@//g' | grep ." # script(1) echoes the end of its input

	# ---- the daemon ----
	step version ctr version
	step -w plugins-ls bash -c "'$client' plugins ls | awk 'NR == 1 || /overlayfs|native|walking|content|images-service/' | sort"
	step plugins-ls-quiet bash -c "'$client' plugins ls -q | grep -x -e overlayfs -e walking -e leases"

	# ---- namespaces ----
	step ns-create ctr namespaces create ns-one a=b
	step ns-create-again ctr namespaces create ns-one
	step ns-create-bad ctr namespaces create 'bad/name'
	step ns-create-empty ctr namespaces create
	step ns-create-long ctr namespaces create "$(printf 'n%.0s' {1..80})"
	step ns-ls ctr namespaces ls
	step ns-ls-quiet ctr namespaces ls -q
	step ns-label ctr namespaces label ns-one c=d a=
	step ns-ls-labels ctr namespaces ls
	step ns-rm-missing ctr namespaces rm ns-none
	step ns-rm ctr namespaces rm ns-one

	# ---- images ----
	step -q pull ctr images pull --plain-http "$ref"
	step -q pull-again ctr images pull --plain-http "$ref"
	step pull-nothing ctr images pull
	step -q pull-missing ctr images pull --plain-http "${ref%:1}:none"
	step -q pull-bad-name ctr images pull --plain-http 'not a name'
	step images-ls ctr images ls
	step images-ls-quiet ctr images ls -q
	step images-ls-filter ctr images ls "name==$ref"
	step images-ls-filter-none ctr images ls -q name==nothing
	step images-ls-bad-filter ctr images ls 'name=='
	step images-check ctr images check
	step images-check-quiet ctr images check -q
	step images-label ctr images label "$ref" one=1 two=2
	step images-label-missing ctr images label none.local/none:1 one=1
	step images-label-replace ctr images label --replace-all "$ref" three=3
	step images-ls-labels ctr images ls
	step images-tag ctr images tag "$ref" demo.local/tagged:1
	step images-tag-again ctr images tag "$ref" demo.local/tagged:1
	step images-tag-force ctr images tag --force "$ref" demo.local/tagged:1
	step images-tag-missing ctr images tag none.local/none:1 demo.local/x:1
	step images-rm ctr images rm demo.local/tagged:1
	step images-rm-missing ctr images rm demo.local/tagged:1
	step images-rm-nothing ctr images rm
	step -q images-export ctr images export "$dir/exported.tar" "$ref"
	step images-export-content bash -c "tar -tf '$dir/exported.tar' | sort"
	step images-export-index bash -c "tar -xOf '$dir/exported.tar' index.json | jq -S ."
	step images-export-manifest bash -c "tar -xOf '$dir/exported.tar' manifest.json | jq -S ."
	step -q images-export-missing ctr images export "$dir/none.tar" none.local/none:1
	step -q images-import ctr images import --base-name demo.local/imported "$work/bb.tar"
	step -q images-import-again ctr images import "$work/bb.tar"
	step -q images-import-digests ctr images import --digests --base-name demo.local/digests "$work/bb.tar"
	step -q images-import-garbage ctr images import /bin/busybox
	step images-import-missing ctr images import "$dir/no-such.tar"
	step images-ls-after-import ctr images ls -q
	mkdir "$dir/mnt"
	step images-mount ctr images mount "$ref" "$dir/mnt"
	step images-mount-ls ls "$dir/mnt"
	step images-unmount ctr images unmount --rm "$dir/mnt"
	step images-mount-rw ctr images mount --rw "$ref" "$dir/mnt"
	step images-mount-write touch "$dir/mnt/file"
	step images-unmount-rw ctr images unmount --rm "$dir/mnt"
	step images-mount-missing ctr images mount none.local/none:1 "$dir/mnt"
	step -q images-push ctr images push --plain-http "$other/pushed:1" "$ref"
	step -q images-push-missing ctr images push --plain-http "$other/pushed:2" none.local/none:1

	# ---- content ----
	step content-ls bash -c "'$client' content ls | sort | sed -E 's/[ \t]+/ /g'"
	step content-ls-quiet bash -c "'$client' content ls -q | sort"
	step content-get ctr content get "$config"
	step content-get-missing ctr content get sha256:$(printf '0%.0s' {1..64})
	step content-get-bad ctr content get sha256:abc
	step content-get-word ctr content get nonsense
	step -q content-fetch ctr content fetch --plain-http "$other/pushed:1"
	step -q content-fetch-missing ctr content fetch --plain-http "$other/pushed:none"
	step content-fetch-object bash -c "'$client' content fetch-object --plain-http '$ref' '$manifest'"
	step content-label ctr content label "$layer" key=value
	step content-label-more ctr content label "$layer" key=
	step content-label-missing ctr content label sha256:$(printf '0%.0s' {1..64}) key=value
	step ingest bash -c "echo some content | '$client' content ingest --expected-size 13 key-one"
	step ingest-again bash -c "echo some content | '$client' content ingest --expected-size 13 key-one"
	step ingest-digest bash -c "echo some content | '$client' content ingest --expected-digest sha256:$(printf '1%.0s' {1..64}) key-two"
	step ingest-size bash -c "echo other content | '$client' content ingest --expected-size 5 key-three"
	step ingest-bad-digest bash -c "echo other content | '$client' content ingest --expected-digest sha256:12 key-four"
	step ingest-no-ref bash -c "echo other content | '$client' content ingest"
	step content-active bash -c "'$client' content active | awk '{print \$1, \$2}' | sort"
	local made
	made=sha256:$(echo some content | sha256sum | cut -d' ' -f1)
	step content-get-ingested ctr content get "$made"
	step content-rm ctr content rm "$made"
	step content-rm-again ctr content rm "$made"
	step content-rm-bad ctr content rm nonsense

	# ---- snapshots ----
	step snapshots-ls ctr snapshots ls
	step snapshots-info ctr snapshots info "$chain"
	step snapshots-info-missing ctr snapshots info nothing
	step snapshots-prepare ctr snapshots prepare work-one "$chain"
	step snapshots-prepare-again ctr snapshots prepare work-one "$chain"
	step snapshots-prepare-no-parent ctr snapshots prepare work-two no-such-parent
	step snapshots-prepare-target ctr snapshots prepare --target "$dir/mnt" work-three "$chain"
	step snapshots-prepare-empty ctr snapshots prepare work-empty
	step snapshots-view ctr snapshots view view-one "$chain"
	step -q snapshots-view-keep ctr snapshots label view-one containerd.io/gc.root=now
	step snapshots-view-target ctr snapshots view --target "$dir/mnt" view-two "$chain"
	step -q snapshots-view-keep-too ctr snapshots label view-two containerd.io/gc.root=now
	step snapshots-mounts ctr snapshots mounts "$dir/mnt" work-one
	step snapshots-mounts-view ctr snapshots mounts "$dir/mnt" view-one
	step snapshots-mounts-missing ctr snapshots mounts "$dir/mnt" nothing
	step snapshots-mounts-committed ctr snapshots mounts "$dir/mnt" "$chain"
	step snapshots-usage ctr snapshots usage -b work-one view-one
	step snapshots-usage-human ctr snapshots usage work-one
	step snapshots-usage-missing ctr snapshots usage nothing
	step snapshots-commit ctr snapshots commit done-one work-one
	step snapshots-commit-again ctr snapshots commit done-one work-three
	step snapshots-commit-view ctr snapshots commit done-two view-one
	step snapshots-commit-missing ctr snapshots commit done-three nothing
	step snapshots-prepare-on-commit ctr snapshots prepare work-four done-one
	step snapshots-rm-parent ctr snapshots rm done-one
	step -w snapshots-ls-many bash -c "'$client' snapshots ls | sort"
	step snapshots-tree ctr snapshots tree
	step snapshots-label ctr snapshots label done-one some=label
	step -w snapshots-info-labels ctr snapshots info done-one
	step snapshots-view-parent-active ctr snapshots view view-three work-four
	step snapshots-other ctr snapshots --snapshotter nothing ls
	step snapshots-rm ctr snapshots rm view-one view-two work-four done-one work-three work-empty
	step snapshots-rm-missing ctr snapshots rm nothing
	step snapshots-ls-after ctr snapshots ls

	# ---- leases ----
	step leases-create ctr leases create --id lease-one one=1
	step leases-create-again ctr leases create --id lease-one
	step leases-create-expires ctr leases create --id lease-two --expires 1h
	step -w leases-ls bash -c "'$client' leases ls | sort"
	step leases-ls-quiet bash -c "'$client' leases ls -q | sort"
	step leases-rm ctr leases rm lease-one
	step leases-rm-sync ctr leases rm --sync lease-two
	step leases-rm-missing ctr leases rm lease-none

	# ---- run ----
	"$client" events >"$dir/events" 2>/dev/null &
	local events=$!
	until_says started bash -c "'$client' namespaces create ns-event >/dev/null; grep -q ns-event '$dir/events' && echo started; '$client' namespaces rm ns-event >/dev/null"
	step run-rm ctr run --rm "$ref" once
	until_says tasks/delete cat "$dir/events"
	until_says containers/delete cat "$dir/events"
	sleep 0.3
	kill "$events"
	wait "$events" 2>/dev/null
	step events grep -E ' /(tasks|containers|snapshot)/' "$dir/events"
	step run-command ctr run --rm "$ref" run-command sh -c 'echo out; echo err >&2; exit 7'
	step run-no-command ctr run --rm "$ref" run-no-command /no-such-program
	step run-missing-image ctr run --rm none.local/none:1 run-missing-image
	step run-no-id ctr run --rm "$ref"
	step run-bad-id ctr run --rm "$ref" bad/name
	step run-long-id ctr run --rm "$ref" "$(printf 'n%.0s' {1..80})"
	step run-dots ctr run --rm "$ref" ..
	step run-rm-detach ctr run --rm -d "$ref" run-rm-detach
	step run-user ctr run --rm --user bob "$ref" run-user id
	step run-user-missing ctr run --rm --user nobody "$ref" run-user-missing id
	step run-env ctr run --rm --env ONE=1 --cwd /tmp "$ref" run-env sh -c 'echo $ONE; echo $PWD'
	step run-mount ctr run --rm --mount "type=bind,src=$dir/mnt,dst=/tmp,options=rbind:ro" "$ref" run-mount ls /tmp
	step run-bad-mount ctr run --rm --mount 'type=bind,nonsense' "$ref" run-bad-mount
	step run-bad-runtime ctr run --rm --runtime io.containerd.none.v1 "$ref" run-bad-runtime
	step run-bad-runtime-name ctr run --rm --runtime nonsense "$ref" run-bad-runtime-name
	step run-tty bash -c "script -qec \"'$client' run --rm -t '$ref' run-tty sh -c 'echo on a terminal; test -t 0 && echo yes'\" /dev/null | $pty"
	step run-hostname ctr run --rm --hostname somewhere "$ref" run-hostname sh -c 'cat /proc/sys/kernel/hostname'
	step run-readonly ctr run --rm --read-only "$ref" run-readonly sh -c 'echo x >/file'
	step run-detached ctr run -d "$ref" one sleep 1000
	step run-duplicate ctr run -d "$ref" one sleep 1000
	step -w containers-ls ctr containers ls
	step containers-ls-quiet ctr containers ls -q
	step containers-ls-filter ctr containers ls -q id==two
	step containers-info bash -c "'$client' containers info one | jq -S 'del(.Spec) | keys'"
	step containers-info-values bash -c "'$client' containers info one | jq -S 'del(.Spec, .Runtime.Options)'"
	step containers-info-missing ctr containers info none
	step containers-label ctr containers label one some=thing
	step containers-label-missing ctr containers label none some=thing
	step containers-rm-running ctr containers rm one
	step containers-rm-missing ctr containers rm none
	step containers-create ctr containers create "$ref" two sleep 1000
	step containers-create-again ctr containers create "$ref" two
	step containers-create-bad ctr containers create "$ref" 'bad name'

	# ---- tasks ----
	step -w tasks-ls bash -c "'$client' tasks ls | sed -E 's/ [0-9]{2,}/ PID/; 1!s/^/z/' | sort"
	step tasks-ls-quiet ctr tasks ls -q
	step -w tasks-ps bash -c "'$client' tasks ps one | sed -E 's/^[0-9]+/PID/'"
	step tasks-ps-missing ctr tasks ps none
	step tasks-exec ctr tasks exec --exec-id e1 one echo hello from exec
	step tasks-exec-exit ctr tasks exec --exec-id e2 one sh -c 'exit 9'
	step tasks-exec-no-id ctr tasks exec one true
	step tasks-exec-missing ctr tasks exec --exec-id e3 none true
	step tasks-exec-no-program ctr tasks exec --exec-id e4 one /no-such-program
	step tasks-exec-bad-id ctr tasks exec --exec-id 'bad/id' one true
	step tasks-exec-user ctr tasks exec --exec-id e5 --user bob one id -u
	step tasks-exec-cwd ctr tasks exec --exec-id e6 --cwd /etc one sh -c 'echo $PWD'
	step -d 'resize pty' tasks-exec-tty bash -c "script -qec \"'$client' tasks exec -t --exec-id e7 one sh -c 'test -t 1 && echo a terminal'\" /dev/null | $pty"
	step tasks-exec-detach ctr tasks exec -d --exec-id e8 one sleep 500
	step tasks-exec-duplicate ctr tasks exec -d --exec-id e8 one sleep 500
	step -w tasks-ps-exec bash -c "'$client' tasks ps one | sed -E 's/^[0-9]+/PID/; s/value:\"[^ ]*/value:BYTES/'"
	step tasks-kill-exec ctr tasks kill --exec-id e8 -s SIGKILL one
	step tasks-pause ctr tasks pause one
	step tasks-pause-again ctr tasks pause one
	step -w tasks-ls-paused bash -c "'$client' tasks ls | sed -E 's/ [0-9]{2,}/ PID/; 1!s/^/z/' | sort"
	step tasks-exec-paused ctr tasks exec --exec-id e9 one true
	step tasks-resume ctr tasks resume one
	step tasks-resume-again ctr tasks resume one
	step tasks-metrics bash -c "'$client' tasks metrics one | awk 'NR > 1 {print \$1}'"
	step tasks-metrics-json bash -c "'$client' tasks metrics --format json one | jq -S 'keys'"
	step tasks-metrics-missing ctr tasks metrics none
	step tasks-start-again ctr tasks start -d one
	step tasks-start-missing ctr tasks start -d none
	step tasks-start ctr tasks start -d two
	step tasks-rm-running ctr tasks rm one
	step tasks-rm-missing ctr tasks rm none
	step tasks-kill-bad-signal ctr tasks kill -s NONSENSE one
	step tasks-kill-missing ctr tasks kill none
	step tasks-kill ctr tasks kill -s SIGKILL one
	until_says STOPPED in_ns tasks ls
	step tasks-kill-stopped ctr tasks kill -s SIGKILL one
	step tasks-exec-stopped ctr tasks exec --exec-id e10 one true
	step tasks-pause-stopped ctr tasks pause one
	step -w tasks-ls-stopped bash -c "'$client' tasks ls | sed -E 's/ [0-9]{2,}/ PID/; 1!s/^/z/' | sort"
	step tasks-rm ctr tasks rm one
	step tasks-rm-again ctr tasks rm one
	step tasks-rm-force ctr tasks rm -f two
	step tasks-attach-missing ctr tasks attach none
	ctr run -d "$ref" three sh -c 'sleep 1; exit 5' >/dev/null 2>&1
	step tasks-attach ctr tasks attach three
	step tasks-ls-empty ctr tasks ls
	step containers-rm ctr containers rm one two three
	step containers-ls-empty ctr containers ls

	# ---- the end ----
	step ns-rm-busy bash -c "'$client' namespaces rm '$CONTAINERD_NAMESPACE' 2>&1 | sed -E 's/\\[.*\\]/[...]/'"
	step images-rm-all bash -c "'$client' images rm --sync \$('$client' images ls -q)"
	step images-ls-empty ctr images ls
	step content-ls-empty ctr content ls
	step snapshots-ls-empty ctr snapshots ls
}
