// SPDX-License-Identifier: Apache-2.0

/*
 * Requests and answers of the task service. Versions 2 and 3 have the same messages, so the handlers are
 * written for version 3's types: protoc-c makes identical structs of both, and an answer's bytes are the same
 * under either name.
 */

#include "shim/task-service.h"

#include "base/error.h"
#include "base/util.h"
#include "google/protobuf/empty.pb-c.h"
#include "message.h"
#include "runtime/task/v2/shim.pb-c.h"
#include "runtime/task/v3/shim.pb-c.h"
#include "shim/events.h"
#include "types/runc/options/oci.pb-c.h"
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define SAME(name)                                                                                           \
	static_assert(sizeof(Containerd__Task__V2__##name) == sizeof(Containerd__Task__V3__##name),          \
	              "task v2 and v3 differ")
SAME(CreateTaskRequest);
SAME(ExecProcessRequest);
SAME(StateResponse);
SAME(DeleteResponse);
SAME(KillRequest);
SAME(UpdateTaskRequest);

typedef Containerd__Task__V3__CreateTaskRequest CreateRequest;
typedef Containerd__Task__V3__StartRequest StartRequest;

/* A deferred call and what it waits for. */
typedef struct {
	RpcCall *call;
	Shim *shim;
	Container *container; // held; NULL for create
	Process *process;
	Op *op;
	void *wait;
	unsigned cancel_id;
	char *id; // of create
	void (*answer)(void *pending, RpcCall *call);
} Pending;

static TaskService *service_of(RpcCall *call)
{
	TaskService *s = rpc_call_impl(call);
	publisher_kick(s->shim->publisher); // the daemon is there
	return s;
}

static Shim *shim_of(RpcCall *call)
{
	return service_of(call)->shim;
}

bool task_service_is_idle(const TaskService *service)
{
	return g_hash_table_size(service->shim->containers) == 0 &&
	       !sandbox_service_is_active(service->sandbox);
}

/* ---- deferring ---- */

static Pending *pending_new(RpcCall *call, Shim *shim, Process *process, void (*answer)(void *, RpcCall *))
{
	Pending *p = g_new0(Pending, 1);
	*p = (Pending){.call = call, .shim = shim, .process = process, .answer = answer};
	if (process != NULL)
		p->container = container_ref(process->container);
	rpc_call_defer(call);
	return p;
}

static void pending_free(Pending *p)
{
	if (p->cancel_id != 0)
		cancel_off(rpc_call_cancel(p->call), p->cancel_id);
	container_unref(p->container);
	g_free(p->id);
	g_free(p);
}

static void answer_empty(void *pending, RpcCall *call)
{
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
	rpc_call_reply(call, &empty);
}

static void on_done(GError *error, void *data)
{
	Pending *p = data;
	RpcCall *call = p->call;
	TaskService *s = rpc_call_impl(call);
	// Off before the answer: the call, and its token, are gone with it.
	if (p->cancel_id != 0)
		cancel_off(rpc_call_cancel(call), p->cancel_id);
	p->cancel_id = 0;
	if (error != NULL)
		rpc_call_fail(call, error);
	else
		p->answer(p, call);
	pending_free(p);
	if (s->on_idle != NULL && task_service_is_idle(s))
		s->on_idle(s->data);
}

static void on_cancel(void *data)
{
	Pending *p = data;
	p->cancel_id = 0;
	op_cancel(p->op);
}

/* op NULL: it has ended, and the pending is gone. */
static bool pending_arm(Pending *p, Op *op)
{
	if (op == NULL)
		return true;
	p->op = op;
	unsigned id = cancel_on(rpc_call_cancel(p->call), on_cancel, p);
	// Where the call had been canceled already, on_cancel has run, and p may be gone with it.
	if (!cancel_is_set(rpc_call_cancel(p->call)))
		p->cancel_id = id;
	return true;
}

static Process *find(RpcCall *call, const char *id, const char *exec_id, GError **error)
{
	Container *c = container_find(shim_of(call), id, error);
	return c != NULL ? container_process(c, exec_id, error) : NULL;
}

/* ---- create, start, delete ---- */

static void answer_create(void *data, RpcCall *call)
{
	Pending *p = data;
	Containerd__Task__V3__CreateTaskResponse r = CONTAINERD__TASK__V3__CREATE_TASK_RESPONSE__INIT;
	Container *c = container_find(p->shim, p->id, NULL);
	r.pid = c != NULL ? (uint32_t)c->init->pid : 0;
	rpc_call_reply(call, &r);
}

static bool handle_create(RpcCall *call, const void *request, void *response, GError **error)
{
	const CreateRequest *r = request;
	// The namespace is the shim's own (-namespace): daemons up to 1.6 send none.
	const CreateSpec spec = {.id = r->id,
	                         .bundle = r->bundle,
	                         .n_rootfs = r->n_rootfs,
	                         .rootfs = r->rootfs,
	                         .terminal = r->terminal,
	                         .in = r->stdin,
	                         .out = r->stdout,
	                         .err = r->stderr,
	                         .checkpoint = r->checkpoint,
	                         .parent_checkpoint = r->parent_checkpoint,
	                         .options = r->options};
	Shim *shim = shim_of(call);
	Pending *p = pending_new(call, shim, NULL, answer_create);
	p->id = g_strdup(r->id);
	return pending_arm(p, container_create(shim, &spec, on_done, p));
}

static void answer_start(void *data, RpcCall *call)
{
	const Pending *p = data;
	Containerd__Task__V3__StartResponse r = CONTAINERD__TASK__V3__START_RESPONSE__INIT;
	r.pid = (uint32_t)p->process->pid;
	rpc_call_reply(call, &r);
}

static bool handle_start(RpcCall *call, const void *request, void *response, GError **error)
{
	const StartRequest *r = request;
	Process *process = find(call, r->id, r->exec_id, error);
	if (process == NULL)
		return false;
	Pending *p = pending_new(call, NULL, process, answer_start);
	return pending_arm(p, process_start(process, on_done, p));
}

static void answer_delete(void *data, RpcCall *call)
{
	const Process *process = ((const Pending *)data)->process;
	Google__Protobuf__Timestamp at = timestamp_of(process->exited_at);
	Containerd__Task__V3__DeleteResponse r = CONTAINERD__TASK__V3__DELETE_RESPONSE__INIT;
	r.pid = (uint32_t)process->pid;
	r.exit_status = (uint32_t)process->code;
	r.exited_at = &at;
	rpc_call_reply(call, &r);
}

static bool handle_delete(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Task__V3__DeleteRequest *r = request;
	Process *process = find(call, r->id, r->exec_id, error);
	if (process == NULL)
		return false;
	Pending *p = pending_new(call, NULL, process, answer_delete);
	return pending_arm(p, process_delete(process, on_done, p));
}

static bool handle_exec(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Task__V3__ExecProcessRequest *r = request;
	Container *c = container_find(shim_of(call), r->id, error);
	if (c == NULL)
		return false;
	const ExecSpec spec = {.exec_id = r->exec_id,
	                       .terminal = r->terminal,
	                       .in = r->stdin,
	                       .out = r->stdout,
	                       .err = r->stderr,
	                       .spec = r->spec};
	return container_exec(c, &spec, error);
}

/* ---- kill, pause, resume, update, checkpoint ---- */

static bool handle_kill(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Task__V3__KillRequest *r = request;
	Shim *shim = shim_of(call);
	bool ends =
	        r->signal == SIGKILL || r->signal == SIGTERM || r->signal == SIGINT || r->signal == SIGQUIT;
	if (str_empty(r->exec_id) && ends && container_create_abort(shim, r->id))
		return true;
	Process *process = find(call, r->id, r->exec_id, error);
	if (process == NULL)
		return false;
	Pending *p = pending_new(call, NULL, process, answer_empty);
	return pending_arm(p, process_kill(process, r->signal, r->all, on_done, p));
}

static bool handle_pause(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Task__V3__PauseRequest *r = request;
	Process *process = find(call, r->id, "", error);
	if (process == NULL)
		return false;
	Pending *p = pending_new(call, NULL, process, answer_empty);
	return pending_arm(p, container_pause(process->container, on_done, p));
}

static bool handle_resume(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Task__V3__ResumeRequest *r = request;
	Process *process = find(call, r->id, "", error);
	if (process == NULL)
		return false;
	Pending *p = pending_new(call, NULL, process, answer_empty);
	return pending_arm(p, container_resume(process->container, on_done, p));
}

static bool handle_update(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Task__V3__UpdateTaskRequest *r = request;
	Process *process = find(call, r->id, "", error);
	if (process == NULL)
		return false;
	Pending *p = pending_new(call, NULL, process, answer_empty);
	return pending_arm(p, container_update(process->container, r->resources, on_done, p));
}

static bool handle_checkpoint(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Task__V3__CheckpointTaskRequest *r = request;
	Process *process = find(call, r->id, "", error);
	if (process == NULL)
		return false;
	Pending *p = pending_new(call, NULL, process, answer_empty);
	return pending_arm(p, container_checkpoint(process->container, r->path, r->options, on_done, p));
}

/* ---- wait ---- */

static void on_waited(Process *process, void *data)
{
	Pending *p = data;
	RpcCall *call = p->call;
	if (p->cancel_id != 0)
		cancel_off(rpc_call_cancel(call), p->cancel_id);
	p->cancel_id = 0;
	Google__Protobuf__Timestamp at = timestamp_of(process->exited_at);
	Containerd__Task__V3__WaitResponse r = CONTAINERD__TASK__V3__WAIT_RESPONSE__INIT;
	r.exit_status = (uint32_t)process->code;
	r.exited_at = &at;
	rpc_call_reply(call, &r);
	// The process is being freed where its container is: then this must not hold, and free, the container
	// once more.
	pending_free(p);
}

static void on_wait_cancel(void *data)
{
	Pending *p = data;
	p->cancel_id = 0;
	process_wait_cancel(p->process, p->wait);
	GError *error = NULL;
	error_set(&error, CTRD_ERR_CANCELED, "context canceled");
	rpc_call_fail(p->call, error);
	pending_free(p);
}

static bool handle_wait(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Task__V3__WaitRequest *r = request;
	Process *process = find(call, r->id, r->exec_id, error);
	if (process == NULL)
		return false;
	Pending *p = pending_new(call, NULL, process, NULL);
	// A waiter does not keep a deleted container: its process answers the waiters before it goes.
	container_unref(g_steal_pointer(&p->container));
	void *wait = process_wait(process, on_waited, p);
	if (wait == NULL)
		return true;
	p->wait = wait;
	Cancel *cancel = rpc_call_cancel(call);
	unsigned id = cancel_on(cancel, on_wait_cancel, p);
	if (!cancel_is_set(cancel))
		p->cancel_id = id;
	return true;
}

/* ---- pids and stats ---- */

static Google__Protobuf__Any *process_details(Container *c, uint32_t pid, Arena *arena)
{
	GHashTableIter i;
	void *value;
	g_hash_table_iter_init(&i, c->execs);
	while (g_hash_table_iter_next(&i, NULL, &value)) {
		const Process *e = value;
		if ((uint32_t)e->pid != pid)
			continue;
		Containerd__Runc__V1__ProcessDetails d = CONTAINERD__RUNC__V1__PROCESS_DETAILS__INIT;
		d.exec_id = e->id;
		Google__Protobuf__Any *any = arena_alloc(arena, sizeof *any);
		google__protobuf__any__init(any);
		any->type_url = (char *)containerd__runc__v1__process_details__descriptor.name;
		any->value.len = protobuf_c_message_get_packed_size(&d.base);
		any->value.data = arena_alloc(arena, any->value.len + 1);
		protobuf_c_message_pack(&d.base, any->value.data);
		return any;
	}
	return NULL;
}

static void answer_pids(void *data, RpcCall *call)
{
	const Pending *p = data;
	Arena *arena = rpc_call_arena(call);
	const GArray *pids = op_pids(p->op);
	Containerd__Task__V3__PidsResponse r = CONTAINERD__TASK__V3__PIDS_RESPONSE__INIT;
	Containerd__V1__Types__ProcessInfo *info = arena_alloc_n(arena, pids->len + 1, sizeof *info);
	r.processes = arena_alloc_n(arena, pids->len + 1, sizeof *r.processes);
	r.n_processes = pids->len;
	for (guint i = 0; i < pids->len; i++) {
		api_init(&containerd__v1__types__process_info__descriptor, &info[i]);
		info[i].pid = g_array_index(pids, uint32_t, i);
		info[i].info = process_details(p->container, info[i].pid, arena);
		r.processes[i] = &info[i];
	}
	rpc_call_reply(call, &r);
}

static bool handle_pids(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Task__V3__PidsRequest *r = request;
	Process *process = find(call, r->id, "", error);
	if (process == NULL)
		return false;
	Pending *p = pending_new(call, NULL, process, answer_pids);
	return pending_arm(p, container_pids(process->container, on_done, p));
}

static bool handle_stats(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Task__V3__StatsRequest *q = request;
	Containerd__Task__V3__StatsResponse *r = response;
	Container *c = container_find(shim_of(call), q->id, error);
	if (c == NULL)
		return false;
	if (c->cgroup == NULL)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "cgroup does not exist");
	Arena *arena = rpc_call_arena(call);
	Google__Protobuf__Any *any = arena_alloc(arena, sizeof *any);
	google__protobuf__any__init(any);
	const char *type;
	if (!cgroup_stat(c->cgroup, arena, &type, &any->value.data, &any->value.len, error))
		return false;
	any->type_url = (char *)type;
	r->stats = any;
	return true;
}

