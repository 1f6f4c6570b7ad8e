// SPDX-License-Identifier: Apache-2.0

/*
 * Requests to the shim's services, over a real connection. The input is a list of calls: a method, a length,
 * the message; ids and paths are then replaced by a few that exist, so that calls meet. Runtimes, helpers,
 * logging programs and their processes are played here (the linker's --wrap): how each of them goes is in the
 * input too. Whatever came, afterwards everything can be deleted, or the fuzzer says so.
 */

#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "loop/lock.h"
#include "message.h"
#include "rpc/client.h"
#include "runtime/sandbox/v1/sandbox.pb-c.h"
#include "runtime/task/v3/shim.pb-c.h"
#include "shim/pause.h"
#include "shim/spawn.h"
#include "shim/task-service.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define FIRST_PID 100000000 // above what the kernel gives
#define MAX_CALLS 64
#define SETTLE_TRIES 3000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Loop *loop;
static Shim shim;
static TaskService tasks;
static RpcServer *server;
static char *dir, *fifo, *log_uri;

/* ---- what happens: decided by the input ---- */

static const uint8_t *dice;
static size_t n_dice, dice_at;

static unsigned roll(unsigned sides)
{
	return n_dice > 0 ? dice[dice_at++ % n_dice] % sides
	                  : sides - 1; // the highest is always that all is well
}

/* ---- processes that are none ---- */

typedef struct {
	pid_t pid;
	ReaperFn fn;
	void *data;
} Fake;

static GQueue fakes = G_QUEUE_INIT;
static pid_t next_pid = FIRST_PID;

static void fake_exit(void *data)
{
	for (GList *l = fakes.head; l != NULL; l = l->next) {
		Fake *f = l->data;
		if (f->pid != GPOINTER_TO_INT(data))
			continue;
		g_queue_delete_link(&fakes, l);
		f->fn(f->pid, (int)roll(256), time_now(), f->data);
		g_free(f);
		return;
	}
}

static void all_exit(void)
{
	for (GList *l = fakes.head; l != NULL; l = l->next)
		loop_post(loop, fake_exit, GINT_TO_POINTER(((Fake *)l->data)->pid));
}

void __wrap_reaper_watch(Reaper *reaper, pid_t pid, ReaperFn fn, void *data);
void __wrap_reaper_watch(Reaper *reaper, pid_t pid, ReaperFn fn, void *data)
{
	Fake *f = g_new0(Fake, 1);
	*f = (Fake){pid, fn, data};
	g_queue_push_tail(&fakes, f);
}

void __wrap_reaper_forget(Reaper *reaper, pid_t pid);
void __wrap_reaper_forget(Reaper *reaper, pid_t pid)
{
	for (GList *l = fakes.head; l != NULL; l = l->next)
		if (((Fake *)l->data)->pid == pid) {
			g_free(l->data);
			g_queue_delete_link(&fakes, l);
			return;
		}
}

bool __wrap_reaper_adopt(Reaper *reaper, pid_t pid, ReaperFn fn, void *data, int *ret_code, TimeNs *ret_at);
bool __wrap_reaper_adopt(Reaper *reaper, pid_t pid, ReaperFn fn, void *data, int *ret_code, TimeNs *ret_at)
{
	*ret_code = 1;
	*ret_at = time_now();
	if (roll(4) == 0)
		return false;
	__wrap_reaper_watch(reaper, pid, fn, data);
	if (roll(4) == 0)
		loop_post(loop, fake_exit, GINT_TO_POINTER(pid));
	return true;
}

int __wrap_kill(pid_t pid, int sig);
int __wrap_kill(pid_t pid, int sig)
{
	if (sig == SIGKILL || sig == SIGTERM)
		loop_post(loop, fake_exit, GINT_TO_POINTER(pid));
	errno = ESRCH;
	return roll(4) == 0 ? -1 : 0;
}

pid_t __wrap_spawn_child(const SpawnSpec *spec, GError **error);
pid_t __wrap_spawn_child(const SpawnSpec *spec, GError **error)
{
	if (roll(4) != 0)
		return next_pid++;
	error_set(error, CTRD_ERR_UNKNOWN, "fork/exec %s: no such file or directory", spec->file);
	return -1;
}

