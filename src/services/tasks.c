// SPDX-License-Identifier: Apache-2.0
/*
 * containerd.services.tasks.v1; upstream plugins/services/tasks. Everything that only asks the shim is passed
 * on asynchronously and holds no thread; Create and Delete are several steps and run on a worker.
 * Who asks all shims at once is in tasks-all.c.
 */
#include "runtime/tasks.h"
#include "api/message.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/inflight.h"
#include "base/log.h"
#include "oci/media-types.h"
#include "runtime/checkpoint.h"
#include "services/convert.h"
#include "services/services.h"
#include "services/tasks-private.h"
#include "services/tasks/v1/tasks.pb-c.h"
#include "store/containers.h"
#include "types/runc/options/oci.pb-c.h"
#include <signal.h>

/* The shim of a container's task; the container must exist, as upstream. */
static Shim *find(RpcCall *call, const char *id, Ctx *ret_ctx, GError **error)
{
	TasksImpl *impl = rpc_call_impl(call);
	if (!call_ctx(call, ret_ctx, error))
		return NULL;
	g_autoptr(Container) c = containers_get(impl->db, ret_ctx, id, error);
	if (c == NULL)
		return NULL;
	return tasks_get(impl->tasks, ret_ctx, id, error);
}

/* ---- passing on ---- */

/* Builds the answer of a passed-on call in its arena; NULL is an empty one. */
typedef void (*AnswerFn)(RpcCall *call, const void *shim_response);

typedef struct {
	RpcCall *call;
	Shim *shim;
	AnswerFn answer; // NULL: google.protobuf.Empty
	bool closed_is_not_found;
} Passed;

static void passed_done(const void *response, const GError *error, void *data)
{
	Passed *p = data;
	if (error != NULL) {
		GError *copy = NULL;
		if (p->closed_is_not_found && error_is(error, CTRD_ERR_UNAVAILABLE))
			error_set(&copy, CTRD_ERR_NOT_FOUND, "not found");
		else
			copy = g_error_copy(error);
		rpc_call_fail(p->call, copy);
	} else if (p->answer != NULL) {
		p->answer(p->call, response);
	} else {
		Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
		rpc_call_reply(p->call, &empty);
	}
	shim_unref(p->shim);
	g_free(p);
}

/* Takes the shim. */
static bool pass_on(RpcCall *call, Shim *shim, const Ctx *ctx, int64_t timeout_ns, const char *method,
                    const void *request, AnswerFn answer)
{
	Passed *p = g_new0(Passed, 1);
	*p = (Passed){call, shim, answer, g_str_equal(method, "State")};
	inflight_stage("waits for the shim: %s", method);
	rpc_call_defer(call);
	shim_call_async(shim, ctx, timeout_ns, method, request, passed_done, p);
	return true;
}

static void answer_start(RpcCall *call, const void *response)
{
	const Containerd__Task__V3__StartResponse *in = response;
	Containerd__Services__Tasks__V1__StartResponse out =
	        CONTAINERD__SERVICES__TASKS__V1__START_RESPONSE__INIT;
	out.pid = in->pid;
	rpc_call_reply(call, &out);
}

static bool tasks_start(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__StartRequest *in = request;
	Ctx ctx;
	Shim *shim = find(call, in->container_id, &ctx, error);
	if (shim == NULL)
		return false;
	Containerd__Task__V3__StartRequest out = CONTAINERD__TASK__V3__START_REQUEST__INIT;
	out.id = in->container_id;
	out.exec_id = in->exec_id;
	if (!FAILPOINT("task.start.call", error)) {
		shim_unref(shim);
		return false;
	}
	return pass_on(call, shim, &ctx, 0, "Start", &out, answer_start);
}

