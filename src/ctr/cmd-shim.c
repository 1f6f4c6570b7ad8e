// SPDX-License-Identifier: Apache-2.0
/* ctr shim: the calls of a shim's task service, past the daemon (upstream cmd/ctr/commands/shim). */
#include "base/fs.h"
#include "base/time.h"
#include "ctr/task-io.h"
#include "ctr/util.h"
#include "oci/runtime-spec.h"
#include "runtime/task/v2/shim.pb-c.h"
#include "runtime/task/v3/shim.pb-c.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define V3 &containerd__task__v3__task__descriptor
#define V2 &containerd__task__v2__task__descriptor
#define SOCKET_DIR "/run/containerd/s"
#define SPEC_MAX (8 * 1024 * 1024)

/* The socket of a shim is named after the daemon's, the namespace and the id. */
static char *address_of(Cli *cli, const char *id)
{
	g_autofree char *joined = g_strjoin("/", cli_string(cli, "address"), ctr_ns(cli), id, NULL);
	g_autofree char *path = path_clean(joined);
	g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, path, -1);
	return g_strdup_printf("%s/%s", SOCKET_DIR, hash);
}

/* --shim-address, else what --id gives. */
static char *shim_address(Cli *cli, GError **error)
{
	const char *id = cli_string(cli, "id"), *given = cli_string(cli, "shim-address");
	if (*id == '\0' && *given == '\0') {
		error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		          "shim ID (--id) or address (--shim-address) must be specified");
		return NULL;
	}
	g_autofree char *path = *given != '\0'
	                                ? g_strdup(g_str_has_prefix(given, "unix://") ? given + 7 : given)
	                                : address_of(cli, id);
	if (access(path, F_OK) == 0)
		return g_strconcat("unix://", path, NULL);
	error_set(error, CTRD_ERR_UNAVAILABLE, "fail to connect to container shim with sockets: [%s]", path);
	return NULL;
}

static bool shim_call(Cli *cli, const ProtobufCServiceDescriptor *service, const char *method,
                      const void *request, void *ret, GError **error)
{
	g_autofree char *address = shim_address(cli, error);
	if (address == NULL)
		return false;
	Loop *loop = loop_start("ctr-shim");
	RpcClient *client = rpc_client_new(loop, RPC_PROTO_TTRPC, address);
	RpcCallOptions options = {.ns = ctr_ns(cli), .cancel = ctr_cancel(cli)};
	bool ok = rpc_client_call(client, service, method, &options, request, ret, error);
	rpc_client_unref(client);
	loop_stop_join(loop);
	return ok;
}

static bool api_version(Cli *cli, bool *ret_v2, GError **error)
{
	int64_t v = cli_int(cli, "api-version");
	if (v != 2 && v != 3)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "api-version must be 2 or 3");
	*ret_v2 = v == 2;
	return true;
}

static bool start_run(Cli *cli, GError **error)
{
	Containerd__Task__V3__StartRequest req = CONTAINERD__TASK__V3__START_REQUEST__INIT;
	autopb ProtobufCMessage *resp = NULL;
	req.id = cli_arg(cli, 0);
	return shim_call(cli, V3, "Start", &req, &resp, error);
}

static bool delete_run(Cli *cli, GError **error)
{
	Containerd__Task__V3__DeleteRequest req = CONTAINERD__TASK__V3__DELETE_REQUEST__INIT;
	autopb Containerd__Task__V3__DeleteResponse *resp = NULL;
	req.id = cli_arg(cli, 0);
	if (!shim_call(cli, V3, "Delete", &req, &resp, error))
		return false;
	printf("container deleted and returned exit status %u\n", resp->exit_status);
	return true;
}

static bool shutdown_run(Cli *cli, GError **error)
{
	bool v2 = false;
	autopb ProtobufCMessage *resp = NULL;
	if (!api_version(cli, &v2, error))
		return false;
	Containerd__Task__V2__ShutdownRequest old = CONTAINERD__TASK__V2__SHUTDOWN_REQUEST__INIT;
	Containerd__Task__V3__ShutdownRequest new_ = CONTAINERD__TASK__V3__SHUTDOWN_REQUEST__INIT;
	return v2 ? shim_call(cli, V2, "Shutdown", &old, &resp, error)
	          : shim_call(cli, V3, "Shutdown", &new_, &resp, error);
}

static bool state_run(Cli *cli, GError **error)
{
	bool v2 = false;
	const char *task = cli_string(cli, "task-id"), *id = *task != '\0' ? task : cli_string(cli, "id");
	autopb ProtobufCMessage *resp = NULL;
	if (!api_version(cli, &v2, error))
		return false;
	Containerd__Task__V2__StateRequest old = CONTAINERD__TASK__V2__STATE_REQUEST__INIT;
	Containerd__Task__V3__StateRequest new_ = CONTAINERD__TASK__V3__STATE_REQUEST__INIT;
	old.id = new_.id = id;
	if (!(v2 ? shim_call(cli, V2, "State", &old, &resp, error)
	         : shim_call(cli, V3, "State", &new_, &resp, error)))
		return false;
	print_json(message_to_json(resp));
	return true;
}

/* A fifo that the shim will open: made where it is not there. */
static bool fifo_make(const char *path, GError **error)
{
	return *path == '\0' || mkfifo(path, 0700) == 0 || errno == EEXIST ||
	       error_set_errno(error, errno, "error creating fifo %s", path);
}

