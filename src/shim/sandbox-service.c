// SPDX-License-Identifier: Apache-2.0

#include "shim/sandbox-service.h"

#include "base/error.h"
#include "base/fs.h"
#include "base/identifiers.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "message.h"
#include "runtime/sandbox/v1/sandbox.pb-c.h"
#include "shim/events.h"
#include "shim/pause.h"
#include <signal.h>
#include <string.h>

#define SPEC_MAX (8 * 1024 * 1024)
/* How long Shutdown waits for processes that it has killed. */
#define SHUTDOWN_TIMEOUT (10 * NS_PER_SEC)

#if defined(__x86_64__)
#define ARCHITECTURE "amd64"
#define VARIANT ""
#elif defined(__aarch64__)
#define ARCHITECTURE "arm64"
#define VARIANT "v8"
#elif defined(__arm__)
#define ARCHITECTURE "arm"
#define VARIANT "v7"
#elif defined(__i386__)
#define ARCHITECTURE "386"
#define VARIANT ""
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCHITECTURE "ppc64le"
#define VARIANT ""
#elif defined(__s390x__)
#define ARCHITECTURE "s390x"
#define VARIANT ""
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCHITECTURE "riscv64"
#define VARIANT ""
#else
#error "name this architecture as Go does"
#endif

typedef enum {
	SANDBOX_NONE,
	SANDBOX_CREATING,
	SANDBOX_CREATED,
	SANDBOX_STARTING,
	SANDBOX_STARTED,
	SANDBOX_ENDED,
} SandboxState;

struct SandboxService {
	Shim *shim;
	LoopFn on_shutdown;
	void *data;

	SandboxState state;
	char *id, *bundle, *netns_path;
	JsonObject *spec;     // of a sandbox with a pause process
	Container *container; // held; NULL: the process is, or will be, a pause process
	void *wait;           // for the container's end
	pid_t pid;            // as told: of the container's init or of the pause process
	pid_t pause;          // 0: none
	TimeNs created_at, exited_at;
	int code;
	bool ended_early; // while starting: told after the start
	GQueue waiters;   // of Call: Wait and Stop
	LoopTimer *kill_timer;

	RpcCall *shutdown; // under way
	unsigned leaving;  // containers that Shutdown is still deleting
	LoopTimer *shutdown_timer;
};

/* A deferred call. */
typedef struct {
	SandboxService *service;
	RpcCall *call;
	unsigned cancel_id;
	bool wants_status; // Wait, else Stop
} Call;

static SandboxService *service_of(RpcCall *call)
{
	SandboxService *s = rpc_call_impl(call);
	publisher_kick(s->shim->publisher);
	return s;
}

static SandboxService *find(RpcCall *call, const char *id, GError **error)
{
	SandboxService *s = service_of(call);
	if (s->state >= SANDBOX_CREATED && strcmp(s->id, id) == 0)
		return s;
	error_set_class(error, CTRD_ERR_NOT_FOUND, "sandbox %s", id);
	return NULL;
}

/* ---- the end of the sandbox ---- */

static void answer_waiter(Call *w)
{
	SandboxService *s = w->service;
	RpcCall *call = w->call;
	if (w->cancel_id != 0)
		cancel_off(rpc_call_cancel(call), w->cancel_id);
	if (w->wants_status) {
		Google__Protobuf__Timestamp at = timestamp_of(s->exited_at);
		Containerd__Runtime__Sandbox__V1__WaitSandboxResponse r =
		        CONTAINERD__RUNTIME__SANDBOX__V1__WAIT_SANDBOX_RESPONSE__INIT;
		r.exit_status = (uint32_t)s->code;
		r.exited_at = &at;
		rpc_call_reply(call, &r);
	} else {
		Containerd__Runtime__Sandbox__V1__StopSandboxResponse r =
		        CONTAINERD__RUNTIME__SANDBOX__V1__STOP_SANDBOX_RESPONSE__INIT;
		rpc_call_reply(call, &r);
	}
	g_free(w);
}