static bool tasks_kill(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__KillRequest *in = request;
	Ctx ctx;
	Shim *shim = find(call, in->container_id, &ctx, error);
	if (shim == NULL)
		return false;
	TasksImpl *impl = rpc_call_impl(call);
	if (in->signal == SIGKILL && str_empty(in->exec_id) &&
	    tasks_end_if_mute(impl->tasks, &ctx, in->container_id)) {
		shim_unref(shim);
		return true;
	}
	Containerd__Task__V3__KillRequest out = CONTAINERD__TASK__V3__KILL_REQUEST__INIT;
	out.id = in->container_id;
	out.exec_id = in->exec_id;
	out.signal = in->signal;
	out.all = in->all;
	return pass_on(call, shim, &ctx, 0, "Kill", &out, NULL);
}

static bool tasks_exec(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__ExecProcessRequest *in = request;
	if (str_empty(in->exec_id))
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "exec id cannot be empty");
	Ctx ctx;
	Shim *shim = find(call, in->container_id, &ctx, error);
	if (shim == NULL)
		return false;
	Containerd__Task__V3__ExecProcessRequest out = CONTAINERD__TASK__V3__EXEC_PROCESS_REQUEST__INIT;
	out.id = in->container_id;
	out.exec_id = in->exec_id;
	out.terminal = in->terminal;
	out.stdin = in->stdin;
	out.stdout = in->stdout;
	out.stderr = in->stderr;
	out.spec = in->spec;
	return pass_on(call, shim, &ctx, 0, "Exec", &out, NULL);
}

static bool tasks_resize_pty(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__ResizePtyRequest *in = request;
	Ctx ctx;
	Shim *shim = find(call, in->container_id, &ctx, error);
	if (shim == NULL)
		return false;
	Containerd__Task__V3__ResizePtyRequest out = CONTAINERD__TASK__V3__RESIZE_PTY_REQUEST__INIT;
	out.id = in->container_id;
	out.exec_id = in->exec_id;
	out.width = in->width;
	out.height = in->height;
	return pass_on(call, shim, &ctx, 0, "ResizePty", &out, NULL);
}

static bool tasks_close_io(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__CloseIORequest *in = request;
	Ctx ctx;
	g_autoptr(Shim) shim = find(call, in->container_id, &ctx, error);
	if (shim == NULL)
		return false;
	if (!in->stdin)
		return true;
	Containerd__Task__V3__CloseIORequest out = CONTAINERD__TASK__V3__CLOSE_IOREQUEST__INIT;
	out.id = in->container_id;
	out.exec_id = in->exec_id;
	out.stdin = true;
	return pass_on(call, g_steal_pointer(&shim), &ctx, 0, "CloseIO", &out, NULL);
}

static bool tasks_pause(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__PauseTaskRequest *in = request;
	Ctx ctx;
	Shim *shim = find(call, in->container_id, &ctx, error);
	if (shim == NULL)
		return false;
	Containerd__Task__V3__PauseRequest out = CONTAINERD__TASK__V3__PAUSE_REQUEST__INIT;
	out.id = in->container_id;
	return pass_on(call, shim, &ctx, 0, "Pause", &out, NULL);
}

static bool tasks_resume(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__ResumeTaskRequest *in = request;
	Ctx ctx;
	Shim *shim = find(call, in->container_id, &ctx, error);
	if (shim == NULL)
		return false;
	Containerd__Task__V3__ResumeRequest out = CONTAINERD__TASK__V3__RESUME_REQUEST__INIT;
	out.id = in->container_id;
	return pass_on(call, shim, &ctx, 0, "Resume", &out, NULL);
}

static bool tasks_update(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__UpdateTaskRequest *in = request;
	Ctx ctx;
	Shim *shim = find(call, in->container_id, &ctx, error);
	if (shim == NULL)
		return false;
	Containerd__Task__V3__UpdateTaskRequest out = CONTAINERD__TASK__V3__UPDATE_TASK_REQUEST__INIT;
	out.id = in->container_id;
	out.resources = in->resources;
	g_autoptr(GHashTable) annotations = pb_strmap_in(in->n_annotations, in->annotations);
	out.annotations =
	        pb_strmap_out(rpc_call_arena(call), annotations,
	                      &containerd__task__v3__update_task_request__annotations_entry__descriptor,
	                      &out.n_annotations);
	return pass_on(call, shim, &ctx, 0, "Update", &out, NULL);
}