/* The shim holds the streams until the process is deleted. */
static bool wait_and_delete(Cli *cli, const Containerd__Task__V3__StartRequest *of, GError **error)
{
	Containerd__Task__V3__WaitRequest wait = CONTAINERD__TASK__V3__WAIT_REQUEST__INIT;
	Containerd__Task__V3__DeleteRequest delete = CONTAINERD__TASK__V3__DELETE_REQUEST__INIT;
	autopb ProtobufCMessage *waited = NULL, *deleted = NULL;
	wait.id = delete.id = of->id;
	wait.exec_id = delete.exec_id = of->exec_id;
	return shim_call(cli, V3, "Wait", &wait, &waited, error) &&
	       shim_call(cli, V3, "Delete", &delete, &deleted, error);
}

static bool exec_and_start(Cli *cli, const Containerd__Task__V3__ExecProcessRequest *exec,
                           const Containerd__Task__V3__StartRequest *start, GError **error)
{
	autopb ProtobufCMessage *added = NULL;
	autopb Containerd__Task__V3__StartResponse *started = NULL;
	if (!shim_call(cli, V3, "Exec", exec, &added, error) ||
	    !shim_call(cli, V3, "Start", start, &started, error))
		return false;
	printf("exec running with pid %u\n", started->pid);
	fflush(stdout);
	return true;
}

static bool exec_run(Cli *cli, GError **error)
{
	const char *id = cli_arg(cli, 0), *in = cli_string(cli, "stdin"), *out = cli_string(cli, "stdout"),
	           *err = cli_string(cli, "stderr");
	bool tty = cli_bool(cli, "tty");
	g_autofree char *spec = NULL;
	size_t len = 0;
	if (*id == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "exec id must be provided");
	if (!fifo_make(in, error) || !fifo_make(out, error) || !fifo_make(err, error) ||
	    !file_read(cli_string(cli, "spec"), SPEC_MAX, &spec, &len, error))
		return false;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	any.type_url = (char *)SPEC_PROCESS_TYPE_URL;
	any.value = (ProtobufCBinaryData){len, (uint8_t *)spec};
	Containerd__Task__V3__ExecProcessRequest exec = CONTAINERD__TASK__V3__EXEC_PROCESS_REQUEST__INIT;
	exec.id = exec.exec_id = id;
	if (*cli_string(cli, "id") != '\0')
		exec.id = cli_string(cli, "id");
	exec.spec = &any;
	exec.stdin = in;
	exec.stdout = out;
	exec.stderr = err;
	exec.terminal = tty;
	Containerd__Task__V3__StartRequest start = CONTAINERD__TASK__V3__START_REQUEST__INIT;
	start.id = exec.id;
	start.exec_id = exec.exec_id;
	/* our ends are open before the process can end */
	TaskIo *io = cli_bool(cli, "attach") ? task_io_attach(in, out, err, tty) : NULL;
	bool ok = (io == NULL || task_io_start(io, cli, exec.id, exec.exec_id, error)) &&
	          exec_and_start(cli, &exec, &start, error) &&
	          (io == NULL || wait_and_delete(cli, &start, error));
	if (ok && io != NULL)
		task_io_wait(io);
	task_io_free(io, true);
	return ok;
}

static const CliFlag shim_flags[] = {
        {"id", FLAG_STRING, "shim ID"},
        {"shim-address", FLAG_STRING, "shim address (default: computed from shim ID)"},
        {0},
};
static const CliFlag version_flags[] = {
        {"api-version", FLAG_INT, "shim API version {2,3}", .value = "3"},
        {0},
};
static const CliFlag state_flags[] = {{"task-id", FLAG_STRING, "task ID", {"t"}}, {0}};
static const CliFlag exec_flags[] = {
        {"stdin", FLAG_STRING, "Specify the path to the stdin fifo"},
        {"stdout", FLAG_STRING, "Specify the path to the stdout fifo"},
        {"stderr", FLAG_STRING, "Specify the path to the stderr fifo"},
        {"tty", FLAG_BOOL, "Enable tty support", {"t"}, "false"},
        {"attach", FLAG_BOOL, "Stay attached to the container and open the fifos", {"a"}, "false"},
        {"spec", FLAG_STRING, "Runtime spec"},
        {0},
};
static const CliCommand start = {.name = "start", .usage = "Start a container with a task", .run = start_run};
static const CliCommand delete_ = {
        .name = "delete", .usage = "Delete a container with a task", .run = delete_run};
static const CliCommand exec_ = {
        .name = "exec",
        .usage = "Exec a new process in the task's container",
        .arguments = "[flags] <exec id>",
        .flags = {exec_flags},
        .run = exec_run,
};
static const CliCommand state = {
        .name = "state",
        .usage = "Get the state of all main process of the task",
        .flags = {state_flags, version_flags},
        .run = state_run,
};
static const CliCommand shutdown_ = {
        .name = "shutdown",
        .usage = "Shutdown shim if there is no active container",
        .flags = {version_flags},
        .run = shutdown_run,
};
static const CliCommand *const commands[] = {&delete_, &exec_, &start, &state, &shutdown_, NULL};
const CliCommand cmd_shim = {
        .name = "shim",
        .usage = "Interact with a shim directly",
        .flags = {shim_flags},
        .commands = commands,
};
