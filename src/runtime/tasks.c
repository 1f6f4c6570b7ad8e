// SPDX-License-Identifier: Apache-2.0
#include "runtime/tasks.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/inflight.h"
#include "base/json.h"
#include "base/log.h"
#include "runtime/runtime-info-client.h"
#include "runtime/shim-process.h"
#include "runtime/tasks-private.h"
#include "store/containers.h"
#include "store/sandboxes.h"
#include <limits.h>
#include <string.h>

/* Longer than all that a shim's Delete waits for: output on its way, a logging program. */
#define DELETE_TIMEOUT (120 * NS_PER_SEC)

void entry_unref(Entry *e)
{
	if (e == NULL || !g_atomic_ref_count_dec(&e->refs))
		return;
	shim_unref(e->shim);
	g_clear_pointer(&e->retired, g_ptr_array_unref);
	g_free(e->ns);
	g_free(e->id);
	g_free(e->binary);
	g_free(e->state_dir);
	g_free(e->sandbox_id);
	g_free(e);
}

Entry *entry_ref(Entry *e)
{
	g_atomic_ref_count_inc(&e->refs);
	return e;
}

static char *entry_key(const char *ns, const char *id)
{
	return g_strdup_printf("%s/%s", ns, id);
}

Entry *entry_reserve(Tasks *t, const char *ns, const char *id, const char *state_dir, EntryState state)
{
	g_autofree char *key = entry_key(ns, id);
	LOCK_SCOPE(&t->lock);
	if (t->closing || g_hash_table_contains(t->entries, key))
		return NULL;
	Entry *e = g_new0(Entry, 1);
	g_atomic_ref_count_init(&e->refs);
	e->tasks = t;
	e->ns = g_strdup(ns);
	e->id = g_strdup(id);
	e->state_dir = g_strdup(state_dir);
	e->state = state;
	g_hash_table_insert(t->entries, g_steal_pointer(&key), entry_ref(e));
	return e;
}

bool entry_claim(Entry *e)
{
	LOCK_SCOPE(&e->tasks->lock);
	if (e->state == ENTRY_GONE)
		return false;
	e->state = ENTRY_GONE;
	return true;
}

void entry_remove(Entry *e)
{
	Tasks *t = e->tasks;
	g_autofree char *key = entry_key(e->ns, e->id);
	LOCK_SCOPE(&t->lock);
	g_hash_table_remove(t->entries, key);
	cond_broadcast(&t->changed);
}

bool entry_drop(Entry *e)
{
	bool ours = entry_claim(e);
	if (ours)
		entry_remove(e);
	return ours;
}

Bundle *entry_bundle(const Entry *e)
{
	return bundle_at(e->state_dir, e->ns, e->id);
}

ShimBinaryConfig tasks_binary_config(const Tasks *t)
{
	return (ShimBinaryConfig){t->grpc_address, t->ttrpc_address, t->socket_dir,
	                          (const char *const *)t->env};
}

/* ---- shims that end on their own ---- */

void tasks_sandbox_ends(Tasks *t, const char *ns, const char *sandbox_id, bool ends)
{
	LOCK_SCOPE(&t->lock);
	GHashTableIter iter;
	gpointer value;
	g_hash_table_iter_init(&iter, t->entries);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Entry *e = value;
		if (g_strcmp0(e->sandbox_id, sandbox_id) == 0 && g_str_equal(e->ns, ns))
			e->sandbox_ends = ends;
	}
}

static bool is_closing(Tasks *t)
{
	LOCK_SCOPE(&t->lock);
	return t->closing;
}

bool tasks_submit(Tasks *t, PoolFn fn, void *data)
{
	{
		LOCK_SCOPE(&t->lock);
		t->n_jobs++;
	}
	if (pool_submit(t->pool, fn, data))
		return true;
	tasks_job_done(t);
	return false;
}

void tasks_job_done(Tasks *t)
{
	LOCK_SCOPE(&t->lock);
	t->n_jobs--;
	cond_broadcast(&t->changed);
}

static void connection_done(Entry *e)
{
	Tasks *t = e->tasks;
	LOCK_SCOPE(&t->lock);
	t->n_connections--;
	cond_broadcast(&t->changed);
}

typedef enum { SHIM_ANSWERS, SHIM_MUTE, SHIM_CLOSED } ShimHealth;