struct Pause {
	pid_t pid;
	PauseFn fn;
	void *data;
};

static void pause_said(void *data)
{
	Pause *p = data;
	GError *error = NULL;
	if (roll(4) == 0)
		error_set(&error, CTRD_ERR_UNKNOWN, "/ns: no such file or directory");
	if (error != NULL)
		fake_exit(GINT_TO_POINTER(p->pid));
	p->fn(error == NULL ? p->pid : 0, error, p->data);
	g_free(p);
}

Pause *__wrap_pause_start(Loop *l, JsonObject *spec, const char *netns_path, PauseFn fn, void *data,
                          GError **error);
Pause *__wrap_pause_start(Loop *l, JsonObject *spec, const char *netns_path, PauseFn fn, void *data,
                          GError **error)
{
	Pause *p = g_new0(Pause, 1);
	*p = (Pause){next_pid++, fn, data};
	loop_post(loop, pause_said, p);
	return p;
}

pid_t __wrap_pause_pid(const Pause *pause);
pid_t __wrap_pause_pid(const Pause *pause)
{
	return pause->pid;
}

/* ---- commands of the runtime ---- */

struct Command {
	CommandFn fn;
	void *data;
	bool hangs, killed;
	int code;
	const char *output;
};

static GQueue hanging = G_QUEUE_INIT; // of Command

static void command_end(void *data)
{
	Command *c = data;
	if (!c->killed)
		c->fn(c->code, c->output, strlen(c->output), c->data);
	else
		c->fn(137, "", 0, c->data);
	g_free(c);
}

static const char *after(const char *const *argv, const char *flag)
{
	for (; *argv != NULL; argv++)
		if (strcmp(*argv, flag) == 0)
			return argv[1];
	return NULL;
}

Command *__wrap_command_start(Reaper *reaper, const char *file, const char *const *argv, int in, int out,
                              int err, CommandFn fn, void *data, GError **error);
Command *__wrap_command_start(Reaper *reaper, const char *file, const char *const *argv, int in, int out,
                              int err, CommandFn fn, void *data, GError **error)
{
	static const char *const outputs[] = {"[100000000]", "null", "container does not exist", "{", ""};
	unsigned how = roll(16);
	if (how == 0) {
		error_set(error, CTRD_ERR_UNKNOWN, "exec: \"runc\": executable file not found in $PATH");
		return NULL;
	}
	Command *c = g_new0(Command, 1);
	*c = (Command){.fn = fn, .data = data, .output = outputs[roll(G_N_ELEMENTS(outputs))]};
	c->code = how == 1 ? 1 : 0;
	c->hangs = how == 2;
	const char *pid_file = after(argv, "--pid-file");
	if (pid_file != NULL && c->code == 0) {
		g_autofree char *pid = g_strdup_printf("%d", next_pid++);
		file_write_atomic(pid_file, pid, roll(16) == 0 ? 0 : strlen(pid), 0600, false, NULL);
	}
	if (g_strv_contains(argv, "kill") || g_strv_contains(argv, "delete"))
		all_exit();
	if (c->hangs)
		g_queue_push_tail(&hanging, c);
	else
		loop_post(loop, command_end, c);
	return c;
}

void __wrap_command_kill(Command *command);
void __wrap_command_kill(Command *command)
{
	if (command->hangs) {
		g_queue_remove(&hanging, command);
		loop_post(loop, command_end, command);
	}
	command->hangs = false;
	command->killed = true;
}

pid_t __wrap_command_pid(Command *command);
pid_t __wrap_command_pid(Command *command)
{
	return 1;
}

void __wrap_helper_run(Reaper *reaper, HelperFn fn, void *fn_data, HelperDone done, void *done_data);
void __wrap_helper_run(Reaper *reaper, HelperFn fn, void *fn_data, HelperDone done, void *done_data)
{
	GError *error = NULL;
	if (roll(8) == 0)
		error_set(&error, CTRD_ERR_UNKNOWN, "mount: no such device");
	done(error, done_data);
}

/* ---- what the input may name ---- */

static const char *pick_id(const char *id)
{
	return g_ascii_islower(*id) ? (*id % 2 != 0 ? "a" : "b") : id;
}

