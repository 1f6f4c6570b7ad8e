// SPDX-License-Identifier: Apache-2.0

/* Options of the runtime and of processes, and sandboxes, against the shim's binary. */

#include "runtime/sandbox/v1/sandbox.pb-c.h"
#include "shim/test-shim.h"
#include <sys/vfs.h>

/* A runtime that writes down how it is called, and then is the real one. */
static char *spy_new(const Box *box, const char *runtime)
{
	g_autofree char *path = path_join(box->bundle, "spy");
	g_autofree char *script =
	        g_strdup_printf("#!/bin/sh\necho \"$@\" >>%s/calls\n"
	                        "for a in \"$@\"; do shift; [ \"$a\" = --systemd-cgroup ] || "
	                        "set -- \"$@\" \"$a\"; done\nexec %s \"$@\"\n",
	                        box->bundle, runtime);
	g_assert_true(file_write_atomic(path, script, strlen(script), 0755, false, NULL));
	return g_steal_pointer(&path);
}

static void assert_called(const Box *box, const char *verb, const char *flag, bool want)
{
	g_autofree char *calls = box_file(box, "calls");
	g_auto(GStrv) lines = g_strsplit(str_or(calls, ""), "\n", -1);
	g_autofree char *word = g_strdup_printf(" %s ", verb);
	for (char **line = lines; *line != NULL; line++)
		if (strstr(*line, word) != NULL) {
			g_assert_cmpint(strstr(*line, flag) != NULL, ==, want);
			return;
		}
	g_error("%s was not called: %s", verb, calls);
}

static void run_to_end(Box *box)
{
	box_create(box);
	box_start(box, "");
	g_assert_cmpuint(box_wait(box, ""), ==, 0);
	box_delete(box, "");
}

static void test_runtime_flags(const void *runtime)
{
	for (int on = 0; on < 2; on++) {
		Box *box = box_new(NULL, NULL, ARGV("/bin/true"));
		g_autofree char *spy = spy_new(box, runtime);
		box->runtime = spy;
		box->options.no_pivot_root = on;
		box->options.no_new_keyring = on;
		box->options.systemd_cgroup = on;
		box_start_shim(box);
		run_to_end(box);
		g_autofree char *root = g_strdup_printf("--root %s/runc/" NS " ", top);
		assert_called(box, "create", "--no-pivot", on);
		assert_called(box, "create", "--no-new-keyring", on);
		assert_called(box, "create", "--systemd-cgroup", on);
		assert_called(box, "start", "--systemd-cgroup", on);
		assert_called(box, "delete", root, true);
		// what `delete` of a shim that died works with
		g_autofree char *options = box_file(box, "options.json");
		g_assert_cmpint(strstr(options, "\"no_pivot_root\":true") != NULL, ==, on);
		g_assert_cmpint(strstr(options, "\"systemd_cgroup\":true") != NULL, ==, on);
		g_assert_nonnull(strstr(options, "\"binary_name\":"));
		g_autofree char *binary = box_file(box, "runtime");
		g_assert_cmpstr(binary, ==, spy);
		box_free(box);
	}
}

/* The pipes belong to io_uid and io_gid. (Then runc makes the uid its process', crun both.) */
static void test_io_owner(const void *runtime)
{
	Box *box = box_new(runtime, NULL, ARGV("/bin/stat", "-L", "-c", "%g", "/proc/self/fd/1"));
	box->options.io_uid = 1234;
	box->options.io_gid = 4321;
	Fifo out = fifo_new(box, "out", true);
	box->out = g_strdup(out.path);
	box_start_shim(box);
	run_to_end(box);
	g_autofree char *text = fifo_read(&out);
	g_assert_cmpstr(text, ==, "4321\n");
	fifo_clear(&out);
	box_free(box);
}

static bool is_cgroup1(const char *path)
{
	struct statfs st;
	return statfs(path, &st) == 0 && st.f_type == 0x27e0eb;
}

static void test_shim_cgroup(void)
{
	const char *hierarchy = "/sys/fs/cgroup/pids";
	if (!is_cgroup1(hierarchy)) {
		g_test_skip("needs the pids controller of cgroup v1");
		return;
	}
	Box *box = box_new("runc", NULL, ARGV("/bin/true"));
	g_autofree char *name = g_strdup_printf("shim-group-%s", box->id);
	g_autofree char *dir = path_join(hierarchy, name);
	g_assert_cmpint(mkdir(dir, 0755), ==, 0);
	box->options.shim_cgroup = name;
	box_start_shim(box);
	g_autofree char *path = g_strdup_printf("/proc/%d/cgroup", box->shim);
	g_autofree char *groups = NULL;
	size_t len;
	g_assert_true(file_read(path, 1 << 16, &groups, &len, NULL));
	g_assert_nonnull(strstr(groups, name));
	run_to_end(box);
	box_free(box);
	for (int i = 0; i < 100 && rmdir(dir) < 0; i++)
		g_usleep(10000);
	g_assert_false(path_exists(dir));

	box = box_new("runc", NULL, ARGV("/bin/true"));
	box->options.shim_cgroup = "not/there";
	g_autoptr(GBytes) input = bootstrap_params(box);
	g_auto(ProcessResult) r = {0};
	run_shim(box, "start", input, NULL, &r);
	g_assert_cmpint(WEXITSTATUS(r.status), ==, 1);
	g_assert_cmpstr(r.err, ==, "io.containerd.runc.v2: failed to join cgroup not/there: cgroup deleted");
	box_free(box);
}

