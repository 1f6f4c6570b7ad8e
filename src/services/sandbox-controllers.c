// SPDX-License-Identifier: Apache-2.0
/* containerd.services.sandbox.v1.Controller; upstream plugins/services/sandbox/controller_service.go. */
#include "base/error.h"
#include "base/log.h"
#include "events/sandbox.pb-c.h"
#include "runtime/sandbox-controller.h"
#include "services/event-pack.h"
#include "services/sandbox-convert.h"
#include "services/sandbox/v1/sandbox.pb-c.h"
#include "services/services.h"

typedef struct {
	GHashTable *controllers;
	Exchange *exchange;
} Impl;

static void impl_free(void *data)
{
	Impl *impl = data;
	g_hash_table_unref(impl->controllers);
	g_free(impl);
}

/* The controller that the request names, and the call's context. */
static SandboxController *find(RpcCall *call, const char *name, Ctx *ret, GError **error)
{
	const Impl *impl = rpc_call_impl(call);
	SandboxController *c = NULL;
	if (str_empty(name))
		error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		          "invalid argument: sandbox controller name can not be empty");
	else if ((c = g_hash_table_lookup(impl->controllers, name)) == NULL)
		error_set(error, CTRD_ERR_NOT_FOUND, "not found: failed to get sandbox controller by %s",
		          name);
	return c != NULL && call_ctx(call, ret, error) ? c : NULL;
}

static void publish(RpcCall *call, const Ctx *ctx, const char *topic, const ProtobufCMessage *message)
{
	const Impl *impl = rpc_call_impl(call);
	event_publish(impl->exchange, ctx, topic, message);
}

static bool controller_create(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Sandbox__V1__ControllerCreateRequest *req = request;
	Containerd__Services__Sandbox__V1__ControllerCreateResponse *resp = response;
	Ctx ctx;
	SandboxController *c = find(call, req->sandboxer, &ctx, error);
	if (c == NULL)
		return false;
	g_autoptr(Sandbox) sandbox = req->sandbox != NULL ? pb_sandbox_in(req->sandbox) : sandbox_new();
	if (req->sandbox == NULL)
		sandbox->id = g_strdup(req->sandbox_id);
	g_auto(Any) options = {0};
	pb_any_in(&options, req->options);
	g_autoptr(GPtrArray) rootfs = pb_mounts_in(req->n_rootfs, req->rootfs);
	g_autoptr(GHashTable) annotations = pb_strmap_in(req->n_annotations, req->annotations);
	const SandboxCreate create = {.sandbox = sandbox,
	                              .rootfs = rootfs,
	                              .options = &options,
	                              .netns_path = req->netns_path,
	                              .annotations = annotations};
	if (!c->create(c, &ctx, &create, error))
		return false;
	Containerd__Events__SandboxCreate e = CONTAINERD__EVENTS__SANDBOX_CREATE__INIT;
	e.sandbox_id = req->sandbox_id;
	publish(call, &ctx, "/sandboxes/create", &e.base);
	resp->sandbox_id = req->sandbox_id;
	return true;
}

static bool controller_start(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Sandbox__V1__ControllerStartRequest *req = request;
	Containerd__Services__Sandbox__V1__ControllerStartResponse *resp = response;
	Arena *arena = rpc_call_arena(call);
	Ctx ctx;
	SandboxController *c = find(call, req->sandboxer, &ctx, error);
	if (c == NULL)
		return error_prefix(error, "failed to get sandbox controller for %s", Q(req->sandboxer));
	g_auto(SandboxInstance) instance = {0};
	if (!c->start(c, &ctx, req->sandbox_id, &instance, error))
		return error_prefix(error, "failed to start sandbox %s", Q(req->sandbox_id));
	Containerd__Events__SandboxStart e = CONTAINERD__EVENTS__SANDBOX_START__INIT;
	e.sandbox_id = req->sandbox_id;
	publish(call, &ctx, "/sandboxes/start", &e.base);
	resp->sandbox_id = arena_strdup(arena, str_or(instance.id, ""));
	resp->pid = instance.pid;
	resp->created_at = pb_time_out(arena, instance.created_at);
	resp->labels = pb_strmap_out(
	        arena, instance.labels,
	        &containerd__services__sandbox__v1__controller_start_response__labels_entry__descriptor,
	        &resp->n_labels);
	// Upstream leaves these out, and its client then asks the store and the bundle; they are in the API.
	resp->address = arena_strdup(arena, str_or(instance.address, ""));
	resp->version = instance.version;
	resp->spec = pb_any_out(arena, &instance.spec);
	return true;
}

static bool controller_platform(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Sandbox__V1__ControllerPlatformRequest *req = request;
	Containerd__Services__Sandbox__V1__ControllerPlatformResponse *resp = response;
	Arena *arena = rpc_call_arena(call);
	Ctx ctx;
	SandboxController *c = find(call, req->sandboxer, &ctx, error);
	g_auto(Platform) platform = {0};
	if (c == NULL || !c->platform(c, &ctx, req->sandbox_id, &platform, error))
		return false;
	resp->platform = pb_new(arena, &containerd__types__platform__descriptor);
	resp->platform->os = arena_strdup(arena, str_or(platform.os, ""));
	resp->platform->architecture = arena_strdup(arena, str_or(platform.architecture, ""));
	resp->platform->variant = arena_strdup(arena, str_or(platform.variant, ""));
	return true;
}

static bool controller_stop(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Sandbox__V1__ControllerStopRequest *req = request;
	Ctx ctx;
	SandboxController *c = find(call, req->sandboxer, &ctx, error);
	return c != NULL && c->stop(c, &ctx, req->sandbox_id, req->timeout_secs, error);
}

