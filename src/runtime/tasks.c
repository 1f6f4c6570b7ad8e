// SPDX-License-Identifier: Apache-2.0
#include "runtime/tasks.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/inflight.h"
#include "base/log.h"
#include "rpc/server.h"
#include "runtime/runtime-info-client.h"
#include "runtime/shim-process.h"
#include "runtime/tasks-private.h"
#include "store/sandboxes.h"
#include <string.h>

/* Longer than all that a shim's Delete waits for: output on its way, a logging program. */
#define DELETE_TIMEOUT (120 * NS_PER_SEC)

/* ---- ending a shim ourselves ---- */

/* A shim that does not go when it is told to. Takes the error. */
static void end_mute(Entry *e, GError *error)
{
	log_error_take(LOG_ERROR, error, "failed to shutdown shim task", "id", e->id, "namespace", e->ns,
	               NULL);
	if (e->binary != NULL)
		shim_process_kill(e->binary, e->ns, e->id, e->tasks->grpc_address);
}

void entry_end(Entry *e, const Ctx *ctx)
{
	Tasks *t = e->tasks;
	Shim *shim = e->shim;
	g_autoptr(GError) error = NULL;
	inflight_stage("waits for the shim: Shutdown");
	FAILPOINT_HERE("task.end.shutdown");
	bool failed = e->sandbox_id == NULL && !shim_shutdown(shim, ctx, t->shutdown_timeout_ns, &error);
	if (failed && !error_is(error, CTRD_ERR_UNAVAILABLE))
		end_mute(e, g_steal_pointer(&error));
	g_clear_error(&error);
	shim_close(shim);
	if (failed)
		shim_address_remove_dead(shim_bundle(shim));
	inflight_stage("deletes the bundle");
	FAILPOINT_HERE("task.end.bundle");
	if (!bundle_delete(shim_bundle(shim), &error))
		log_error_take(LOG_ERROR, g_steal_pointer(&error), "failed to delete shim", "id",
		               shim_id(shim), NULL);
}

/* ---- create ---- */

ShimBinaryConfig tasks_binary_config(const Tasks *t)
{
	return (ShimBinaryConfig){t->grpc_address, t->ttrpc_address, t->socket_dir,
	                          (const char *const *)t->env};
}

/* What a failed create takes back, in reverse order. */
static void create_undo(Entry *e, const Bundle *bundle, bool started, bool activated)
{
	Tasks *t = e->tasks;
	inflight_stage("undoes the create");
	/* the caller may be gone: the cleaning up has its own deadlines */
	Ctx ctx = {.ns = e->ns};
	g_autoptr(GError) error = NULL;
	bool clean = false;
	if (e->shim != NULL) {
		TaskExit exit;
		clean = shim_delete(e->shim, &ctx, t->cleanup_timeout_ns, &exit, &error) ||
		        error_is(error, CTRD_ERR_NOT_FOUND);
		g_clear_error(&error);
	}
	if (started && !clean && path_exists(bundle->path)) {
		TaskExit exit;
		if (e->shim != NULL && e->sandbox_id == NULL)
			shim_shutdown(e->shim, &ctx, t->shutdown_timeout_ns, NULL);
		entry_cleanup(e, bundle, &exit);
	}
	if (e->shim != NULL)
		entry_end(e, &ctx);
	else if (!bundle_delete(bundle, &error))
		log_error_take(LOG_ERROR, g_steal_pointer(&error), "failed to delete bundle", "id", e->id,
		               "namespace", e->ns, NULL);
	if (activated)
		task_mounts_deactivate(t->mounts, e->ns, e->id);
	entry_drop(e);
}

/* "ttrpc+unix:///run/...", which a sandbox's controller told the caller. */
static bool address_split(const char *text, uint32_t version, ShimAddress *ret, GError **error)
{
	const char *plus = strchr(text, '+');
	if (plus == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "the scheme of sandbox address should be in  the form of "
		                 "<protocol>+<unix|vsock|tcp>, i.e. ttrpc+unix or grpc+vsock");
	*ret = (ShimAddress){.version = (int)MIN(version, INT32_MAX),
	                     .protocol = g_strndup(text, (size_t)(plus - text)),
	                     .address = g_strdup(plus + 1)};
	return true;
}