/* ---- what is answered at once ---- */

static bool handle_state(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Task__V3__StateRequest *q = request;
	Containerd__Task__V3__StateResponse *r = response;
	const Process *p = find(call, q->id, q->exec_id, error);
	if (p == NULL)
		return false;
	static const struct {
		const char *name;
		Containerd__V1__Types__Status status;
	} statuses[] = {{"created", CONTAINERD__V1__TYPES__STATUS__CREATED},
	                {"running", CONTAINERD__V1__TYPES__STATUS__RUNNING},
	                {"stopped", CONTAINERD__V1__TYPES__STATUS__STOPPED},
	                {"paused", CONTAINERD__V1__TYPES__STATUS__PAUSED},
	                {"pausing", CONTAINERD__V1__TYPES__STATUS__PAUSING}};
	for (unsigned i = 0; i < G_N_ELEMENTS(statuses); i++)
		if (strcmp(statuses[i].name, process_status(p)) == 0)
			r->status = statuses[i].status;
	Arena *arena = rpc_call_arena(call);
	r->id = arena_strdup(arena, p->id);
	r->bundle = arena_strdup(arena, p->container->bundle);
	r->pid = (uint32_t)p->pid;
	r->stdin = arena_strdup(arena, p->in);
	r->stdout = arena_strdup(arena, p->out);
	r->stderr = arena_strdup(arena, p->err);
	r->terminal = p->terminal;
	r->exit_status = (uint32_t)p->code;
	r->exited_at = arena_alloc(arena, sizeof *r->exited_at);
	*r->exited_at = timestamp_of(p->exited_at);
	return true;
}