static void sandbox_ended(SandboxService *s, int code, TimeNs at)
{
	s->state = SANDBOX_ENDED;
	s->code = code;
	s->exited_at = at;
	g_clear_pointer(&s->kill_timer, loop_timer_free);
	for (Call *w; (w = g_queue_pop_head(&s->waiters)) != NULL;)
		answer_waiter(w);
}

static void on_container_ended(Process *process, void *data)
{
	SandboxService *s = data;
	s->wait = NULL;
	sandbox_ended(s, process->code, process->exited_at != 0 ? process->exited_at : time_now());
}

static void on_pause_ended(pid_t pid, int code, TimeNs at, void *data)
{
	SandboxService *s = data;
	if (s->pause != pid) // of a sandbox that is forgotten
		return;
	s->pause = 0;
	if (s->state == SANDBOX_STARTED) {
		sandbox_ended(s, code, at);
		return;
	}
	s->ended_early = true;
	s->code = code;
	s->exited_at = at;
}

static void on_waiter_canceled(void *data)
{
	Call *w = data;
	RpcCall *call = w->call;
	g_queue_remove(&w->service->waiters, w);
	g_free(w);
	GError *error = NULL;
	error_set(&error, CTRD_ERR_CANCELED, "context canceled");
	rpc_call_fail(call, error);
}

/* The call is answered when the sandbox has ended. */
static void wait_for_end(SandboxService *s, RpcCall *call, bool wants_status)
{
	Call *w = g_new0(Call, 1);
	*w = (Call){.service = s, .call = call, .wants_status = wants_status};
	rpc_call_defer(call);
	if (s->state == SANDBOX_ENDED) {
		answer_waiter(w);
		return;
	}
	g_queue_push_tail(&s->waiters, w);
	Cancel *cancel = rpc_call_cancel(call);
	unsigned id = cancel_on(cancel, on_waiter_canceled, w);
	if (!cancel_is_set(cancel)) // else w is gone
		w->cancel_id = id;
}

/* ---- create ---- */

static void sandbox_clear(SandboxService *s)
{
	g_clear_pointer(&s->id, g_free);
	g_clear_pointer(&s->bundle, g_free);
	g_clear_pointer(&s->netns_path, g_free);
	g_clear_pointer(&s->spec, json_object_put);
	s->state = SANDBOX_NONE;
}

/* After a shutdown there is no sandbox. */
static void sandbox_forget(SandboxService *s)
{
	if (s->state == SANDBOX_CREATED ||
	    s->state == SANDBOX_STARTED) // its process is dying, nobody saw it end
		sandbox_ended(s, 128 + SIGKILL, time_now());
	if (s->wait != NULL)
		process_wait_cancel(s->container->init, g_steal_pointer(&s->wait));
	g_clear_pointer(&s->container, container_unref);
	g_clear_pointer(&s->kill_timer, loop_timer_free);
	s->pid = s->pause = 0;
	s->code = 0;
	s->created_at = s->exited_at = 0;
	sandbox_clear(s);
}

static void created(SandboxService *s, RpcCall *call)
{
	s->state = SANDBOX_CREATED;
	s->created_at = time_now();
	Containerd__Runtime__Sandbox__V1__CreateSandboxResponse r =
	        CONTAINERD__RUNTIME__SANDBOX__V1__CREATE_SANDBOX_RESPONSE__INIT;
	rpc_call_reply(call, &r);
}

static void on_container_created(GError *error, void *data)
{
	Call *c = data;
	SandboxService *s = c->service;
	RpcCall *call = c->call;
	g_free(c);
	if (error == NULL && s->state != SANDBOX_CREATING)
		error_set_class(&error, CTRD_ERR_FAILED_PRECONDITION, "the sandbox was shut down");
	Container *container = error == NULL ? container_find(s->shim, s->id, &error) : NULL;
	if (container == NULL) {
		if (s->state == SANDBOX_CREATING)
			sandbox_clear(s);
		rpc_call_fail(call, error);
		return;
	}
	s->container = container_ref(container);
	s->pid = container->init->pid;
	created(s, call);
	s->wait = process_wait(container->init, on_container_ended, s);
}