/* Where the shim of the task's sandbox listens. *ret->address stays NULL where the binary must be asked:
 * there is no sandbox, or its shim is older than the sandbox API. */
static bool sandbox_address(Tasks *t, const Ctx *ctx, const TaskCreate *create, ShimAddress *ret,
                            GError **error)
{
	if (str_empty(create->sandbox_id))
		return true;
	g_autoptr(GError) failed = NULL;
	g_autoptr(Sandbox) sandbox = sandboxes_get(t->db, ctx, create->sandbox_id, &failed);
	if (sandbox == NULL && error_is(failed, CTRD_ERR_NOT_FOUND)) {
		log_warn("sandbox not found, maybe created from v1.x", "sandbox", create->sandbox_id, NULL);
		return true;
	}
	if (sandbox == NULL) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	if (!str_empty(create->task_api_address)) {
		if (!address_split(create->task_api_address, create->task_api_version, ret, error))
			return false;
	} else {
		g_autoptr(Entry) e = entry_find(t, ctx, create->sandbox_id);
		if (e == NULL)
			return error_set_class(error, CTRD_ERR_NOT_FOUND, "can't find shim for sandbox %s",
			                       create->sandbox_id);
		if (!shim_address_load(shim_bundle(e->shim), ret, error))
			return error_prefix(error, "failed to get bootstrap params of sandbox %s",
			                    create->sandbox_id);
	}
	if (ret->version < SHIM_VERSION_SANDBOX)
		shim_address_clear(ret);
	return true;
}

/* The task joins the shim of its sandbox; the file tells the next daemon. */
static bool join_sandbox(Entry *e, const Bundle *bundle, const char *sandbox_id, const ShimAddress *address,
                         GError **error)
{
	g_autofree char *path = bundle_file(bundle, "sandbox");
	{
		LOCK_SCOPE(&e->tasks->lock);
		e->sandbox_id = g_strdup(sandbox_id);
	}
	if (!file_write_atomic(path, sandbox_id, strlen(sandbox_id), 0600, false, error) ||
	    !shim_address_save(bundle, address, error))
		return false;
	return entry_connect(e, address, error) ||
	       error_prefix(error, "failed to load sandbox task %s", Q(sandbox_id));
}

static bool create_shim(Entry *e, const Ctx *ctx, const Bundle *bundle, const TaskCreate *create,
                        const Any *options, bool *ret_started, GError **error)
{
	g_auto(ShimAddress) address = {0};
	if (!sandbox_address(e->tasks, ctx, create, &address, error))
		return false;
	bool joins = address.address != NULL;
	// The binary also cleans up after a sandbox's shim that died; only then it is needed there.
	e->binary = shim_binary_resolve(create->runtime, joins ? NULL : error);
	if (joins) {
		*ret_started = e->binary != NULL;
		return join_sandbox(e, bundle, create->sandbox_id, &address, error);
	}
	if (e->binary == NULL)
		return error_prefix(error, "failed to resolve runtime path");
	ShimBinaryConfig config = tasks_binary_config(e->tasks);
	*ret_started = true;
	inflight_stage("starts the shim: %s", e->binary);
	if (!FAILPOINT("task.create.start", error) ||
	    !shim_binary_start(e->binary, bundle, &config, ctx->cancel, options, &address, error) ||
	    !FAILPOINT("task.create.connect", error) || !entry_connect(e, &address, error))
		return error_prefix(error, "start failed");
	return true;
}

/* On disk and not in the state's memory: it is as large as the processes were. Goes with the bundle. */
static bool create_restore(const Bundle *bundle, const TaskCreate *create, char **ret_dir, GError **error)
{
	*ret_dir = NULL;
	if (create->restore == NULL)
		return true;
	*ret_dir = bundle_file(bundle, "work/checkpoint");
	return dir_ensure(*ret_dir, 0700, error) && create->restore(*ret_dir, create->restore_data, error);
}

