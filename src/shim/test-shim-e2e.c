// SPDX-License-Identifier: Apache-2.0

/*
 * Plays the daemon against the shim's binary (argv[1]): bundles with a busybox rootfs, the task API over
 * ttrpc, a server that takes the events; with runc and with crun. Needs root. Runs in a mount namespace of
 * its own, in which the cgroup v2 part of a hybrid hierarchy is out of crun's sight; nothing of the machine's
 * mounts is touched. The last test looks for what the others left behind: processes, mounts, cgroups,
 * sockets.
 */

#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/sanitizers.h"
#include "base/time.h"
#include "base/util.h"
#include "events/task.pb-c.h"
#include "google/protobuf/empty.pb-c.h"
#include "loop/lock.h"
#include "loop/loop.h"
#include "message.h"
#include "rpc/client.h"
#include "rpc/server.h"
#include "runtime/bootstrap/v1/bootstrap.pb-c.h"
#include "runtime/task/v2/shim.pb-c.h"
#include "runtime/task/v3/shim.pb-c.h"
#include "services/ttrpc/events/v1/events.pb-c.h"
#include "types/introspection.pb-c.h"
#include "types/runc/options/oci.pb-c.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NS "shim-e2e"
#define CALL_TIMEOUT (40 * NS_PER_SEC)

static const char *shim_path;
static char *top; // temporary directory of the whole run
static char *rootfs;
static Loop *loop;
static char *events_address;

/* ---- the daemon's end of the events ---- */

typedef struct {
	char *topic, *container, *id; // id: exec or process
	uint32_t pid, code;
} Event;

static Lock events_lock;
static Cond events_cond;
static GPtrArray *events;