static void answer_pids(RpcCall *call, const void *response)
{
	const Containerd__Task__V3__PidsResponse *in = response;
	Containerd__Services__Tasks__V1__ListPidsResponse out =
	        CONTAINERD__SERVICES__TASKS__V1__LIST_PIDS_RESPONSE__INIT;
	out.n_processes = in->n_processes;
	out.processes = in->processes;
	rpc_call_reply(call, &out);
}

static bool tasks_list_pids(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__ListPidsRequest *in = request;
	Ctx ctx;
	Shim *shim = find(call, in->container_id, &ctx, error);
	if (shim == NULL)
		return false;
	Containerd__Task__V3__PidsRequest out = CONTAINERD__TASK__V3__PIDS_REQUEST__INIT;
	out.id = in->container_id;
	return pass_on(call, shim, &ctx, 0, "Pids", &out, answer_pids);
}

static void answer_wait(RpcCall *call, const void *response)
{
	const Containerd__Task__V3__WaitResponse *in = response;
	Containerd__Services__Tasks__V1__WaitResponse out =
	        CONTAINERD__SERVICES__TASKS__V1__WAIT_RESPONSE__INIT;
	out.exit_status = in->exit_status;
	out.exited_at = in->exited_at;
	rpc_call_reply(call, &out);
}

static bool tasks_wait(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__WaitRequest *in = request;
	Ctx ctx;
	Shim *shim = find(call, in->container_id, &ctx, error);
	if (shim == NULL)
		return false;
	Containerd__Task__V3__WaitRequest out = CONTAINERD__TASK__V3__WAIT_REQUEST__INIT;
	out.id = in->container_id;
	out.exec_id = in->exec_id;
	return pass_on(call, shim, &ctx, 0, "Wait", &out, answer_wait);
}

static void answer_delete_process(RpcCall *call, const void *response)
{
	const Containerd__Task__V3__DeleteResponse *in = response;
	const Containerd__Services__Tasks__V1__DeleteProcessRequest *request = rpc_call_request(call);
	Containerd__Services__Tasks__V1__DeleteResponse out =
	        CONTAINERD__SERVICES__TASKS__V1__DELETE_RESPONSE__INIT;
	out.id = request->exec_id;
	out.pid = in->pid;
	out.exit_status = in->exit_status;
	out.exited_at = in->exited_at;
	rpc_call_reply(call, &out);
}

static bool tasks_delete_process(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__DeleteProcessRequest *in = request;
	Ctx ctx;
	Shim *shim = find(call, in->container_id, &ctx, error);
	if (shim == NULL)
		return false;
	Containerd__Task__V3__DeleteRequest out = CONTAINERD__TASK__V3__DELETE_REQUEST__INIT;
	out.id = in->container_id;
	out.exec_id = in->exec_id;
	return pass_on(call, shim, &ctx, 0, "Delete", &out, answer_delete_process);
}

/* ---- state ---- */

void task_process_out(PbProcess *out, const StateResponse *in)
{
	api_init(&containerd__v1__types__process__descriptor, out);
	/* the id is the exec's where it is one; container_id stays empty, as upstream's answer */
	out->id = str_empty(in->exec_id) ? in->id : in->exec_id;
	out->pid = in->pid;
	out->status = in->status;
	out->stdin = in->stdin;
	out->stdout = in->stdout;
	out->stderr = in->stderr;
	out->terminal = in->terminal;
	out->exit_status = in->exit_status;
	out->exited_at = in->exited_at;
}

static void answer_get(RpcCall *call, const void *response)
{
	PbProcess process;
	Containerd__Services__Tasks__V1__GetResponse out =
	        CONTAINERD__SERVICES__TASKS__V1__GET_RESPONSE__INIT;
	task_process_out(&process, response);
	if (process.exited_at == NULL)
		process.exited_at = pb_time_out(rpc_call_arena(call), 0);
	out.process = &process;
	rpc_call_reply(call, &out);
}