/* *ret: NULL where the bundle has none. */
static bool read_spec(const char *bundle, JsonObject **ret, GError **error)
{
	g_autofree char *path = path_join(bundle, "config.json");
	g_autofree char *text = NULL;
	size_t len;
	*ret = NULL;
	if (!path_exists(path))
		return true;
	if (!file_read(path, SPEC_MAX, &text, &len, error))
		return false;
	*ret = json_parse(text, len, SPEC_MAX, error);
	return *ret != NULL || error_prefix(error, "%s", path);
}

static bool spec_has_process(JsonObject *spec)
{
	JsonObject *args = json_get_array(json_get_object(spec, "process"), "args");
	return args != NULL && json_object_array_length(args) > 0;
}

static bool handle_create(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Runtime__Sandbox__V1__CreateSandboxRequest *r = request;
	SandboxService *s = service_of(call);
	if (!identifier_validate(r->sandbox_id, error))
		return false;
	if (s->state != SANDBOX_NONE)
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "sandbox %s", s->id);
	if (!g_path_is_absolute(r->bundle_path))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "bundle %s is not an absolute path",
		                       Q(r->bundle_path));
	g_autoptr(JsonObject) spec = NULL;
	if (!read_spec(r->bundle_path, &spec, error))
		return false;
	s->state = SANDBOX_CREATING;
	s->id = g_strdup(r->sandbox_id);
	s->bundle = g_strdup(r->bundle_path);
	s->netns_path = g_strdup(r->netns_path);
	rpc_call_defer(call);
	if (!spec_has_process(spec)) {
		s->spec = g_steal_pointer(&spec);
		created(s, call);
		return true;
	}
	const CreateSpec create = {.id = r->sandbox_id,
	                           .bundle = r->bundle_path,
	                           .n_rootfs = r->n_rootfs,
	                           .rootfs = r->rootfs,
	                           .in = "",
	                           .out = "",
	                           .err = "",
	                           .checkpoint = "",
	                           .parent_checkpoint = "",
	                           .options_of_bundle = true};
	Call *c = g_new0(Call, 1);
	*c = (Call){.service = s, .call = call};
	container_create(s->shim, &create, on_container_created, c);
	return true;
}

/* ---- start ---- */

static void answer_start(SandboxService *s, RpcCall *call)
{
	Google__Protobuf__Timestamp at = timestamp_of(s->created_at);
	Containerd__Runtime__Sandbox__V1__StartSandboxResponse r =
	        CONTAINERD__RUNTIME__SANDBOX__V1__START_SANDBOX_RESPONSE__INIT;
	r.pid = (uint32_t)s->pid;
	r.created_at = &at;
	rpc_call_reply(call, &r);
}

/* A stop that came while starting is over, where there is nothing that runs. */
static void answer_stops(SandboxService *s)
{
	for (GList *l = s->waiters.head, *next; l != NULL; l = next) {
		Call *w = l->data;
		next = l->next;
		if (w->wants_status)
			continue;
		g_queue_delete_link(&s->waiters, l);
		answer_waiter(w);
	}
}

static void start_finish(Call *c, GError *error)
{
	SandboxService *s = c->service;
	RpcCall *call = c->call;
	g_free(c);
	if (error == NULL && s->state == SANDBOX_NONE)
		error_set_class(&error, CTRD_ERR_FAILED_PRECONDITION, "the sandbox was shut down");
	if (error != NULL) {
		if (s->state == SANDBOX_STARTING)
			s->state = SANDBOX_CREATED;
		answer_stops(s);
		rpc_call_fail(call, error);
		return;
	}
	if (s->state == SANDBOX_STARTING) // else it has ended already
		s->state = SANDBOX_STARTED;
	answer_start(s, call);
	if (s->ended_early)
		sandbox_ended(s, s->code, s->exited_at);
}

static void on_container_started(GError *error, void *data)
{
	start_finish(data, error);
}

static void on_pause_started(pid_t pid, GError *error, void *data)
{
	Call *c = data;
	c->service->pid = pid;
	start_finish(c, error);
}

