// SPDX-License-Identifier: Apache-2.0
/* Cleaning up after shims (upstream's cleanupAfterDeadShim), so that nothing of them stays and no name is
 * blocked. */
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/inflight.h"
#include "base/log.h"
#include "runtime/shim-process.h"
#include "runtime/tasks-private.h"
#include "store/containers.h"
#include <limits.h>

#define TRIES 3
#define PAUSE_MS 200 // after the first try, then twice that

char *entry_saved_binary(const Entry *e, const Bundle *bundle, GError **error)
{
	g_autofree char *path = bundle_file(bundle, "shim-binary-path");
	char *data = NULL;
	size_t len = 0;
	if (file_read(path, PATH_MAX, &data, &len, NULL) && len > 0)
		return data;
	g_free(data);
	Ctx ctx = {.ns = e->ns};
	g_autoptr(Container) c = containers_get(e->tasks->db, &ctx, e->id, error);
	if (c == NULL)
		return NULL;
	return shim_binary_resolve(c->runtime_name, error);
}

static bool cleanup_once(Entry *e, const Bundle *bundle, TaskExit *ret, GError **error)
{
	Tasks *t = e->tasks;
	ShimBinaryConfig config = tasks_binary_config(t);
	inflight_stage("ends what is left of the shim");
	shim_process_kill(e->binary, e->ns, e->id, t->grpc_address);
	inflight_stage("cleans up: %s delete", e->binary);
	return FAILPOINT("task.cleanup.call", error) &&
	       shim_binary_delete(e->binary, bundle, &config, t->cleanup_timeout_ns, ret, error);
}

static void own_files(Entry *e, const Bundle *bundle)
{
	g_autoptr(GError) error = NULL;
	if (!bundle_delete(bundle, &error))
		log_error_take(LOG_ERROR, g_steal_pointer(&error), "failed to delete bundle", "id", e->id,
		               "namespace", e->ns, NULL);
}

bool entry_cleanup(Entry *e, const Bundle *bundle, TaskExit *ret)
{
	if (e->binary == NULL) {
		log_warn("no shim binary is known to clean up a dead shim with", "id", e->id, "namespace",
		         e->ns, NULL);
		own_files(e, bundle);
		return false;
	}
	// a runtime that fails once (no memory, a full /run) may not fail again
	for (unsigned try = 1; try <= TRIES; try++) {
		g_autoptr(GError) error = NULL;
		if (cleanup_once(e, bundle, ret, &error))
			return true;
		log_error_take(LOG_WARN, g_steal_pointer(&error), "failed to clean up after a dead shim",
		               "id", e->id, "namespace", e->ns, NULL);
		if (try < TRIES)
			g_usleep(try * PAUSE_MS * 1000);
	}
	return false;
}

bool entry_cleanup_dead(Entry *e, TaskExit *ret)
{
	Tasks *t = e->tasks;
	if (!entry_claim(e))
		return false;
	log_info("shim disconnected, cleaning up", "id", e->id, "namespace", e->ns, NULL);
	Inflight job;
	inflight_begin(&job, "cleanup of a dead shim", e->ns);
	inflight_object(&job, e->id);
	Inflight *before = inflight_enter(&job);
	g_autoptr(Bundle) bundle = entry_bundle(e);
	TaskExit exit = {.status = 255, .exited_at = time_now()};
	entry_cleanup(e, bundle, &exit);
	task_mounts_deactivate(t->mounts, e->ns, e->id);
	FAILPOINT_HERE("task.cleanup.told");
	bool told;
	{
		LOCK_SCOPE(&t->lock);
		told = e->exit_told;
		if (told)
			exit = e->told;
	}
	entry_remove(e);
	if (!e->sandbox_ends)
		t->gone(e->ns, e->id, &exit, told, t->gone_data);
	if (ret != NULL)
		*ret = exit;
	inflight_enter(before);
	inflight_end(&job);
	return true;
}

void entry_cleanup_leftover(Entry *e)
{
	g_autoptr(Bundle) bundle = entry_bundle(e);
	if (!path_exists(bundle->path))
		return;
	g_autoptr(GError) error = NULL;
	TaskExit exit;
	e->binary = entry_saved_binary(e, bundle, &error);
	if (e->binary == NULL)
		log_error_take(LOG_WARN, g_steal_pointer(&error), "a bundle of nobody knows which shim", "id",
		               e->id, "namespace", e->ns, NULL);
	if (!entry_cleanup(e, bundle, &exit) && path_exists(bundle->path))
		own_files(e, bundle);
	g_clear_pointer(&e->binary, g_free);
}