static bool tasks_get_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__GetRequest *in = request;
	TasksImpl *impl = rpc_call_impl(call);
	Ctx ctx;
	Shim *shim = find(call, in->container_id, &ctx, error);
	if (shim == NULL)
		return false;
	Containerd__Task__V3__StateRequest out = CONTAINERD__TASK__V3__STATE_REQUEST__INIT;
	out.id = in->container_id;
	out.exec_id = in->exec_id;
	return pass_on(call, shim, &ctx, impl->state_timeout_ns, "State", &out, answer_get);
}

/* ---- create and delete ---- */

/* What is in the options for us and not for the runtime. */
typedef struct {
	char *checkpoint; // criu_image_path; NULL: none
	char *task_api_address;
	uint32_t task_api_version;
} CreateOptions;

static void create_options_clear(CreateOptions *o)
{
	g_free(o->checkpoint);
	g_free(o->task_api_address);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CreateOptions, create_options_clear)

static char *dup_nonempty(const char *s)
{
	return str_empty(s) ? NULL : g_strdup(s);
}

static bool create_options(const Containerd__Services__Tasks__V1__CreateTaskRequest *in, const Container *c,
                           CreateOptions *ret, GError **error)
{
	*ret = (CreateOptions){.task_api_address = dup_nonempty(in->task_api_address),
	                       .task_api_version = in->task_api_version};
	if (in->options == NULL)
		return true;
	if (!api_any_is(in->options, &containerd__runc__v1__options__descriptor))
		return error_set(error, CTRD_ERR_UNKNOWN, "invalid task create option for %s",
		                 c->runtime_name);
	autopb ProtobufCMessage *m =
	        api_any_unpack(in->options, &containerd__runc__v1__options__descriptor, NULL, error);
	if (m == NULL)
		return false;
	const Containerd__Runc__V1__Options *o = (const Containerd__Runc__V1__Options *)m;
	ret->checkpoint = dup_nonempty(o->criu_image_path);
	// Deprecated places of what clients say in the request since 2.2.
	if (ret->task_api_address == NULL)
		ret->task_api_address = dup_nonempty(o->task_api_address);
	if (ret->task_api_version == 0)
		ret->task_api_version = o->task_api_version;
	return true;
}

typedef struct {
	ContentStore *content;
	const Ctx *ctx;
	Descriptor checkpoint;
} Restore;

static bool restore_into(const char *dir, void *data, GError **error)
{
	const Restore *r = data;
	return checkpoint_unpack(r->content, r->ctx, &r->checkpoint, dir, error);
}

static bool tasks_create_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__CreateTaskRequest *in = request;
	Containerd__Services__Tasks__V1__CreateTaskResponse *out = response;
	TasksImpl *impl = rpc_call_impl(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(Container) c = containers_get(impl->db, &ctx, in->container_id, error);
	g_auto(CreateOptions) ours = {0};
	if (c == NULL || !create_options(in, c, &ours, error))
		return false;
	g_auto(Any) options = {0};
	pb_any_in(&options, in->options);
	Restore restore = {.content = impl->content, .ctx = &ctx};
	if (in->checkpoint != NULL)
		pb_descriptor_in(&restore.checkpoint, in->checkpoint);
	g_autoptr(GPtrArray) rootfs = pb_mounts_in(in->n_rootfs, in->rootfs);
	TaskCreate create = {
	        .runtime = str_empty(in->runtime_path) ? c->runtime_name : in->runtime_path,
	        .runtime_options = &c->runtime_options,
	        .task_options = &options,
	        .spec = &c->spec,
	        .rootfs = rootfs,
	        .stdin = in->stdin,
	        .stdout = in->stdout,
	        .stderr = in->stderr,
	        .terminal = in->terminal,
	        .sandbox_id = c->sandbox_id,
	        .task_api_address = ours.task_api_address,
	        .task_api_version = ours.task_api_version,
	        .checkpoint = ours.checkpoint,
	};
	if (in->checkpoint != NULL && ours.checkpoint == NULL) {
		create.restore = restore_into;
		create.restore_data = &restore;
	}
	out->container_id = in->container_id;
	bool ok = tasks_create(impl->tasks, &ctx, in->container_id, &create, &out->pid, error);
	descriptor_clear(&restore.checkpoint);
	return ok;
}

