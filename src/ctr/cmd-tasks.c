// SPDX-License-Identifier: Apache-2.0
#include "base/fs.h"
#include "cgroups/v1/metrics.pb-c.h"
#include "cgroups/v2/metrics.pb-c.h"
#include "ctr/checkpoint.h"
#include "ctr/tasks.h"
#include "ctr/util.h"
#include "message.h"
#include "types/metrics.pb-c.h"
#include "types/runc/options/oci.pb-c.h"
#include "types/task/task.pb-c.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define SERVICE &containerd__services__tasks__v1__tasks__descriptor

/* ---- calls ---- */

bool ctr_task_create(Cli *cli, const CtrTaskCreate *create, uint32_t *ret_pid, GError **error)
{
	Containerd__Services__Tasks__V1__CreateTaskRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__CREATE_TASK_REQUEST__INIT;
	req.container_id = create->id;
	req.rootfs = create->rootfs;
	req.n_rootfs = create->n_rootfs;
	req.stdin = task_io_stdin(create->io);
	req.stdout = task_io_stdout(create->io);
	req.stderr = task_io_stderr(create->io);
	req.terminal = create->terminal;
	req.options = (Google__Protobuf__Any *)create->options;
	Containerd__Types__Descriptor checkpoint = CONTAINERD__TYPES__DESCRIPTOR__INIT;
	if (create->checkpoint != NULL) {
		checkpoint.media_type = create->checkpoint->media_type;
		checkpoint.digest = create->checkpoint->digest;
		checkpoint.size = create->checkpoint->size;
		req.checkpoint = &checkpoint;
	}
	autopb Containerd__Services__Tasks__V1__CreateTaskResponse *resp = NULL;
	if (!ctr_call(cli, SERVICE, "Create", &req, &resp, error))
		return false;
	*ret_pid = resp->pid;
	return true;
}

bool ctr_task_start(Cli *cli, const char *id, const char *exec_id, uint32_t *ret_pid, GError **error)
{
	Containerd__Services__Tasks__V1__StartRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__START_REQUEST__INIT;
	req.container_id = id;
	req.exec_id = exec_id;
	autopb Containerd__Services__Tasks__V1__StartResponse *resp = NULL;
	if (!ctr_call(cli, SERVICE, "Start", &req, &resp, error))
		return false;
	if (ret_pid != NULL)
		*ret_pid = resp->pid;
	return true;
}

bool ctr_task_kill(Cli *cli, const char *id, const char *exec_id, uint32_t sig, bool all, GError **error)
{
	Containerd__Services__Tasks__V1__KillRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__KILL_REQUEST__INIT;
	req.container_id = id;
	req.exec_id = exec_id;
	req.signal = sig;
	req.all = all;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, SERVICE, "Kill", &req, &resp, error);
}

RpcClientCall *ctr_task_delete_begin(Cli *cli, const char *id, const char *exec_id, GError **error)
{
	if (*exec_id == '\0') {
		Containerd__Services__Tasks__V1__DeleteTaskRequest req =
		        CONTAINERD__SERVICES__TASKS__V1__DELETE_TASK_REQUEST__INIT;
		req.container_id = id;
		return ctr_call_begin(cli, SERVICE, "Delete", &req, error);
	}
	Containerd__Services__Tasks__V1__DeleteProcessRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__DELETE_PROCESS_REQUEST__INIT;
	req.container_id = id;
	req.exec_id = exec_id;
	return ctr_call_begin(cli, SERVICE, "DeleteProcess", &req, error);
}

bool ctr_task_delete(Cli *cli, const char *id, const char *exec_id, uint32_t *ret_status, GError **error)
{
	autopb Containerd__Services__Tasks__V1__DeleteResponse *resp = NULL;
	RpcClientCall *call = ctr_task_delete_begin(cli, id, exec_id, error);
	if (call == NULL || !rpc_client_call_wait(call, &resp, error))
		return false;
	*ret_status = resp->exit_status;
	return true;
}

bool ctr_task_delete_with_fifos(Cli *cli, const char *id, const char *exec_id,
                                const Containerd__V1__Types__Process *process, uint32_t *ret_status,
                                GError **error)
{
	if (!ctr_task_delete(cli, id, exec_id, ret_status, error))
		return false;
	task_io_remove_fifos(process->stdin, process->stdout, process->stderr);
	return true;
}

