// SPDX-License-Identifier: Apache-2.0

/* The life of tasks, against the shim's binary. */

#include "base/sanitizers.h"
#include "shim/test-shim.h"

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

/* It lets go of what it does not need after half a second in which nothing happens: the least of so many
 * samples, no more than are needed to see enough. */
static long resting_kb(pid_t pid, unsigned samples, long enough)
{
	long least = LONG_MAX;
	for (unsigned i = 0; i < samples && least > enough; i++) {
		g_usleep(250000);
		least = MIN(least, private_kb(pid));
	}
	return least;
}

static guint n_fds(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/fd", pid);
	g_autoptr(GPtrArray) names = dir_list(path, 0, NULL);
	return names->len;
}

/* A shim with one container, and with a pod of five. */
static void test_memory(const void *data)
{
	enum { POD = 5 };
	static const BoxOptions pod = {.annotations = "\"io.containerd.runc.v2.group\":\"memory-pod\""};
	Box *box[POD];
	for (int i = 0; i < POD; i++) {
		box[i] = box_new(data, &pod, SLEEP);
		box_start_shim(box[i]);
		g_assert_cmpstr(box[i]->address, ==, box[0]->address);
		box_create(box[i]);
		box_start(box[i], "");
		if (i > 0 && i < POD - 1)
			continue;
		long budget = i == 0 ? 400 : 800, kb = resting_kb(box[0]->shim, 40, budget);
		g_test_message("%d containers: %ld KB private", i + 1, kb);
		if (!CTRD_ASAN && !CTRD_TSAN)
			g_assert_cmpint(kb, <=, budget);
	}
	for (int i = POD - 1; i >= 0; i--) {
		box_kill(box[i], "", SIGKILL);
		box_wait(box[i], "");
		box_delete(box[i], "");
		if (i > 0) // the shim is the first one's
			g_clear_pointer(&box[i]->client, rpc_client_unref);
		box_free(box[i]);
	}
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
			memory = resting_kb(box->shim, 8, 0);
			fds = n_fds(box->shim);
		}
	}
	long after = resting_kb(box->shim, 40, memory + 64);
	g_test_message("%d execs: private %ld -> %ld KB, fds %u -> %u", n, memory, after, fds,
	               n_fds(box->shim));
	g_assert_cmpuint(n_fds(box->shim), ==, fds);
	if (!CTRD_ASAN && !CTRD_TSAN) // their run-time libraries keep freed memory
		g_assert_cmpint(after, <=, memory + 64);
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

int main(int argc, char **argv)
{
	if (!harness_init(argc, argv))
		return harness_run();
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
	add("memory", "crun", test_memory);
	add("many-execs", "crun", test_many_execs);
	return harness_run();
}
