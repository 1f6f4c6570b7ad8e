// SPDX-License-Identifier: Apache-2.0

/* The table of shims itself: its entries, their connections and their ends, and looking them up. */

#include "base/error.h"
#include "base/inflight.h"
#include "base/log.h"
#include "runtime/tasks-private.h"
#include <string.h>

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

char *entry_key(const char *ns, const char *id)
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

bool tasks_is_closing(Tasks *t)
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

ShimHealth entry_health(Entry *e)
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
	if (ours && !entry_reconnect(e) && !tasks_is_closing(e->tasks))
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

/* ---- who is in it ---- */

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
