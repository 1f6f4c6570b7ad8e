// SPDX-License-Identifier: Apache-2.0
/* Sandboxes that shims run: containerd.runtime.sandbox.v1 over the shims of tasks.c. */
#include "api/message.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "runtime/sandbox-controller.h"
#include "runtime/sandbox/v1/sandbox.pb-c.h"
#include "runtime/shim-client-private.h"
#include "runtime/tasks-private.h"
#include <sys/stat.h>

#define SERVICE &containerd__runtime__sandbox__v1__sandbox__descriptor

typedef struct {
	SandboxController base;
	Tasks *tasks;
	char *root, *state;
} ShimController;

/* ---- results ---- */

void sandbox_instance_clear(SandboxInstance *i)
{
	g_free(i->id);
	g_free(i->address);
	g_clear_pointer(&i->labels, g_hash_table_unref);
	any_clear(&i->spec);
	*i = (SandboxInstance){0};
}

void sandbox_status_clear(SandboxStatus *s)
{
	g_free(s->id);
	g_free(s->state);
	g_clear_pointer(&s->info, g_hash_table_unref);
	any_clear(&s->extra);
	g_free(s->address);
	*s = (SandboxStatus){0};
}

void sandbox_metric_clear(SandboxMetric *m)
{
	g_free(m->id);
	any_clear(&m->data);
	*m = (SandboxMetric){0};
}

/* ---- the shim ---- */

static Entry *find(SandboxController *c, const Ctx *ctx, const char *id, GError **error)
{
	Entry *e = entry_find(((ShimController *)c)->tasks, ctx, id);
	if (e == NULL)
		error_set(error, CTRD_ERR_NOT_FOUND, "not found");
	return e;
}

static bool call(Entry *e, const Ctx *ctx, const char *method, const void *request, void *ret, GError **error)
{
	return shim_call_service(e->shim, SERVICE, ctx, 0, method, request, ret, error);
}

/* Ends the shim's process. One without the sandbox API (and so without a sandbox) is asked as a task's shim
 * would be. */
static bool shim_stop(Entry *e, const Ctx *ctx, int64_t timeout_ns, GError **error)
{
	Containerd__Runtime__Sandbox__V1__ShutdownSandboxRequest req =
	        CONTAINERD__RUNTIME__SANDBOX__V1__SHUTDOWN_SANDBOX_REQUEST__INIT;
	req.sandbox_id = e->id;
	autopb ProtobufCMessage *resp = NULL;
	g_autoptr(GError) failed = NULL;
	if (shim_call_service(e->shim, SERVICE, ctx, timeout_ns, "ShutdownSandbox", &req, &resp, &failed))
		return true;
	if (error_is(failed, CTRD_ERR_NOT_IMPLEMENTED) &&
	    shim_shutdown(e->shim, ctx, e->tasks->shutdown_timeout_ns, NULL))
		return true;
	g_propagate_error(error, g_steal_pointer(&failed));
	return false;
}

static bool entry_delete(Entry *e, GError **error)
{
	entry_drop(e);
	if (e->shim != NULL)
		shim_close(e->shim);
	g_autoptr(Bundle) bundle = entry_bundle(e);
	return bundle_delete(bundle, error);
}

/* Takes back a create or start that failed. The caller may be gone: what cleans up has its own deadlines. */
static void undo(Entry *e, bool started)
{
	const Ctx ctx = {.ns = e->ns};
	Tasks *t = e->tasks;
	g_autoptr(GError) error = NULL;
	bool stopped = e->shim != NULL && shim_stop(e, &ctx, t->cleanup_timeout_ns, &error);
	if (error != NULL)
		log_error_take(LOG_ERROR, g_steal_pointer(&error), "failed to shutdown sandbox", "sandboxID",
		               e->id, NULL);
	if (started && !stopped) {
		g_autoptr(Bundle) bundle = entry_bundle(e);
		TaskExit exit;
		entry_cleanup(e, bundle, &exit);
	}
	if (!entry_delete(e, &error))
		log_error_take(LOG_ERROR, g_steal_pointer(&error), "failed to delete shim", "sandboxID",
		               e->id, NULL);
}