static const char *pick_path(const char *path)
{
	switch (*path) {
	case 'f':
		return fifo;
	case 'l':
		return log_uri;
	case 'b':
		return "binary:///bin/true?x=y";
	case 'B':
		return "binary-v2:///bin/true";
	case 'x':
		return "nothing://";
	default:
		return "";
	}
}

/* Every path of a message that would be touched. */
static void tame(ProtobufCMessage *m)
{
	static const struct {
		const char *field;
		const char *(*pick)(const char *text);
	} fields[] = {{"id", pick_id},          {"exec_id", pick_id},  {"sandbox_id", pick_id},
	              {"stdin", pick_path},     {"stdout", pick_path}, {"stderr", pick_path},
	              {"netns_path", pick_path}};
	for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++) {
		const ProtobufCFieldDescriptor *f =
		        protobuf_c_message_descriptor_get_field_by_name(m->descriptor, fields[i].field);
		if (f == NULL || f->type != PROTOBUF_C_TYPE_STRING)
			continue;
		const char **text = (void *)((char *)m + f->offset);
		*text = fields[i].pick(*text);
	}
	static const char *const bundles[] = {"bundle", "bundle_path"};
	for (unsigned i = 0; i < G_N_ELEMENTS(bundles); i++) {
		const ProtobufCFieldDescriptor *f =
		        protobuf_c_message_descriptor_get_field_by_name(m->descriptor, bundles[i]);
		if (f != NULL) {
			const char **text = (void *)((char *)m + f->offset);
			*text = dir;
		}
	}
}

/* ---- turns of the loop ---- */

static Lock lock;
static Cond cond;
static unsigned turns, calls_open;

static void on_turn(void *data)
{
	LOCK_SCOPE(&lock);
	turns++;
	cond_broadcast(&cond);
}

static void turn(unsigned n)
{
	for (; n > 0; n--) {
		loop_post(loop, on_turn, NULL);
		LOCK_SCOPE(&lock);
		while (turns == 0)
			cond_wait(&cond, &lock);
		turns--;
	}
}

static void on_reply(const void *response, const GError *error, void *data)
{
	LOCK_SCOPE(&lock);
	calls_open--;
}

static void call_one(RpcClient *client, unsigned which, const uint8_t *data, size_t len)
{
	static const ProtobufCServiceDescriptor *const services[] = {
	        &containerd__task__v3__task__descriptor,
	        &containerd__runtime__sandbox__v1__sandbox__descriptor};
	const ProtobufCServiceDescriptor *s = services[0];
	which %= services[0]->n_methods + services[1]->n_methods;
	if (which >= s->n_methods) {
		which -= s->n_methods;
		s = services[1];
	}
	const ProtobufCMethodDescriptor *method = &s->methods[which];
	ProtobufCMessage *m = api_unpack(method->input, NULL, data, len, NULL);
	if (m == NULL)
		return;
	// A copy of the structure: what tame puts in is not the message's to free.
	g_autofree ProtobufCMessage *tamed = g_memdup2(m, method->input->sizeof_message);
	tame(tamed);
	{
		LOCK_SCOPE(&lock);
		calls_open++;
	}
	const RpcCallOptions options = {.ns = "fuzz"};
	rpc_client_call_async(client, s, method->name, &options, tamed, on_reply, NULL);
	protobuf_c_message_free_unpacked(m, NULL);
	turn(3);
}

/* ---- the end of an input ---- */

static void on_deleted(GError *error, void *data)
{
	g_clear_error(&error);
}

static unsigned left;

static void sweep(void *data)
{
	n_dice = 0; // from here on everything goes well
	all_exit();
	while (!g_queue_is_empty(&hanging))
		__wrap_command_kill(g_queue_peek_head(&hanging));
	g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify)container_unref);
	GHashTableIter i;
	void *value;
	g_hash_table_iter_init(&i, shim.containers);
	while (g_hash_table_iter_next(&i, NULL, &value))
		g_ptr_array_add(all, container_ref(value));
	for (guint k = 0; k < all->len; k++) {
		Container *c = all->pdata[k];
		if (c->creating)
			container_create_abort(&shim, c->id);
		else if (g_queue_is_empty(&c->init->ops))
			process_delete(c->init, on_deleted, NULL);
	}
	left = g_hash_table_size(shim.containers);
}