RpcClientCall *ctr_wait_begin(Cli *cli, const char *id, const char *exec_id, GError **error)
{
	Containerd__Services__Tasks__V1__WaitRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__WAIT_REQUEST__INIT;
	req.container_id = id;
	req.exec_id = exec_id;
	return ctr_call_begin(cli, SERVICE, "Wait", &req, error);
}

bool ctr_wait_end(RpcClientCall *wait, uint32_t *ret_status, GError **error)
{
	autopb Containerd__Services__Tasks__V1__WaitResponse *resp = NULL;
	if (!rpc_client_call_wait(wait, &resp, error))
		return false;
	*ret_status = resp->exit_status;
	return true;
}

static bool task_get(Cli *cli, const char *id, const char *exec_id,
                     Containerd__Services__Tasks__V1__GetResponse **ret, GError **error)
{
	Containerd__Services__Tasks__V1__GetRequest req = CONTAINERD__SERVICES__TASKS__V1__GET_REQUEST__INIT;
	req.container_id = id;
	req.exec_id = exec_id;
	return ctr_call(cli, SERVICE, "Get", &req, ret, error);
}

/* ---- signals ---- */

bool signal_parse(const char *text, int *ret, GError **error)
{
	int64_t n = 0;
	if (parse_i64(text, &n) && n > 0 && n <= SIGRTMAX) {
		*ret = (int)n;
		return true;
	}
	g_autofree char *name = g_ascii_strup(text, -1);
	const char *bare = g_str_has_prefix(name, "SIG") ? name + 3 : name;
	for (int i = 1; i < SIGRTMIN; i++) {
		const char *abbrev = sigabbrev_np(i);
		if (abbrev != NULL && g_str_equal(abbrev, bare)) {
			*ret = i;
			return true;
		}
	}
	bool plus = g_str_has_prefix(bare, "RTMIN"), minus = g_str_has_prefix(bare, "RTMAX");
	if (plus || minus) {
		int64_t offset = 0;
		int base = plus ? SIGRTMIN : SIGRTMAX;
		const char *rest = bare + 5;
		if (*rest == '\0' || ((*rest == '+' || *rest == '-') && parse_i64(rest + 1, &offset))) {
			int sig = base + (plus ? (int)offset : -(int)offset);
			if (offset >= 0 && sig >= SIGRTMIN && sig <= SIGRTMAX) {
				*ret = sig;
				return true;
			}
		}
	}
	return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "invalid signal: %s", text);
}

/* ---- commands ---- */

static bool need_id(Cli *cli, GError **error)
{
	return *cli_arg(cli, 0) != '\0' ||
	       error_set(error, CTRD_ERR_INVALID_ARGUMENT, "container id must be provided");
}

static bool list_run(Cli *cli, GError **error)
{
	Containerd__Services__Tasks__V1__ListTasksRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__LIST_TASKS_REQUEST__INIT;
	autopb Containerd__Services__Tasks__V1__ListTasksResponse *resp = NULL;
	if (!ctr_call(cli, SERVICE, "List", &req, &resp, error))
		return false;
	if (ctr_wants_json(cli)) {
		print_json_list(resp->n_tasks, (ProtobufCMessage *const *)resp->tasks);
		return true;
	}
	bool quiet = cli_bool(cli, "quiet");
	Table *t = table_new(4, 4);
	if (!quiet)
		table_row(t, "TASK\tPID\tSTATUS\t");
	for (size_t i = 0; i < resp->n_tasks; i++) {
		const Containerd__V1__Types__Process *p = resp->tasks[i];
		const ProtobufCEnumValue *status = protobuf_c_enum_descriptor_get_value(
		        &containerd__v1__types__status__descriptor, (int)p->status);
		if (quiet)
			table_row(t, "%s", p->id);
		else
			table_row(t, "%s\t%u\t%s", p->id, p->pid, status != NULL ? status->name : "UNKNOWN");
	}
	table_print(t);
	for (size_t i = 0; i < resp->n_tasks; i++)
		if (resp->tasks[i]->status == CONTAINERD__V1__TYPES__STATUS__UNKNOWN)
			fprintf(stderr,
			        "ctr: the shim of task %s does not answer; `ctr tasks rm -f %s` ends it\n",
			        resp->tasks[i]->id, resp->tasks[i]->id);
	return true;
}