/* ---- create ---- */

static bool start_shim(Entry *e, const Bundle *bundle, const Sandbox *sandbox, bool *ret_started,
                       GError **error)
{
	e->binary = shim_binary_resolve(sandbox->runtime_name, error);
	if (e->binary == NULL)
		return error_prefix(error, "failed to resolve runtime path");
	const ShimBinaryConfig config = tasks_binary_config(e->tasks);
	g_auto(ShimAddress) address = {0};
	*ret_started = true;
	if (!shim_binary_start(e->binary, bundle, &config, NULL, &sandbox->runtime_options, &address,
	                       error) ||
	    !entry_connect(e, &address, error))
		return error_prefix(error, "start failed");
	return true;
}

static bool create_sandbox(Entry *e, const Ctx *ctx, const Bundle *bundle, const SandboxCreate *create,
                           GError **error)
{
	typedef Containerd__Runtime__Sandbox__V1__CreateSandboxRequest__AnnotationsEntry Annotation;
	Containerd__Runtime__Sandbox__V1__CreateSandboxRequest req =
	        CONTAINERD__RUNTIME__SANDBOX__V1__CREATE_SANDBOX_REQUEST__INIT;
	Google__Protobuf__Any options;
	g_autoptr(GPtrArray) rootfs = shim_mount_messages(create->rootfs);
	g_autoptr(GPtrArray) keys = strmap_sorted_keys(create->annotations);
	g_autoptr(GPtrArray) annotations = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < keys->len; i++) {
		Annotation *a = g_new(Annotation, 1);
		api_init(
		        &containerd__runtime__sandbox__v1__create_sandbox_request__annotations_entry__descriptor,
		        a);
		a->key = keys->pdata[i];
		a->value = strmap_get(create->annotations, keys->pdata[i]);
		g_ptr_array_add(annotations, a);
	}
	req.sandbox_id = e->id;
	req.bundle_path = bundle->path;
	req.n_rootfs = rootfs->len;
	req.rootfs = (void *)rootfs->pdata;
	req.options = shim_any_message(&options, create->options);
	req.netns_path = str_or(create->netns_path, "");
	req.n_annotations = annotations->len;
	req.annotations = (void *)annotations->pdata;
	autopb ProtobufCMessage *resp = NULL;
	return call(e, ctx, "CreateSandbox", &req, &resp, error);
}

static bool shim_create_(SandboxController *controller, const Ctx *ctx, const SandboxCreate *create,
                         GError **error)
{
	ShimController *c = (ShimController *)controller;
	const char *id = str_or(create->sandbox->id, "");
	g_autoptr(Entry) e = entry_reserve(c->tasks, ctx->ns, id, c->state, ENTRY_CREATING);
	if (e == NULL)
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "sandbox %s already running", id);
	e->is_sandbox = true;
	g_autoptr(Bundle) bundle = bundle_new(c->root, c->state, ctx->ns, id, &create->sandbox->spec, error);
	if (bundle == NULL) {
		entry_drop(e);
		return false;
	}
	bool started = false;
	if (!start_shim(e, bundle, create->sandbox, &started, error))
		error_prefix(error, "failed to start new shim for sandbox %s", id);
	else if (!create_sandbox(e, ctx, bundle, create, error))
		error_prefix(error, "failed to create sandbox %s", id);
	else {
		entry_ready(e);
		return true;
	}
	undo(e, started);
	return false;
}

/* ---- the rest ---- */

static bool shim_start(SandboxController *c, const Ctx *ctx, const char *id, SandboxInstance *ret,
                       GError **error)
{
	g_autoptr(Entry) e = find(c, ctx, id, NULL);
	if (e == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "unable to find sandbox %s", Q(id));
	Containerd__Runtime__Sandbox__V1__StartSandboxRequest req =
	        CONTAINERD__RUNTIME__SANDBOX__V1__START_SANDBOX_REQUEST__INIT;
	req.sandbox_id = id;
	autopb Containerd__Runtime__Sandbox__V1__StartSandboxResponse *resp = NULL;
	if (!call(e, ctx, "StartSandbox", &req, &resp, error)) {
		undo(e, true);
		return error_prefix(error, "failed to start sandbox %s", id);
	}
	*ret = (SandboxInstance){
	        .id = g_strdup(id), .pid = resp->pid, .created_at = shim_time_from(resp->created_at)};
	ret->address = g_strdup(shim_endpoint(e->shim, &ret->version));
	shim_any_from(&ret->spec, resp->spec);
	return true;
}

