// SPDX-License-Identifier: Apache-2.0
#include "rpc/test-service.h"

#include "base/error.h"
#include "base/time.h"
#include "base/util.h"
#include <stdlib.h>
#include <string.h>

unsigned test_service_canceled;

static char *text_of(const TestMsg *m)
{
	return g_strndup(m->value.len > 0 ? (const char *)m->value.data : "", m->value.len);
}

static void set_text(RpcCall *call, TestMsg *response, const char *text)
{
	response->value.len = strlen(text);
	response->value.data = (uint8_t *)arena_strdup(rpc_call_arena(call), text);
}

static bool echo(RpcCall *call, const void *request, void *response, GError **error)
{
	const TestMsg *req = request;
	((TestMsg *)response)->value = req->value; // lives as long as the call
	return true;
}

static bool fail(RpcCall *call, const void *request, void *response, GError **error)
{
	g_autofree char *text = text_of(request);
	char *rest = text;
	unsigned long class = strtoul(text, &rest, 10);
	return error_set(error, (CtrdErrorCode) class, "%s", *rest == ' ' ? rest + 1 : rest);
}

static int64_t ms_of(const TestMsg *m)
{
	g_autofree char *text = text_of(m);
	return (int64_t)strtoul(text, NULL, 10) * NS_PER_MS;
}

static bool do_sleep(RpcCall *call, const void *request, void *response, GError **error)
{
	if (cancel_sleep(rpc_call_cancel(call), ms_of(request), error)) {
		set_text(call, response, "slept");
		return true;
	}
	__atomic_add_fetch(&test_service_canceled, 1, __ATOMIC_SEQ_CST);
	return false;
}

static bool do_block(RpcCall *call, const void *request, void *response, GError **error)
{
	set_text(call, response, "blocked");
	return cancel_sleep(NULL, ms_of(request), error);
}

/* ---- deferred ---- */

typedef struct {
	RpcCall *call;
	Loop *loop;
	LoopTimer *timer;
	unsigned cancel_id;
	unsigned n;
	int64_t period;
	bool ticks;
} Deferred;

static void deferred_end(Deferred *d, bool ok)
{
	RpcCall *call = d->call;
	bool ticks = d->ticks;
	loop_timer_free(d->timer);
	cancel_off(rpc_call_cancel(call), d->cancel_id);
	g_free(d);
	if (ok && !ticks) {
		TestMsg m = test_text("later");
		rpc_call_reply(call, &m);
	} else {
		__atomic_add_fetch(&test_service_canceled, 1, __ATOMIC_SEQ_CST);
		GError *error = NULL;
		g_assert_false(cancel_check(rpc_call_cancel(call), &error));
		rpc_call_fail(call, error);
	}
}

static void deferred_timer(void *data)
{
	Deferred *d = data;
	if (!d->ticks) {
		deferred_end(d, true);
	} else {
		char text[16];
		g_snprintf(text, sizeof(text), "%u", d->n++);
		TestMsg m = test_text(text);
		rpc_call_try_send(d->call, &m, 4096);
	}
}

/* On the loop's thread, where the server cancels. */
static void deferred_canceled(void *data)
{
	deferred_end(data, false);
}

static void deferred_start(void *data)
{
	Deferred *d = data;
	if (cancel_is_set(rpc_call_cancel(d->call))) {
		deferred_end(d, false);
		return;
	}
	d->cancel_id = cancel_on(rpc_call_cancel(d->call), deferred_canceled, d);
	d->timer = loop_timer_new(d->loop, deferred_timer, d);
	loop_timer_start(d->timer, d->period, d->ticks ? d->period : 0);
}

static bool defer(RpcCall *call, const TestMsg *request, bool ticks)
{
	Deferred *d = g_new0(Deferred, 1);
	*d = (Deferred){.call = call, .loop = rpc_call_impl(call), .period = ms_of(request), .ticks = ticks};
	rpc_call_defer(call);
	loop_run_on(d->loop, deferred_start, d);
	return true;
}

static bool later(RpcCall *call, const void *request, void *response, GError **error)
{
	return defer(call, request, false);
}

static bool tick(RpcCall *call, const void *request, void *response, GError **error)
{
	return defer(call, request, true);
}

static void pipe_message(RpcCall *call, const ProtobufCMessage *message, void *data)
{
	const TestMsg *m = (const TestMsg *)message;
	if (m == NULL) {
		rpc_call_finish(call);
	} else if (m->value.len == 4 && memcmp(m->value.data, "fail", 4) == 0) {
		GError *error = NULL;
		error_set(&error, CTRD_ERR_ABORTED, "told to fail");
		rpc_call_fail(call, error);
	} else {
		rpc_call_try_send(call, m, SIZE_MAX);
	}
}

static bool do_pipe(RpcCall *call, const void *request, void *response, GError **error)
{
	rpc_call_defer(call);
	rpc_call_on_message(call, pipe_message, NULL);
	return true;
}

/* ---- about the call ---- */