/* Whether the shim says anything at all within its deadline, be it that it knows no such method. */
static ShimHealth entry_health(Entry *e)
{
	Ctx ctx = {.ns = e->ns};
	uint32_t pid = 0;
	g_autoptr(GError) error = NULL;
	inflight_stage("asks whether the shim is there");
	if (shim_ping(e->shim, &ctx, e->tasks->load_timeout_ns, &pid, &error))
		return SHIM_ANSWERS;
	return error_is(error, CTRD_ERR_DEADLINE_EXCEEDED) ? SHIM_MUTE
	       : error_is(error, CTRD_ERR_UNAVAILABLE)     ? SHIM_CLOSED
	                                                   : SHIM_ANSWERS;
}

/* A connection may end without its shim (a broken frame, a full table): then there is a new one, over which
 * everybody reads the state anew. A shim that listens and does not answer is as good as dead. */
static bool entry_reconnect(Entry *e)
{
	g_autoptr(Bundle) bundle = entry_bundle(e);
	g_auto(ShimAddress) address = {0};
	if (!shim_address_load(bundle, &address, NULL))
		return false;
	{
		LOCK_SCOPE(&e->tasks->lock);
		e->shim_dead = false;
	}
	if (!entry_connect(e, &address, NULL))
		return false;
	if (entry_health(e) != SHIM_ANSWERS) {
		shim_close(e->shim);
		return false;
	}
	log_info("connected to the shim again", "id", e->id, "namespace", e->ns, NULL);
	return true;
}

static void dead_on_worker(void *data)
{
	Entry *e = data;
	bool ours;
	{
		LOCK_SCOPE(&e->tasks->lock);
		/* before READY whoever is bringing it up looks at shim_dead; GONE means that a delete is at
		 * work */
		ours = e->state == ENTRY_READY && !e->tasks->closing;
		e->shim_dead = true;
	}
	if (ours && !entry_reconnect(e) && !is_closing(e->tasks))
		entry_cleanup_dead(e, NULL);
	connection_done(e);
	entry_unref(e);
}

/* On the loop's thread. */
static void shim_closed(void *data)
{
	Entry *e = data;
	if (pool_submit(e->tasks->pool, dead_on_worker, e))
		return;
	log_debug("no worker to clean up after a shim", "id", e->id, "namespace", e->ns, NULL);
	connection_done(e);
	entry_unref(e);
}

bool entry_connect(Entry *e, const ShimAddress *address, GError **error)
{
	Tasks *t = e->tasks;
	{
		LOCK_SCOPE(&t->lock);
		t->n_connections++;
	}
	Bundle *bundle = entry_bundle(e);
	Shim *shim = shim_connect(t->loop, bundle, address, shim_closed, entry_ref(e), error);
	if (shim == NULL) {
		connection_done(e);
		entry_unref(e);
		return false;
	}
	shim_set_binary(shim, e->binary);
	LOCK_SCOPE(&t->lock);
	if (e->shim != NULL) {
		if (e->retired == NULL)
			e->retired = g_ptr_array_new_with_free_func((GDestroyNotify)shim_unref);
		g_ptr_array_add(e->retired, e->shim);
	}
	e->shim = shim;
	return true;
}

void entry_ready(Entry *e)
{
	bool dead;
	{
		LOCK_SCOPE(&e->tasks->lock);
		if (e->state != ENTRY_GONE)
			e->state = ENTRY_READY;
		dead = e->shim_dead;
		cond_broadcast(&e->tasks->changed);
	}
	if (dead)
		entry_cleanup_dead(e, NULL);
}

/* ---- ending a shim ourselves ---- */

/* A shim that does not go when it is told to. Takes the error. */
static void end_mute(Entry *e, GError *error)
{
	log_error_take(LOG_ERROR, error, "failed to shutdown shim task", "id", e->id, "namespace", e->ns,
	               NULL);
	if (e->binary != NULL)
		shim_process_kill(e->binary, e->ns, e->id, e->tasks->grpc_address);
}

/* Shutdown (but of a sandbox's shim, which has its controller), close, delete the bundle. Nothing here can
 * fail the caller: what is left is in the log and found at the next start. */
static void shim_end(Entry *e, const Ctx *ctx)
{
	Tasks *t = e->tasks;
	Shim *shim = e->shim;
	g_autoptr(GError) error = NULL;
	inflight_stage("waits for the shim: Shutdown");
	FAILPOINT_HERE("task.end.shutdown");
	if (e->sandbox_id == NULL && !shim_shutdown(shim, ctx, t->shutdown_timeout_ns, &error) &&
	    !error_is(error, CTRD_ERR_UNAVAILABLE))
		end_mute(e, g_steal_pointer(&error));
	g_clear_error(&error);
	shim_close(shim);
	inflight_stage("deletes the bundle");
	FAILPOINT_HERE("task.end.bundle");
	if (!bundle_delete(shim_bundle(shim), &error))
		log_error_take(LOG_ERROR, g_steal_pointer(&error), "failed to delete shim", "id",
		               shim_id(shim), NULL);
}