static bool shim_platform(SandboxController *c, const Ctx *ctx, const char *id, Platform *ret, GError **error)
{
	g_autoptr(Entry) e = find(c, ctx, id, error);
	if (e == NULL)
		return false;
	Containerd__Runtime__Sandbox__V1__PlatformRequest req =
	        CONTAINERD__RUNTIME__SANDBOX__V1__PLATFORM_REQUEST__INIT;
	req.sandbox_id = id;
	autopb Containerd__Runtime__Sandbox__V1__PlatformResponse *resp = NULL;
	if (!call(e, ctx, "Platform", &req, &resp, error))
		return error_prefix(error, "failed to get sandbox platform");
	*ret = (Platform){0};
	if (resp->platform != NULL)
		*ret = (Platform){.os = g_strdup(resp->platform->os),
		                  .architecture = g_strdup(resp->platform->architecture),
		                  .variant = g_strdup(resp->platform->variant)};
	return true;
}

static bool shim_stop_(SandboxController *c, const Ctx *ctx, const char *id, uint32_t timeout_secs,
                       GError **error)
{
	g_autoptr(Entry) e = find(c, ctx, id, NULL);
	if (e == NULL)
		return true;
	Containerd__Runtime__Sandbox__V1__StopSandboxRequest req =
	        CONTAINERD__RUNTIME__SANDBOX__V1__STOP_SANDBOX_REQUEST__INIT;
	req.sandbox_id = id;
	req.timeout_secs = timeout_secs;
	autopb ProtobufCMessage *resp = NULL;
	GError *failed = NULL;
	if (call(e, ctx, "StopSandbox", &req, &resp, &failed))
		return true;
	if (error_is(failed, CTRD_ERR_NOT_FOUND) || error_is(failed, CTRD_ERR_UNAVAILABLE)) {
		g_error_free(failed);
		return true;
	}
	g_propagate_prefixed_error(error, failed, "failed to stop sandbox: ");
	return false;
}

typedef struct {
	Entry *entry;
	SandboxExitFn done;
	void *data;
} Wait;

static void wait_done(const void *response, const GError *error, void *data)
{
	Wait *w = data;
	if (error != NULL) {
		g_autoptr(GError) wrapped = g_error_copy(error);
		g_prefix_error(&wrapped, "failed to wait sandbox %s: ", w->entry->id);
		w->done(0, 0, wrapped, w->data);
	} else {
		const Containerd__Runtime__Sandbox__V1__WaitSandboxResponse *resp = response;
		w->done(resp->exit_status, shim_time_from(resp->exited_at), NULL, w->data);
	}
	entry_unref(w->entry);
	g_free(w);
}

static void shim_wait(SandboxController *c, const Ctx *ctx, const char *id, SandboxExitFn done, void *data)
{
	g_autoptr(GError) error = NULL;
	Entry *e = find(c, ctx, id, &error);
	if (e == NULL) {
		done(0, 0, error, data);
		return;
	}
	Wait *w = g_new0(Wait, 1);
	*w = (Wait){e, done, data};
	Containerd__Runtime__Sandbox__V1__WaitSandboxRequest req =
	        CONTAINERD__RUNTIME__SANDBOX__V1__WAIT_SANDBOX_REQUEST__INIT;
	req.sandbox_id = id;
	shim_call_service_async(e->shim, SERVICE, ctx, 0, "WaitSandbox", &req, wait_done, w);
}