static bool meta(RpcCall *call, const void *request, void *response, GError **error)
{
	g_autofree char *name = text_of(request);
	const char *value = NULL;
	if (strcmp(name, "@namespace") == 0) {
		value = rpc_call_namespace(call);
	} else if (strcmp(name, "@required") == 0) {
		if (!rpc_call_require_namespace(call, &value, error))
			return false;
	} else if (strcmp(name, "@lease") == 0) {
		value = rpc_call_lease(call);
	} else if (strcmp(name, "@method") == 0) {
		value = rpc_call_method(call);
	} else if (strcmp(name, "@peer") == 0) {
		pid_t pid;
		uid_t uid;
		rpc_call_peer(call, &pid, &uid);
		value = arena_printf(rpc_call_arena(call), "%d %u", pid, uid);
	} else {
		value = rpc_call_metadata(call, name);
	}
	if (value == NULL)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "metadata %s", Q(name));
	set_text(call, response, value);
	return true;
}

static bool zeros(RpcCall *call, const void *request, void *response, GError **error)
{
	g_autofree char *text = text_of(request);
	TestMsg *m = response;
	m->value.len = MIN(strtoul(text, NULL, 10), 1ul << 26);
	m->value.data = arena_alloc(rpc_call_arena(call), m->value.len);
	return true;
}

/* ---- streams ---- */

static bool count(RpcCall *call, const void *request, void *response, GError **error)
{
	g_autofree char *text = text_of(request);
	char *rest;
	unsigned long n = strtoul(text, &rest, 10), size = strtoul(rest, NULL, 10);
	g_autofree uint8_t *data = g_malloc0(size + 1);
	TestMsg m = test_msg(data, size);
	for (unsigned long i = 0; i < n; i++)
		if (!rpc_call_send(call, &m, error))
			return false;
	return true;
}

static bool read_all(RpcCall *call, TestMsg *response, GError **error)
{
	size_t n = 0, bytes = 0;
	for (;;) {
		autopb ProtobufCMessage *m = NULL;
		if (!rpc_call_recv(call, &m, error))
			return false;
		if (m == NULL)
			break;
		n++;
		bytes += ((TestMsg *)m)->value.len;
	}
	set_text(call, response, arena_printf(rpc_call_arena(call), "%zu %zu", n, bytes));
	return true;
}

static bool sum(RpcCall *call, const void *request, void *response, GError **error)
{
	return read_all(call, response, error);
}

static bool lazy(RpcCall *call, const void *request, void *response, GError **error)
{
	autopb ProtobufCMessage *m = NULL;
	return rpc_call_recv(call, &m, error) &&
	       (m == NULL || cancel_sleep(rpc_call_cancel(call), ms_of((TestMsg *)m), error)) &&
	       read_all(call, response, error);
}

static bool chat(RpcCall *call, const void *request, void *response, GError **error)
{
	for (;;) {
		autopb ProtobufCMessage *m = NULL;
		if (!rpc_call_recv(call, &m, error))
			return false;
		if (m == NULL)
			return true;
		const TestMsg *t = (const TestMsg *)m;
		if (t->value.len == 4 && memcmp(t->value.data, "fail", 4) == 0)
			return error_set(error, CTRD_ERR_ABORTED, "told to fail");
		if (!rpc_call_send(call, m, error))
			return false;
	}
}

static const RpcMethod methods[] = {
        {"Echo", RPC_UNARY, RPC_ON_WORKER, echo},           {"EchoLoop", RPC_UNARY, RPC_ON_LOOP, echo},
        {"Fail", RPC_UNARY, RPC_ON_WORKER, fail},           {"Sleep", RPC_UNARY, RPC_ON_WORKER, do_sleep},
        {"Block", RPC_UNARY, RPC_ON_WORKER, do_block},      {"Later", RPC_UNARY, RPC_ON_WORKER, later},
        {"Meta", RPC_UNARY, RPC_ON_WORKER, meta},           {"Zeros", RPC_UNARY, RPC_ON_WORKER, zeros},
        {"Count", RPC_SERVER_STREAM, RPC_ON_WORKER, count}, {"Sum", RPC_CLIENT_STREAM, RPC_ON_WORKER, sum},
        {"Chat", RPC_BIDI_STREAM, RPC_ON_WORKER, chat},     {"Pipe", RPC_BIDI_STREAM, RPC_ON_LOOP, do_pipe},
        {"Tick", RPC_SERVER_STREAM, RPC_ON_LOOP, tick},     {"Lazy", RPC_CLIENT_STREAM, RPC_ON_WORKER, lazy},
};

static const RpcMethod loop_methods[] = {
        {"Echo", RPC_UNARY, RPC_ON_LOOP, echo},         {"Fail", RPC_UNARY, RPC_ON_LOOP, fail},
        {"Later", RPC_UNARY, RPC_ON_LOOP, later},       {"Meta", RPC_UNARY, RPC_ON_LOOP, meta},
        {"Zeros", RPC_UNARY, RPC_ON_LOOP, zeros},       {"Pipe", RPC_BIDI_STREAM, RPC_ON_LOOP, do_pipe},
        {"Tick", RPC_SERVER_STREAM, RPC_ON_LOOP, tick},
};

void test_service_add_loop(RpcServer *server, Loop *loop)
{
	RpcService service = {.descriptor = test_descriptor,
	                      .methods = loop_methods,
	                      .n_methods = G_N_ELEMENTS(loop_methods),
	                      .impl = loop};
	rpc_server_add(server, &service);
}

void test_service_add(RpcServer *server, Loop *loop)
{
	RpcService service = {.descriptor = test_descriptor,
	                      .methods = methods,
	                      .n_methods = G_N_ELEMENTS(methods),
	                      .impl = loop};
	rpc_server_add(server, &service);
}