/* A process of its own user, directory, capabilities, limits and environment; with a terminal and without. */
static void test_exec_process(const void *runtime)
{
	static const char script[] = "id -u; id -g; id -G; pwd; ulimit -n; echo $X; grep -E "
	                             "'CapEff|NoNewPrivs' /proc/self/status; "
	                             "tty >/dev/null && echo tty";
	Box *box = box_new(runtime, NULL, SLEEP);
	box_start_shim(box);
	box_create(box);
	box_start(box, "");
	for (int terminal = 0; terminal < 2; terminal++) {
		g_autofree char *id = g_strdup_printf("e%d", terminal);
		Fifo out = fifo_new(box, id, true);
		const Streams s = {.out = out.path, .terminal = terminal};
		g_autofree char *spec =
		        g_strdup_printf("{\"user\":{\"uid\":7,\"gid\":8,\"additionalGids\":[9,10]},\"args\":["
		                        "\"/bin/sh\",\"-c\",%s],"
		                        "\"env\":[\"PATH=/bin\",\"X=y\"],\"cwd\":\"/"
		                        "tmp\",\"capabilities\":{\"bounding\":[\"CAP_NET_RAW\"],"
		                        "\"effective\":[\"CAP_NET_RAW\"],\"permitted\":[\"CAP_NET_RAW\"],"
		                        "\"inheritable\":[\"CAP_NET_RAW\"],"
		                        "\"ambient\":[\"CAP_NET_RAW\"]},\"noNewPrivileges\":true,"
		                        "\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":77,\"hard\":77}]}",
		                        go_quote_auto(&(GoQuoteTmp){0}, script));
		g_autoptr(GError) error = NULL;
		g_assert_true(box_try_exec_process(box, id, &s, spec, &error));
		box_start(box, id);
		box_wait(box, id);
		box_delete(box, id);
		g_autofree char *text = fifo_read(&out);
		g_auto(GStrv) clean = g_strsplit(text, "\r", -1);
		g_autofree char *unix_text = g_strjoinv("", clean);
		g_autofree char *want = g_strdup_printf(
		        "7\n8\n8 9 10\n/tmp\n77\ny\nCapEff:\t0000000000002000\nNoNewPrivs:\t1\n%s",
		        terminal ? "tty\n" : "");
		g_assert_cmpstr(unix_text, ==, want);
		fifo_clear(&out);
	}
	box_kill(box, "", SIGKILL);
	box_wait(box, "");
	box_delete(box, "");
	box_free(box);
}

static void test_hooks(const void *runtime)
{
	Box *box = box_new(runtime, NULL, ARGV("/bin/true"));
	g_autofree char *config = box_file(box, "config.json");
	g_autoptr(GString) text = g_string_new(config);
	g_autofree char *hooks = g_strdup_printf(
	        "{\"hooks\":{\"createRuntime\":[{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"cat "
	        ">%s/created\"]}],"
	        "\"poststop\":[{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"cat >%s/stopped\"]}]},",
	        box->bundle, box->bundle);
	g_string_erase(text, 0, 1);
	g_string_prepend(text, hooks);
	g_autofree char *path = path_join(box->bundle, "config.json");
	g_assert_true(file_write_atomic(path, text->str, text->len, 0600, false, NULL));
	box_start_shim(box);
	box_create(box);
	g_autofree char *created = box_file(box, "created");
	g_assert_nonnull(strstr(created, box->id)); // the hook got the state
	box_start(box, "");
	g_assert_cmpuint(box_wait(box, ""), ==, 0);
	g_assert_null(box_file(box, "stopped"));
	box_delete(box, "");
	g_autofree char *stopped = box_file(box, "stopped");
	g_assert_nonnull(strstr(stopped, box->id));
	box_free(box);
}