static bool shim_status(SandboxController *c, const Ctx *ctx, const char *id, bool verbose,
                        SandboxStatus *ret, GError **error)
{
	g_autoptr(Entry) e = find(c, ctx, id, NULL);
	if (e == NULL) {
		*ret = (SandboxStatus){.id = g_strdup(id), .exited_at = time_now()};
		return true;
	}
	Containerd__Runtime__Sandbox__V1__SandboxStatusRequest req =
	        CONTAINERD__RUNTIME__SANDBOX__V1__SANDBOX_STATUS_REQUEST__INIT;
	req.sandbox_id = id;
	req.verbose = verbose;
	autopb Containerd__Runtime__Sandbox__V1__SandboxStatusResponse *resp = NULL;
	if (!call(e, ctx, "SandboxStatus", &req, &resp, error))
		return error_prefix(error, "failed to query sandbox %s status", id);
	*ret = (SandboxStatus){.id = g_strdup(resp->sandbox_id),
	                       .state = g_strdup(resp->state),
	                       .pid = resp->pid,
	                       .info = strmap_new(),
	                       .created_at = shim_time_from(resp->created_at),
	                       .exited_at = shim_time_from(resp->exited_at)};
	for (size_t i = 0; i < resp->n_info; i++)
		strmap_set(ret->info, resp->info[i]->key, resp->info[i]->value);
	shim_any_from(&ret->extra, resp->extra);
	ret->address = g_strdup(shim_endpoint(e->shim, &ret->version));
	return true;
}

static bool shim_shutdown_(SandboxController *c, const Ctx *ctx, const char *id, GError **error)
{
	g_autoptr(Entry) e = find(c, ctx, id, error);
	if (e == NULL)
		return false;
	tasks_sandbox_ends(e->tasks, e->ns, id, true);
	if (!shim_stop(e, ctx, 0, error)) {
		tasks_sandbox_ends(e->tasks, e->ns, id, false);
		return error_prefix(error, "failed to shutdown sandbox");
	}
	return entry_delete(e, error) || error_prefix(error, "failed to delete sandbox shim");
}

static bool shim_metrics(SandboxController *c, const Ctx *ctx, const char *id, SandboxMetric *ret,
                         GError **error)
{
	g_autoptr(Entry) e = find(c, ctx, id, error);
	if (e == NULL)
		return false;
	Containerd__Runtime__Sandbox__V1__SandboxMetricsRequest req =
	        CONTAINERD__RUNTIME__SANDBOX__V1__SANDBOX_METRICS_REQUEST__INIT;
	req.sandbox_id = id;
	autopb Containerd__Runtime__Sandbox__V1__SandboxMetricsResponse *resp = NULL;
	if (!call(e, ctx, "SandboxMetrics", &req, &resp, error))
		return false;
	*ret = (SandboxMetric){0};
	if (resp->metrics != NULL) {
		ret->id = g_strdup(resp->metrics->id);
		ret->timestamp = shim_time_from(resp->metrics->timestamp);
		shim_any_from(&ret->data, resp->metrics->data);
	}
	return true;
}

/* A shim's sandbox is not updated, as upstream. */
static bool shim_update(SandboxController *c, const Ctx *ctx, const Sandbox *sandbox,
                        const char *const *fields, GError **error)
{
	return true;
}

static void shim_free(SandboxController *controller)
{
	ShimController *c = (ShimController *)controller;
	g_free(c->root);
	g_free(c->state);
	g_free(c);
}

static bool make_dir(const char *path, GError **error)
{
	if (!dir_make_all(path, 0700, error))
		return false;
	// an older release made it 0711
	return chmod(path, 0700) == 0 || error_set_errno(error, errno, "chmod %s", path);
}

SandboxController *sandbox_shim_controller_new(Tasks *tasks, const char *root, const char *state,
                                               GError **error)
{
	if (!make_dir(root, error) || !make_dir(state, error))
		return NULL;
	ShimController *c = g_new0(ShimController, 1);
	*c = (ShimController){
	        .base = {.create = shim_create_,
	                 .start = shim_start,
	                 .platform = shim_platform,
	                 .stop = shim_stop_,
	                 .wait = shim_wait,
	                 .status = shim_status,
	                 .shutdown = shim_shutdown_,
	                 .metrics = shim_metrics,
	                 .update = shim_update,
	                 .free = shim_free},
	        .tasks = tasks,
	        .root = g_strdup(root),
	        .state = g_strdup(state),
	};
	tasks_load_dir(tasks, root, state, true);
	return &c->base;
}
