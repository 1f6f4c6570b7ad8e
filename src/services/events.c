// SPDX-License-Identifier: Apache-2.0
/* containerd.services.events.v1 and its ttrpc twin; upstream plugins/services/events. A subscriber holds no
 * thread. */
#include "services/convert.h"
#include "services/events/v1/events.pb-c.h"
#include "services/services.h"
#include "services/ttrpc/events/v1/events.pb-c.h"
#include "types/event.pb-c.h"

enum {
	/* Bytes that wait for one subscriber. One that does not read so much is ended: events are hints, and
	 * nobody else may wait for it. */
	SUBSCRIBER_MAX_QUEUE = 4 * 1024 * 1024
};

static bool events_publish(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Events__V1__PublishRequest *req = request;
	/* the exchange says what is wrong with the namespace */
	Ctx ctx = {.ns = rpc_call_namespace(call), .cancel = rpc_call_cancel(call)};
	g_auto(Any) event = {0};
	pb_any_in(&event, req->event);
	return exchange_publish(rpc_call_impl(call), &ctx, req->topic, &event, error);
}

static bool forward(Exchange *exchange, const Containerd__Types__Envelope *in, GError **error)
{
	if (in == NULL)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "envelope must be set");
	g_auto(Any) event = {0};
	pb_any_in(&event, in->event);
	g_autoptr(Envelope) envelope =
	        envelope_new(pb_time_in(in->timestamp), in->namespace_, in->topic, &event);
	return exchange_forward(exchange, envelope, error);
}

static bool events_forward(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Events__V1__ForwardRequest *req = request;
	return forward(rpc_call_impl(call), req->envelope, error);
}

static bool ttrpc_events_forward(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Events__Ttrpc__V1__ForwardRequest *req = request;
	return forward(rpc_call_impl(call), req->envelope, error);
}

/* Two hold it: the subscription, and the handler until it has set everything up. The last one answers the
 * call. */
typedef struct {
	RpcCall *call;
	Exchange *exchange;
	uint64_t subscription;
	Cancel *cancel;
	unsigned cancel_id;
	gint client_gone;
	gatomicrefcount refs;
} Subscriber;

static void subscriber_unref(void *data)
{
	Subscriber *s = data;
	if (!g_atomic_ref_count_dec(&s->refs))
		return;
	cancel_off(s->cancel, s->cancel_id);
	if (g_atomic_int_get(&s->client_gone)) {
		rpc_call_finish(s->call);
	} else {
		GError *error = NULL;
		error_set_class(&error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                "subscription error: more than %d bytes of events wait to be read",
		                SUBSCRIBER_MAX_QUEUE);
		rpc_call_fail(s->call, error);
	}
	cancel_unref(s->cancel);
	g_free(s);
}

static bool subscriber_receive(Envelope *envelope, void *data)
{
	Subscriber *s = data;
	g_autoptr(Arena) arena = arena_new();
	Containerd__Types__Envelope out = CONTAINERD__TYPES__ENVELOPE__INIT;
	out.timestamp = pb_time_out(arena, envelope->timestamp);
	out.namespace_ = envelope->ns;
	out.topic = envelope->topic;
	out.event = pb_any_out(arena, &envelope->event);
	return rpc_call_try_send(s->call, &out, SUBSCRIBER_MAX_QUEUE);
}

static void subscriber_gone(void *data)
{
	Subscriber *s = data;
	g_atomic_int_set(&s->client_gone, 1);
	exchange_unsubscribe(s->exchange, s->subscription);
}

static bool events_subscribe(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Events__V1__SubscribeRequest *req = request;
	Exchange *exchange = rpc_call_impl(call);
	Subscriber *s = g_new0(Subscriber, 1);
	s->call = call;
	s->exchange = exchange;
	s->cancel = cancel_ref(rpc_call_cancel(call));
	g_atomic_ref_count_init(&s->refs);
	g_atomic_ref_count_inc(&s->refs);
	rpc_call_defer(call);
	GError *failed = NULL;
	s->subscription =
	        exchange_subscribe(exchange, pb_strv_in(rpc_call_arena(call), req->n_filters, req->filters),
	                           subscriber_receive, subscriber_unref, s, &failed);
	if (s->subscription == 0) {
		cancel_unref(s->cancel);
		g_free(s);
		error_prefix(&failed, "subscription error");
		rpc_call_fail(call, failed);
		return true;
	}
	s->cancel_id = cancel_on(s->cancel, subscriber_gone, s);
	subscriber_unref(s);
	return true;
}

RpcService events_service_new(Exchange *exchange)
{
	static const RpcMethod methods[] = {
	        {"Publish", RPC_UNARY, RPC_ON_LOOP, events_publish},
	        {"Forward", RPC_UNARY, RPC_ON_LOOP, events_forward},
	        {"Subscribe", RPC_SERVER_STREAM, RPC_ON_LOOP, events_subscribe},
	};
	return (RpcService){
	        .descriptor = &containerd__services__events__v1__events__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = exchange,
	};
}

RpcService ttrpc_events_service_new(Exchange *exchange)
{
	static const RpcMethod methods[] = {{"Forward", RPC_UNARY, RPC_ON_LOOP, ttrpc_events_forward}};
	return (RpcService){
	        .descriptor = &containerd__services__events__ttrpc__v1__events__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = exchange,
	};
}
