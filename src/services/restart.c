// SPDX-License-Identifier: Apache-2.0
#include "services/restart.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "loop/lock.h"
#include "loop/thread.h"
#include "rpc/call.h"
#include "services/convert.h"
#include "store/containers.h"
#include "store/namespaces.h"
#include "store/snapshots.h"
#include "types/task/task.pb-c.h"
#include <signal.h>
#include <string.h>

#define DEFAULT_INTERVAL (10 * NS_PER_SEC)
/* A task that lived this long was started well. */
#define LASTING (10 * NS_PER_SEC)
/* Who made a container, or a task, is about to make or start its task: that long at least it is left to them.
 */
#define GRACE_MIN (1 * NS_PER_SEC)
#define DELAY_MAX (300 * NS_PER_SEC)
/* For one container's change: SIGKILL, the exit, a create, a start. */
#define CHANGE_LIMIT (120 * NS_PER_SEC)

typedef Containerd__Task__V3__StateResponse StateResponse;

/* ---- the rules ---- */

typedef enum {
	POLICY_NO,
	POLICY_ALWAYS,
	POLICY_ON_FAILURE,
	POLICY_UNLESS_STOPPED,
} Policy;

static bool parse_policy(const char *text, Policy *ret, int64_t *ret_max, GError **error)
{
	static const char *const names[] = {"no", "always", "on-failure", "unless-stopped"};
	g_auto(GStrv) parts = g_strsplit(text, ":", -1);
	const char *name = parts[0] != NULL ? parts[0] : "";
	int policy = name[0] == '\0' ? POLICY_ALWAYS : -1;

	*ret_max = 0;
	for (int i = 0; i < (int)G_N_ELEMENTS(names); i++) {
		if (strcmp(name, names[i]) == 0)
			policy = i;
	}
	if (policy < 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "restart policy %s not supported", Q(text));
	*ret = (Policy)policy;
	if (parts[0] == NULL || parts[1] == NULL)
		return true;
	if (policy != POLICY_ON_FAILURE)
		return error_set(error, CTRD_ERR_UNKNOWN, "restart policy %s not support max retry count",
		                 Q(name));
	return parse_i64(parts[1], ret_max) ||
	       error_set(error, CTRD_ERR_UNKNOWN, "invalid max retry count: %s", parts[1]);
}

/* Go's strconv.ParseBool. */
static bool is_true(const char *text)
{
	static const char *const all[] = {"1", "t", "T", "TRUE", "true", "True", NULL};

	return text != NULL && g_strv_contains(all, text);
}

static bool parse_count(GHashTable *labels, int64_t *ret, GError **error)
{
	const char *text = strmap_get(labels, RESTART_COUNT);

	*ret = 0;
	return str_empty(text) || parse_i64(text, ret) ||
	       error_set(error, CTRD_ERR_UNKNOWN, "strconv.Atoi: parsing %s: invalid syntax", Q(text));
}

bool restart_is_wanted(GHashTable *labels, uint32_t exit_status, GError **error)
{
	int64_t max, count;
	Policy policy;

	if (!parse_policy(str_or(strmap_get(labels, RESTART_POLICY), ""), &policy, &max, error))
		return false;
	switch (policy) {
	case POLICY_ALWAYS:
		return true;
	case POLICY_ON_FAILURE:
		return parse_count(labels, &count, error) && exit_status != 0 && (max == 0 || count < max);
	case POLICY_UNLESS_STOPPED:
		return !is_true(strmap_get(labels, RESTART_EXPLICITLY_STOPPED));
	case POLICY_NO:
		break;
	}
	return false;
}

int64_t restart_delay(unsigned failures, int64_t interval_ns)
{
	int64_t delay = interval_ns;

	if (failures < 3)
		return 0; // with the next look
	for (; failures >= 3 && delay < DELAY_MAX; failures--)
		delay *= 2;
	return MAX(MIN(delay, DELAY_MAX), interval_ns);
}

/* ---- the monitor ---- */

/* What is remembered of one container. */
typedef struct {
	bool busy;              // a change is under way
	unsigned seen;          // in this look
	unsigned failures;      // starts in a row that did not last
	int64_t started_at;     // mono; 0: not by us
	int64_t created_since;  // mono; the task has been seen created, not started, since then; 0: it is not
	TimeNs started_at_wall; // of the same
	char *complaint;        // logged last, so that it is not logged each time
} Known;