static void on_shutdown(void *data)
{
}

static void connect_one(void *data)
{
	rpc_server_accept(server, RPC_PROTO_TTRPC, GPOINTER_TO_INT(data), NULL);
}

static void show_line(const char *line, void *data)
{
	g_printerr("%s\n", line);
}

static void show_call(const char *method, const char *ns, int64_t age_ns, void *data)
{
	show_line(method, data);
}

static void show(void *data)
{
	shim_visit(&shim, show_line, NULL);
	rpc_server_visit(server, show_call, NULL);
}

/* Containers go, then the sandbox. */
static void settle(RpcClient *client)
{
	Containerd__Runtime__Sandbox__V1__ShutdownSandboxRequest r =
	        CONTAINERD__RUNTIME__SANDBOX__V1__SHUTDOWN_SANDBOX_REQUEST__INIT;
	bool asked = false;
	for (int i = 0; i < SETTLE_TRIES; i++) {
		loop_post(loop, sweep, NULL);
		turn(3);
		if (left > 0 || calls_open > 0) {
			if (i > 20)
				g_usleep(1000);
			if (left > 0 || asked)
				continue;
		}
		if (asked && !sandbox_service_is_active(tasks.sandbox) && left == 0)
			return;
		asked = true;
		{
			LOCK_SCOPE(&lock);
			calls_open++;
		}
		rpc_client_call_async(client, &containerd__runtime__sandbox__v1__sandbox__descriptor,
		                      "ShutdownSandbox", NULL, &r, on_reply, NULL);
		turn(4);
	}
	loop_post(loop, show, NULL);
	turn(1);
	g_error("%u containers and %d sandboxes cannot be deleted, %u calls are open", left,
	        sandbox_service_is_active(tasks.sandbox), calls_open);
}

static void start(void *data)
{
	Reaper *reaper = reaper_new(loop, NULL);
	shim_init(&shim, loop, "fuzz", reaper, publisher_new(loop, reaper, "fuzz", NULL, NULL, NULL));
	tasks = (TaskService){.shim = &shim,
	                      .sandbox = sandbox_service_new(&shim, on_shutdown, NULL),
	                      .on_shutdown = on_shutdown};
	server = rpc_server_new(loop, NULL, NULL);
	task_service_add(server, &tasks);
	sandbox_service_add(server, tasks.sandbox);
}

static void remove_dir(void)
{
	tree_remove(dir, NULL);
}

static void set_up(void)
{
	static const char spec[] = "{\"process\":{\"args\":[\"x\"]},\"linux\":{\"namespaces\":[]}}";
	dir = g_strdup("/tmp/fuzz-task-XXXXXX");
	g_assert_nonnull(mkdtemp(dir));
	atexit(remove_dir);
	fifo = path_join(dir, "fifo");
	g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
	g_autofree char *log = path_join(dir, "log");
	log_uri = g_strconcat("file://", log, NULL);
	g_autofree char *config = path_join(dir, "config.json");
	g_assert_true(file_write_atomic(config, spec, strlen(spec), 0600, false, NULL));
	log_set_level(LOG_PANIC);
	signal(SIGPIPE, SIG_IGN);
	lock_init(&lock, "fuzz", LOCK_RANK_LEAF);
	cond_init(&cond);
	loop = loop_start("shim");
	loop_post(loop, start, NULL);
	turn(1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	int fd[2];
	if (!ready)
		set_up();
	ready = true;
	if (size < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) < 0)
		return 0;
	dice = data;
	n_dice = size;
	dice_at = 0;
	loop_post(loop, connect_one, GINT_TO_POINTER(fd[0]));
	RpcClient *client = rpc_client_new_fd(loop, RPC_PROTO_TTRPC, fd[1]);
	for (unsigned n = 0; size >= 2 && n < MAX_CALLS; n++) {
		size_t len = MIN((size_t)data[1], size - 2);
		call_one(client, data[0], data + 2, len);
		data += 2 + len;
		size -= 2 + len;
	}
	settle(client);
	rpc_client_close(client);
	turn(3);
	rpc_client_unref(client);
	turn(2);
	return 0;
}