static bool kill_run(Cli *cli, GError **error)
{
	const char *id = cli_arg(cli, 0), *exec_id = cli_string(cli, "exec-id");
	bool all = cli_bool(cli, "all");
	if (!need_id(cli, error))
		return false;
	if (all && *exec_id != '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "specify an exec-id or all; not both");
	int sig = SIGTERM;
	const char *text = cli_string(cli, "signal");
	if (*text != '\0') {
		if (!signal_parse(text, &sig, error))
			return false;
	} else {
		/* the image's stop signal, which run and create keep as a label */
		autopb Containerd__Services__Containers__V1__GetContainerResponse *c = NULL;
		if (!ctr_container_get(cli, id, &c, error))
			return false;
		g_autoptr(GHashTable) labels = label_map(c->container->n_labels, c->container->labels);
		const char *stop = strmap_get(labels, "io.containerd.image.config.stop-signal");
		if (!str_empty(stop) && !signal_parse(stop, &sig, error))
			return false;
	}
	return ctr_task_kill(cli, id, exec_id, (uint32_t)sig, all, error);
}

static bool pause_run(Cli *cli, GError **error)
{
	Containerd__Services__Tasks__V1__PauseTaskRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__PAUSE_TASK_REQUEST__INIT;
	req.container_id = cli_arg(cli, 0);
	autopb ProtobufCMessage *resp = NULL;
	return need_id(cli, error) && ctr_call(cli, SERVICE, "Pause", &req, &resp, error);
}

static bool resume_run(Cli *cli, GError **error)
{
	Containerd__Services__Tasks__V1__ResumeTaskRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__RESUME_TASK_REQUEST__INIT;
	req.container_id = cli_arg(cli, 0);
	autopb ProtobufCMessage *resp = NULL;
	return need_id(cli, error) && ctr_call(cli, SERVICE, "Resume", &req, &resp, error);
}

/* Ours: upstream's client cannot. The resources are those of an OCI runtime spec, as JSON. */
static bool read_resources(const char *path, char **ret, size_t *ret_len, GError **error)
{
	enum { MAX = 1024 * 1024 };
	if (*path == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "--resources is needed");
	if (!g_str_equal(path, "-"))
		return file_read(path, MAX, ret, ret_len, error);
	return fd_read_all(0, MAX, ret, ret_len, error);
}

static bool update_run(Cli *cli, GError **error)
{
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!need_id(cli, error) || !read_resources(cli_string(cli, "resources"), &data, &len, error))
		return false;
	g_autoptr(JsonObject) json = json_parse(data, len, 0, error);
	if (json == NULL)
		return error_prefix(error, "resources");
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	any.type_url = (char *)"types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";
	any.value.data = (uint8_t *)data;
	any.value.len = len;
	Containerd__Services__Tasks__V1__UpdateTaskRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__UPDATE_TASK_REQUEST__INIT;
	req.container_id = cli_arg(cli, 0);
	req.resources = &any;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, SERVICE, "Update", &req, &resp, error);
}

/* "&ProcessDetails{ExecID:x,}", as Go prints it; "-" for none. */
static char *pid_info(const Google__Protobuf__Any *any)
{
	autopb Containerd__Runc__V1__ProcessDetails *d =
	        any != NULL
	                ? api_any_unpack(any, &containerd__runc__v1__process_details__descriptor, NULL, NULL)
	                : NULL;
	return d != NULL ? g_strdup_printf("exec_id:\"%s\"", d->exec_id) : g_strdup("-");
}

static bool ps_run(Cli *cli, GError **error)
{
	Containerd__Services__Tasks__V1__ListPidsRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__LIST_PIDS_REQUEST__INIT;
	req.container_id = cli_arg(cli, 0);
	autopb Containerd__Services__Tasks__V1__ListPidsResponse *resp = NULL;
	if (!need_id(cli, error) || !ctr_call(cli, SERVICE, "ListPids", &req, &resp, error))
		return false;
	Table *t = table_new(1, 4);
	table_row(t, "PID\tINFO");
	for (size_t i = 0; i < resp->n_processes; i++) {
		g_autofree char *info = pid_info(resp->processes[i]->info);
		table_row(t, "%u\t%s", resp->processes[i]->pid, info);
	}
	table_print(t);
	return true;
}