/* ---- checkpoint ---- */

/* Where the client wants CRIU's images; NULL: in the content store. */
static bool checkpoint_path(const Google__Protobuf__Any *options, const Container *c, char **ret,
                            GError **error)
{
	*ret = NULL;
	if (options == NULL)
		return true;
	if (!api_any_is(options, &containerd__runc__v1__checkpoint_options__descriptor))
		return error_set(error, CTRD_ERR_UNKNOWN, "invalid task checkpoint option for %s",
		                 c->runtime_name);
	autopb ProtobufCMessage *m =
	        api_any_unpack(options, &containerd__runc__v1__checkpoint_options__descriptor, NULL, error);
	if (m == NULL)
		return false;
	*ret = dup_nonempty(((const Containerd__Runc__V1__CheckpointOptions *)m)->image_path);
	return true;
}

static bool shim_checkpoint(Shim *shim, const Ctx *ctx, const char *path, Google__Protobuf__Any *options,
                            GError **error)
{
	Containerd__Task__V3__CheckpointTaskRequest out = CONTAINERD__TASK__V3__CHECKPOINT_TASK_REQUEST__INIT;
	out.id = shim_id(shim);
	out.path = path;
	out.options = options;
	autopb ProtobufCMessage *resp = NULL;
	return shim_call(shim, ctx, 0, "Checkpoint", &out, &resp, error);
}

/* The spec's Any as a blob. */
static bool save_spec(TasksImpl *impl, const Ctx *ctx, const char *ref, const Any *spec, Descriptor *ret,
                      GError **error)
{
	g_autoptr(Arena) arena = arena_new();
	const Google__Protobuf__Any *any = pb_any_out(arena, spec);
	size_t len = any != NULL ? protobuf_c_message_get_packed_size(&any->base) : 0;
	uint8_t *data = arena_alloc(arena, MAX(len, 1));
	if (any != NULL)
		protobuf_c_message_pack(&any->base, data);
	g_autofree char *digest = digest_bytes(data, len);
	*ret = (Descriptor){.media_type = g_strdup(MEDIA_TYPE_CHECKPOINT_CONFIG),
	                    .digest = g_steal_pointer(&digest),
	                    .size = (int64_t)len};
	return content_write_blob(impl->content, ctx, ref, data, len, ret, NULL, error);
}

/* Into the content store, by way of a directory that goes afterwards. */
static bool checkpoint_to_content(RpcCall *call, const Ctx *ctx, Shim *shim, const Container *c,
                                  const Containerd__Services__Tasks__V1__CheckpointTaskRequest *in,
                                  Containerd__Services__Tasks__V1__CheckpointTaskResponse *out,
                                  GError **error)
{
	TasksImpl *impl = rpc_call_impl(call);
	Arena *arena = rpc_call_arena(call);
	g_autofree char *dir = g_dir_make_tmp("ctrd-checkpointXXXXXX", error);
	if (dir == NULL)
		return false;
	g_autofree char *ref = path_join(dir, "spec");
	g_auto(Descriptor) images = {0}, spec = {0};
	bool ok = shim_checkpoint(shim, ctx, dir, in->options, error) &&
	          checkpoint_save(impl->content, ctx, dir, &images, error) &&
	          save_spec(impl, ctx, ref, &c->spec, &spec, error);
	g_autoptr(GError) left = NULL;
	if (!tree_remove(dir, &left))
		log_error_take(LOG_WARN, g_steal_pointer(&left), "failed to remove a checkpoint's directory",
		               "path", dir, NULL);
	if (!ok)
		return false;
	out->n_descriptors = 2;
	out->descriptors = pb_vec(arena, 2);
	out->descriptors[0] = pb_descriptor_out(arena, &images);
	out->descriptors[1] = pb_descriptor_out(arena, &spec);
	return true;
}