static bool handle_forward(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Events__Ttrpc__V1__ForwardRequest *r = request;
	const Containerd__Types__Envelope *e = r->envelope;
	g_assert_cmpstr(e->namespace_, ==, NS);
	Event *event = g_new0(Event, 1);
	event->topic = g_strdup(e->topic);
#define TAKE(type_, descriptor_, ...)                                                                        \
	if (api_any_is(e->event, &containerd__events__##descriptor_##__descriptor)) {                        \
		autopb ProtobufCMessage *m_ = api_any_unpack(                                                \
		        e->event, &containerd__events__##descriptor_##__descriptor, NULL, NULL);             \
		const Containerd__Events__##type_ *m = (const Containerd__Events__##type_ *)m_;              \
		event->container = g_strdup(m->container_id);                                                \
		__VA_ARGS__;                                                                                 \
	}
	TAKE(TaskCreate, task_create, event->pid = m->pid)
	TAKE(TaskStart, task_start, event->pid = m->pid)
	TAKE(TaskExit, task_exit, event->pid = m->pid; event->code = m->exit_status;
	     event->id = g_strdup(m->id))
	TAKE(TaskDelete, task_delete, event->pid = m->pid; event->code = m->exit_status)
	TAKE(TaskExecAdded, task_exec_added, event->id = g_strdup(m->exec_id))
	TAKE(TaskExecStarted, task_exec_started, event->id = g_strdup(m->exec_id); event->pid = m->pid)
	TAKE(TaskPaused, task_paused)
	TAKE(TaskResumed, task_resumed)
	TAKE(TaskOOM, task_oom)
#undef TAKE
	LOCK_SCOPE(&events_lock);
	g_ptr_array_add(events, event);
	cond_broadcast(&events_cond);
	return true;
}

static const RpcMethod event_methods[] = {{"Forward", RPC_UNARY, RPC_ON_LOOP, handle_forward}};

static void listen_for_events(void *data)
{
	const char *address = data;
	g_autoptr(GError) error = NULL;
	const RpcService service = {.descriptor =
	                                    &containerd__services__events__ttrpc__v1__events__descriptor,
	                            .methods = event_methods,
	                            .n_methods = 1};
	RpcServer *server = rpc_server_new(loop, NULL, NULL);
	rpc_server_add(server, &service);
	int fd = rpc_listen_unix(address, 0600, 0, 0, &error);
	g_assert_no_error(error);
	rpc_server_listen(server, RPC_PROTO_TTRPC, fd, false, &error);
	g_assert_no_error(error);
}

/* The topics of one container so far, "/tasks/create /tasks/start ..." with the exec's id after a colon. */
static char *events_of(const char *container)
{
	g_autoptr(GString) s = g_string_new(NULL);
	LOCK_SCOPE(&events_lock);
	for (guint i = 0; i < events->len; i++) {
		const Event *e = events->pdata[i];
		if (g_strcmp0(e->container, container) != 0)
			continue;
		g_string_append_printf(s, "%s%s", s->len > 0 ? " " : "", e->topic + strlen("/tasks/"));
		if (e->id != NULL && strcmp(e->id, container) != 0)
			g_string_append_printf(s, ":%s", e->id);
	}
	return g_string_free(g_steal_pointer(&s), FALSE);
}

static void assert_events(const char *container, const char *want)
{
	int64_t deadline = time_mono() + 5 * NS_PER_SEC;
	for (;;) {
		g_autofree char *got = events_of(container);
		if (strcmp(got, want) == 0)
			return;
		if (time_mono() > deadline)
			g_assert_cmpstr(got, ==, want);
		LOCK_SCOPE(&events_lock);
		cond_wait_until(&events_cond, &events_lock, time_mono() + 100 * NS_PER_MS);
	}
}

/* ---- bundles and shims ---- */

typedef struct {
	char *id, *bundle, *address;
	const char *runtime; // binary
	RpcClient *client;
	pid_t shim;
	const ProtobufCServiceDescriptor *service;
	char *in, *out, *err; // for create
	bool terminal;
	const char *events; // the daemon's address for events; NULL: events_address
} Box;

static const char config_template[] =
        "{\"ociVersion\":\"1.0.2\",\"process\":{\"terminal\":%s,\"user\":{\"uid\":0,\"gid\":0},\"args\":%s,"
        "\"env\":[\"PATH=/bin\",\"TERM=xterm\"],\"cwd\":\"/\",\"noNewPrivileges\":true},"
        "\"root\":{\"path\":\"%s\"},\"hostname\":\"box\","
        "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
        "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"mode=755\"]},"
        "{\"destination\":\"/dev/"
        "pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"newinstance\","
        "\"ptmxmode=0666\",\"mode=0620\"]}],"
        "\"annotations\":{%s},"
        "\"linux\":{\"cgroupsPath\":\"/" NS "/%s\",\"namespaces\":[%s{\"type\":\"ipc\"},{\"type\":\"uts\"},"
        "{\"type\":\"mount\"}]%s}}";

static char *quote_args(const char *const *argv)
{
	g_autoptr(GString) s = g_string_new("[");
	for (; *argv != NULL; argv++) {
		g_autofree char *q = go_quote(*argv);
		g_string_append_printf(s, "%s%s", s->len > 1 ? "," : "", q);
	}
	g_string_append_c(s, ']');
	return g_string_free(g_steal_pointer(&s), FALSE);
}

typedef struct {
	bool shared_pids; // no pid namespace of its own
	const char *annotations, *resources;
	bool mounted; // rootfs by a mount of the request
	bool terminal;
} BoxOptions;

static unsigned counter;

static Box *box_new(const char *runtime, const BoxOptions *o, const char *const *argv)
{
	static const BoxOptions none;
	if (o == NULL)
		o = &none;
	Box *box = g_new0(Box, 1);
	box->id = g_strdup_printf("e2e-%d-%u", getpid(), counter++);
	g_autofree char *dir = g_strdup_printf("%s/bundles", top);
	box->bundle = path_join(dir, box->id);
	box->runtime = runtime;
	box->terminal = o->terminal;
	box->service = &containerd__task__v3__task__descriptor;
	g_assert_true(dir_make_all(box->bundle, 0711, NULL));
	g_autofree char *args = quote_args(argv);
	g_autofree char *config =
	        g_strdup_printf(config_template, o->terminal ? "true" : "false", args,
	                        o->mounted ? "rootfs" : rootfs, str_or(o->annotations, ""), box->id,
	                        o->shared_pids ? "" : "{\"type\":\"pid\"},", str_or(o->resources, ""));
	g_autofree char *path = path_join(box->bundle, "config.json");
	g_assert_true(file_write_atomic(path, config, strlen(config), 0600, false, NULL));
	g_autofree char *log = path_join(box->bundle, "log");
	g_assert_true(file_write_atomic(log, "", 0, 0600, false, NULL));
	return box;
}
#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

static char *box_file(const Box *box, const char *name)
{
	g_autofree char *path = path_join(box->bundle, name);
	char *text = NULL;
	size_t len;
	file_read(path, 1 << 20, &text, &len, NULL);
	return text;
}

/* Runs the shim with flags as a daemon gives them. */
static void run_shim(const Box *box, const char *action, GBytes *input, const char *const *env,
                     ProcessResult *result)
{
	const char *argv[] = {shim_path,    "-namespace", NS,      "-address", top, "-publish-binary",
	                      "/bin/false", "-id",        box->id, action,     NULL};
	g_auto(GStrv) envp = g_get_environ();
	envp = g_environ_setenv(envp, "TTRPC_ADDRESS", str_or(box->events, events_address), TRUE);
	for (; env != NULL && *env != NULL; env += 2)
		envp = g_environ_setenv(envp, env[0], env[1], TRUE);
	const ProcessSpec spec = {.argv = argv,
	                          .envp = (const char *const *)envp,
	                          .cwd = box->bundle,
	                          .stdin_data = input,
	                          .timeout_ns = 20 * NS_PER_SEC};
	g_autoptr(GError) error = NULL;
	process_run(&spec, result, &error);
	g_assert_no_error(error);
}

static GBytes *bootstrap_params(const Box *box)
{
	Containerd__Runtime__Bootstrap__V1__BootstrapParams p =
	        CONTAINERD__RUNTIME__BOOTSTRAP__V1__BOOTSTRAP_PARAMS__INIT;
	p.instance_id = box->id;
	p.namespace_ = NS;
	p.containerd_version = "2.3.4";
	p.containerd_grpc_address = top;
	p.containerd_ttrpc_address = str_or(box->events, events_address);
	g_autofree char *dir = path_join(top, "s");
	p.opt_socket_dir_case =
	        CONTAINERD__RUNTIME__BOOTSTRAP__V1__BOOTSTRAP_PARAMS__OPT_SOCKET_DIR_SOCKET_DIR;
	p.socket_dir = dir;
	size_t len = protobuf_c_message_get_packed_size(&p.base);
	uint8_t *data = g_malloc(len);
	protobuf_c_message_pack(&p.base, data);
	return g_bytes_new_take(data, len);
}

static void connect_shim(Box *box)
{
	box->client = rpc_client_new(loop, RPC_PROTO_TTRPC, box->address);
}

static void box_start_shim(Box *box)
{
	g_autoptr(GBytes) input = bootstrap_params(box);
	g_auto(ProcessResult) r = {0};
	run_shim(box, "start", input, NULL, &r);
	g_assert_cmpstr(r.err, ==, "");
	g_assert_cmpint(r.status, ==, 0);
	autopb ProtobufCMessage *m =
	        api_unpack(&containerd__runtime__bootstrap__v1__bootstrap_result__descriptor, NULL, r.out,
	                   r.out_len, NULL);
	g_assert_nonnull(m);
	const Containerd__Runtime__Bootstrap__V1__BootstrapResult *result = (void *)m;
	g_assert_cmpint(result->version, ==, 3);
	g_assert_cmpstr(result->protocol, ==, "ttrpc");
	box->address = g_strdup(result->address);
	g_autofree char *pid = box_file(box, "shim.pid");
	box->shim = pid != NULL ? atoi(pid) : 0;
	connect_shim(box);
}

/* NULL, or the answer; free with autopb. */
static void *box_try(Box *box, const char *method, const void *request, GError **error)
{
	const ProtobufCMethodDescriptor *m =
	        protobuf_c_service_descriptor_get_method_by_name(box->service, method);
	const RpcCallOptions options = {.ns = NS, .timeout_ns = CALL_TIMEOUT};
	void *response = NULL;
	g_assert_nonnull(m);
	return rpc_client_call(box->client, box->service, method, &options, request, &response, error)
	               ? response
	               : NULL;
}

static void *box_call(Box *box, const char *method, const void *request)
{
	g_autoptr(GError) error = NULL;
	void *response = box_try(box, method, request, &error);
	g_assert_no_error(error);
	return response;
}

static void assert_fails(Box *box, const char *method, const void *request, CtrdErrorCode code,
                         const char *text)
{
	g_autoptr(GError) error = NULL;
	autopb void *response = box_try(box, method, request, &error);
	g_assert_null(response);
	g_assert_cmpstr(error->message, ==, text);
	g_assert_cmpint(error_class(error), ==, code);
}

#define REQUEST(type, var, ...)                                                                              \
	Containerd__Task__V3__##type var;                                                                    \
	api_init(&containerd__task__v3__##__VA_ARGS__##__descriptor, &var);                                  \
	var.id = box->id

static bool box_try_create(Box *box, GError **error)
{
	REQUEST(CreateTaskRequest, r, create_task_request);
	r.bundle = box->bundle;
	r.terminal = box->terminal;
	r.stdin = str_or(box->in, "");
	r.stdout = str_or(box->out, "");
	r.stderr = str_or(box->err, "");
	Containerd__Runc__V1__Options o = CONTAINERD__RUNC__V1__OPTIONS__INIT;
	g_autofree char *root = path_join(top, "runc");
	o.binary_name = box->runtime;
	o.root = root;
	g_autofree uint8_t *packed = g_malloc(protobuf_c_message_get_packed_size(&o.base));
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	any.type_url = (char *)"containerd.runc.v1.Options";
	any.value.len = protobuf_c_message_pack(&o.base, packed);
	any.value.data = packed;
	r.options = &any;
	// A bundle whose config.json says "rootfs" gets it by a bind mount.
	const char *bind[] = {"rbind", "rw"};
	Containerd__Types__Mount mount = CONTAINERD__TYPES__MOUNT__INIT;
	mount.type = "bind";
	mount.source = rootfs;
	mount.options = bind;
	mount.n_options = 2;
	Containerd__Types__Mount *mounts[] = {&mount};
	g_autofree char *config = box_file(box, "config.json");
	if (config != NULL && strstr(config, "\"path\":\"rootfs\"") != NULL) {
		r.rootfs = mounts;
		r.n_rootfs = 1;
	}
	autopb Containerd__Task__V3__CreateTaskResponse *response = box_try(box, "Create", &r, error);
	if (response == NULL)
		return false;
	g_assert_cmpuint(response->pid, >, 0);
	return true;
}

static void box_create(Box *box)
{
	g_autoptr(GError) error = NULL;
	box_try_create(box, &error);
	g_assert_no_error(error);
}

static void box_start(Box *box, const char *exec)
{
	REQUEST(StartRequest, r, start_request);
	r.exec_id = exec;
	autopb void *response = box_call(box, "Start", &r);
}

static uint32_t box_wait(Box *box, const char *exec)
{
	REQUEST(WaitRequest, r, wait_request);
	r.exec_id = exec;
	autopb Containerd__Task__V3__WaitResponse *response = box_call(box, "Wait", &r);
	g_assert_cmpint(response->exited_at->seconds, >, 1600000000);
	return response->exit_status;
}

static uint32_t box_delete(Box *box, const char *exec)
{
	REQUEST(DeleteRequest, r, delete_request);
	r.exec_id = exec;
	autopb Containerd__Task__V3__DeleteResponse *response = box_call(box, "Delete", &r);
	return response->exit_status;
}

static void box_kill(Box *box, const char *exec, uint32_t sig)
{
	REQUEST(KillRequest, r, kill_request);
	r.exec_id = exec;
	r.signal = sig;
	autopb void *response = box_call(box, "Kill", &r);
}

static Containerd__V1__Types__Status box_status(Box *box, const char *exec)
{
	REQUEST(StateRequest, r, state_request);
	r.exec_id = exec;
	autopb Containerd__Task__V3__StateResponse *response = box_call(box, "State", &r);
	g_assert_cmpstr(response->id, ==, *exec != '\0' ? exec : box->id);
	g_assert_cmpstr(response->bundle, ==, box->bundle);
	return response->status;
}

typedef struct {
	const char *in, *out, *err;
	bool terminal;
} Streams;

static bool box_try_exec(Box *box, const char *exec, const Streams *s, const char *const *argv,
                         GError **error)
{
	static const Streams none;
	if (s == NULL)
		s = &none;
	g_autofree char *args = quote_args(argv);
	g_autofree char *spec = g_strdup_printf(
	        "{\"user\":{\"uid\":0,\"gid\":0},\"args\":%s,\"env\":[\"PATH=/bin\"],\"cwd\":\"/\"}", args);
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	any.type_url = (char *)"types.containerd.io/opencontainers/runtime-spec/1/Process";
	any.value.data = (uint8_t *)spec;
	any.value.len = strlen(spec);
	REQUEST(ExecProcessRequest, r, exec_process_request);
	r.exec_id = exec;
	r.spec = &any;
	r.terminal = s->terminal;
	r.stdin = str_or(s->in, "");
	r.stdout = str_or(s->out, "");
	r.stderr = str_or(s->err, "");
	autopb void *response = box_try(box, "Exec", &r, error);
	return response != NULL;
}

static void box_exec(Box *box, const char *exec, const Streams *s, const char *const *argv)
{
	g_autoptr(GError) error = NULL;
	box_try_exec(box, exec, s, argv, &error);
	g_assert_no_error(error);
}

/* Shutdown, and the shim and its socket are gone. */
static void box_free(Box *box)
{
	if (box->client != NULL) {
		REQUEST(ShutdownRequest, r, shutdown_request);
		autopb void *response = box_try(box, "Shutdown", &r, NULL);
		int64_t deadline = time_mono() + 10 * NS_PER_SEC;
		const char *path = box->address + strlen("unix://");
		while ((path_exists(path) || (box->shim > 0 && kill(box->shim, 0) == 0)) &&
		       time_mono() < deadline) {
			waitpid(box->shim, NULL, WNOHANG); // we are its subreaper's subreaper
			g_usleep(5000);
		}
		g_assert_false(path_exists(path));
		g_assert_true(box->shim == 0 || kill(box->shim, 0) < 0);
		rpc_client_unref(box->client);
	}
	g_autofree char *log = box_file(box, "log");
	if (log != NULL && strstr(log, "level=error") != NULL)
		g_test_message("log of the shim: %s", log);
	g_assert_true(tree_remove(box->bundle, NULL));
	g_free(box->id);
	g_free(box->bundle);
	g_free(box->address);
	g_free(box->in);
	g_free(box->out);
	g_free(box->err);
	g_free(box);
}

/* ---- fifos ---- */

typedef struct {
	char *path;
	int fd; // our reader
} Fifo;

static Fifo fifo_new(const Box *box, const char *name, bool open_reader)
{
	Fifo f = {.path = path_join(box->bundle, name), .fd = -1};
	g_assert_cmpint(mkfifo(f.path, 0600), ==, 0);
	if (open_reader)
		f.fd = open(f.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return f;
}

/* Everything up to the end; the fifo's other end must close within a few seconds. */
static char *fifo_read(Fifo *f)
{
	g_autoptr(GString) s = g_string_new(NULL);
	int64_t deadline = time_mono() + 15 * NS_PER_SEC;
	while (time_mono() < deadline) {
		char buf[4096];
		ssize_t n = read(f->fd, buf, sizeof buf);
		if (n == 0)
			return g_string_free(g_steal_pointer(&s), FALSE);
		if (n > 0)
			g_string_append_len(s, buf, n);
		else
			g_usleep(2000);
	}
	g_error("no end of %s after: %s", f->path, s->str);
}

static void fifo_clear(Fifo *f)
{
	fd_close(&f->fd);
	g_free(f->path);
}

/* ---- tests ---- */

#define SLEEP ARGV("/bin/sleep", "1000")

static void test_life(const void *data)
{
	const BoxOptions o = {.mounted = true};
	Box *box = box_new(data, &o, ARGV("/bin/sh", "-c", "echo out; echo err >&2; cat; exit 3"));
	Fifo in = fifo_new(box, "in", false), out = fifo_new(box, "out", true),
	     err = fifo_new(box, "err", true);
	box->in = g_strdup(in.path);
	box->out = g_strdup(out.path);
	box->err = g_strdup(err.path);
	box_start_shim(box);
	REQUEST(StateRequest, state, state_request);
	assert_fails(box, "State", &state, CTRD_ERR_NOT_FOUND, "container not created: not found");
	box_create(box);
	g_assert_cmpint(box_status(box, ""), ==, CONTAINERD__V1__TYPES__STATUS__CREATED);
	g_autofree char *pid = box_file(box, "init.pid");
	g_assert_cmpint(kill(atoi(pid), 0), ==, 0);
	g_autofree char *runtime = box_file(box, "runtime");
	g_assert_cmpstr(runtime, ==, box->runtime);
	g_autofree char *mounted = g_strdup_printf("%s/rootfs/bin/busybox", box->bundle);
	g_assert_true(path_exists(mounted));
	autofd writer = open(in.path, O_WRONLY | O_CLOEXEC);
	box_start(box, "");
	g_assert_cmpint(box_status(box, ""), ==, CONTAINERD__V1__TYPES__STATUS__RUNNING);
	REQUEST(DeleteRequest, del, delete_request);
	assert_fails(box, "Delete", &del, CTRD_ERR_UNKNOWN, "cannot delete a running process");
	REQUEST(StartRequest, start, start_request);
	assert_fails(box, "Start", &start, CTRD_ERR_UNKNOWN, "cannot start a running process");
	g_assert_cmpint(write(writer, "fed\n", 4), ==, 4);
	fd_close(&writer);
	g_usleep(50000);
	g_assert_cmpint(box_status(box, ""), ==,
	                CONTAINERD__V1__TYPES__STATUS__RUNNING); // the shim holds stdin open
	REQUEST(CloseIORequest, close_io, close_iorequest);
	close_io.stdin = true;
	autopb void *closed = box_call(box, "CloseIO", &close_io);
	g_assert_cmpuint(box_wait(box, ""), ==, 3);
	g_assert_cmpint(box_status(box, ""), ==, CONTAINERD__V1__TYPES__STATUS__STOPPED);
	g_autofree char *text = fifo_read(&out);
	g_autofree char *errors = fifo_read(&err);
	g_assert_cmpstr(text, ==, "out\nfed\n");
	g_assert_cmpstr(errors, ==, "err\n");
	REQUEST(KillRequest, killed, kill_request);
	killed.signal = SIGKILL;
	assert_fails(box, "Kill", &killed, CTRD_ERR_NOT_FOUND, "process already finished: not found");
	g_assert_cmpuint(box_delete(box, ""), ==, 3);
	g_assert_false(path_exists(mounted));
	assert_fails(box, "Delete", &del, CTRD_ERR_NOT_FOUND, "container not created: not found");
	assert_events(box->id, "create start exit delete");
	fifo_clear(&in);
	fifo_clear(&out);
	fifo_clear(&err);
	box_free(box);
}

static void test_exec(const void *data)
{
	Box *box = box_new(data, NULL, SLEEP);
	box_start_shim(box);
	box_create(box);
	box_start(box, "");
	Fifo in = fifo_new(box, "in", false), out = fifo_new(box, "out", true);
	const Streams s = {.in = in.path, .out = out.path};
	box_exec(box, "one", &s, ARGV("/bin/sh", "-c", "cat; exit 9"));
	g_autoptr(GError) error = NULL;
	g_assert_false(box_try_exec(box, "one", NULL, ARGV("/bin/true"), &error));
	g_assert_cmpstr(error->message, ==, "id one: already exists");
	g_clear_error(&error);
	g_assert_false(box_try_exec(box, "../one", NULL, ARGV("/bin/true"), &error));
	g_assert_cmpint(error_class(error), ==, CTRD_ERR_INVALID_ARGUMENT);
	REQUEST(KillRequest, k, kill_request);
	k.exec_id = "one";
	k.signal = 9;
	assert_fails(box, "Kill", &k, CTRD_ERR_FAILED_PRECONDITION,
	             "process not created: failed precondition");
	g_assert_cmpint(box_status(box, "one"), ==, CONTAINERD__V1__TYPES__STATUS__CREATED);
	box_start(box, "one");
	REQUEST(DeleteRequest, del, delete_request);
	del.exec_id = "one";
	assert_fails(box, "Delete", &del, CTRD_ERR_UNKNOWN, "cannot delete a running process");
	REQUEST(PidsRequest, pids, pids_request);
	autopb Containerd__Task__V3__PidsResponse *list = box_call(box, "Pids", &pids);
	g_assert_cmpuint(list->n_processes, >=, 2);
	bool named = false;
	for (size_t i = 0; i < list->n_processes; i++)
		named = named || list->processes[i]->info != NULL;
	g_assert_true(named);
	autofd writer = open(in.path, O_WRONLY | O_CLOEXEC);
	g_assert_cmpint(write(writer, "abc", 3), ==, 3);
	fd_close(&writer);
	REQUEST(CloseIORequest, close_io, close_iorequest);
	close_io.exec_id = "one";
	close_io.stdin = true;
	autopb void *closed = box_call(box, "CloseIO", &close_io);
	g_assert_cmpuint(box_wait(box, "one"), ==, 9);
	g_autofree char *text = fifo_read(&out);
	g_assert_cmpstr(text, ==, "abc");
	assert_fails(box, "Kill", &k, CTRD_ERR_NOT_FOUND, "process already finished: not found");
	g_assert_cmpuint(box_delete(box, "one"), ==, 9);
	REQUEST(StateRequest, state, state_request);
	state.exec_id = "one";
	assert_fails(box, "State", &state, CTRD_ERR_NOT_FOUND, "process does not exist one: not found");

	// a program that is not there
	box_exec(box, "two", NULL, ARGV("/no/such"));
	REQUEST(StartRequest, start, start_request);
	start.exec_id = "two";
	g_clear_error(&error);
	autopb void *started = box_try(box, "Start", &start, &error);
	g_assert_null(started);
	g_assert_true(g_str_has_prefix(error->message, "OCI runtime exec failed: "));
	g_assert_cmpuint(box_delete(box, "two"), ==, 0);

	// it ends before the runtime has told its pid
	for (int i = 0; i < 20; i++) {
		g_autofree char *id = g_strdup_printf("short%d", i);
		box_exec(box, id, NULL, ARGV("/bin/true"));
		box_start(box, id);
		g_assert_cmpuint(box_wait(box, id), ==, 0);
		g_assert_cmpuint(box_delete(box, id), ==, 0);
	}
	box_exec(box, "late", NULL, ARGV("/bin/true"));
	box_exec(box, "long", NULL, SLEEP);
	box_start(box, "long");
	box_kill(box, "", SIGKILL);
	g_assert_cmpuint(box_wait(box, "long"), ==, 137);
	g_assert_cmpuint(box_wait(box, ""), ==, 137);
	start.exec_id = "late";
	g_autofree char *late =
	        g_strdup_printf("container %s init process is not running: failed precondition", box->id);
	assert_fails(box, "Start", &start, CTRD_ERR_FAILED_PRECONDITION, late);
	g_clear_error(&error);
	g_assert_false(box_try_exec(box, "later", NULL, ARGV("/bin/true"), &error));
	g_assert_cmpstr(error->message, ==, "cannot exec in a stopped state");
	g_assert_cmpuint(box_delete(box, ""), ==, 137);

	g_autoptr(GString) want =
	        g_string_new("create start exec-added:one exec-started:one exit:one exec-added:two");
	for (int i = 0; i < 20; i++)
		g_string_append_printf(want, " exec-added:short%d exec-started:short%d exit:short%d", i, i,
		                       i);
	g_string_append(want, " exec-added:late exec-added:long exec-started:long exit:long exit delete");
	assert_events(box->id, want->str);
	fifo_clear(&in);
	fifo_clear(&out);
	box_free(box);
}

static void test_shared_pids(const void *data)
{
	const BoxOptions o = {.shared_pids = true};
	Box *box = box_new(data, &o, ARGV("/bin/sh", "-c", "sleep 1000 & sleep 1000 & exec sleep 0.3"));
	box_start_shim(box);
	box_create(box);
	box_start(box, "");
	box_exec(box, "x", NULL, SLEEP);
	box_start(box, "x");
	g_assert_cmpuint(box_wait(box, ""), ==, 0);
	g_assert_cmpuint(box_wait(box, "x"), ==, 137); // killed with the rest
	assert_events(box->id, "create start exec-added:x exec-started:x exit:x exit");
	g_assert_cmpuint(box_delete(box, ""), ==, 0);
	box_free(box);
}

static void test_never_started(const void *data)
{
	Box *box = box_new(data, NULL, SLEEP);
	box_start_shim(box);
	box_create(box);
	g_autoptr(GError) error = NULL;
	g_assert_false(box_try_create(box, &error));
	g_autofree char *text = g_strdup_printf("task %s: already exists", box->id);
	g_assert_cmpstr(error->message, ==, text);
	box_delete(box, "");
	assert_events(box->id, "create exit delete");
	box_free(box);
}

static void test_pause(const void *data)
{
	const BoxOptions o = {.resources = ",\"resources\":{\"memory\":{\"limit\":67108864}}"};
	Box *box = box_new(data, &o, SLEEP);
	box_start_shim(box);
	box_create(box);
	REQUEST(PauseRequest, pause_, pause_request);
	REQUEST(ResumeRequest, resume, resume_request);
	assert_fails(box, "Pause", &pause_, CTRD_ERR_UNKNOWN, "cannot pause task in created state");
	box_start(box, "");
	assert_fails(box, "Resume", &resume, CTRD_ERR_UNKNOWN, "cannot resume a running process");
	autopb void *paused = box_call(box, "Pause", &pause_);
	g_assert_cmpint(box_status(box, ""), ==, CONTAINERD__V1__TYPES__STATUS__PAUSED);
	g_autoptr(GError) error = NULL;
	g_assert_false(box_try_exec(box, "x", NULL, ARGV("/bin/true"), &error));
	g_assert_cmpstr(error->message, ==, "cannot exec in a paused state");
	autopb void *resumed = box_call(box, "Resume", &resume);
	g_assert_cmpint(box_status(box, ""), ==, CONTAINERD__V1__TYPES__STATUS__RUNNING);

	static const char resources[] = "{\"memory\":{\"limit\":33554432}}";
	REQUEST(UpdateTaskRequest, update, update_task_request);
	assert_fails(box, "Update", &update, CTRD_ERR_INVALID_ARGUMENT,
	             "no resources given: invalid argument");
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	any.type_url = (char *)"types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";
	any.value.data = (uint8_t *)resources;
	any.value.len = strlen(resources);
	update.resources = &any;
	autopb void *updated = box_call(box, "Update", &update);
	REQUEST(StatsRequest, stats, stats_request);
	autopb Containerd__Task__V3__StatsResponse *s = box_call(box, "Stats", &stats);
	g_assert_true(g_str_has_prefix(s->stats->type_url, "io.containerd.cgroups.v"));
	g_assert_cmpuint(s->stats->value.len, >, 50);

	REQUEST(ConnectRequest, connect_, connect_request);
	autopb Containerd__Task__V3__ConnectResponse *c = box_call(box, "Connect", &connect_);
	g_assert_cmpuint(c->shim_pid, ==, box->shim);
	// The old name of the same service.
	box->service = &containerd__task__v2__task__descriptor;
	g_assert_cmpint(box_status(box, ""), ==, CONTAINERD__V1__TYPES__STATUS__RUNNING);
	box_kill(box, "", SIGKILL);
	g_assert_cmpuint(box_wait(box, ""), ==, 137);
	box_delete(box, "");
	assert_events(box->id, "create start paused resumed exit delete");
	box_free(box);
}

static void test_terminal(const void *data)
{
	Box *box = box_new(data, NULL, SLEEP);
	box_start_shim(box);
	box_create(box);
	box_start(box, "");
	Fifo in = fifo_new(box, "in", false), out = fifo_new(box, "out", true);
	const Streams s = {.in = in.path, .out = out.path, .terminal = true};
	box_exec(box, "tty", &s,
	         ARGV("/bin/sh", "-c", "read line; stty size; echo $line; sleep 1000 & exit 4"));
	box_start(box, "tty");
	REQUEST(ResizePtyRequest, resize, resize_pty_request);
	resize.exec_id = "tty";
	resize.width = 132;
	resize.height = 43;
	autopb void *resized = box_call(box, "ResizePty", &resize);
	autofd writer = open(in.path, O_WRONLY | O_CLOEXEC);
	g_assert_cmpint(write(writer, "typed\n", 6), ==, 6);
	// A child that keeps the terminal open holds up neither the exit nor Delete.
	g_assert_cmpuint(box_wait(box, "tty"), ==, 4);
	int64_t before = time_mono();
	g_assert_cmpuint(box_delete(box, "tty"), ==, 4);
	g_assert_cmpint(time_mono() - before, <, 3 * NS_PER_SEC);
	g_autofree char *text = fifo_read(&out);
	g_assert_nonnull(strstr(text, "43 132"));
	g_assert_nonnull(strstr(text, "typed"));
	box_kill(box, "", SIGKILL);
	box_wait(box, "");
	box_delete(box, "");
	fifo_clear(&in);
	fifo_clear(&out);
	box_free(box);

	const BoxOptions o = {.terminal = true};
	box = box_new(data, &o, ARGV("/bin/sh", "-c", "tty; echo done"));
	out = fifo_new(box, "out", true);
	box->out = g_strdup(out.path);
	box_start_shim(box);
	box_create(box);
	box_start(box, "");
	g_assert_cmpuint(box_wait(box, ""), ==, 0);
	box_delete(box, "");
	text = (g_free(text), fifo_read(&out));
	g_assert_cmpstr(text, ==, "/dev/pts/0\r\ndone\r\n");
	fifo_clear(&out);
	box_free(box);
}

/* Nobody reads, or a child keeps the pipe: Delete gives up after ten seconds, and nothing else waits. */
static void test_stuck_streams(const void *data)
{
	Box *box = box_new(data, NULL, ARGV("/bin/yes", "a line that nobody reads"));
	Fifo out = fifo_new(box, "out", true);
	box->out = g_strdup(out.path);
	box_start_shim(box);
	box_create(box);
	box_start(box, "");
	g_usleep(300000);
	int64_t before = time_mono();
	g_assert_cmpint(box_status(box, ""), ==, CONTAINERD__V1__TYPES__STATUS__RUNNING);
	g_assert_cmpint(time_mono() - before, <, NS_PER_SEC / 2);
	box_kill(box, "", SIGKILL);
	g_assert_cmpuint(box_wait(box, ""), ==, 137);
	before = time_mono();
	g_assert_cmpuint(box_delete(box, ""), ==, 137);
	g_assert_cmpint(time_mono() - before, >, 9 * NS_PER_SEC);
	g_assert_cmpint(time_mono() - before, <, 13 * NS_PER_SEC);
	fifo_clear(&out);
	box_free(box);
}

static void write_script(const char *path, const char *text)
{
	g_assert_true(file_write_atomic(path, text, strlen(text), 0755, false, NULL));
}

static void test_failures(void)
{
	g_autoptr(GError) error = NULL;
	Box *box = box_new("/no/such/runtime", NULL, SLEEP);
	box_start_shim(box);
	g_assert_false(box_try_create(box, &error));
	g_autofree char *want = g_strdup_printf("OCI runtime create failed: unable to retrieve OCI runtime "
	                                        "error (open %s/log.json: no such file or directory): "
	                                        "fork/exec /no/such/runtime: no such file or directory",
	                                        box->bundle);
	g_assert_cmpstr(error->message, ==, want);
	g_clear_error(&error);
	box->runtime = "no-such-runtime";
	g_assert_false(box_try_create(box, &error));
	g_assert_true(g_str_has_suffix(error->message,
	                               "exec: \"no-such-runtime\": executable file not found in $PATH"));
	g_clear_error(&error);

	box->runtime = "runc";
	g_autofree char *config = path_join(box->bundle, "config.json");
	g_assert_true(file_write_atomic(config, "{broken", 7, 0600, false, NULL));
	g_assert_false(box_try_create(box, &error));
	g_assert_true(g_str_has_prefix(error->message, "OCI runtime create failed: "));
	g_clear_error(&error);

	box->out = g_strdup("nonsense://x");
	g_assert_false(box_try_create(box, &error));
	g_assert_cmpstr(error->message, ==,
	                "failed to create init process I/O: unknown STDIO scheme nonsense");
	g_clear_error(&error);

	g_free(box->out);
	box->out = g_strdup("/no/such/fifo");
	g_assert_false(box_try_create(box, &error));
	g_assert_cmpstr(
	        error->message, ==,
	        "failed to create init process I/O: unable to copy pipes: containerd-shim: opening file "
	        "\"/no/such/fifo\" failed: open /no/such/fifo: no such file or directory");
	g_autofree char *none = events_of(box->id);
	g_assert_cmpstr(none, ==, "");
	box_free(box);
}

typedef struct {
	Box *box;
	GError *error;
} Creating;

static void *create_thread(void *data)
{
	Creating *c = data;
	box_try_create(c->box, &c->error);
	return NULL;
}

/* A runtime that hangs in create: others in the same shim do not notice, Kill ends it, nothing is left. */
static void test_hanging_runtime(void)
{
	g_autofree char *script = path_join(top, "hang.sh");
	write_script(script, "#!/bin/sh\ncase \"$*\" in *create*) sleep 1000;; esac\nexec runc \"$@\"\n");
	Box *box = box_new("runc", NULL, SLEEP);
	box_start_shim(box);
	box_create(box);
	box_start(box, "");
	Box *hung = box_new(script, NULL, SLEEP);
	hung->address = g_strdup(box->address);
	connect_shim(hung);
	Creating c = {.box = hung};
	pthread_t thread;
	pthread_create(&thread, NULL, create_thread, &c);
	g_usleep(300000);
	int64_t before = time_mono();
	g_assert_cmpint(box_status(box, ""), ==, CONTAINERD__V1__TYPES__STATUS__RUNNING);
	g_assert_cmpint(time_mono() - before, <, NS_PER_SEC / 2);
	kill(box->shim, SIGUSR1); // what is under way goes to the log
	box_kill(hung, "", SIGKILL);
	pthread_join(thread, NULL);
	g_assert_nonnull(c.error);
	g_assert_true(g_str_has_prefix(c.error->message, "OCI runtime create failed: "));
	g_assert_true(g_str_has_suffix(c.error->message,
	                               "/hang.sh did not terminate successfully: exit status 137"));
	g_error_free(c.error);
	box_kill(box, "", SIGKILL);
	box_wait(box, "");
	box_delete(box, "");
	g_autofree char *log = box_file(box, "log");
	g_assert_nonnull(strstr(log, "runtime create"));
	rpc_client_unref(g_steal_pointer(&hung->client));
	box_free(hung);
	box_free(box);
}

/* Events wait for a daemon that is away, in order; calls of a daemon that does not take events yet use none
 * up. */
static void test_daemon_away(void)
{
	Box *box = box_new("runc", NULL, ARGV("/bin/true"));
	g_autofree char *address = path_join(top, "away.sock");
	box->events = address;
	box_start_shim(box);
	box_create(box);
	box_start(box, "");
	box_wait(box, "");
	for (int i = 0; i < 20; i++)
		box_status(box, "");
	g_autofree char *none = events_of(box->id);
	g_assert_cmpstr(none, ==, "");
	loop_post(loop, listen_for_events, address);
	assert_events(box->id, "create start exit");
	box_delete(box, "");
	assert_events(box->id, "create start exit delete");
	box_free(box);
}

/* Before the exit, and once for each kill. */
static void test_oom(void)
{
	const BoxOptions o = {.resources =
	                              ",\"resources\":{\"memory\":{\"limit\":16777216,\"swap\":16777216}}"};
	Box *box = box_new("runc", &o, ARGV("/bin/sh", "-c", "exec tail /dev/zero"));
	box_start_shim(box);
	box_create(box);
	box_start(box, "");
	g_assert_cmpuint(box_wait(box, ""), ==, 137);
	assert_events(box->id, "create start oom exit");
	box_delete(box, "");
	box_free(box);
}

static void test_logs(void)
{
	Box *box = box_new("runc", NULL, ARGV("/bin/sh", "-c", "echo out; echo err >&2"));
	g_autofree char *file = g_strdup_printf("%s/logs/deep/box.log", top);
	box->out = g_strdup_printf("file://%s", file);
	box->err = g_strdup(box->out);
	box_start_shim(box);
	box_create(box);
	box_start(box, "");
	box_wait(box, "");
	box_delete(box, "");
	g_autofree char *text = NULL;
	size_t len;
	g_assert_true(file_read(file, 4096, &text, &len, NULL));
	g_assert_cmpint(strlen(text), ==, 8);
	box_free(box);

	g_autofree char *logger = path_join(top, "logger.sh");
	g_autofree char *result = path_join(top, "logged");
	g_autofree char *script = g_strdup_printf(
	        "#!/bin/sh\n{ echo \"$CONTAINER_ID $CONTAINER_NAMESPACE $*\"; printf x >&5; exec 5>&-; "
	        "cat <&3; cat <&4; } >%s\n",
	        result);
	write_script(logger, script);
	for (int v2 = 0; v2 < 2; v2++) {
		box = box_new("runc", NULL, ARGV("/bin/sh", "-c", "echo out; echo err >&2"));
		box->out = g_strdup_printf("binary%s://%s?key=a%%20value&flag", v2 ? "-v2" : "", logger);
		box->err = g_strdup(box->out);
		box_start_shim(box);
		box_create(box);
		box_start(box, "");
		box_wait(box, "");
		g_usleep(100000);
		box_delete(box, "");
		g_free(g_steal_pointer(&text));
		g_assert_true(file_read(result, 4096, &text, &len, NULL));
		g_autofree char *want = g_strdup_printf("%s " NS " key a value flag \nout\n", box->id);
		g_assert_true(g_str_has_prefix(text, want));
		box_free(box);
	}
	box = box_new("runc", NULL, SLEEP);
	box->out = g_strdup("binary-v2:///bin/true");
	box_start_shim(box);
	g_autoptr(GError) error = NULL;
	g_assert_false(box_try_create(box, &error));
	g_assert_cmpstr(error->message, ==,
	                "failed to create init process I/O: logging binary did not call ready (it may have "
	                "crashed or "
	                "exited prematurely)");
	box_free(box);
}

/* kill -9 of the shim, then the binary call: container, mount, cgroup and socket are gone. */
static void test_dead_shim(const void *data)
{
	const BoxOptions o = {.mounted = true};
	Box *box = box_new(data, &o, SLEEP);
	box_start_shim(box);
	box_create(box);
	box_start(box, "");
	g_autofree char *pid = box_file(box, "init.pid");
	kill(box->shim, SIGKILL);
	waitpid(box->shim, NULL, 0);
	g_auto(ProcessResult) r = {0};
	run_shim(box, "delete", NULL, NULL, &r);
	g_assert_cmpint(r.status, ==, 0);
	autopb Containerd__Task__V3__DeleteResponse *response =
	        api_unpack(&containerd__task__v3__delete_response__descriptor, NULL, r.out, r.out_len, NULL);
	g_assert_cmpuint(response->exit_status, ==, 137);
	g_assert_cmpuint(response->pid, ==, atoi(pid));
	g_assert_false(path_exists(box->address + strlen("unix://")));
	g_autofree char *mounted = g_strdup_printf("%s/rootfs/bin", box->bundle);
	g_assert_false(path_exists(mounted));
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	g_assert_true(kill(atoi(pid), 0) < 0);
	rpc_client_unref(g_steal_pointer(&box->client));
	box_free(box);

	// a bundle in which nothing was ever made
	box = box_new("runc", NULL, SLEEP);
	g_auto(ProcessResult) again = {0};
	run_shim(box, "delete", NULL, NULL, &again);
	g_assert_cmpint(again.status, ==, 0);
	g_assert_cmpuint(again.out_len, >, 0);
	box_free(box);
}

/* All ways in which daemons start a shim, and one shim for a pod. */
static void test_bootstrap(void)
{
	const BoxOptions o = {.annotations = "\"io.kubernetes.cri.sandbox-id\":\"the-pod\""};
	Box *box = box_new("runc", &o, SLEEP);
	box_start_shim(box);
	Box *second = box_new("runc", &o, SLEEP);
	box_start_shim(second);
	g_assert_cmpstr(second->address, ==, box->address);
	g_assert_cmpint(second->shim, ==, 0); // no process of its own
	box_create(box);
	box_create(second);
	// not while a container is left
	REQUEST(ShutdownRequest, shutdown_, shutdown_request);
	autopb void *kept = box_call(box, "Shutdown", &shutdown_);
	box_delete(box, "");
	g_assert_cmpint(box_status(second, ""), ==, CONTAINERD__V1__TYPES__STATUS__CREATED);
	box_delete(second, "");
	rpc_client_unref(g_steal_pointer(&second->client));
	box_free(second);
	box_free(box);

	box = box_new("runc", NULL, SLEEP);
	g_auto(ProcessResult) json = {0}, plain = {0};
	run_shim(box, "start", NULL, ARGV("MAX_SHIM_VERSION", "2"), &json);
	g_assert_true(g_str_has_prefix(json.out, "{\"version\":2,\"address\":\"unix:///run/containerd/s/"));
	g_assert_true(g_str_has_suffix(json.out, "\",\"protocol\":\"ttrpc\"}"));
	g_autofree char *pid = box_file(box, "shim.pid");
	box->shim = atoi(pid);
	run_shim(box, "start", NULL, NULL, &plain);
	g_assert_true(g_str_has_prefix(plain.out, "unix:///run/containerd/s/"));
	box->address = g_strdup(plain.out);
	g_autofree char *address = box_file(box, "address");
	g_assert_cmpstr(address, ==, plain.out);
	struct stat st;
	g_assert_cmpint(stat(plain.out + strlen("unix://"), &st), ==, 0);
	g_assert_cmpint(st.st_mode & 0777, ==, 0600);
	connect_shim(box);
	box_free(box);

	box = box_new("runc", NULL, SLEEP);
	g_autofree char *config = path_join(box->bundle, "config.json");
	g_assert_true(file_write_atomic(config, "nonsense", 8, 0600, false, NULL));
	g_auto(ProcessResult) failed = {0};
	run_shim(box, "start", NULL, NULL, &failed);
	g_assert_cmpint(WEXITSTATUS(failed.status), ==, 1);
	g_assert_true(g_str_has_prefix(failed.err, "io.containerd.runc.v2: "));
	g_assert_nonnull(strstr(failed.err, "json"));
	box_free(box);

	const ProcessSpec info = {.argv = ARGV(shim_path, "-info")};
	g_auto(ProcessResult) r = {0};
	g_assert_true(process_run(&info, &r, NULL));
	autopb Containerd__Types__RuntimeInfo *i =
	        api_unpack(&containerd__types__runtime_info__descriptor, NULL, r.out, r.out_len, NULL);
	g_assert_cmpstr(i->name, ==, "io.containerd.runc.v2");
	g_assert_nonnull(i->features);
}

static long private_kb(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/smaps_rollup", pid);
	g_autofree char *text = NULL;
	size_t len;
	g_assert_true(file_read(path, 65536, &text, &len, NULL));
	long sum = 0;
	for (const char *p = text; (p = strstr(p, "Private_")) != NULL; p++)
		if (g_str_has_prefix(p, "Private_Clean:") || g_str_has_prefix(p, "Private_Dirty:"))
			sum += atol(strchr(p, ':') + 1);
	return sum;
}

static guint n_fds(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/fd", pid);
	g_autoptr(GPtrArray) names = dir_list(path, 0, NULL);
	return names->len;
}

static void test_many_execs(const void *data)
{
	const char *env = g_getenv("SHIM_E2E_EXECS");
	int n = env != NULL ? atoi(env) : 1000;
	Box *box = box_new(data, NULL, SLEEP);
	box_start_shim(box);
	box_create(box);
	box_start(box, "");
	long memory = 0;
	guint fds = 0;
	for (int i = 0; i < n + 50; i++) {
		box_exec(box, "x", NULL, ARGV("/bin/true"));
		box_start(box, "x");
		g_assert_cmpuint(box_wait(box, "x"), ==, 0);
		box_delete(box, "x");
		if (i == 49) {
			g_usleep(1500000);
			memory = private_kb(box->shim);
			fds = n_fds(box->shim);
		}
	}
	g_usleep(1500000);
	g_test_message("%d execs: private %ld -> %ld KB, fds %u -> %u", n, memory, private_kb(box->shim), fds,
	               n_fds(box->shim));
	g_assert_cmpuint(n_fds(box->shim), ==, fds);
	if (!CTRD_ASAN && !CTRD_TSAN) // their run-time libraries keep freed memory
		g_assert_cmpint(private_kb(box->shim), <=, memory + 64);
	box_kill(box, "", SIGKILL);
	box_wait(box, "");
	box_delete(box, "");
	box_free(box);
}

/* What the shim adds to the runtime's own create, start and delete; told, not judged: the machine may be
 * busy. */
static void test_timing(const void *data)
{
	enum { N = 15 };
	int64_t starting = 0, life = 0, bare = 0;
	for (int i = 0; i < N; i++) {
		const BoxOptions o = {.mounted = true};
		Box *box = box_new(data, &o, ARGV("/bin/true"));
		int64_t t0 = time_mono();
		box_start_shim(box);
		int64_t t1 = time_mono();
		box_create(box);
		box_start(box, "");
		box_wait(box, "");
		box_delete(box, "");
		int64_t t2 = time_mono();
		starting += t1 - t0;
		life += t2 - t1;
		box_free(box);

		box = box_new(data, NULL, ARGV("/bin/true"));
		g_autofree char *script = g_strdup_printf(
		        "%s create -b %s %s </dev/null && %s start %s; %s delete -f %s", box->runtime,
		        box->bundle, box->id, box->runtime, box->id, box->runtime, box->id);
		const ProcessSpec spec = {.argv = ARGV("sh", "-c", script), .timeout_ns = 20 * NS_PER_SEC};
		g_auto(ProcessResult) r = {0};
		t0 = time_mono();
		g_assert_true(process_run(&spec, &r, NULL));
		bare += time_mono() - t0;
		box_free(box);
	}
	g_test_message(
	        "%s: shim start %.1f ms; create, start, wait, delete %.1f ms; the runtime alone %.1f ms",
	        (const char *)data, (double)starting / N / 1e6, (double)life / N / 1e6,
	        (double)bare / N / 1e6);
}

/* ---- what is left ---- */

static void find_processes(GString *found)
{
	g_autoptr(GPtrArray) pids = dir_list("/proc", 0, NULL);
	for (guint i = 0; i < pids->len; i++) {
		const char *pid = pids->pdata[i];
		if (!g_ascii_isdigit(*pid) || atoi(pid) == getpid())
			continue;
		g_autofree char *path = g_strdup_printf("/proc/%s/cmdline", pid);
		g_autofree char *text = NULL;
		size_t len;
		if (!file_read(path, 65536, &text, &len, NULL))
			continue;
		for (size_t k = 0; k + 1 < len; k++)
			if (text[k] == '\0')
				text[k] = ' ';
		if (strstr(text, top) != NULL)
			g_string_append_printf(found, "process %s: %s\n", pid, text);
	}
}

static void find_cgroups(GString *found)
{
	/* another run may be at work beside this one */
	g_autofree char *ours = g_strdup_printf("e2e-%d-", getpid());
	g_autoptr(GPtrArray) names = dir_list("/sys/fs/cgroup", 0, NULL);
	for (guint i = 0; names != NULL && i < names->len; i++) {
		if (strcmp(names->pdata[i], "unified") == 0)
			continue;
		g_autofree char *dir = g_strdup_printf("/sys/fs/cgroup/%s/" NS, (char *)names->pdata[i]);
		g_autoptr(GPtrArray) groups = path_exists(dir) ? dir_list(dir, 0, NULL) : NULL;
		for (guint k = 0; groups != NULL && k < groups->len; k++)
			if (g_str_has_prefix(groups->pdata[k], ours))
				g_string_append_printf(found, "cgroup %s/%s\n", dir,
				                       (char *)groups->pdata[k]);
		if (groups != NULL)
			rmdir(dir); // the parent, which runtimes leave
	}
}

static void test_nothing_left(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	g_autoptr(GString) found = g_string_new(NULL);
	find_processes(found);
	find_cgroups(found);
	g_autofree char *mounts = NULL;
	size_t len;
	g_assert_true(file_read("/proc/self/mounts", 1 << 20, &mounts, &len, NULL));
	g_auto(GStrv) lines = g_strsplit(mounts, "\n", -1);
	for (char **line = lines; *line != NULL; line++)
		if (strstr(*line, top) != NULL)
			g_string_append_printf(found, "mount %s\n", *line);
	g_autofree char *sockets = path_join(top, "s");
	g_autoptr(GPtrArray) names = dir_list(sockets, 0, NULL);
	for (guint i = 0; names != NULL && i < names->len; i++)
		g_string_append_printf(found, "socket %s\n", (char *)names->pdata[i]);
	g_assert_cmpstr(found->str, ==, "");
}

/* ---- set-up ---- */

static void make_rootfs(void)
{
	static const char *const dirs[] = {"bin", "dev", "proc", "tmp", "etc"};
	static const char *const tools[] = {"sh",  "sleep", "cat", "echo", "true",
	                                    "yes", "stty",  "tty", "tail"};
	rootfs = path_join(top, "image");
	g_assert_true(dir_make_all(rootfs, 0755, NULL));
	for (unsigned i = 0; i < G_N_ELEMENTS(dirs); i++) {
		g_autofree char *dir = path_join(rootfs, dirs[i]);
		g_assert_true(dir_make_all(dir, 0755, NULL));
	}
	g_autofree char *text = NULL;
	size_t len;
	g_assert_true(file_read("/bin/busybox", 16 << 20, &text, &len, NULL));
	g_autofree char *busybox = path_join(rootfs, "bin/busybox");
	g_assert_true(file_write_atomic(busybox, text, len, 0755, false, NULL));
	for (unsigned i = 0; i < G_N_ELEMENTS(tools); i++) {
		g_autofree char *tool = g_strdup_printf("%s/bin/%s", rootfs, tools[i]);
		g_assert_cmpint(symlink("busybox", tool), ==, 0);
	}
}

/* crun refuses a hybrid hierarchy; in our own mount namespace there is none. */
static bool private_mounts(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return false;
	// crun makes directories there all the same: a file system of our own goes away with us
	umount2("/sys/fs/cgroup/unified", MNT_DETACH);
	return !path_exists("/sys/fs/cgroup/unified") ||
	       mount("tmpfs", "/sys/fs/cgroup/unified", "tmpfs", 0, NULL) == 0;
}

static void test_skipped(const void *reason)
{
	g_test_skip(reason);
}

static void add(const char *name, const char *runtime, GTestDataFunc fn)
{
	g_autofree char *path = g_strdup_printf("/shim-e2e/%s/%s", runtime, name);
	g_autofree char *found = process_lookup(runtime, NULL);
	if (found != NULL)
		g_test_add_data_func(path, runtime, fn);
	else
		g_test_add_data_func(path, "the runtime is not installed", test_skipped);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	const char *reason = NULL;
	if (argc < 2)
		reason = "usage: test-shim-e2e SHIM";
	else if (geteuid() != 0)
		reason = "needs root";
	else if (access("/bin/busybox", X_OK) != 0)
		reason = "needs busybox-static";
	else if (!private_mounts())
		reason = "needs a mount namespace";
	if (reason != NULL) {
		g_test_add_data_func("/shim-e2e", reason, test_skipped);
		return g_test_run();
	}
	shim_path = realpath(argv[1], NULL); // bundles are the working directory
	g_assert_nonnull(shim_path);
	// What a dead shim leaves becomes our child, so that we see it end.
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	top = g_strdup("/tmp/shim-e2e-XXXXXX");
	g_assert_nonnull(mkdtemp(top));
	make_rootfs();
	lock_init(&events_lock, "events", LOCK_RANK_LEAF);
	cond_init(&events_cond);
	events = g_ptr_array_new();
	events_address = path_join(top, "events.sock");
	loop = loop_start("daemon");
	loop_post(loop, listen_for_events, events_address);

	g_test_add_func("/shim-e2e/any/bootstrap", test_bootstrap);
	for (int i = 0; i < 2; i++) {
		const char *runtime = i == 0 ? "runc" : "crun";
		add("life", runtime, test_life);
		add("exec", runtime, test_exec);
		add("shared-pids", runtime, test_shared_pids);
		add("never-started", runtime, test_never_started);
		add("pause", runtime, test_pause);
		add("terminal", runtime, test_terminal);
		add("dead-shim", runtime, test_dead_shim);
		add("timing", runtime, test_timing);
	}
	add("stuck-streams", "crun", test_stuck_streams);
	g_test_add_func("/shim-e2e/any/failures", test_failures);
	g_test_add_func("/shim-e2e/any/hanging-runtime", test_hanging_runtime);
	g_test_add_func("/shim-e2e/any/logs", test_logs);
	g_test_add_func("/shim-e2e/any/daemon-away", test_daemon_away);
	g_test_add_func("/shim-e2e/any/oom", test_oom);
	add("many-execs", "crun", test_many_execs);
	g_test_add_func("/shim-e2e/after/nothing-left", test_nothing_left);
	int r = g_test_run();
	tree_remove(top, NULL);
	return r;
}
