// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * For tests that play the daemon against the shim's binary (argv[1]): bundles with a busybox rootfs, the task
 * API over ttrpc, a server that takes the events; with runc and with crun. Needs root. Runs in a mount
 * namespace of its own, in which the cgroup v2 part of a hybrid hierarchy is out of crun's sight; nothing of
 * the machine's mounts is touched. The last test of a program looks for what the others left behind:
 * processes, mounts, cgroups, sockets.
 */

#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
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

#pragma GCC diagnostic ignored "-Wunused-function" // no test needs all of it

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
	const char *events;                    // the daemon's address for events; NULL: events_address
	Containerd__Runc__V1__Options options; // beyond binary and root
	const char *checkpoint;                // for create, NULL: none
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
	api_init(&containerd__runc__v1__options__descriptor, &box->options);
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
	autopb Google__Protobuf__Any *options = api_any_pack(&box->options, NULL);
	Containerd__Runtime__Bootstrap__V1__Extension extension =
	        CONTAINERD__RUNTIME__BOOTSTRAP__V1__EXTENSION__INIT;
	Containerd__Runtime__Bootstrap__V1__Extension *extensions[] = {&extension};
	extension.value = options;
	p.extensions = extensions;
	p.n_extensions = 1;
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
	r.checkpoint = str_or(box->checkpoint, "");
	Containerd__Runc__V1__Options o = box->options;
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

static bool box_try_exec_process(Box *box, const char *exec, const Streams *s, const char *spec,
                                 GError **error)
{
	static const Streams none;
	if (s == NULL)
		s = &none;
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

static bool box_try_exec(Box *box, const char *exec, const Streams *s, const char *const *argv,
                         GError **error)
{
	g_autofree char *args = quote_args(argv);
	g_autofree char *spec = g_strdup_printf(
	        "{\"user\":{\"uid\":0,\"gid\":0},\"args\":%s,\"env\":[\"PATH=/bin\"],\"cwd\":\"/\"}", args);
	return box_try_exec_process(box, exec, s, spec, error);
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

#define SLEEP ARGV("/bin/sleep", "1000")

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
	static const char *const tools[] = {"sh",  "sleep", "cat",  "echo", "true", "yes", "stty",
	                                    "tty", "tail",  "stat", "id",   "pwd",  "grep"};
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

/* false: the only test says why the others cannot run. */
static bool harness_init(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	const char *reason = NULL;
	if (argc < 2)
		reason = "usage: test SHIM";
	else if (geteuid() != 0)
		reason = "needs root";
	else if (access("/bin/busybox", X_OK) != 0)
		reason = "needs busybox-static";
	else if (!private_mounts())
		reason = "needs a mount namespace";
	if (reason != NULL) {
		g_test_add_data_func("/shim-e2e", reason, test_skipped);
		return false;
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
	return true;
}

/* Runs the tests that were added, then looks for what they left. */
static int harness_run(void)
{
	if (top != NULL)
		g_test_add_func("/shim-e2e/after/nothing-left", test_nothing_left);
	int r = g_test_run();
	if (top != NULL)
		tree_remove(top, NULL);
	return r;
}