static void on_exit_(uint32_t status, TimeNs exited_at, const GError *error, void *data)
{
	RpcCall *call = data;
	if (error != NULL) {
		rpc_call_fail(call, g_error_copy(error));
		return;
	}
	const Containerd__Services__Sandbox__V1__ControllerWaitRequest *req = rpc_call_request(call);
	Containerd__Services__Sandbox__V1__ControllerWaitResponse resp =
	        CONTAINERD__SERVICES__SANDBOX__V1__CONTROLLER_WAIT_RESPONSE__INIT;
	Containerd__Events__SandboxExit e = CONTAINERD__EVENTS__SANDBOX_EXIT__INIT;
	const Ctx ctx = {.ns = rpc_call_namespace(call)};
	e.sandbox_id = req->sandbox_id;
	e.exit_status = status;
	e.exited_at = pb_time_out(rpc_call_arena(call), exited_at);
	publish(call, &ctx, "/sandboxes/exit", &e.base);
	resp.exit_status = status;
	resp.exited_at = e.exited_at;
	rpc_call_reply(call, &resp);
}

static bool controller_wait(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Sandbox__V1__ControllerWaitRequest *req = request;
	Ctx ctx;
	SandboxController *c = find(call, req->sandboxer, &ctx, error);
	if (c == NULL)
		return false;
	rpc_call_defer(call);
	c->wait(c, &ctx, req->sandbox_id, on_exit_, call);
	return true;
}

static bool controller_status(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Sandbox__V1__ControllerStatusRequest *req = request;
	Containerd__Services__Sandbox__V1__ControllerStatusResponse *resp = response;
	Arena *arena = rpc_call_arena(call);
	Ctx ctx;
	SandboxController *c = find(call, req->sandboxer, &ctx, error);
	g_auto(SandboxStatus) status = {0};
	if (c == NULL || !c->status(c, &ctx, req->sandbox_id, req->verbose, &status, error))
		return false;
	resp->sandbox_id = arena_strdup(arena, str_or(status.id, ""));
	resp->pid = status.pid;
	resp->state = arena_strdup(arena, str_or(status.state, ""));
	resp->info = pb_strmap_out(
	        arena, status.info,
	        &containerd__services__sandbox__v1__controller_status_response__info_entry__descriptor,
	        &resp->n_info);
	resp->created_at = pb_time_out(arena, status.created_at);
	resp->exited_at = pb_time_out(arena, status.exited_at);
	resp->extra = any_is_set(&status.extra) ? pb_any_out(arena, &status.extra)
	                                        : pb_new(arena, &google__protobuf__any__descriptor);
	resp->address = arena_strdup(arena, str_or(status.address, ""));
	resp->version = status.version;
	return true;
}

static bool controller_shutdown(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Sandbox__V1__ControllerShutdownRequest *req = request;
	Ctx ctx;
	SandboxController *c = find(call, req->sandboxer, &ctx, error);
	return c != NULL && c->shutdown(c, &ctx, req->sandbox_id, error);
}

static bool controller_metrics(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Sandbox__V1__ControllerMetricsRequest *req = request;
	Containerd__Services__Sandbox__V1__ControllerMetricsResponse *resp = response;
	Arena *arena = rpc_call_arena(call);
	Ctx ctx;
	SandboxController *c = find(call, req->sandboxer, &ctx, error);
	g_auto(SandboxMetric) metric = {0};
	if (c == NULL || !c->metrics(c, &ctx, req->sandbox_id, &metric, error))
		return false;
	resp->metrics = pb_new(arena, &containerd__types__metric__descriptor);
	resp->metrics->id = arena_strdup(arena, str_or(metric.id, ""));
	resp->metrics->timestamp = pb_time_out(arena, metric.timestamp);
	resp->metrics->data = pb_any_out(arena, &metric.data);
	return true;
}

static bool controller_update(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Sandbox__V1__ControllerUpdateRequest *req = request;
	Ctx ctx;
	SandboxController *c = find(call, req->sandboxer, &ctx, error);
	if (c == NULL)
		return false;
	if (req->sandbox == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "sandbox can not be nil");
	g_autoptr(Sandbox) sandbox = pb_sandbox_in(req->sandbox);
	g_free(sandbox->id);
	sandbox->id = g_strdup(req->sandbox_id);
	return c->update(c, &ctx, sandbox, pb_strv_in(rpc_call_arena(call), req->n_fields, req->fields),
	                 error);
}

RpcService sandbox_controllers_service_new(GHashTable *controllers, Exchange *exchange)
{
	static const RpcMethod methods[] = {
	        {"Create", RPC_UNARY, RPC_ON_WORKER, controller_create},
	        {"Start", RPC_UNARY, RPC_ON_WORKER, controller_start},
	        {"Platform", RPC_UNARY, RPC_ON_WORKER, controller_platform},
	        {"Stop", RPC_UNARY, RPC_ON_WORKER, controller_stop},
	        {"Wait", RPC_UNARY, RPC_ON_WORKER, controller_wait},
	        {"Status", RPC_UNARY, RPC_ON_WORKER, controller_status},
	        {"Shutdown", RPC_UNARY, RPC_ON_WORKER, controller_shutdown},
	        {"Metrics", RPC_UNARY, RPC_ON_WORKER, controller_metrics},
	        {"Update", RPC_UNARY, RPC_ON_WORKER, controller_update},
	};
	Impl *impl = g_new0(Impl, 1);
	*impl = (Impl){controllers, exchange};
	return (RpcService){
	        .descriptor = &containerd__services__sandbox__v1__controller__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = impl,
	        .impl_free = impl_free,
	};
}
