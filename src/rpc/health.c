// SPDX-License-Identifier: Apache-2.0
#include "rpc/health.h"

#include "base/error.h"
#include "base/util.h"
#include "grpc/health/v1/health.pb-c.h"
#include <string.h>

typedef Grpc__Health__V1__HealthCheckRequest CheckRequest;
typedef Grpc__Health__V1__HealthCheckResponse CheckResponse;
typedef Grpc__Health__V1__HealthListResponse ListResponse;
typedef Grpc__Health__V1__HealthListResponse__StatusesEntry ListEntry;

/* Everything belongs to the loop's thread. */
struct RpcHealth {
	Loop *loop;
	GHashTable *statuses; // name -> RpcHealthStatus
	GPtrArray *watches;   // Watch
};

typedef struct {
	RpcHealth *health;
	RpcCall *call;
	char *service;
	int last;
	unsigned cancel_id;
} Watch;

/* grpc-go: maxAllowedServices. */
#define LIST_MAX 100

static int status_of(RpcHealth *h, const char *service)
{
	void *value;
	if (!g_hash_table_lookup_extended(h->statuses, service, NULL, &value))
		return GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
	return GPOINTER_TO_INT(value);
}

static bool check(RpcCall *call, const void *request, void *response, GError **error)
{
	const CheckRequest *req = request;
	int status = status_of(rpc_call_impl(call), req->service);
	if (status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN)
		return error_set(error, CTRD_ERR_NOT_FOUND, "unknown service");
	((CheckResponse *)response)->status = (unsigned)status;
	return true;
}

static bool list(RpcCall *call, const void *request, void *response, GError **error)
{
	RpcHealth *h = rpc_call_impl(call);
	Arena *arena = rpc_call_arena(call);
	ListResponse *res = response;
	GHashTableIter it;
	void *name, *value;
	guint n = g_hash_table_size(h->statuses);
	if (n > LIST_MAX)
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                 "server health list exceeds maximum capacity: %d", LIST_MAX);
	res->statuses = arena_alloc_n(arena, n, sizeof(*res->statuses));
	g_hash_table_iter_init(&it, h->statuses);
	while (g_hash_table_iter_next(&it, &name, &value)) {
		ListEntry *entry = arena_alloc(arena, sizeof(*entry));
		CheckResponse *status = arena_alloc(arena, sizeof(*status));
		*entry = (ListEntry)GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__STATUSES_ENTRY__INIT;
		*status = (CheckResponse)GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
		status->status = (unsigned)GPOINTER_TO_INT(value);
		entry->key = arena_strdup(arena, name);
		entry->value = status;
		res->statuses[res->n_statuses++] = entry;
	}
	return true;
}

/* ---- watches ---- */

static void watch_end(Watch *w, CtrdErrorCode class, const char *text)
{
	GError *error = NULL;
	cancel_off(rpc_call_cancel(w->call), w->cancel_id);
	g_ptr_array_remove_fast(w->health->watches, w);
	error_set(&error, class, "%s", text);
	rpc_call_fail(w->call, error);
	g_free(w->service);
	g_free(w);
}

static void watch_canceled(void *data)
{
	watch_end(data, CTRD_ERR_CANCELED, "Stream has ended.");
}

static void watch_tell(Watch *w)
{
	int status = status_of(w->health, w->service);
	if (status == w->last)
		return;
	w->last = status;
	CheckResponse res = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	res.status = (unsigned)status;
	if (!rpc_call_try_send(w->call, &res, 4096))
		watch_end(w, CTRD_ERR_RESOURCE_EXHAUSTED, "the watcher does not read");
}

static bool watch(RpcCall *call, const void *request, void *response, GError **error)
{
	const CheckRequest *req = request;
	RpcHealth *h = rpc_call_impl(call);
	if (!cancel_check(rpc_call_cancel(call), error))
		return false;
	Watch *w = g_new0(Watch, 1);
	*w = (Watch){.health = h, .call = call, .service = g_strdup(req->service), .last = -1};
	g_ptr_array_add(h->watches, w);
	rpc_call_defer(call);
	/* Handlers of the loop and their cancellation are on one thread. */
	w->cancel_id = cancel_on(rpc_call_cancel(call), watch_canceled, w);
	watch_tell(w);
	return true;
}

/* ---- setting ---- */

typedef struct {
	RpcHealth *health;
	char *service;
	RpcHealthStatus status;
} Set;

static void set_posted(void *data)
{
	Set *s = data;
	RpcHealth *h = s->health;
	g_hash_table_insert(h->statuses, g_strdup(s->service), GINT_TO_POINTER((int)s->status));
	for (guint i = h->watches->len; i > 0; i--) {
		Watch *w = h->watches->pdata[i - 1];
		if (strcmp(w->service, s->service) == 0)
			watch_tell(w);
	}
	g_free(s->service);
	g_free(s);
}

void rpc_health_set(RpcHealth *health, const char *service, RpcHealthStatus status)
{
	Set *s = g_new(Set, 1);
	*s = (Set){.health = health, .service = g_strdup(service), .status = status};
	if (loop_run_on(health->loop, set_posted, s))
		return;
	g_free(s->service);
	g_free(s);
}

static void health_free(void *impl)
{
	RpcHealth *h = impl;
	g_hash_table_unref(h->statuses);
	g_ptr_array_unref(h->watches);
	g_free(h);
}

RpcService rpc_health_service_new(Loop *loop, RpcHealth **ret_health)
{
	static const RpcMethod methods[] = {
	        {"Check", RPC_UNARY, RPC_ON_LOOP, check},
	        {"List", RPC_UNARY, RPC_ON_LOOP, list},
	        {"Watch", RPC_SERVER_STREAM, RPC_ON_LOOP, watch},
	};
	RpcHealth *h = g_new0(RpcHealth, 1);
	h->loop = loop;
	h->statuses = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	h->watches = g_ptr_array_new();
	g_hash_table_insert(h->statuses, g_strdup(""), GINT_TO_POINTER(RPC_HEALTH_SERVING));
	if (ret_health != NULL)
		*ret_health = h;
	return (RpcService){.descriptor = &grpc__health__v1__health__descriptor,
	                    .methods = methods,
	                    .n_methods = G_N_ELEMENTS(methods),
	                    .impl = h,
	                    .impl_free = health_free};
}
