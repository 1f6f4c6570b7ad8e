// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A container's cgroup: its metrics (io.containerd.cgroups.v1.Metrics or v2.Metrics, filled as the Go library
 * github.com/containerd/cgroups/v3 fills them) and its out-of-memory notifications. No container's group is
 * created here, that is the runtime's. For the shim, which runs all of it on its loop, and for the daemon,
 * which reads metrics without asking a shim: reading is thread-safe, the notifications are for the loop's
 * thread.
 */

#include "base/arena.h"
#include "loop/loop.h"
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct Cgroup Cgroup;

/* Whether cgroup v2 alone is mounted on /sys/fs/cgroup. */
bool cgroup_is_unified(void);
/* The group that the process is in now. */
Cgroup *cgroup_load(pid_t pid, GError **error);
/* The text of /proc/PID/cgroup, read while PID was surely the process that is meant; NULL where it cannot be
 * read. Owned by the caller. The other makes the group of such a text, later. */
char *cgroup_read_proc(pid_t pid, GError **error);
Cgroup *cgroup_from_proc(const char *text, GError **error);
/* Whether its directory is there still. */
bool cgroup_exists(const Cgroup *cgroup);
void cgroup_free(Cgroup *cgroup);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Cgroup, cgroup_free)

/* Wakes the group that the process is in, where it is frozen: a SIGKILL does nothing until then. */
void cgroup_thaw(pid_t pid);

/* Kills what is in the cgroups of a container that its runtime has given up, and removes them:
 * linux.cgroupsPath of the bundle's config.json, where that is the container's own (its last part has the id
 * in it). Nothing happens where they are gone. Blocks, for a second at most: for helpers and `delete`. */
void cgroup_remove_left(const char *bundle, const char *id);
bool cgroup_path_is_ours(const char *path, const char *id); // for tests

/* v2: let the groups above it pass all controllers down, as upstream does when a container was created. */
void cgroup_enable_controllers(const Cgroup *cgroup);
/* The packed Metrics and its type's name (static). */
bool cgroup_stat(const Cgroup *cgroup, Arena *arena, const char **ret_type, uint8_t **ret_data,
                 size_t *ret_len, GError **error);

/* Puts a process into a group named by its path below each hierarchy (option shim_cgroup). */
bool cgroup_join(const char *path, pid_t pid, GError **error);
/* The same for this process ([cgroup] path of the daemon). On cgroup v1 a group that is in no hierarchy is
 * made in all of them; after a failure what was made is gone. */
bool cgroup_enter(const char *path, GError **error);

/* fn(data) each time that processes were killed for want of memory. */
typedef struct OomWatch OomWatch;
OomWatch *oom_watch_new(Loop *loop, const Cgroup *cgroup, LoopFn fn, void *data, GError **error);
/* Looks now; fn runs in here where something has happened that was not told yet. */
void oom_watch_check(OomWatch *watch);
void oom_watch_free(OomWatch *watch);
