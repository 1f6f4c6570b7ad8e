// SPDX-License-Identifier: Apache-2.0

#include "runtime/task-mounts.h"
#include "base/error.h"
#include "base/log.h"
#include "loop/lock.h"
#include "runtime/runtime-info-client.h"

#define ALLOWED_MOUNTS "containerd.io/runtime-allow-mounts"

struct TaskMounts {
	MountManager *manager;
	Lock lock;
	GHashTable *allowed; // runtime -> GStrv, what its shim does itself
};

TaskMounts *task_mounts_new(MountManager *manager)
{
	TaskMounts *t = g_new0(TaskMounts, 1);
	t->manager = manager;
	t->allowed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_strfreev);
	lock_init(&t->lock, "task-mounts", LOCK_RANK_LEAF);
	return t;
}

void task_mounts_free(TaskMounts *t)
{
	if (t == NULL)
		return;
	g_hash_table_unref(t->allowed);
	lock_destroy(&t->lock);
	g_free(t);
}

/* Runtimes whose answer is known. */
static bool is_default(const char *runtime)
{
	return g_str_equal(runtime, "io.containerd.runc.v2") ||
	       g_str_equal(runtime, "io.containerd.runhcs.v1");
}

static char **allowed_of(TaskMounts *t, const char *runtime)
{
	if (is_default(runtime))
		return NULL;
	{
		LOCK_SCOPE(&t->lock);
		char **known = g_hash_table_lookup(t->allowed, runtime);
		if (known != NULL)
			return g_strdupv(known);
	}
	g_auto(RuntimeInfo) info = {0};
	g_autoptr(GError) error = NULL;
	if (!runtime_info_get(runtime, NULL, &info, &error)) {
		log_error_take(LOG_ERROR, g_steal_pointer(&error), "failed to load runtime info", "runtime",
		               runtime, NULL);
		return NULL;
	}
	const char *text = strmap_get(info.annotations, ALLOWED_MOUNTS);
	char **allowed = g_strsplit(str_or(text, ""), ",", -1);
	LOCK_SCOPE(&t->lock);
	g_hash_table_insert(t->allowed, g_strdup(runtime), g_strdupv(allowed));
	return allowed;
}

GPtrArray *task_mounts_activate(TaskMounts *t, const Ctx *ctx, const char *id, const char *runtime,
                                GPtrArray *rootfs, bool *ret_ours, GError **error)
{
	*ret_ours = false;
	if (t->manager == NULL || !mount_manager_wants(t->manager, rootfs))
		return mounts_copy(rootfs);
	g_auto(GStrv) allowed = allowed_of(t, runtime);
	g_autoptr(GHashTable) labels = strmap_new();
	strmap_set(labels, "containerd.io/gc.bref.container", id);
	ActivateOptions options = {.labels = labels, .allow_types = (const char *const *)allowed};
	GError *failed = NULL;
	g_autoptr(Activation) a = mount_manager_activate(t->manager, ctx, id, rootfs, &options, &failed);
	if (a != NULL) {
		*ret_ours = true;
		return g_ptr_array_ref(a->system);
	}
	if (error_is(failed, CTRD_ERR_NOT_IMPLEMENTED)) {
		g_clear_error(&failed);
		return mounts_copy(rootfs);
	}
	if (!error_is(failed, CTRD_ERR_ALREADY_EXISTS)) {
		g_propagate_error(error, failed);
		return NULL;
	}
	/* the container is still there, and so are its mounts */
	g_clear_error(&failed);
	a = mount_manager_info(t->manager, ctx, id, error);
	if (a == NULL) {
		error_prefix(error, "failed to get info on already active mount");
		return NULL;
	}
	return g_ptr_array_ref(a->system);
}

void task_mounts_deactivate(TaskMounts *t, const char *ns, const char *id)
{
	if (t->manager == NULL)
		return;
	Ctx ctx = {.ns = ns};
	g_autoptr(GError) error = NULL;
	if (!mount_manager_deactivate(t->manager, &ctx, id, &error) && !error_is(error, CTRD_ERR_NOT_FOUND))
		log_error_take(LOG_ERROR, g_steal_pointer(&error), "failed to deactivate mounts", "task", id,
		               NULL);
}
