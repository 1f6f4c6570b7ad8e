// SPDX-License-Identifier: Apache-2.0

/* The calls of the Tasks service that ask all shims of a namespace at once: List and Metrics. */

#include "api/message.h"
#include "base/error.h"
#include "base/inflight.h"
#include "base/log.h"
#include "oci/filters.h"
#include "services/cgroup-metrics.h"
#include "services/convert.h"
#include "services/tasks-private.h"
#include "services/tasks/v1/tasks.pb-c.h"
#include "types/metrics.pb-c.h"

typedef struct Gather Gather;
typedef struct {
	Gather *gather;
	Shim *shim;
	TimeNs asked_at;
	GBytes *answer; // the packed shim response, NULL where there is none
	bool late;      // it did not answer in time
} Asked;

/* All callbacks run on the loop's thread; the caller's reference keeps it until everything has been asked. */
struct Gather {
	RpcCall *call;
	Asked *asked;
	size_t n;
	gint pending;
	const ProtobufCMessageDescriptor *type;
	void (*answer)(Gather *g);
};

static void gather_unref(Gather *g)
{
	if (!g_atomic_int_dec_and_test(&g->pending))
		return;
	g->answer(g);
	for (size_t i = 0; i < g->n; i++) {
		shim_unref(g->asked[i].shim);
		g_clear_pointer(&g->asked[i].answer, g_bytes_unref);
	}
	g_free(g->asked);
	g_free(g);
}

static void gather_done(const void *response, const GError *error, void *data)
{
	Asked *a = data;
	if (response != NULL) {
		a->answer = api_pack(response);
	} else if (!error_is(error, CTRD_ERR_NOT_FOUND)) {
		a->late = error_is(error, CTRD_ERR_DEADLINE_EXCEEDED);
		log_error("a shim gave no answer", "id", shim_id(a->shim), "namespace", shim_ns(a->shim),
		          "error", error->message, NULL);
	}
	gather_unref(a->gather);
}

static void *gather_unpack(const Gather *g, size_t i)
{
	if (g->asked[i].answer == NULL)
		return NULL;
	gsize len = 0;
	const uint8_t *data = g_bytes_get_data(g->asked[i].answer, &len);
	return protobuf_c_message_unpack(g->type, NULL, len, data);
}

typedef bool (*KeepFn)(Shim *shim, void *data);

/* Asks every shim of the namespace that keep() wants and that local() has no packed answer for, all at once;
 * answer() runs when all have answered or timed out. */
static void gather(RpcCall *call, const Ctx *ctx, KeepFn keep, void *data, int64_t timeout_ns,
                   const char *method, const ProtobufCMessageDescriptor *request_type,
                   const ProtobufCMessageDescriptor *type, GBytes *(*local)(Shim *shim),
                   void (*answer)(Gather *g))
{
	TasksImpl *impl = rpc_call_impl(call);
	g_autoptr(GPtrArray) shims = tasks_list(impl->tasks, ctx);
	Gather *g = g_new0(Gather, 1);
	g->call = call;
	g->type = type;
	g->answer = answer;
	g->asked = g_new0(Asked, MAX(shims->len, 1));
	for (guint i = 0; i < shims->len; i++) {
		if (keep == NULL || keep(shims->pdata[i], data))
			g->asked[g->n++] = (Asked){.gather = g, .shim = shim_ref(shims->pdata[i])};
	}
	inflight_stage("waits for %zu shims: %s", g->n, method);
	rpc_call_defer(call);
	g_atomic_int_set(&g->pending, (gint)g->n + 1);
	for (size_t i = 0; i < g->n; i++) {
		/* State and Stats requests both begin with the id */
		Containerd__Task__V3__StateRequest req;
		api_init(request_type, &req);
		req.id = shim_id(g->asked[i].shim);
		g->asked[i].asked_at = time_now();
		g->asked[i].answer = local != NULL ? local(g->asked[i].shim) : NULL;
		if (g->asked[i].answer != NULL) {
			gather_unref(g);
			continue;
		}
		shim_call_async(g->asked[i].shim, ctx, timeout_ns, method, &req, gather_done, &g->asked[i]);
	}
	gather_unref(g);
}
G_STATIC_ASSERT(offsetof(Containerd__Task__V3__StateRequest, id) ==
                offsetof(Containerd__Task__V3__StatsRequest, id));