static bool handle_resize_pty(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Task__V3__ResizePtyRequest *r = request;
	Process *p = find(call, r->id, r->exec_id, error);
	return p != NULL && process_resize(p, r->width, r->height, error);
}

static bool handle_close_io(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Task__V3__CloseIORequest *r = request;
	Process *p = find(call, r->id, r->exec_id, error);
	if (p == NULL)
		return false;
	process_close_stdin(p);
	return true;
}

static bool handle_connect(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Task__V3__ConnectRequest *q = request;
	Containerd__Task__V3__ConnectResponse *r = response;
	const Container *c = container_find(shim_of(call), q->id, NULL);
	r->shim_pid = (uint32_t)getpid();
	r->task_pid = c != NULL ? (uint32_t)c->init->pid : 0;
	return true;
}

static bool handle_shutdown(RpcCall *call, const void *request, void *response, GError **error)
{
	TaskService *s = service_of(call);
	if (task_service_is_idle(s))
		s->on_shutdown(s->data);
	return true;
}

static const RpcMethod methods[] = {
        {"State", RPC_UNARY, RPC_ON_LOOP, handle_state},
        {"Create", RPC_UNARY, RPC_ON_LOOP, handle_create},
        {"Start", RPC_UNARY, RPC_ON_LOOP, handle_start},
        {"Delete", RPC_UNARY, RPC_ON_LOOP, handle_delete},
        {"Pids", RPC_UNARY, RPC_ON_LOOP, handle_pids},
        {"Pause", RPC_UNARY, RPC_ON_LOOP, handle_pause},
        {"Resume", RPC_UNARY, RPC_ON_LOOP, handle_resume},
        {"Checkpoint", RPC_UNARY, RPC_ON_LOOP, handle_checkpoint},
        {"Kill", RPC_UNARY, RPC_ON_LOOP, handle_kill},
        {"Exec", RPC_UNARY, RPC_ON_LOOP, handle_exec},
        {"ResizePty", RPC_UNARY, RPC_ON_LOOP, handle_resize_pty},
        {"CloseIO", RPC_UNARY, RPC_ON_LOOP, handle_close_io},
        {"Update", RPC_UNARY, RPC_ON_LOOP, handle_update},
        {"Wait", RPC_UNARY, RPC_ON_LOOP, handle_wait},
        {"Stats", RPC_UNARY, RPC_ON_LOOP, handle_stats},
        {"Connect", RPC_UNARY, RPC_ON_LOOP, handle_connect},
        {"Shutdown", RPC_UNARY, RPC_ON_LOOP, handle_shutdown},
};

void task_service_add(RpcServer *server, TaskService *service)
{
	const ProtobufCServiceDescriptor *const descriptors[] = {&containerd__task__v2__task__descriptor,
	                                                         &containerd__task__v3__task__descriptor};
	for (unsigned i = 0; i < G_N_ELEMENTS(descriptors); i++) {
		const RpcService s = {.descriptor = descriptors[i],
		                      .methods = methods,
		                      .n_methods = G_N_ELEMENTS(methods),
		                      .impl = service};
		rpc_server_add(server, &s);
	}
}