/* Kills and waits for what still runs, then deletes (upstream's WithProcessKill). */
static bool delete_one(Cli *cli, const char *id, const char *exec_id, bool force, uint32_t *ret_status,
                       GError **error)
{
	autopb Containerd__Services__Tasks__V1__GetResponse *state = NULL;
	g_autoptr(GError) unknown = NULL;
	if (!task_get(cli, id, exec_id, &state, &unknown)) {
		// a shim that does not answer: the daemon knows what to do with it
		if (force && *exec_id == '\0' && error_is(unknown, CTRD_ERR_DEADLINE_EXCEEDED))
			return ctr_task_delete(cli, id, exec_id, ret_status, error);
		g_propagate_error(error, g_steal_pointer(&unknown));
		return false;
	}
	bool running = state->process->status == CONTAINERD__V1__TYPES__STATUS__RUNNING ||
	               state->process->status == CONTAINERD__V1__TYPES__STATUS__PAUSED ||
	               (state->process->status == CONTAINERD__V1__TYPES__STATUS__CREATED &&
	                state->process->pid != 0);
	if (running && !force)
		return error_set_class(
		        error, CTRD_ERR_FAILED_PRECONDITION, "task must be stopped before deletion: %s",
		        state->process->status == CONTAINERD__V1__TYPES__STATUS__PAUSED    ? "paused"
		        : state->process->status == CONTAINERD__V1__TYPES__STATUS__CREATED ? "created"
		                                                                           : "running");
	if (running) {
		RpcClientCall *wait = ctr_wait_begin(cli, id, exec_id, error);
		uint32_t status = 0;
		g_autoptr(GError) failed = NULL;
		if (wait == NULL)
			return false;
		if (!ctr_task_kill(cli, id, exec_id, SIGKILL, *exec_id == '\0', &failed) &&
		    !error_is(failed, CTRD_ERR_NOT_FOUND) &&
		    !error_is(failed, CTRD_ERR_FAILED_PRECONDITION)) {
			rpc_client_call_forget(wait);
			g_propagate_error(error, g_steal_pointer(&failed));
			return false;
		}
		if (!ctr_wait_end(wait, &status, error))
			return false;
	}
	return ctr_task_delete_with_fifos(cli, id, exec_id, state->process, ret_status, error);
}

static bool delete_run(Cli *cli, GError **error)
{
	const char *exec_id = cli_string(cli, "exec-id");
	bool force = cli_bool(cli, "force");
	uint32_t status = 0;
	if (!need_id(cli, error))
		return false;
	if (*exec_id != '\0') {
		if (!delete_one(cli, cli_arg(cli, 0), exec_id, force, &status, error))
			return false;
		cli_exit(cli, (int)status);
		return true;
	}
	GError *first = NULL;
	for (int i = 0; i < cli_n_args(cli); i++) {
		GError *failed = NULL;
		if (!delete_one(cli, cli_arg(cli, i), "", force, &status, &failed)) {
			error_prefix(&failed, "unable to delete %s", cli_arg(cli, i));
			if (first == NULL) {
				first = failed;
			} else {
				fprintf(stderr, "ctr: %s\n", failed->message);
				g_error_free(failed);
			}
		} else if (status != 0) {
			fprintf(stderr, "ctr: task %s exit with non-zero exit code %u\n", cli_arg(cli, i),
			        status);
		}
	}
	if (first != NULL)
		g_propagate_error(error, first);
	return first == NULL;
}

/* ---- metrics ---- */

static void metrics_v1_rows(Table *t, const Io__Containerd__Cgroups__V1__Metrics *m)
{
	if (m->memory != NULL) {
		table_row(t, "memory.usage_in_bytes\t%" PRIu64 "\t",
		          m->memory->usage != NULL ? m->memory->usage->usage : 0);
		table_row(t, "memory.limit_in_bytes\t%" PRIu64 "\t",
		          m->memory->usage != NULL ? m->memory->usage->limit : 0);
		table_row(t, "memory.stat.cache\t%" PRIu64 "\t", m->memory->total_cache);
	}
	if (m->cpu != NULL && m->cpu->usage != NULL) {
		g_autoptr(GString) s = g_string_new("[");
		for (size_t i = 0; i < m->cpu->usage->n_per_cpu; i++)
			g_string_append_printf(s, "%s%" PRIu64, i > 0 ? " " : "", m->cpu->usage->per_cpu[i]);
		table_row(t, "cpuacct.usage\t%" PRIu64 "\t", m->cpu->usage->total);
		table_row(t, "cpuacct.usage_percpu\t%s]\t", s->str);
	}
	if (m->pids != NULL) {
		table_row(t, "pids.current\t%" PRIu64 "\t", m->pids->current);
		table_row(t, "pids.limit\t%" PRIu64 "\t", m->pids->limit);
	}
}