/* Restoring fails (there is nothing to restore): an error, and it can be deleted. */
static void test_restore_fails(void)
{
	Box *box = box_new("runc", NULL, SLEEP);
	g_autofree char *images = path_join(box->bundle, "images");
	g_autofree char *work = path_join(box->bundle, "work");
	g_assert_cmpint(mkdir(images, 0700), ==, 0);
	g_assert_cmpint(mkdir(work, 0700), ==, 0);
	box->checkpoint = images;
	box_start_shim(box);
	REQUEST(CreateTaskRequest, create, create_task_request);
	create.bundle = box->bundle;
	create.checkpoint = images;
	autopb Containerd__Task__V3__CreateTaskResponse *created = box_call(box, "Create", &create);
	g_assert_cmpuint(created->pid, ==, 0);
	g_assert_cmpint(box_status(box, ""), ==, CONTAINERD__V1__TYPES__STATUS__CREATED);
	g_autoptr(GError) error = NULL;
	REQUEST(StartRequest, start, start_request);
	autopb void *response = box_try(box, "Start", &start, &error);
	g_assert_null(response);
	g_assert_true(g_str_has_prefix(error->message, "OCI runtime restore failed: "));
	box_delete(box, "");
	box_free(box);
}

/* ---- sandboxes ---- */