static bool handle_start(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Runtime__Sandbox__V1__StartSandboxRequest *r = request;
	SandboxService *s = find(call, r->sandbox_id, error);
	if (s == NULL)
		return false;
	if (s->state != SANDBOX_CREATED)
		return error_set_class(error, CTRD_ERR_FAILED_PRECONDITION, "sandbox %s was started before",
		                       s->id);
	Call *c = g_new0(Call, 1);
	*c = (Call){.service = s, .call = call};
	s->state = SANDBOX_STARTING;
	s->ended_early = false;
	if (s->container != NULL) {
		rpc_call_defer(call);
		process_start(s->container->init, on_container_started, c);
		return true;
	}
	const Pause *pause = pause_start(s->shim->loop, s->spec, s->netns_path, on_pause_started, c, error);
	if (pause == NULL) {
		s->state = SANDBOX_CREATED;
		g_free(c);
		return false;
	}
	rpc_call_defer(call);
	s->pause = pause_pid(pause);
	reaper_watch(s->shim->reaper, s->pause, on_pause_ended, s);
	return true;
}

/* ---- stop ---- */

static void on_killed(GError *error, void *data)
{
	if (error != NULL && !error_is(error, CTRD_ERR_NOT_FOUND))
		log_warn("failed to kill a sandbox's process", "error", error->message, NULL);
	g_clear_error(&error);
}

static void sandbox_kill(SandboxService *s, int sig)
{
	if (s->container != NULL)
		process_kill(s->container->init, (uint32_t)sig, false, on_killed, NULL);
	else if (s->pause > 0)
		kill(s->pause, sig);
}

static void on_stop_timeout(void *data)
{
	SandboxService *s = data;
	g_clear_pointer(&s->kill_timer, loop_timer_free);
	sandbox_kill(s, SIGKILL);
}

/* Without a process there is nothing to wait for: created and never started. */
static bool has_process(const SandboxService *s)
{
	return s->container != NULL || s->pause > 0;
}

static bool handle_stop(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Runtime__Sandbox__V1__StopSandboxRequest *r = request;
	SandboxService *s = find(call, r->sandbox_id, error);
	if (s == NULL)
		return false;
	if (s->state != SANDBOX_ENDED && !has_process(s))
		sandbox_ended(s, 0, time_now());
	if (s->state != SANDBOX_ENDED && s->kill_timer == NULL) {
		sandbox_kill(s, r->timeout_secs > 0 ? SIGTERM : SIGKILL);
		if (r->timeout_secs > 0) {
			s->kill_timer = loop_timer_new(s->shim->loop, on_stop_timeout, s);
			loop_timer_start(s->kill_timer, r->timeout_secs * NS_PER_SEC, 0);
		}
	}
	wait_for_end(s, call, false);
	return true;
}

static bool handle_wait(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Runtime__Sandbox__V1__WaitSandboxRequest *r = request;
	SandboxService *s = find(call, r->sandbox_id, error);
	if (s == NULL)
		return false;
	wait_for_end(s, call, true);
	return true;
}

/* ---- what is answered at once ---- */

static void add_info(Containerd__Runtime__Sandbox__V1__SandboxStatusResponse *r, Arena *arena,
                     const char *key, const char *value)
{
	typedef Containerd__Runtime__Sandbox__V1__SandboxStatusResponse__InfoEntry Entry;
	Entry *entry = arena_alloc(arena, sizeof *entry);
	api_init(&containerd__runtime__sandbox__v1__sandbox_status_response__info_entry__descriptor, entry);
	entry->key = key;
	entry->value = arena_strdup(arena, value);
	r->info[r->n_info++] = entry;
}