/* ---- create ---- */

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
		shim_end(e, &ctx);
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

/* ---- get, list, delete ---- */

static bool wait_loaded(Tasks *t, const char *key, int64_t deadline)
{
	for (;;) {
		Entry *e = g_hash_table_lookup(t->entries, key);
		if (e == NULL || e->state != ENTRY_LOADING)
			return true;
		inflight_stage("waits until the shim is loaded");
		if (!cond_wait_until(&t->changed, &t->lock, deadline))
			return false;
	}
}

Shim *tasks_get(Tasks *t, const Ctx *ctx, const char *id, GError **error)
{
	g_autofree char *key = entry_key(ctx->ns, id);
	{
		LOCK_SCOPE(&t->lock);
		if (wait_loaded(t, key, time_mono() + 2 * t->load_timeout_ns)) {
			Entry *e = g_hash_table_lookup(t->entries, key);
			/* a task that is being created can be killed already */
			if (e != NULL && e->shim != NULL && e->state != ENTRY_GONE)
				return shim_ref(e->shim);
		}
	}
	error_set(error, CTRD_ERR_NOT_FOUND, "task %s not found", id);
	return NULL;
}

static bool any_loading(Tasks *t)
{
	GHashTableIter iter;
	gpointer value;
	g_hash_table_iter_init(&iter, t->entries);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		if (((Entry *)value)->state == ENTRY_LOADING)
			return true;
	}
	return false;
}

static int by_id(gconstpointer a, gconstpointer b)
{
	return strcmp(shim_id(*(Shim *const *)a), shim_id(*(Shim *const *)b));
}

GPtrArray *tasks_now(Tasks *t)
{
	GPtrArray *out = g_ptr_array_new_with_free_func((GDestroyNotify)shim_unref);
	LOCK_SCOPE(&t->lock);
	GHashTableIter iter;
	gpointer value;
	g_hash_table_iter_init(&iter, t->entries);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const Entry *e = value;
		if (e->state == ENTRY_READY && !e->is_sandbox)
			g_ptr_array_add(out, shim_ref(e->shim));
	}
	return out;
}

GPtrArray *tasks_list(Tasks *t, const Ctx *ctx)
{
	GPtrArray *out = g_ptr_array_new_with_free_func((GDestroyNotify)shim_unref);
	int64_t deadline = time_mono() + NS_PER_SEC;
	LOCK_SCOPE(&t->lock);
	while (any_loading(t) && cond_wait_until(&t->changed, &t->lock, deadline))
		;
	GHashTableIter iter;
	gpointer value;
	g_hash_table_iter_init(&iter, t->entries);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const Entry *e = value;
		if (e->state == ENTRY_READY && g_str_equal(e->ns, ctx->ns))
			g_ptr_array_add(out, shim_ref(e->shim));
	}
	g_ptr_array_sort(out, by_id);
	return out;
}

Entry *entry_find(Tasks *t, const Ctx *ctx, const char *id)
{
	g_autofree char *key = entry_key(ctx->ns, id);
	LOCK_SCOPE(&t->lock);
	if (!wait_loaded(t, key, time_mono() + 2 * t->load_timeout_ns))
		return NULL;
	Entry *e = g_hash_table_lookup(t->entries, key);
	return e != NULL && e->state == ENTRY_READY ? entry_ref(e) : NULL;
}

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
		shim_end(e, &lasting);
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

/* ---- recovery ---- */

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

static void load(Entry *e)
{
	Tasks *t = e->tasks;
	g_autoptr(Bundle) b = entry_bundle(e);
	g_autoptr(GError) error = NULL;
	e->binary = entry_saved_binary(e, b, &error);
	entry_load_exit(e, b);
	if (e->binary != NULL && load_one(e, b, &error)) {
		if (is_leaked(e) && entry_claim(e)) {
			log_info("cleaning leaked shim process", "id", e->id, "namespace", e->ns, NULL);
			Ctx ctx = {.ns = e->ns};
			TaskExit exit;
			shim_delete(e->shim, &ctx, t->cleanup_timeout_ns, &exit, NULL);
			shim_end(e, &ctx);
			entry_remove(e);
		} else {
			entry_ready(e);
		}
		return;
	}
	if (is_closing(t))
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
	if (!is_closing(t))
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

void entry_load_exit(Entry *e, const Bundle *bundle)
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
