// SPDX-License-Identifier: Apache-2.0

/* From one daemon to the next: the shims that it finds, and the exits that were told already. */

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "runtime/tasks-private.h"
#include "store/sandboxes.h"
#include <limits.h>
#include <string.h>

/* Connects to a shim of an earlier daemon and asks whether its task is there. */
static bool load_one(Entry *e, const Bundle *b, GError **error)
{
	Tasks *t = e->tasks;
	Ctx ctx = {.ns = e->ns};
	g_auto(ShimAddress) address = {0};
	if (!FAILPOINT("task.load", error) || !shim_address_load(b, &address, error))
		return false;
	if (!entry_connect(e, &address, error))
		return false;
	Shim *shim = e->shim;
	uint32_t pid = 0;
	GError *failed = NULL;
	if (!shim_ping(shim, &ctx, t->load_timeout_ns, &pid, &failed)) {
		if (!error_is(failed, CTRD_ERR_NOT_IMPLEMENTED) || !shim_downgrade(shim)) {
			g_propagate_error(error, failed);
			return false;
		}
		g_clear_error(&failed);
		if (!shim_ping(shim, &ctx, t->load_timeout_ns, &pid, error))
			return false;
	}
	return true;
}

/* A shim whose daemon died before the task was created has nothing to do: upstream #6860. A task that has
 * ended is no such case (upstream asks for its processes and had to learn that): its exit is still to be
 * collected. */
static bool is_leaked(Entry *e)
{
	Ctx ctx = {.ns = e->ns};
	bool has_task = true;
	if (e->is_sandbox) {
		g_autoptr(GError) error = NULL;
		g_autoptr(Sandbox) sandbox = sandboxes_get(e->tasks->db, &ctx, e->id, &error);
		if (sandbox != NULL || !error_is(error, CTRD_ERR_NOT_FOUND))
			return false;
	}
	return shim_has_task(e->shim, &ctx, e->tasks->load_timeout_ns, &has_task, NULL) && !has_task;
}

/* What tasks_note_exit has written into the bundle. */
static void load_exit(Entry *e, const Bundle *bundle)
{
	g_autofree char *path = bundle_file(bundle, "exit");
	g_autofree char *text = NULL;
	size_t len = 0;
	if (!file_read(path, 4096, &text, &len, NULL))
		return;
	g_autoptr(JsonObject) o = json_parse(text, len, 4096, NULL);
	int64_t pid = 0, status = 0, at = 0;
	if (o == NULL || !json_get_int64(o, "pid", &pid) || !json_get_int64(o, "status", &status) ||
	    !json_get_int64(o, "exitedAt", &at))
		return;
	LOCK_SCOPE(&e->tasks->lock);
	e->exit_told = true;
	e->told = (TaskExit){(uint32_t)pid, (uint32_t)status, at};
}

static void load(Entry *e)
{
	Tasks *t = e->tasks;
	g_autoptr(Bundle) b = entry_bundle(e);
	g_autoptr(GError) error = NULL;
	e->binary = entry_saved_binary(e, b, &error);
	load_exit(e, b);
	if (e->binary != NULL && load_one(e, b, &error)) {
		if (is_leaked(e) && entry_claim(e)) {
			log_info("cleaning leaked shim process", "id", e->id, "namespace", e->ns, NULL);
			Ctx ctx = {.ns = e->ns};
			TaskExit exit;
			shim_delete(e->shim, &ctx, t->cleanup_timeout_ns, &exit, NULL);
			entry_end(e, &ctx);
			entry_remove(e);
		} else {
			entry_ready(e);
		}
		return;
	}
	if (tasks_is_closing(t))
		return; // the daemon ends: that says nothing about the shim
	log_error_take(LOG_ERROR, g_steal_pointer(&error), "failed to load shim", "id", e->id, "namespace",
	               e->ns, NULL);
	if (e->shim != NULL)
		shim_close(e->shim);
	entry_cleanup_dead(e, NULL);
}

static void load_on_worker(void *data)
{
	Entry *e = data;
	Tasks *t = e->tasks;
	if (!tasks_is_closing(t))
		load(e);
	entry_unref(e);
	tasks_job_done(t);
}