static bool handle_status(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Runtime__Sandbox__V1__SandboxStatusRequest *q = request;
	Containerd__Runtime__Sandbox__V1__SandboxStatusResponse *r = response;
	const SandboxService *s = find(call, q->sandbox_id, error);
	if (s == NULL)
		return false;
	Arena *arena = rpc_call_arena(call);
	r->sandbox_id = arena_strdup(arena, s->id);
	r->pid = (uint32_t)s->pid;
	r->state = s->state == SANDBOX_STARTED ? "SANDBOX_READY" : "SANDBOX_NOTREADY";
	r->created_at = arena_alloc(arena, sizeof *r->created_at);
	*r->created_at = timestamp_of(s->created_at);
	r->exited_at = arena_alloc(arena, sizeof *r->exited_at);
	*r->exited_at = timestamp_of(s->exited_at);
	if (q->verbose) {
		r->info = arena_alloc_n(arena, 3, sizeof *r->info);
		g_autofree char *containers = g_strdup_printf("%u", g_hash_table_size(s->shim->containers));
		add_info(r, arena, "bundle", s->bundle);
		add_info(r, arena, "containers", containers);
		if (!str_empty(s->netns_path))
			add_info(r, arena, "netns", s->netns_path);
	}
	return true;
}

static bool handle_platform(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Runtime__Sandbox__V1__PlatformRequest *q = request;
	Containerd__Runtime__Sandbox__V1__PlatformResponse *r = response;
	if (find(call, q->sandbox_id, error) == NULL)
		return false;
	r->platform = arena_alloc(rpc_call_arena(call), sizeof *r->platform);
	api_init(&containerd__types__platform__descriptor, r->platform);
	r->platform->os = "linux";
	r->platform->architecture = ARCHITECTURE;
	r->platform->variant = VARIANT;
	return true;
}

static bool handle_ping(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Runtime__Sandbox__V1__PingRequest *q = request;
	return find(call, q->sandbox_id, error) != NULL;
}

/* The group of the sandbox's container; a pause process is in none of its own. */
static bool handle_metrics(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Runtime__Sandbox__V1__SandboxMetricsRequest *q = request;
	Containerd__Runtime__Sandbox__V1__SandboxMetricsResponse *r = response;
	const SandboxService *s = find(call, q->sandbox_id, error);
	if (s == NULL)
		return false;
	if (s->container == NULL || s->container->cgroup == NULL)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "cgroup does not exist");
	Arena *arena = rpc_call_arena(call);
	Google__Protobuf__Any *any = arena_alloc(arena, sizeof *any);
	google__protobuf__any__init(any);
	const char *type;
	if (!cgroup_stat(s->container->cgroup, arena, &type, &any->value.data, &any->value.len, error))
		return false;
	any->type_url = (char *)type;
	r->metrics = arena_alloc(arena, sizeof *r->metrics);
	api_init(&containerd__types__metric__descriptor, r->metrics);
	r->metrics->timestamp = arena_alloc(arena, sizeof *r->metrics->timestamp);
	*r->metrics->timestamp = timestamp_of(time_now());
	r->metrics->id = arena_strdup(arena, s->id);
	r->metrics->data = any;
	return true;
}

/* ---- shutdown ---- */

typedef struct {
	SandboxService *service;
	Container *container; // held
	void *wait;
} Leaving;

static void shutdown_done(SandboxService *s)
{
	RpcCall *call = g_steal_pointer(&s->shutdown);
	g_clear_pointer(&s->shutdown_timer, loop_timer_free);
	Containerd__Runtime__Sandbox__V1__ShutdownSandboxResponse r =
	        CONTAINERD__RUNTIME__SANDBOX__V1__SHUTDOWN_SANDBOX_RESPONSE__INIT;
	if (call != NULL)
		rpc_call_reply(call, &r);
	sandbox_forget(s);
	s->on_shutdown(s->data);
}

static void on_left(GError *error, void *data)
{
	Leaving *l = data;
	SandboxService *s = l->service;
	if (error != NULL)
		log_error_take(LOG_WARN, error, "failed to delete a container of the sandbox", "id",
		               l->container->id, NULL);
	container_unref(l->container);
	g_free(l);
	if (--s->leaving == 0 && s->shutdown != NULL)
		shutdown_done(s);
}

static void on_leaving_ended(Process *process, void *data)
{
	Leaving *l = data;
	l->wait = NULL;
	process_delete(process, on_left, l);
}