struct RestartMonitor {
	RestartConfig config;
	pthread_t thread;
	Cancel *cancel;
	Lock lock;         // guards what follows and config's times
	Cond wake;         // the thread: stop, or another interval
	Cond idle;         // n_busy is 0
	GHashTable *known; // "ns/id" -> Known
	unsigned look, n_busy;
	bool stopping;
};

typedef struct {
	RestartMonitor *monitor;
	char *ns, *id, *key;
} Change;

static void known_free(void *data)
{
	Known *k = data;

	g_free(k->complaint);
	g_free(k);
}

/* Under the lock. */
static Known *know(RestartMonitor *m, const char *key)
{
	Known *k = g_hash_table_lookup(m->known, key);

	if (k == NULL) {
		k = g_new0(Known, 1);
		g_hash_table_insert(m->known, g_strdup(key), k);
	}
	return k;
}

/* Once for the same text in a row; NULL: all is well again. Takes the error. */
static void complain(RestartMonitor *m, const Change *c, GError *error)
{
	bool new;
	{
		LOCK_SCOPE(&m->lock);
		Known *k = know(m, c->key);
		new = error != NULL &&g_strcmp0(k->complaint, error->message) != 0;
		g_free(k->complaint);
		k->complaint = error != NULL ? g_strdup(error->message) : NULL;
	}
	if (new)
		log_error_take(LOG_ERROR, error, "restart monitor", "id", c->id, "namespace", c->ns, NULL);
	else
		g_clear_error(&error);
}

/* ---- one container ---- */

typedef enum {
	TASK_NONE,
	TASK_CREATED,
	TASK_RUNNING,
	TASK_PAUSED, // or about to be
	TASK_STOPPED,
	TASK_UNKNOWN,
} TaskIs;

typedef struct {
	TaskIs is;
	const char *name; // as in the label
	uint32_t exit_status;
	TimeNs exited_at;
} TaskNow;