static bool create_task(Entry *e, const Ctx *ctx, const Bundle *bundle, const TaskCreate *create,
                        GPtrArray *rootfs, bool *ret_started, uint32_t *ret_pid, GError **error)
{
	const Any *options = create->task_options != NULL && any_is_set(create->task_options)
	                             ? create->task_options
	                             : create->runtime_options;
	if (!runtime_check_idmap(create->runtime, options, create->spec, error))
		return error_prefix(error, "failed to validate OCI runtime features");
	g_autofree char *checkpoint = NULL;
	if (!create_restore(bundle, create, &checkpoint, error))
		return false;
	if (!create_shim(e, ctx, bundle, create, options, ret_started, error))
		return error_prefix(error, "failed to start shim");
	Shim *shim = e->shim;
	ShimCreate sc = {
	        .rootfs = rootfs,
	        .stdin = create->stdin,
	        .stdout = create->stdout,
	        .stderr = create->stderr,
	        .terminal = create->terminal,
	        .checkpoint = checkpoint != NULL ? checkpoint : create->checkpoint,
	        .options = options,
	};
	GError *failed = NULL;
	inflight_stage("waits for the shim: Create");
	if (!FAILPOINT("task.create.call", error))
		return false;
	if (shim_create(shim, ctx, &sc, ret_pid, &failed))
		return FAILPOINT("task.create.done", error);
	if (error_is(failed, CTRD_ERR_NOT_IMPLEMENTED) && shim_downgrade(shim)) {
		g_clear_error(&failed);
		if (shim_create(shim, ctx, &sc, ret_pid, &failed))
			return true;
	}
	g_propagate_error(error, failed);
	return error_prefix(error, "failed to create shim task");
}

bool tasks_create(Tasks *t, const Ctx *ctx, const char *id, const TaskCreate *create, uint32_t *ret_pid,
                  GError **error)
{
	g_autoptr(Entry) e = entry_reserve(t, ctx->ns, id, t->state, ENTRY_CREATING);
	if (e == NULL)
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "task %s", id);
	inflight_stage("makes the bundle");
	entry_cleanup_leftover(e);
	g_autoptr(Bundle) bundle = FAILPOINT("task.create.bundle", error)
	                                   ? bundle_new(t->root, t->state, ctx->ns, id, create->spec, error)
	                                   : NULL;
	if (bundle == NULL) {
		entry_drop(e);
		return false;
	}
	bool started = false, activated = false;
	g_autoptr(GPtrArray) rootfs =
	        task_mounts_activate(t->mounts, ctx, id, create->runtime, create->rootfs, &activated, error);
	if (rootfs == NULL || !create_task(e, ctx, bundle, create, rootfs, &started, ret_pid, error)) {
		create_undo(e, bundle, started, activated);
		return false;
	}
	entry_ready(e);
	return true;
}

/* ---- delete ---- */

/* Who wants to kill or delete a task does not wait for a shim that does not answer. */
static bool end_if_mute(Entry *e, TaskExit *ret)
{
	if (entry_health(e) != SHIM_MUTE)
		return false;
	log_error("the shim does not answer, ending it", "id", e->id, "namespace", e->ns, NULL);
	bool ended = entry_cleanup_dead(e, ret);
	shim_close(e->shim);
	return ended;
}

bool tasks_end_if_mute(Tasks *t, const Ctx *ctx, const char *id)
{
	g_autoptr(Entry) e = entry_find(t, ctx, id);
	TaskExit exit;
	return e != NULL && !e->is_sandbox && end_if_mute(e, &exit);
}