static bool tasks_checkpoint(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__CheckpointTaskRequest *in = request;
	TasksImpl *impl = rpc_call_impl(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(Container) c = containers_get(impl->db, &ctx, in->container_id, error);
	if (c == NULL)
		return false;
	g_autoptr(Shim) shim = tasks_get(impl->tasks, &ctx, in->container_id, error);
	g_autofree char *path = NULL;
	if (shim == NULL || !checkpoint_path(in->options, c, &path, error))
		return false;
	return path != NULL ? shim_checkpoint(shim, &ctx, path, in->options, error)
	                    : checkpoint_to_content(call, &ctx, shim, c, in, response, error);
}

static bool tasks_delete_(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Tasks__V1__DeleteTaskRequest *in = request;
	Containerd__Services__Tasks__V1__DeleteResponse *out = response;
	TasksImpl *impl = rpc_call_impl(call);
	Ctx ctx;
	if (!call_ctx(call, &ctx, error))
		return false;
	g_autoptr(Container) c = containers_get(impl->db, &ctx, in->container_id, error);
	if (c == NULL)
		return false;
	TaskExit exit = {0};
	if (!tasks_delete(impl->tasks, &ctx, in->container_id, &exit, error))
		return false;
	out->pid = exit.pid;
	out->exit_status = exit.status;
	out->exited_at = pb_time_out(rpc_call_arena(call), exit.exited_at);
	return true;
}

void tasks_service_set_timeouts(const RpcService *service, int64_t state_timeout_ns, int64_t stats_timeout_ns)
{
	TasksImpl *impl = service->impl;
	impl->state_timeout_ns = state_timeout_ns > 0 ? state_timeout_ns : 2 * NS_PER_SEC;
	impl->stats_timeout_ns = stats_timeout_ns > 0 ? stats_timeout_ns : 2 * NS_PER_SEC;
}

RpcService tasks_service_new(MetaDb *db, ContentStore *content, Tasks *tasks, int64_t state_timeout_ns,
                             int64_t stats_timeout_ns)
{
	static const RpcMethod methods[] = {
	        {"Create", RPC_UNARY, RPC_ON_WORKER, tasks_create_},
	        {"Start", RPC_UNARY, RPC_ON_WORKER, tasks_start},
	        {"Delete", RPC_UNARY, RPC_ON_WORKER, tasks_delete_},
	        {"DeleteProcess", RPC_UNARY, RPC_ON_WORKER, tasks_delete_process},
	        {"Get", RPC_UNARY, RPC_ON_WORKER, tasks_get_},
	        {"List", RPC_UNARY, RPC_ON_WORKER, tasks_list_all},
	        {"Kill", RPC_UNARY, RPC_ON_WORKER, tasks_kill},
	        {"Exec", RPC_UNARY, RPC_ON_WORKER, tasks_exec},
	        {"ResizePty", RPC_UNARY, RPC_ON_WORKER, tasks_resize_pty},
	        {"CloseIO", RPC_UNARY, RPC_ON_WORKER, tasks_close_io},
	        {"Pause", RPC_UNARY, RPC_ON_WORKER, tasks_pause},
	        {"Resume", RPC_UNARY, RPC_ON_WORKER, tasks_resume},
	        {"ListPids", RPC_UNARY, RPC_ON_WORKER, tasks_list_pids},
	        {"Checkpoint", RPC_UNARY, RPC_ON_WORKER, tasks_checkpoint},
	        {"Update", RPC_UNARY, RPC_ON_WORKER, tasks_update},
	        {"Metrics", RPC_UNARY, RPC_ON_WORKER, tasks_metrics_all},
	        {"Wait", RPC_UNARY, RPC_ON_WORKER, tasks_wait},
	};
	TasksImpl *impl = g_new0(TasksImpl, 1);
	impl->db = db;
	impl->content = content;
	impl->tasks = tasks;
	const RpcService service = {
	        .descriptor = &containerd__services__tasks__v1__tasks__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = impl,
	        .impl_free = g_free,
	};
	tasks_service_set_timeouts(&service, state_timeout_ns, stats_timeout_ns);
	return service;
}