/* false: the shim gives no answer, so nothing is known. */
static bool look_at(RestartMonitor *m, const Ctx *ctx, Shim *shim, TaskNow *ret, GError **error)
{
	Containerd__Task__V3__StateRequest request = CONTAINERD__TASK__V3__STATE_REQUEST__INIT;
	g_autoptr(GError) failed = NULL;
	autopb StateResponse *state = NULL;
	int64_t timeout;
	{
		LOCK_SCOPE(&m->lock);
		timeout = m->config.state_timeout_ns;
	}

	request.id = (char *)shim_id(shim);
	*ret = (TaskNow){.is = TASK_NONE, .name = ""};
	if (!shim_call(shim, ctx, timeout, "State", &request, &state, &failed)) {
		if (error_is(failed, CTRD_ERR_NOT_FOUND))
			return true;
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	ret->exit_status = state->exit_status;
	ret->exited_at = pb_time_in(state->exited_at);
	switch (state->status) {
	case CONTAINERD__V1__TYPES__STATUS__RUNNING:
		ret->is = TASK_RUNNING;
		ret->name = "running";
		break;
	case CONTAINERD__V1__TYPES__STATUS__CREATED:
		ret->is = TASK_CREATED;
		ret->name = "created";
		break;
	case CONTAINERD__V1__TYPES__STATUS__STOPPED:
		ret->is = TASK_STOPPED;
		ret->name = "stopped";
		break;
	case CONTAINERD__V1__TYPES__STATUS__PAUSED:
	case CONTAINERD__V1__TYPES__STATUS__PAUSING:
		ret->is = TASK_PAUSED;
		ret->name = state->status == CONTAINERD__V1__TYPES__STATUS__PAUSED ? "paused" : "pausing";
		break;
	default:
		ret->is = TASK_UNKNOWN;
		ret->name = "unknown";
		break;
	}
	return true;
}

/* SIGKILL to all of it, its end, and its deletion. No task is fine. */
static bool end_task(RestartMonitor *m, const Ctx *ctx, const char *id, GError **error)
{
	g_autoptr(GError) failed = NULL;
	g_autoptr(Shim) shim = tasks_get(m->config.tasks, ctx, id, &failed);
	TaskNow now;
	TaskExit exit;

	if (shim == NULL) {
		if (error_is(failed, CTRD_ERR_NOT_FOUND))
			return true;
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	if (!look_at(m, ctx, shim, &now, error))
		return false;
	if (now.is != TASK_STOPPED && now.is != TASK_NONE) {
		Containerd__Task__V3__KillRequest kill = CONTAINERD__TASK__V3__KILL_REQUEST__INIT;
		Containerd__Task__V3__WaitRequest wait = CONTAINERD__TASK__V3__WAIT_REQUEST__INIT;
		Containerd__Task__V3__ResumeRequest resume = CONTAINERD__TASK__V3__RESUME_REQUEST__INIT;
		autopb Google__Protobuf__Empty *killed = NULL, *resumed = NULL;
		autopb Containerd__Task__V3__WaitResponse *waited = NULL;

		kill.id = wait.id = resume.id = (char *)id;
		kill.signal = SIGKILL;
		kill.all = true;
		if (!shim_call(shim, ctx, 0, "Kill", &kill, &killed, &failed) &&
		    !error_is(failed, CTRD_ERR_NOT_FOUND)) {
			g_propagate_error(error, g_steal_pointer(&failed));
			return false;
		}
		if (now.is == TASK_PAUSED) // frozen processes die when they thaw
			shim_call(shim, ctx, 0, "Resume", &resume, &resumed, NULL);
		if (!shim_call(shim, ctx, 0, "Wait", &wait, &waited, error))
			return false;
	}
	return tasks_delete(m->config.tasks, ctx, id, &exit, error);
}

static bool has_terminal(const Container *c, GError **error)
{
	gsize len = 0;
	const char *data = c->spec.value != NULL ? g_bytes_get_data(c->spec.value, &len) : NULL;
	g_autoptr(JsonObject) spec = data != NULL ? json_parse(data, len, 0, error) : NULL;
	JsonObject *process = spec != NULL ? json_get_object(spec, "process") : NULL;
	bool terminal = false;

	return process != NULL && json_get_bool(process, "terminal", &terminal) && terminal;
}

static GPtrArray *rootfs_of(RestartMonitor *m, const Ctx *ctx, const Container *c, GError **error)
{
	if (str_empty(c->snapshot_key))
		return g_ptr_array_new();
	Snapshotter *s = g_hash_table_lookup(m->config.snapshotters, str_or(c->snapshotter, ""));
	if (s == NULL) {
		error_set_class(error, CTRD_ERR_NOT_FOUND, "snapshotter %s was not found",
		                str_or(c->snapshotter, ""));
		return NULL;
	}
	return snapshot_mounts(s, ctx, c->snapshot_key, error);
}

static bool count_start(RestartMonitor *m, const Ctx *ctx, Container *c, GError **error)
{
	const char *const paths[] = {"labels." RESTART_COUNT, NULL};
	int64_t count = 0;

	parse_count(c->labels, &count, NULL);
	g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, count + 1);
	strmap_set(c->labels, RESTART_COUNT, text);
	g_autoptr(Container) updated = containers_update(m->config.db, ctx, c, paths, error);
	return updated != NULL;
}

static bool start_task(RestartMonitor *m, const Ctx *ctx, Container *c, GError **error)
{
	const char *uri = str_or(strmap_get(c->labels, RESTART_LOG_URI), "");
	Containerd__Task__V3__StartRequest start = CONTAINERD__TASK__V3__START_REQUEST__INIT;
	autopb Containerd__Task__V3__StartResponse *started = NULL;
	g_autoptr(GError) failed = NULL;
	uint32_t pid;

	if (!count_start(m, ctx, c, error) || !end_task(m, ctx, c->id, error))
		return false;
	bool terminal = has_terminal(c, &failed);
	if (failed != NULL) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	g_autoptr(GPtrArray) rootfs = rootfs_of(m, ctx, c, error);
	if (rootfs == NULL)
		return false;
	const TaskCreate create = {
	        .runtime = c->runtime_name,
	        .runtime_options = &c->runtime_options,
	        .spec = &c->spec,
	        .rootfs = rootfs,
	        .stdin = "",
	        .stdout = uri,
	        .stderr = terminal ? "" : uri,
	        .terminal = terminal && uri[0] != '\0',
	        .sandbox_id = c->sandbox_id,
	};
	if (!tasks_create(m->config.tasks, ctx, c->id, &create, &pid, error))
		return false;
	g_autoptr(Shim) shim = tasks_get(m->config.tasks, ctx, c->id, error);
	start.id = c->id;
	if (shim != NULL && shim_call(shim, ctx, 0, "Start", &start, &started, error))
		return true;
	if (!end_task(m, ctx, c->id, &failed)) // what was created is not left behind
		log_error_take(LOG_WARN, g_steal_pointer(&failed), "cannot remove a task that did not start",
		               "id", c->id, "namespace", ctx->ns, NULL);
	return false;
}

/* Whether somebody else may be at it: upstream kills a task that `ctr run` has created and not started yet.
 */
static bool is_in_the_making(const RestartMonitor *m, Known *k, const Container *c, const TaskNow *now)
{
	int64_t grace = MAX(m->config.interval_ns, GRACE_MIN);

	if (now->is != TASK_CREATED)
		k->created_since = 0;
	else if (k->created_since == 0)
		k->created_since = time_mono();
	return (now->is == TASK_NONE && time_now() - c->created_at < grace) ||
	       (now->is == TASK_CREATED && time_mono() - k->created_since < grace);
}

/* Whether this one may be started now, by how its last starts went. */
static bool may_start(RestartMonitor *m, const Change *change, const Container *c, const TaskNow *now)
{
	LOCK_SCOPE(&m->lock);
	Known *k = know(m, change->key);

	if (is_in_the_making(m, k, c, now))
		return false;
	bool lasted =
	        k->started_at != 0 && now->exited_at != 0 && now->exited_at - k->started_at_wall >= LASTING;

	if (lasted)
		k->failures = 0;
	return k->started_at == 0 ||
	       time_mono() - k->started_at >= restart_delay(k->failures, m->config.interval_ns);
}

/* It runs as it should. */
static void note_running(RestartMonitor *m, const Change *change)
{
	LOCK_SCOPE(&m->lock);
	Known *k = know(m, change->key);

	if (k->started_at != 0 && time_mono() - k->started_at >= LASTING)
		k->failures = 0;
}

static void note_start(RestartMonitor *m, const Change *change)
{
	LOCK_SCOPE(&m->lock);
	Known *k = know(m, change->key);

	k->failures++; // until it has lasted
	k->started_at = time_mono();
	k->started_at_wall = time_now();
}

static bool reconcile(RestartMonitor *m, const Ctx *ctx, const Change *change, GError **error)
{
	g_autoptr(Container) c = containers_get(m->config.db, ctx, change->id, error);
	const char *wanted = c != NULL ? strmap_get(c->labels, RESTART_STATUS) : NULL;
	g_autoptr(GError) failed = NULL;
	TaskNow now = {.is = TASK_NONE, .name = ""};

	if (wanted == NULL)
		return c != NULL;
	g_autoptr(Shim) shim = tasks_get(m->config.tasks, ctx, c->id, &failed);
	if (shim == NULL && !error_is(failed, CTRD_ERR_NOT_FOUND)) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	g_clear_error(&failed);
	if (shim != NULL && !look_at(m, ctx, shim, &now, error))
		return false;
	if (strcmp(wanted, now.name) == 0) {
		note_running(m, change);
		return true;
	}
	if (strcmp(wanted, "stopped") == 0)
		return now.is == TASK_NONE || end_task(m, ctx, c->id, error);
	if (strcmp(wanted, "running") != 0 || now.is == TASK_PAUSED)
		return true;
	if (!restart_is_wanted(c->labels, now.exit_status, &failed)) {
		if (failed == NULL)
			return true;
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	if (!may_start(m, change, c, &now))
		return true;
	note_start(m, change);
	return start_task(m, ctx, c, error);
}

static void change_free(Change *change)
{
	g_free(change->ns);
	g_free(change->id);
	g_free(change->key);
	g_free(change);
}

static void run_change(void *data)
{
	Change *change = data;
	RestartMonitor *m = change->monitor;
	g_autoptr(Cancel) cancel = cancel_new(m->cancel);
	const Ctx ctx = {.ns = change->ns, .cancel = cancel};
	g_autoptr(GError) error = NULL;

	cancel_set_deadline(cancel, time_mono() + CHANGE_LIMIT);
	bool ok = reconcile(m, &ctx, change, &error);
	bool gone = !ok && error_is(error, CTRD_ERR_NOT_FOUND) && cancel_is_set(m->cancel);
	complain(m, change, ok || gone ? NULL : g_steal_pointer(&error));
	lock_acquire(&m->lock);
	know(m, change->key)->busy = false;
	if (--m->n_busy == 0)
		cond_broadcast(&m->idle);
	lock_release(&m->lock);
	change_free(change);
}

/* ---- all of them ---- */

static void consider(RestartMonitor *m, const char *ns, const char *id)
{
	g_autofree char *key = g_strdup_printf("%s/%s", ns, id);
	bool busy;
	{
		LOCK_SCOPE(&m->lock);
		Known *k = know(m, key);
		busy = k->busy;
		k->seen = m->look;
		if (!busy) {
			k->busy = true;
			m->n_busy++;
		}
	}
	if (busy)
		return;
	Change *change = g_new(Change, 1);
	*change = (Change){.monitor = m, .ns = g_strdup(ns), .id = g_strdup(id), .key = g_strdup(key)};
	if (pool_submit(m->config.pool, run_change, change))
		return;
	LOCK_SCOPE(&m->lock); // too much to do: with the next look
	know(m, key)->busy = false;
	m->n_busy--;
	change_free(change);
}

static gboolean is_forgotten(void *key, void *value, void *data)
{
	const Known *k = value;

	return !k->busy && k->seen != *(const unsigned *)data;
}

static bool look(RestartMonitor *m, GError **error)
{
	static const char *const filters[] = {"labels.\"" RESTART_STATUS "\"", NULL};
	const Ctx everywhere = {.cancel = m->cancel};
	g_autoptr(GPtrArray) namespaces = namespaces_list(m->config.db, &everywhere, error);

	if (namespaces == NULL)
		return false;
	lock_acquire(&m->lock);
	m->look++;
	lock_release(&m->lock);
	for (guint i = 0; i < namespaces->len; i++) {
		const Namespace *ns = namespaces->pdata[i];
		const Ctx ctx = {.ns = ns->name, .cancel = m->cancel};
		g_autoptr(GPtrArray) containers = containers_list(m->config.db, &ctx, filters, error);

		if (containers == NULL)
			return false;
		for (guint j = 0; j < containers->len; j++)
			consider(m, ns->name, ((const Container *)containers->pdata[j])->id);
	}
	LOCK_SCOPE(&m->lock);
	g_hash_table_foreach_remove(m->known, is_forgotten, &m->look);
	return true;
}

static void *run(void *data)
{
	RestartMonitor *m = data;

	for (;;) {
		g_autoptr(GError) error = NULL;
		int64_t began = time_mono();

		if (!look(m, &error) && !cancel_is_set(m->cancel))
			log_error_take(LOG_ERROR, g_steal_pointer(&error), "reconcile", NULL);
		LOCK_SCOPE(&m->lock);
		while (!m->stopping && time_mono() < began + m->config.interval_ns)
			cond_wait_until(&m->wake, &m->lock, began + m->config.interval_ns);
		if (m->stopping)
			return NULL;
	}
}

RestartMonitor *restart_monitor_start(const RestartConfig *config, GError **error)
{
	RestartMonitor *m = g_new0(RestartMonitor, 1);

	m->config = *config;
	m->cancel = cancel_new(NULL);
	m->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, known_free);
	lock_init(&m->lock, "restart monitor", LOCK_RANK_SERVICE);
	cond_init(&m->wake);
	cond_init(&m->idle);
	restart_monitor_set_interval(m, config->interval_ns, config->state_timeout_ns);
	int e = thread_start(&m->thread, "restart", 0, run, m);
	if (e == 0)
		return m;
	error_set_errno(error, e, "cannot start a thread");
	m->stopping = true;
	m->thread = 0;
	restart_monitor_free(m);
	return NULL;
}

void restart_monitor_set_interval(RestartMonitor *m, int64_t interval_ns, int64_t state_timeout_ns)
{
	LOCK_SCOPE(&m->lock);
	m->config.interval_ns = interval_ns > 0 ? interval_ns : DEFAULT_INTERVAL;
	m->config.state_timeout_ns = state_timeout_ns;
	cond_signal(&m->wake);
}

void restart_monitor_free(RestartMonitor *m)
{
	cancel_trigger(m->cancel, false);
	lock_acquire(&m->lock);
	m->stopping = true;
	cond_signal(&m->wake);
	lock_release(&m->lock);
	if (m->thread != 0)
		pthread_join(m->thread, NULL);
	lock_acquire(&m->lock);
	while (m->n_busy > 0)
		cond_wait(&m->idle, &m->lock);
	lock_release(&m->lock);
	g_hash_table_unref(m->known);
	cond_destroy(&m->wake);
	cond_destroy(&m->idle);
	lock_destroy(&m->lock);
	cancel_unref(m->cancel);
	g_free(m);
}