static void answer_list(Gather *g)
{
	Containerd__Services__Tasks__V1__ListTasksResponse out =
	        CONTAINERD__SERVICES__TASKS__V1__LIST_TASKS_RESPONSE__INIT;
	Arena *arena = rpc_call_arena(g->call);
	g_autoptr(GPtrArray) states = g_ptr_array_new_with_free_func((GDestroyNotify)pb_free);
	out.tasks = pb_vec(arena, g->n);
	for (size_t i = 0; i < g->n; i++) {
		StateResponse *state = gather_unpack(g, i);
		if (state == NULL && g->asked[i].late) {
			// upstream leaves it out, and nobody learns what holds everything up
			PbProcess *unknown = pb_new(arena, &containerd__v1__types__process__descriptor);
			unknown->id = shim_id(g->asked[i].shim);
			unknown->status = CONTAINERD__V1__TYPES__STATUS__UNKNOWN;
			out.tasks[out.n_tasks++] = unknown;
		}
		if (state == NULL)
			continue;
		g_ptr_array_add(states, state);
		PbProcess *p = pb_new(arena, &containerd__v1__types__process__descriptor);
		task_process_out(p, state);
		out.tasks[out.n_tasks++] = p;
	}
	rpc_call_reply(g->call, &out);
}

bool tasks_list_all(RpcCall *call, const void *request, void *response, GError **error)
{
	TasksImpl *impl = rpc_call_impl(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	gather(call, &ctx, NULL, NULL, impl->state_timeout_ns, "State",
	       &containerd__task__v3__state_request__descriptor,
	       &containerd__task__v3__state_response__descriptor, NULL, answer_list);
	return true;
}

static void answer_metrics(Gather *g)
{
	Containerd__Services__Tasks__V1__MetricsResponse out =
	        CONTAINERD__SERVICES__TASKS__V1__METRICS_RESPONSE__INIT;
	Arena *arena = rpc_call_arena(g->call);
	g_autoptr(GPtrArray) stats = g_ptr_array_new_with_free_func((GDestroyNotify)pb_free);
	out.metrics = pb_vec(arena, g->n);
	for (size_t i = 0; i < g->n; i++) {
		Containerd__Task__V3__StatsResponse *s = gather_unpack(g, i);
		if (s == NULL)
			continue;
		g_ptr_array_add(stats, s);
		Containerd__Types__Metric *m = pb_new(arena, &containerd__types__metric__descriptor);
		m->timestamp = pb_time_out(arena, g->asked[i].asked_at);
		m->id = shim_id(g->asked[i].shim);
		m->data = s->stats;
		out.metrics[out.n_metrics++] = m;
	}
	rpc_call_reply(g->call, &out);
}

static const char *metrics_field(const char *const *path, size_t n, bool *present, void *data)
{
	bool id = n > 0 && g_str_equal(path[0], "id");
	*present = id || (n > 0 && g_str_equal(path[0], "namespace"));
	return !*present ? NULL : id ? shim_id(data) : shim_ns(data);
}

static bool metrics_keep(Shim *shim, void *data)
{
	return data == NULL || filter_match(data, metrics_field, shim);
}

/* Our own reading of the task's cgroup, as the shim would answer; NULL: the shim must be asked. */
static GBytes *read_stats(Shim *shim)
{
	g_autoptr(Arena) arena = arena_new();
	Containerd__Task__V3__StatsResponse stats = CONTAINERD__TASK__V3__STATS_RESPONSE__INIT;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	const char *type;
	if (!cgroup_read_shim(shim, arena, &type, &any.value.data, &any.value.len))
		return NULL;
	any.type_url = (char *)type;
	stats.stats = &any;
	return api_pack(&stats.base);
}

bool tasks_metrics_all(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__MetricsRequest *in = request;
	TasksImpl *impl = rpc_call_impl(call);
	Ctx ctx;
	g_autoptr(Filter) filter = NULL;
	if (in->n_filters > 0) {
		filter =
		        filter_parse_all(pb_strv_in(rpc_call_arena(call), in->n_filters, in->filters), error);
		if (filter == NULL)
			return false;
	}
	if (!call_ctx(call, &ctx, error))
		return false;
	gather(call, &ctx, metrics_keep, filter, impl->stats_timeout_ns, "Stats",
	       &containerd__task__v3__stats_request__descriptor,
	       &containerd__task__v3__stats_response__descriptor, read_stats, answer_metrics);
	return true;
}