/* NULL: the task is in no sandbox. */
static char *saved_sandbox_id(const char *bundle)
{
	g_autofree char *path = path_join(bundle, "sandbox");
	char *id = NULL;
	size_t len;
	return file_read(path, NAME_MAX, &id, &len, NULL) ? id : NULL;
}

static void load_namespace(Tasks *t, const char *state, const char *ns, bool sandboxes)
{
	g_autofree char *dir = path_join(state, ns);
	g_autoptr(GPtrArray) ids = dir_list(dir, 0, NULL);
	for (guint i = 0; ids != NULL && i < ids->len; i++) {
		const char *id = ids->pdata[i];
		g_autofree char *path = path_join(dir, id);
		if (*id == '.') {
			/* a delete that was cut short */
			tree_remove(path, NULL);
			continue;
		}
		Entry *e = entry_reserve(t, ns, id, state, ENTRY_LOADING);
		if (e == NULL)
			continue;
		e->is_sandbox = sandboxes;
		e->sandbox_id = saved_sandbox_id(path);
		if (!tasks_submit(t, load_on_worker, e)) {
			load(e);
			entry_unref(e);
		}
	}
}

/* Persistent directories whose bundle is gone, after a reboot for one. */
static void cleanup_work_dirs(const char *root, const char *state)
{
	g_autoptr(GPtrArray) namespaces = dir_list(root, 0, NULL);
	for (guint i = 0; namespaces != NULL && i < namespaces->len; i++) {
		const char *ns = namespaces->pdata[i];
		g_autofree char *dir = path_join(root, ns);
		g_autoptr(GPtrArray) ids = dir_list(dir, 0, NULL);
		for (guint k = 0; ids != NULL && k < ids->len; k++) {
			const char *id = ids->pdata[k];
			g_autofree char *bundle = g_strdup_printf("%s/%s/%s", state, ns, id);
			g_autofree char *work = path_join(dir, id);
			if (!path_exists(bundle))
				tree_remove(work, NULL);
		}
	}
}

void tasks_load_dir(Tasks *t, const char *root, const char *state, bool sandboxes)
{
	/* first, while no new task can have a working directory */
	cleanup_work_dirs(root, state);
	g_autoptr(GPtrArray) namespaces = dir_list(state, 0, NULL);
	for (guint i = 0; namespaces != NULL && i < namespaces->len; i++) {
		const char *ns = namespaces->pdata[i];
		if (*ns != '.')
			load_namespace(t, state, ns, sandboxes);
	}
}

void tasks_load(Tasks *t)
{
	tasks_load_dir(t, t->root, t->state, false);
}

/* ---- exits that were told ---- */

static void save_on_worker(void *data)
{
	Entry *e = data;
	g_autoptr(Bundle) b = entry_bundle(e);
	g_autoptr(JsonObject) o = json_object_new_object();
	TaskExit exit;
	{
		LOCK_SCOPE(&e->tasks->lock);
		exit = e->told;
	}
	json_set_int64(o, "pid", exit.pid);
	json_set_int64(o, "status", exit.status);
	json_set_int64(o, "exitedAt", exit.exited_at);
	g_autofree char *path = bundle_file(b, "exit");
	g_autofree char *text = json_to_text(o);
	g_autoptr(GError) error = NULL;
	// gone with its bundle meanwhile: no news
	if (path_exists(b->path) && !file_write_atomic(path, text, strlen(text), 0600, false, &error))
		log_debug("cannot note an exit", "id", e->id, "error", error->message, NULL);
	Tasks *t = e->tasks;
	entry_unref(e);
	tasks_job_done(t);
}

void tasks_note_exit(Tasks *t, const char *ns, const char *id, const TaskExit *exit)
{
	g_autofree char *key = entry_key(ns, id);
	Entry *e = NULL;
	{
		LOCK_SCOPE(&t->lock);
		e = g_hash_table_lookup(t->entries, key);
		if (e == NULL || e->exit_told || e->state == ENTRY_GONE || t->closing)
			return;
		e->exit_told = true;
		e->told = *exit;
		entry_ref(e);
	}
	if (!tasks_submit(t, save_on_worker, e))
		entry_unref(e);
}
