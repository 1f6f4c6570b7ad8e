// SPDX-License-Identifier: Apache-2.0
#include "loop/lock.h"
#include "message.h"
#include "services/cgroup-metrics.h"

/* A task whose shim must be asked: what it answered last. */
typedef struct {
	char *type; // NULL: nothing yet
	GBytes *data;
	bool asked;    // an answer is on its way
	unsigned seen; // in this scrape
} Remote;

/* Held by the owner and by each question to a shim. */
struct CgroupMonitor {
	gatomicrefcount refs;
	Tasks *tasks;
	int64_t timeout_ns; // atomic
	Lock lock;
	GHashTable *remotes; // "ns/id" -> Remote
	unsigned scrape;
};

static void remote_free(void *data)
{
	Remote *r = data;

	g_free(r->type);
	g_clear_pointer(&r->data, g_bytes_unref);
	g_free(r);
}

CgroupMonitor *cgroup_monitor_new(Tasks *tasks, int64_t stats_timeout_ns)
{
	CgroupMonitor *m = g_new0(CgroupMonitor, 1);

	g_atomic_ref_count_init(&m->refs);
	m->tasks = tasks;
	m->timeout_ns = stats_timeout_ns;
	m->remotes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, remote_free);
	lock_init(&m->lock, "cgroup monitor", LOCK_RANK_LEAF);
	return m;
}

void cgroup_monitor_set_timeout(CgroupMonitor *m, int64_t stats_timeout_ns)
{
	__atomic_store_n(&m->timeout_ns, stats_timeout_ns, __ATOMIC_RELAXED);
}

void cgroup_monitor_free(CgroupMonitor *m)
{
	if (!g_atomic_ref_count_dec(&m->refs))
		return;
	g_hash_table_unref(m->remotes);
	lock_destroy(&m->lock);
	g_free(m);
}

/* ---- shims of others ---- */

typedef struct {
	CgroupMonitor *monitor;
	char *key;
} Question;

static void on_stats(const void *response, const GError *error, void *data)
{
	Question *q = data;
	CgroupMonitor *m = q->monitor;
	const Containerd__Task__V3__StatsResponse *stats = response;

	lock_acquire(&m->lock);
	Remote *r = g_hash_table_lookup(m->remotes, q->key);
	if (r != NULL) {
		r->asked = false;
		g_clear_pointer(&r->type, g_free);
		g_clear_pointer(&r->data, g_bytes_unref);
		if (stats != NULL && stats->stats != NULL) {
			r->type = g_strdup(api_type_name(stats->stats->type_url));
			r->data = g_bytes_new(stats->stats->value.data, stats->stats->value.len);
		}
	}
	lock_release(&m->lock);
	cgroup_monitor_free(m);
	g_free(q->key);
	g_free(q);
}

static void ask(CgroupMonitor *m, Shim *shim, const char *key)
{
	Question *q = g_new(Question, 1);
	Containerd__Task__V3__StatsRequest request = CONTAINERD__TASK__V3__STATS_REQUEST__INIT;
	const Ctx ctx = {.ns = shim_ns(shim)};

	g_atomic_ref_count_inc(&m->refs);
	*q = (Question){.monitor = m, .key = g_strdup(key)};
	request.id = (char *)shim_id(shim);
	shim_call_async(shim, &ctx, __atomic_load_n(&m->timeout_ns, __ATOMIC_RELAXED), "Stats", &request,
	                on_stats, q);
}

/* Writes what the shim said last, and asks again unless it still owes an answer. */
static void write_remote(CgroupMonitor *m, MetricWriter *writer, Shim *shim)
{
	g_autofree char *key = g_strdup_printf("%s/%s", shim_ns(shim), shim_id(shim));
	g_autofree char *type = NULL;
	g_autoptr(GBytes) data = NULL;
	bool wanted;

	{
		LOCK_SCOPE(&m->lock);
		Remote *r = g_hash_table_lookup(m->remotes, key);
		if (r == NULL) {
			r = g_new0(Remote, 1);
			g_hash_table_insert(m->remotes, g_strdup(key), r);
		}
		r->seen = m->scrape;
		wanted = !r->asked;
		r->asked = true;
		type = g_strdup(r->type);
		data = r->data != NULL ? g_bytes_ref(r->data) : NULL;
	}
	if (wanted)
		ask(m, shim, key);
	if (type == NULL)
		return;
	gsize len = 0;
	const uint8_t *bytes = g_bytes_get_data(data, &len);
	cgroup_metrics_write(writer, shim_id(shim), shim_ns(shim), type, bytes, len);
}

static gboolean is_old(void *key, void *value, void *data)
{
	return ((const Remote *)value)->seen != *(const unsigned *)data;
}

bool cgroup_read_shim(Shim *shim, Arena *arena, const char **ret_type, uint8_t **ret_data, size_t *ret_len)
{
	const Cgroup *cgroup = shim_cgroup(shim);

	return cgroup != NULL && cgroup_exists(cgroup) &&
	       cgroup_stat(cgroup, arena, ret_type, ret_data, ret_len, NULL);
}

void cgroup_monitor_collect(MetricWriter *writer, void *monitor)
{
	CgroupMonitor *m = monitor;
	g_autoptr(GPtrArray) shims = tasks_now(m->tasks);

	lock_acquire(&m->lock);
	m->scrape++;
	lock_release(&m->lock);
	for (guint i = 0; i < shims->len; i++) {
		Shim *shim = shims->pdata[i];
		g_autoptr(Arena) arena = arena_new();
		const char *type;
		uint8_t *data;
		size_t len;

		if (cgroup_read_shim(shim, arena, &type, &data, &len))
			cgroup_metrics_write(writer, shim_id(shim), shim_ns(shim), type, data, len);
		else
			write_remote(m, writer, shim);
	}
	LOCK_SCOPE(&m->lock);
	g_hash_table_foreach_remove(m->remotes, is_old, &m->scrape);
}
