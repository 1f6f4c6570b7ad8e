// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "services/proxies.h"
#include "services/sandbox-convert.h"
#include "services/sandbox/v1/sandbox.pb-c.h"

typedef struct {
	SandboxController base;
	RpcClient *client;
	Loop *loop;
	char *name;
} Proxy;

/* A controller that restarts has its sandboxes still: a wait is asked anew, with growing pauses (upstream).
 */
#define RETRY_FIRST (128 * NS_PER_MS)
#define RETRY_MAX (4096 * NS_PER_MS)

#define SERVICE (&containerd__services__sandbox__v1__controller__descriptor)
#define PB_TYPE(name) Containerd__Services__Sandbox__V1__Controller##name
#define REQUEST(Type, var, TYPE)                                                                             \
	PB_TYPE(Type##Request) var = CONTAINERD__SERVICES__SANDBOX__V1__CONTROLLER_##TYPE##_REQUEST__INIT

static Proxy *proxy_of(SandboxController *c)
{
	return (Proxy *)c;
}

static RpcCallOptions options_of(const Ctx *ctx)
{
	return (RpcCallOptions){.ns = ctx->ns, .lease = ctx->lease, .cancel = ctx->cancel};
}

static bool call(SandboxController *c, const Ctx *ctx, const char *method, const void *request, void *ret,
                 GError **error)
{
	const RpcCallOptions options = options_of(ctx);

	return rpc_client_call(proxy_of(c)->client, SERVICE, method, &options, request, ret, error);
}

static bool proxy_create(SandboxController *c, const Ctx *ctx, const SandboxCreate *create, GError **error)
{
	g_autoptr(Arena) arena = arena_new();
	REQUEST(Create, request, CREATE);
	autopb PB_TYPE(CreateResponse) *response = NULL;

	request.sandbox_id = create->sandbox->id;
	request.rootfs = pb_mounts_out(arena, create->rootfs, &request.n_rootfs);
	request.options = create->options != NULL ? pb_any_out(arena, create->options) : NULL;
	request.netns_path = str_or(create->netns_path, "");
	request.annotations = pb_strmap_out(
	        arena, create->annotations,
	        &containerd__services__sandbox__v1__controller_create_request__annotations_entry__descriptor,
	        &request.n_annotations);
	request.sandbox = pb_sandbox_out(arena, create->sandbox);
	request.sandboxer = proxy_of(c)->name;
	return call(c, ctx, "Create", &request, &response, error);
}

static bool proxy_start(SandboxController *c, const Ctx *ctx, const char *id, SandboxInstance *ret,
                        GError **error)
{
	REQUEST(Start, request, START);
	autopb PB_TYPE(StartResponse) *response = NULL;

	request.sandbox_id = id;
	request.sandboxer = proxy_of(c)->name;
	if (!call(c, ctx, "Start", &request, &response, error))
		return false;
	ret->id = g_strdup(response->sandbox_id);
	ret->pid = response->pid;
	ret->created_at = pb_time_in(response->created_at);
	ret->address = g_strdup(response->address);
	ret->version = response->version;
	ret->labels = pb_strmap_in(response->n_labels, response->labels);
	pb_any_in(&ret->spec, response->spec);
	return true;
}

static bool proxy_platform(SandboxController *c, const Ctx *ctx, const char *id, Platform *ret,
                           GError **error)
{
	REQUEST(Platform, request, PLATFORM);
	autopb PB_TYPE(PlatformResponse) *response = NULL;

	request.sandbox_id = id;
	request.sandboxer = proxy_of(c)->name;
	if (!call(c, ctx, "Platform", &request, &response, error))
		return false;
	if (response->platform == NULL)
		return true;
	ret->os = g_strdup(response->platform->os);
	ret->architecture = g_strdup(response->platform->architecture);
	ret->variant = g_strdup(response->platform->variant);
	ret->os_version = g_strdup(response->platform->os_version);
	return true;
}

static bool proxy_stop(SandboxController *c, const Ctx *ctx, const char *id, uint32_t timeout_secs,
                       GError **error)
{
	REQUEST(Stop, request, STOP);
	autopb PB_TYPE(StopResponse) *response = NULL;

	request.sandbox_id = id;
	request.timeout_secs = timeout_secs;
	request.sandboxer = proxy_of(c)->name;
	return call(c, ctx, "Stop", &request, &response, error);
}

typedef struct {
	SandboxController *controller;
	Ctx ctx;
	char *id;
	SandboxExitFn done;
	void *data;
	int64_t pause;
	LoopTimer *timer; // NULL until the first retry
} Wait;

static void wait_ask(void *data);

static void wait_finish(Wait *w, const PB_TYPE(WaitResponse) * exit, const GError *error)
{
	if (exit != NULL)
		w->done(exit->exit_status, pb_time_in(exit->exited_at), NULL, w->data);
	else
		w->done(0, 0, error, w->data);
	loop_timer_free(w->timer);
	g_free(w->id);
	g_free(w);
}

/* On the loop's thread. */
static void on_exit_(const void *response, const GError *error, void *data)
{
	Wait *w = data;
	bool canceled = w->ctx.cancel != NULL && cancel_is_set(w->ctx.cancel);

	if (response != NULL || canceled || !error_is(error, CTRD_ERR_UNAVAILABLE)) {
		wait_finish(w, response, error);
		return;
	}
	if (w->timer == NULL)
		w->timer = loop_timer_new(proxy_of(w->controller)->loop, wait_ask, w);
	loop_timer_start(w->timer, w->pause, 0);
	w->pause = MIN(w->pause * 2, RETRY_MAX);
}

static void wait_ask(void *data)
{
	Wait *w = data;
	const Proxy *p = proxy_of(w->controller);
	const RpcCallOptions options = options_of(&w->ctx);
	REQUEST(Wait, request, WAIT);

	request.sandbox_id = w->id;
	request.sandboxer = p->name;
	rpc_client_call_async(p->client, SERVICE, "Wait", &options, &request, on_exit_, w);
}

static void proxy_wait(SandboxController *c, const Ctx *ctx, const char *id, SandboxExitFn done, void *data)
{
	Wait *w = g_new0(Wait, 1);

	*w = (Wait){.controller = c,
	            .ctx = *ctx,
	            .id = g_strdup(id),
	            .done = done,
	            .data = data,
	            .pause = RETRY_FIRST};
	wait_ask(w);
}

static bool proxy_status(SandboxController *c, const Ctx *ctx, const char *id, bool verbose,
                         SandboxStatus *ret, GError **error)
{
	REQUEST(Status, request, STATUS);
	autopb PB_TYPE(StatusResponse) *response = NULL;

	request.sandbox_id = id;
	request.verbose = verbose;
	request.sandboxer = proxy_of(c)->name;
	if (!call(c, ctx, "Status", &request, &response, error))
		return false;
	ret->id = g_strdup(response->sandbox_id);
	ret->state = g_strdup(response->state);
	ret->pid = response->pid;
	ret->info = pb_strmap_in(response->n_info, response->info);
	ret->created_at = pb_time_in(response->created_at);
	ret->exited_at = pb_time_in(response->exited_at);
	pb_any_in(&ret->extra, response->extra);
	ret->address = g_strdup(response->address);
	ret->version = response->version;
	return true;
}

static bool proxy_shutdown(SandboxController *c, const Ctx *ctx, const char *id, GError **error)
{
	REQUEST(Shutdown, request, SHUTDOWN);
	autopb PB_TYPE(ShutdownResponse) *response = NULL;

	request.sandbox_id = id;
	request.sandboxer = proxy_of(c)->name;
	return call(c, ctx, "Shutdown", &request, &response, error);
}

static bool proxy_metrics(SandboxController *c, const Ctx *ctx, const char *id, SandboxMetric *ret,
                          GError **error)
{
	REQUEST(Metrics, request, METRICS);
	autopb PB_TYPE(MetricsResponse) *response = NULL;

	request.sandbox_id = id;
	request.sandboxer = proxy_of(c)->name;
	if (!call(c, ctx, "Metrics", &request, &response, error))
		return false;
	if (response->metrics == NULL)
		return true;
	ret->id = g_strdup(response->metrics->id);
	ret->timestamp = pb_time_in(response->metrics->timestamp);
	pb_any_in(&ret->data, response->metrics->data);
	return true;
}

static bool proxy_update(SandboxController *c, const Ctx *ctx, const Sandbox *sandbox,
                         const char *const *fields, GError **error)
{
	g_autoptr(Arena) arena = arena_new();
	REQUEST(Update, request, UPDATE);
	autopb PB_TYPE(UpdateResponse) *response = NULL;

	request.sandbox_id = sandbox->id;
	request.sandboxer = proxy_of(c)->name;
	request.sandbox = pb_sandbox_out(arena, sandbox);
	request.fields = (const char **)fields;
	request.n_fields = fields != NULL ? g_strv_length((char **)fields) : 0;
	return call(c, ctx, "Update", &request, &response, error);
}

static void proxy_free(SandboxController *c)
{
	Proxy *p = proxy_of(c);

	rpc_client_unref(p->client);
	g_free(p->name);
	g_free(p);
}

SandboxController *sandbox_proxy_new(Loop *loop, RpcClient *client, const char *name)
{
	Proxy *p = g_new0(Proxy, 1);

	p->base = (SandboxController){
	        .create = proxy_create,
	        .start = proxy_start,
	        .platform = proxy_platform,
	        .stop = proxy_stop,
	        .wait = proxy_wait,
	        .status = proxy_status,
	        .shutdown = proxy_shutdown,
	        .metrics = proxy_metrics,
	        .update = proxy_update,
	        .free = proxy_free,
	};
	p->client = rpc_client_ref(client);
	p->loop = loop;
	p->name = g_strdup(name);
	return &p->base;
}