static void on_shutdown_timeout(void *data)
{
	SandboxService *s = data;
	g_clear_pointer(&s->shutdown_timer, loop_timer_free);
	GError *error = NULL;
	error_set_class(&error, CTRD_ERR_DEADLINE_EXCEEDED, "sandbox %s: %u containers do not end",
	                str_or(s->id, ""), s->leaving);
	rpc_call_fail(g_steal_pointer(&s->shutdown), error);
}

static void leave(SandboxService *s, Container *container)
{
	if (container->creating) { // what undoes it ends with the call that creates
		container_create_abort(s->shim, container->id);
		return;
	}
	Leaving *l = g_new0(Leaving, 1);
	*l = (Leaving){.service = s, .container = container_ref(container)};
	s->leaving++;
	process_kill(container->init, SIGKILL, true, on_killed, NULL);
	// A container that was never started has no exit before the runtime's delete.
	if (container->init->state == STATE_CREATED || container->init->state == STATE_CREATED_CHECKPOINT)
		process_delete(container->init, on_left, l);
	else
		l->wait = process_wait(container->init, on_leaving_ended, l);
}

static bool handle_shutdown(RpcCall *call, const void *request, void *response, GError **error)
{
	SandboxService *s = service_of(call);
	if (s->shutdown != NULL)
		return error_set_class(error, CTRD_ERR_FAILED_PRECONDITION, "sandbox %s is shutting down",
		                       s->id);
	rpc_call_defer(call);
	s->shutdown = call;
	if (s->pause > 0)
		kill(s->pause, SIGKILL);
	// All are held: deleting one changes the table.
	g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify)container_unref);
	GHashTableIter i;
	void *value;
	g_hash_table_iter_init(&i, s->shim->containers);
	while (g_hash_table_iter_next(&i, NULL, &value))
		g_ptr_array_add(all, container_ref(value));
	s->leaving++; // ours, so that nothing ends half way through the list
	for (guint k = 0; k < all->len; k++)
		leave(s, all->pdata[k]);
	if (--s->leaving == 0) {
		shutdown_done(s);
		return true;
	}
	s->shutdown_timer = loop_timer_new(s->shim->loop, on_shutdown_timeout, s);
	loop_timer_start(s->shutdown_timer, SHUTDOWN_TIMEOUT, 0);
	return true;
}

/* ---- the service ---- */

bool sandbox_service_is_active(const SandboxService *s)
{
	return s->state != SANDBOX_NONE;
}

SandboxService *sandbox_service_new(Shim *shim, LoopFn on_shutdown, void *data)
{
	SandboxService *s = g_new0(SandboxService, 1);
	*s = (SandboxService){.shim = shim, .on_shutdown = on_shutdown, .data = data};
	g_queue_init(&s->waiters);
	return s;
}

static const RpcMethod methods[] = {
        {"CreateSandbox", RPC_UNARY, RPC_ON_LOOP, handle_create},
        {"StartSandbox", RPC_UNARY, RPC_ON_LOOP, handle_start},
        {"Platform", RPC_UNARY, RPC_ON_LOOP, handle_platform},
        {"StopSandbox", RPC_UNARY, RPC_ON_LOOP, handle_stop},
        {"WaitSandbox", RPC_UNARY, RPC_ON_LOOP, handle_wait},
        {"SandboxStatus", RPC_UNARY, RPC_ON_LOOP, handle_status},
        {"PingSandbox", RPC_UNARY, RPC_ON_LOOP, handle_ping},
        {"ShutdownSandbox", RPC_UNARY, RPC_ON_LOOP, handle_shutdown},
        {"SandboxMetrics", RPC_UNARY, RPC_ON_LOOP, handle_metrics},
};

void sandbox_service_add(RpcServer *server, SandboxService *service)
{
	const RpcService s = {.descriptor = &containerd__runtime__sandbox__v1__sandbox__descriptor,
	                      .methods = methods,
	                      .n_methods = G_N_ELEMENTS(methods),
	                      .impl = service};
	rpc_server_add(server, &s);
}