bool tasks_delete(Tasks *t, const Ctx *ctx, const char *id, TaskExit *ret, GError **error)
{
	g_autoptr(Entry) e = entry_find(t, ctx, id);
	if (e == NULL || e->is_sandbox)
		return error_set(error, CTRD_ERR_NOT_FOUND, "task %s not found", id);
	g_autoptr(GError) failed = NULL;
	if (end_if_mute(e, ret))
		return true;
	inflight_stage("waits for the shim: Delete");
	// not the caller's context: who goes away meanwhile would leave a shim that has deleted its task
	// already
	Ctx lasting = {.ns = e->ns};
	if (!FAILPOINT("task.delete.call", &failed) ||
	    !shim_delete(e->shim, &lasting, DELETE_TIMEOUT, ret, &failed) ||
	    !FAILPOINT("task.delete.done", &failed)) {
		log_info("failed to delete task", "id", id, "error", failed->message, NULL);
		if (!error_is(failed, CTRD_ERR_NOT_FOUND)) {
			g_propagate_error(error, g_steal_pointer(&failed));
			return error_prefix(error, "failed to delete task");
		}
	}
	/* the shim has told the exit: a connection that ends now is no news */
	if (entry_claim(e)) {
		entry_end(e, &lasting);
		task_mounts_deactivate(t->mounts, e->ns, e->id);
		// only now: a new task of that name makes the same bundle and uses the same mounts
		entry_remove(e);
	}
	if (failed == NULL)
		return true;
	/* upstream: the shim did not know the task any more; all is cleaned up and the caller hears not found
	 */
	g_propagate_error(error, g_steal_pointer(&failed));
	return error_prefix(error, "failed to delete task");
}

/* ---- life ---- */

void tasks_set_timeouts(Tasks *t, int64_t load_ns, int64_t cleanup_ns, int64_t shutdown_ns)
{
	t->load_timeout_ns = load_ns > 0 ? load_ns : 5 * NS_PER_SEC;
	t->cleanup_timeout_ns = cleanup_ns > 0 ? cleanup_ns : 5 * NS_PER_SEC;
	t->shutdown_timeout_ns = shutdown_ns > 0 ? shutdown_ns : 3 * NS_PER_SEC;
}

Tasks *tasks_new(Loop *loop, Pool *pool, MetaDb *db, const TasksConfig *config, TaskGoneFn gone, void *data,
                 GError **error)
{
	if (!dir_ensure(config->root, 0711, error) || !dir_ensure(config->state, 0711, error))
		return NULL;
	Tasks *t = g_new0(Tasks, 1);
	t->loop = loop;
	t->pool = pool;
	t->db = db;
	t->root = g_strdup(config->root);
	t->state = g_strdup(config->state);
	t->mounts = task_mounts_new(config->mounts);
	t->grpc_address = g_strdup(config->grpc_address);
	t->ttrpc_address = g_strdup(config->ttrpc_address);
	t->socket_dir = g_strdup(config->socket_dir);
	t->env = g_strdupv(config->env);
	tasks_set_timeouts(t, config->load_timeout_ns, config->cleanup_timeout_ns,
	                   config->shutdown_timeout_ns);
	t->gone = gone;
	t->gone_data = data;
	lock_init(&t->lock, "tasks", LOCK_RANK_RUNTIME);
	cond_init(&t->changed);
	t->entries = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)entry_unref);
	return t;
}

void tasks_free(Tasks *t)
{
	if (t == NULL)
		return;
	GHashTableIter iter;
	gpointer value;
	{
		LOCK_SCOPE(&t->lock);
		t->closing = true;
		g_hash_table_iter_init(&iter, t->entries);
		while (g_hash_table_iter_next(&iter, NULL, &value)) {
			if (((Entry *)value)->shim != NULL)
				shim_close(((Entry *)value)->shim);
		}
		int64_t deadline = time_mono() + 5 * NS_PER_SEC;
		while (t->n_connections > 0 || t->n_jobs > 0) {
			/* the process ends now: rather leave the memory than free it under a worker */
			if (!cond_wait_until(&t->changed, &t->lock, deadline))
				return;
		}
	}
	g_hash_table_unref(t->entries);
	cond_destroy(&t->changed);
	lock_destroy(&t->lock);
	g_free(t->root);
	g_free(t->state);
	task_mounts_free(t->mounts);
	g_free(t->grpc_address);
	g_free(t->ttrpc_address);
	g_free(t->socket_dir);
	g_strfreev(t->env);
	g_free(t);
}