#define SANDBOX_REQUEST(type, var, name)                                                                     \
	Containerd__Runtime__Sandbox__V1__##type var;                                                        \
	api_init(&containerd__runtime__sandbox__v1__##name##__descriptor, &var);                             \
	var.sandbox_id = box->id

static void *sandbox_try(Box *box, const char *method, const void *request, GError **error)
{
	const RpcCallOptions options = {.ns = NS, .timeout_ns = CALL_TIMEOUT};
	void *response = NULL;
	return rpc_client_call(box->client, &containerd__runtime__sandbox__v1__sandbox__descriptor, method,
	                       &options, request, &response, error)
	               ? response
	               : NULL;
}

static void *sandbox_call(Box *box, const char *method, const void *request)
{
	g_autoptr(GError) error = NULL;
	void *response = sandbox_try(box, method, request, &error);
	g_assert_no_error(error);
	return response;
}

static void sandbox_fails(Box *box, const char *method, const void *request, CtrdErrorCode code,
                          const char *text)
{
	g_autoptr(GError) error = NULL;
	g_assert_null(sandbox_try(box, method, request, &error));
	g_assert_cmpstr(error->message, ==, text);
	g_assert_cmpint(error_class(error), ==, code);
}

static void sandbox_state(Box *box, const char *want)
{
	SANDBOX_REQUEST(SandboxStatusRequest, r, sandbox_status_request);
	r.verbose = true;
	autopb Containerd__Runtime__Sandbox__V1__SandboxStatusResponse *s =
	        sandbox_call(box, "SandboxStatus", &r);
	g_assert_cmpstr(s->state, ==, want);
	g_assert_cmpuint(s->n_info, ==, 2);
	g_assert_cmpstr(s->info[0]->value, ==, box->bundle);
}

static void sandbox_create(Box *box)
{
	SANDBOX_REQUEST(CreateSandboxRequest, r, create_sandbox_request);
	r.bundle_path = box->bundle;
	autopb void *response = sandbox_call(box, "CreateSandbox", &r);
}

static uint32_t sandbox_start(Box *box)
{
	SANDBOX_REQUEST(StartSandboxRequest, r, start_sandbox_request);
	autopb Containerd__Runtime__Sandbox__V1__StartSandboxResponse *s =
	        sandbox_call(box, "StartSandbox", &r);
	g_assert_cmpuint(s->pid, >, 0);
	return s->pid;
}

/* Stops and ends it, and the shim with it. */
static void sandbox_end(Box *box, uint32_t timeout, uint32_t want)
{
	SANDBOX_REQUEST(StopSandboxRequest, stop, stop_sandbox_request);
	SANDBOX_REQUEST(WaitSandboxRequest, wait, wait_sandbox_request);
	SANDBOX_REQUEST(ShutdownSandboxRequest, shutdown, shutdown_sandbox_request);
	stop.timeout_secs = timeout;
	autopb void *stopped = sandbox_call(box, "StopSandbox", &stop);
	autopb Containerd__Runtime__Sandbox__V1__WaitSandboxResponse *waited =
	        sandbox_call(box, "WaitSandbox", &wait);
	g_assert_cmpuint(waited->exit_status, ==, want);
	g_assert_cmpint(waited->exited_at->seconds, >, 1600000000);
	sandbox_state(box, "SANDBOX_NOTREADY");
	autopb void *ended = sandbox_call(box, "ShutdownSandbox", &shutdown);
}

static void test_sandbox_pause(void)
{
	Box *box = box_new("runc", NULL, SLEEP);
	g_autofree char *config = path_join(box->bundle, "config.json");
	unlink(config);
	box_start_shim(box);
	SANDBOX_REQUEST(PingRequest, ping, ping_request);
	SANDBOX_REQUEST(StartSandboxRequest, start, start_sandbox_request);
	SANDBOX_REQUEST(PlatformRequest, platform, platform_request);
	SANDBOX_REQUEST(SandboxMetricsRequest, metrics, sandbox_metrics_request);
	SANDBOX_REQUEST(CreateSandboxRequest, create, create_sandbox_request);
	g_autofree char *text = g_strdup_printf("sandbox %s: not found", box->id);
	sandbox_fails(box, "PingSandbox", &ping, CTRD_ERR_NOT_FOUND, text);
	sandbox_fails(box, "StartSandbox", &start, CTRD_ERR_NOT_FOUND, text);
	create.bundle_path = "relative";
	sandbox_fails(box, "CreateSandbox", &create, CTRD_ERR_INVALID_ARGUMENT,
	              "bundle \"relative\" is not an absolute path: invalid argument");
	sandbox_create(box);
	create.bundle_path = box->bundle;
	g_autofree char *twice = g_strdup_printf("sandbox %s: already exists", box->id);
	sandbox_fails(box, "CreateSandbox", &create, CTRD_ERR_ALREADY_EXISTS, twice);
	sandbox_state(box, "SANDBOX_NOTREADY");
	uint32_t pid = sandbox_start(box);
	sandbox_state(box, "SANDBOX_READY");
	g_autofree char *started =
	        g_strdup_printf("sandbox %s was started before: failed precondition", box->id);
	sandbox_fails(box, "StartSandbox", &start, CTRD_ERR_FAILED_PRECONDITION, started);
	sandbox_fails(box, "SandboxMetrics", &metrics, CTRD_ERR_NOT_FOUND,
	              "cgroup does not exist: not found");
	autopb Containerd__Runtime__Sandbox__V1__PlatformResponse *p =
	        sandbox_call(box, "Platform", &platform);
	g_assert_cmpstr(p->platform->os, ==, "linux");

	// namespaces of its own, and none of the shim's files
	g_autofree char *ours = g_file_read_link("/proc/self/ns/uts", NULL);
	g_autofree char *path = g_strdup_printf("/proc/%u/ns/uts", pid);
	g_autofree char *theirs = g_file_read_link(path, NULL);
	g_assert_cmpstr(ours, !=, theirs);
	g_autofree char *fds = g_strdup_printf("/proc/%u/fd", pid);
	g_autoptr(GPtrArray) open_fds = dir_list(fds, 0, NULL);
	g_assert_cmpuint(open_fds->len, ==, 3);

	// Shutdown of the task API leaves the shim of a sandbox alone
	REQUEST(ShutdownRequest, shutdown, shutdown_request);
	autopb void *response = box_call(box, "Shutdown", &shutdown);
	g_usleep(50000);
	sandbox_state(box, "SANDBOX_READY");
	sandbox_end(box, 5, 128 + SIGTERM);
	box_free(box);
}

/* The process of the spec, and a container that Shutdown finds in the shim. */
static void test_sandbox_process(const void *runtime)
{
	Box *box = box_new(runtime, NULL, SLEEP);
	box->options.binary_name = runtime;
	box_start_shim(box);
	sandbox_create(box);
	sandbox_start(box);
	sandbox_state(box, "SANDBOX_READY");
	SANDBOX_REQUEST(SandboxMetricsRequest, metrics, sandbox_metrics_request);
	autopb Containerd__Runtime__Sandbox__V1__SandboxMetricsResponse *m =
	        sandbox_call(box, "SandboxMetrics", &metrics);
	g_assert_cmpstr(m->metrics->id, ==, box->id);

	Box *other = box_new(runtime, NULL, SLEEP);
	other->address = g_strdup(box->address);
	connect_shim(other);
	box_create(other);
	box_start(other, "");
	// sleep(1) as the init of a pid namespace does not end on SIGTERM: the timeout kills it
	sandbox_end(box, 1, 128 + SIGKILL);
	g_autofree char *want = g_strdup("create start exit delete");
	assert_events(other->id, want);
	box_free(other);
	box_free(box);
}

int main(int argc, char **argv)
{
	if (!harness_init(argc, argv))
		return harness_run();
	for (int i = 0; i < 2; i++) {
		const char *runtime = i == 0 ? "runc" : "crun";
		add("runtime-flags", runtime, test_runtime_flags);
		add("exec-process", runtime, test_exec_process);
		add("hooks", runtime, test_hooks);
		add("sandbox-process", runtime, test_sandbox_process);
	}
	add("io-owner", "runc", test_io_owner);
	g_test_add_func("/shim-e2e/any/shim-cgroup", test_shim_cgroup);
	g_test_add_func("/shim-e2e/any/restore-fails", test_restore_fails);
	g_test_add_func("/shim-e2e/any/sandbox-pause", test_sandbox_pause);
	return harness_run();
}