static void metrics_v2_rows(Table *t, const Io__Containerd__Cgroups__V2__Metrics *m)
{
	if (m->pids != NULL) {
		table_row(t, "pids.current\t%" PRIu64 "\t", m->pids->current);
		table_row(t, "pids.limit\t%" PRIu64 "\t", m->pids->limit);
	}
	if (m->cpu != NULL) {
		table_row(t, "cpu.usage_usec\t%" PRIu64 "\t", m->cpu->usage_usec);
		table_row(t, "cpu.user_usec\t%" PRIu64 "\t", m->cpu->user_usec);
		table_row(t, "cpu.system_usec\t%" PRIu64 "\t", m->cpu->system_usec);
		table_row(t, "cpu.nr_periods\t%" PRIu64 "\t", m->cpu->nr_periods);
		table_row(t, "cpu.nr_throttled\t%" PRIu64 "\t", m->cpu->nr_throttled);
		table_row(t, "cpu.throttled_usec\t%" PRIu64 "\t", m->cpu->throttled_usec);
	}
	if (m->memory != NULL) {
		table_row(t, "memory.usage\t%" PRIu64 "\t", m->memory->usage);
		table_row(t, "memory.usage_limit\t%" PRIu64 "\t", m->memory->usage_limit);
		table_row(t, "memory.swap_usage\t%" PRIu64 "\t", m->memory->swap_usage);
		table_row(t, "memory.swap_limit\t%" PRIu64 "\t", m->memory->swap_limit);
	}
}

static bool metrics_print(Cli *cli, const Containerd__Types__Metric *m, GError **error)
{
	const ProtobufCMessageDescriptor *v1 = &io__containerd__cgroups__v1__metrics__descriptor;
	const ProtobufCMessageDescriptor *v2 = &io__containerd__cgroups__v2__metrics__descriptor;
	bool is_v1 = api_any_is(m->data, v1);
	if (!is_v1 && !api_any_is(m->data, v2))
		return error_set(error, CTRD_ERR_UNKNOWN, "cannot convert metric data to cgroups.Metrics");
	autopb ProtobufCMessage *data = api_any_unpack(m->data, is_v1 ? v1 : v2, NULL, error);
	if (data == NULL)
		return false;
	const char *format = cli_string(cli, "format");
	if (g_str_equal(format, "json")) {
		print_json(message_to_json(data));
		return true;
	}
	if (!g_str_equal(format, "table"))
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "format must be table or json");
	Table *t = table_new(1, 4);
	table_row(t, "ID\tTIMESTAMP\t");
	table_row(t, "%s\tseconds:%" PRId64 " nanos:%d\t", m->id,
	          m->timestamp != NULL ? m->timestamp->seconds : 0,
	          m->timestamp != NULL ? m->timestamp->nanos : 0);
	table_row(t, "%s", "");
	table_row(t, "METRIC\tVALUE\t");
	if (is_v1)
		metrics_v1_rows(t, (const Io__Containerd__Cgroups__V1__Metrics *)data);
	else
		metrics_v2_rows(t, (const Io__Containerd__Cgroups__V2__Metrics *)data);
	table_print(t);
	return true;
}

static bool metrics_run(Cli *cli, GError **error)
{
	if (!need_id(cli, error))
		return false;
	g_autofree char *filter = g_strdup_printf("id==%s", cli_arg(cli, 0));
	const char *filters[] = {filter};
	Containerd__Services__Tasks__V1__MetricsRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__METRICS_REQUEST__INIT;
	req.filters = filters;
	req.n_filters = 1;
	autopb Containerd__Services__Containers__V1__GetContainerResponse *container = NULL;
	autopb Containerd__Services__Tasks__V1__MetricsResponse *resp = NULL;
	if (!ctr_container_get(cli, cli_arg(cli, 0), &container, error) ||
	    !ctr_call(cli, SERVICE, "Metrics", &req, &resp, error))
		return false;
	if (resp->n_metrics == 0)
		return error_set(error, CTRD_ERR_NOT_FOUND,
		                 "no metrics received: not found (does task %s run?)", cli_arg(cli, 0));
	return metrics_print(cli, resp->metrics[0], error);
}

/* ---- attach, start ---- */

