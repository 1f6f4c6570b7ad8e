// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A task's rootfs mounts and the mount manager (upstream TaskManager.Create and loadShimInfo): what the
 * kernel cannot mount is activated under the task's id, back-referenced by its container; the shim gets the
 * rest. Mounts that need nobody are passed as they are. A shim that does some types itself says so in the
 * annotation containerd.io/runtime-allow-mounts (comma separated, as ActivateOptions.allow_types) of its
 * -info, which is asked once per runtime, and only when there is something to activate. Thread-safe, block.
 */

#include "store/mounts.h"

typedef struct TaskMounts TaskMounts;
TaskMounts *task_mounts_new(MountManager *manager); // NULL: nothing is ever activated
void task_mounts_free(TaskMounts *t);

/* What the shim is to mount; the caller's. *ret_ours: it was activated now, and is to be deactivated if the
 * create fails. A task of that name whose mounts are still active uses them again. */
GPtrArray *task_mounts_activate(TaskMounts *t, const Ctx *ctx, const char *id, const char *runtime,
                                GPtrArray *rootfs, bool *ret_ours, GError **error);
/* Failures are logged: the collector tries again. Not active is none. */
void task_mounts_deactivate(TaskMounts *t, const char *ns, const char *id);
