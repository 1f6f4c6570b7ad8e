// SPDX-License-Identifier: Apache-2.0
#include "daemon/grpc-metrics.h"
#include "loop/lock.h"
#include <string.h>

#define N_CODES (RPC_UNAUTHENTICATED + 1)

typedef struct {
	const char *type;
	MetricCounter started, received, sent, handled[N_CODES];
	MetricTimer *timer; // NULL: no histogram
} Method;

typedef struct {
	const ProtobufCServiceDescriptor *descriptor;
	Method methods[];
} Service;

struct GrpcMetrics {
	bool histogram;
	unsigned collector;
	Lock lock; // of the list; the numbers are atomic
	GPtrArray *services;
};

static void service_free(void *data)
{
	Service *s = data;

	for (unsigned i = 0; i < s->descriptor->n_methods; i++)
		g_free(s->methods[i].timer);
	g_free(s);
}

GrpcMetrics *grpc_metrics_new(bool histogram)
{
	GrpcMetrics *m = g_new0(GrpcMetrics, 1);

	m->histogram = histogram;
	m->services = g_ptr_array_new_with_free_func(service_free);
	lock_init(&m->lock, "grpc metrics", LOCK_RANK_LEAF);
	return m;
}

void grpc_metrics_free(GrpcMetrics *m)
{
	metrics_remove(m->collector);
	g_ptr_array_unref(m->services);
	lock_destroy(&m->lock);
	g_free(m);
}

/* ---- counting ---- */

static const char *type_of(const RpcService *service, const char *method)
{
	static const char *const types[] = {
	        [RPC_UNARY] = "unary",
	        [RPC_SERVER_STREAM] = "server_stream",
	        [RPC_CLIENT_STREAM] = "client_stream",
	        [RPC_BIDI_STREAM] = "bidi_stream",
	};

	for (size_t i = 0; i < service->n_methods; i++) {
		if (strcmp(service->methods[i].name, method) == 0)
			return types[service->methods[i].kind];
	}
	return types[RPC_UNARY];
}

static Service *find_service(GrpcMetrics *m, const ProtobufCServiceDescriptor *descriptor)
{
	for (guint i = 0; i < m->services->len; i++) {
		Service *s = m->services->pdata[i];

		if (s->descriptor == descriptor)
			return s;
	}
	return NULL;
}

/* The same service of two servers is counted together. */
static void *on_service(void *data, const RpcService *service)
{
	GrpcMetrics *m = data;
	unsigned n = service->descriptor->n_methods;

	LOCK_SCOPE(&m->lock);
	Service *s = find_service(m, service->descriptor);
	if (s != NULL)
		return s;
	s = g_malloc0(sizeof(Service) + n * sizeof(Method));
	s->descriptor = service->descriptor;
	for (unsigned i = 0; i < n; i++) {
		s->methods[i].type = type_of(service, service->descriptor->methods[i].name);
		s->methods[i].timer = m->histogram ? g_new0(MetricTimer, 1) : NULL;
	}
	g_ptr_array_add(m->services, s);
	return s;
}

static void on_started(void *slot, unsigned method)
{
	metric_counter_add(&((Service *)slot)->methods[method].started, 1);
}

static void on_message(void *slot, unsigned method, bool sent)
{
	Method *m = &((Service *)slot)->methods[method];

	metric_counter_add(sent ? &m->sent : &m->received, 1);
}

static void on_handled(void *slot, unsigned method, RpcStatusCode code, int64_t took_ns)
{
	Method *m = &((Service *)slot)->methods[method];

	metric_counter_add(&m->handled[(unsigned)code < N_CODES ? code : RPC_UNKNOWN], 1);
	if (m->timer != NULL)
		metric_timer_observe(m->timer, took_ns);
}

const RpcObserver grpc_metrics_observer = {
        .service = on_service,
        .started = on_started,
        .message = on_message,
        .handled = on_handled,
};

/* ---- telling ---- */

static void write_handled(MetricWriter *w, const Method *m, const char *const *labels)
{
	const char *with_code[] = {"grpc_code", NULL,      labels[0], labels[1], labels[2],
	                           labels[3],   labels[4], labels[5], NULL};

	metric_family(w, "grpc_server_handled_total",
	              "Total number of RPCs completed on the server, regardless of success or failure.",
	              METRIC_COUNTER);
	for (int code = 0; code < N_CODES; code++) {
		with_code[1] = rpc_status_name((RpcStatusCode)code);
		metric_sample_v(w, (double)metric_counter_get(&m->handled[code]), with_code);
	}
}

static void write_method(MetricWriter *w, const Service *s, unsigned index)
{
	const Method *m = &s->methods[index];
	const char *const labels[] = {"grpc_method",
	                              s->descriptor->methods[index].name,
	                              "grpc_service",
	                              s->descriptor->name,
	                              "grpc_type",
	                              m->type,
	                              NULL};

	write_handled(w, m, labels);
	metric_family(w, "grpc_server_started_total", "Total number of RPCs started on the server.",
	              METRIC_COUNTER);
	metric_sample_v(w, (double)metric_counter_get(&m->started), labels);
	metric_family(w, "grpc_server_msg_received_total",
	              "Total number of RPC stream messages received on the server.", METRIC_COUNTER);
	metric_sample_v(w, (double)metric_counter_get(&m->received), labels);
	metric_family(w, "grpc_server_msg_sent_total",
	              "Total number of gRPC stream messages sent by the server.", METRIC_COUNTER);
	metric_sample_v(w, (double)metric_counter_get(&m->sent), labels);
	if (m->timer == NULL)
		return;
	metric_family(w, "grpc_server_handling_seconds",
	              "Histogram of response latency (seconds) of gRPC that had been application-level "
	              "handled by the "
	              "server.",
	              METRIC_HISTOGRAM);
	metric_timer_write(w, m->timer, labels);
}

static void collect(MetricWriter *writer, void *metrics)
{
	GrpcMetrics *m = metrics;
	g_autoptr(GPtrArray) services = g_ptr_array_new();

	{
		LOCK_SCOPE(&m->lock);
		for (guint i = 0; i < m->services->len; i++)
			g_ptr_array_add(services, m->services->pdata[i]);
	}
	for (guint i = 0; i < services->len; i++) {
		const Service *s = services->pdata[i];

		for (unsigned j = 0; j < s->descriptor->n_methods; j++)
			write_method(writer, s, j);
	}
}

void grpc_metrics_publish(GrpcMetrics *m)
{
	m->collector = metrics_add(collect, m);
}