bool ctr_follow(Cli *cli, TaskIo *io, RpcClientCall *wait, GError **error)
{
	uint32_t status = 0;
	task_io_forward(io);
	if (!ctr_wait_end(wait, &status, error))
		return false;
	cli_exit(cli, (int)status);
	return true;
}

static bool attach_run(Cli *cli, GError **error)
{
	const char *id = cli_arg(cli, 0);
	autopb Containerd__Services__Tasks__V1__GetResponse *state = NULL;
	if (!need_id(cli, error) || !task_get(cli, id, "", &state, error))
		return false;
	const Containerd__V1__Types__Process *p = state->process;
	TaskIo *io = task_io_attach(p->stdin, p->stdout, p->stderr, p->terminal);
	RpcClientCall *wait = ctr_wait_begin(cli, id, "", error);
	bool ok = wait != NULL && task_io_start(io, cli, id, "", error);
	if (ok) {
		ok = ctr_follow(cli, io, wait, error);
		uint32_t status = 0;
		if (ok) {
			task_io_wait(io);
			ctr_task_delete_with_fifos(cli, id, "", p, &status, NULL);
		}
	} else {
		rpc_client_call_forget(wait);
	}
	task_io_free(io, false);
	return ok;
}

static const CliFlag kill_flags[] = {
        {"signal", FLAG_STRING, "Signal to send to the container", {"s"}},
        {"exec-id", FLAG_STRING, "Process ID to kill"},
        {"all", FLAG_BOOL, "Send signal to all processes inside the container", {"a"}, "false"},
        {0},
};
static const CliFlag delete_flags[] = {
        {"force", FLAG_BOOL, "Force delete task process", {"f"}, "false"},
        {"exec-id", FLAG_STRING, "Process ID to kill"},
        {0},
};
static const CliFlag metrics_flags[] = {
        {"format", FLAG_STRING, "\"table\" or \"json\"", .value = "table"},
        {0},
};

static const CliCommand attach = {
        .name = "attach",
        .usage = "Attach to the IO of a running container",
        .arguments = "CONTAINER",
        .run = attach_run,
};
static const CliCommand delete_ = {
        .name = "delete",
        .aliases = {"del", "remove", "rm"},
        .usage = "Delete one or more tasks",
        .arguments = "CONTAINER [CONTAINER, ...]",
        .flags = {delete_flags},
        .run = delete_run,
};
static const CliCommand list = {
        .name = "list",
        .aliases = {"ls"},
        .usage = "List tasks",
        .arguments = "[flags]",
        .flags = {flags_quiet, flags_format},
        .run = list_run,
};
static const CliCommand kill_ = {
        .name = "kill",
        .usage = "Signal a container (default: SIGTERM)",
        .arguments = "[flags] CONTAINER",
        .flags = {kill_flags},
        .run = kill_run,
};
static const CliCommand metrics = {
        .name = "metrics",
        .aliases = {"metric"},
        .usage = "Get a single data point of metrics for a task with the built-in Linux runtime",
        .arguments = "CONTAINER",
        .flags = {metrics_flags},
        .run = metrics_run,
};
static const CliCommand pause_ = {
        .name = "pause",
        .usage = "Pause an existing container",
        .arguments = "CONTAINER",
        .run = pause_run,
};
static const CliCommand ps = {
        .name = "ps",
        .usage = "List processes for container",
        .arguments = "CONTAINER",
        .run = ps_run,
};
static const CliCommand resume = {
        .name = "resume",
        .usage = "Resume a paused container",
        .arguments = "CONTAINER",
        .run = resume_run,
};
static const CliFlag update_flags[] = {
        {"resources", FLAG_STRING,
         "File with the resources as an OCI runtime spec has them, {\"memory\": {\"limit\": N}}; - is stdin"},
        {0},
};
static const CliCommand update = {
        .name = "update",
        .usage = "Change the resources of a container",
        .arguments = "[flags] CONTAINER",
        .flags = {update_flags},
        .run = update_run,
};
static const CliCommand *const commands[] = {
        &attach, &delete_,         &ctr_tasks_exec,       &list,   &kill_, &metrics, &pause_, &ps,
        &resume, &ctr_tasks_start, &ctr_tasks_checkpoint, &update, NULL,
};
const CliCommand cmd_tasks = {
        .name = "tasks",
        .aliases = {"t", "task"},
        .usage = "Manage tasks",
        .commands = commands,
};
