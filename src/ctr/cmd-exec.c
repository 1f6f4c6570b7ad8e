// SPDX-License-Identifier: Apache-2.0
/* ctr tasks exec */
#include "ctr/container.h"
#include "ctr/snapshots.h"
#include "ctr/tasks.h"
#include "ctr/util.h"
#include "oci/runtime-spec.h"
#include <stdio.h>
#include <string.h>

/* Names are those of the container's own root file system: its snapshot, or the directory of --rootfs. */
static bool set_user(Cli *cli, const Containerd__Services__Containers__V1__Container *c, JsonObject *spec,
                     GError **error)
{
	autopb Containerd__Services__Snapshots__V1__MountsResponse *resp = NULL;
	g_autoptr(GPtrArray) mounts = NULL;
	CtrRootfs rootfs = {0};
	if (!str_empty(c->snapshot_key)) {
		if (!ctr_snapshot_mounts(cli, c->snapshotter, c->snapshot_key, &resp, error))
			return false;
		rootfs.mounts = mounts = ctr_mounts_in(resp->n_mounts, resp->mounts);
	} else {
		rootfs.root = json_get_string(json_get_object(spec, "root"), "path");
		if (rootfs.root == NULL || *rootfs.root != '/')
			return error_set(error, CTRD_ERR_UNKNOWN, "rootfs absolute path is required");
	}
	return ctr_set_user(spec, cli_string(cli, "user"), &rootfs, error);
}

/* The container's process with what the flags change, as JSON. get is the call for the container; freed. */
static char *process_json(Cli *cli, RpcClientCall *get, GError **error)
{
	autopb Containerd__Services__Containers__V1__GetContainerResponse *resp = NULL;
	if (!rpc_client_call_wait(get, &resp, error))
		return NULL;
	const Google__Protobuf__Any *any = resp->container->spec;
	g_autoptr(JsonObject) spec =
	        any != NULL ? json_parse((const char *)any->value.data, any->value.len, 0, error) : NULL;
	JsonObject *process = json_get_object(spec, "process");
	if (process == NULL) {
		if (error == NULL || *error == NULL)
			error_set(error, CTRD_ERR_INVALID_ARGUMENT, "container %s has no process in its spec",
			          cli_arg(cli, 0));
		return NULL;
	}
	if (*cli_string(cli, "user") != '\0' && !set_user(cli, resp->container, spec, error))
		return NULL;
	JsonObject *args = json_object_new_array();
	for (int i = 1; i < cli_n_args(cli); i++)
		json_object_array_add(args, json_object_new_string(cli_arg(cli, i)));
	json_set(process, "args", args);
	json_object_object_del(process, "terminal");
	if (cli_bool(cli, "tty"))
		json_set(process, "terminal", json_object_new_boolean(true));
	if (*cli_string(cli, "cwd") != '\0')
		json_set_string(process, "cwd", cli_string(cli, "cwd"));
	return json_to_text(process);
}

static bool add_process(Cli *cli, const char *exec_id, TaskIo *io, char *json, GError **error)
{
	Containerd__Services__Tasks__V1__ExecProcessRequest req =
	        CONTAINERD__SERVICES__TASKS__V1__EXEC_PROCESS_REQUEST__INIT;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	any.type_url = (char *)SPEC_PROCESS_TYPE_URL;
	any.value = (ProtobufCBinaryData){strlen(json), (uint8_t *)json};
	req.container_id = cli_arg(cli, 0);
	req.exec_id = exec_id;
	req.terminal = cli_bool(cli, "tty");
	req.stdin = task_io_stdin(io);
	req.stdout = task_io_stdout(io);
	req.stderr = task_io_stderr(io);
	req.spec = &any;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, &containerd__services__tasks__v1__tasks__descriptor, "Exec", &req, &resp, error);
}

/* Everything after the process was added; takes the wait. */
static bool run_process(Cli *cli, const char *exec_id, TaskIo *io, RpcClientCall *wait, GError **error)
{
	const char *id = cli_arg(cli, 0);
	bool detach = cli_bool(cli, "detach");
	if ((!detach && !task_io_start(io, cli, id, exec_id, error)) ||
	    !ctr_task_start(cli, id, exec_id, NULL, error)) {
		rpc_client_call_forget(wait);
		return false;
	}
	if (detach) {
		rpc_client_call_forget(wait);
		return true;
	}
	return ctr_follow(cli, io, wait, error);
}

/* The names of the streams go while the daemon deletes. Children that the process left hold the streams
 * themselves open until it has deleted: what they write is awaited after it, as upstream does. */
static void delete_process(Cli *cli, const char *exec_id, TaskIo *io, bool drain)
{
	autopb Containerd__Services__Tasks__V1__DeleteResponse *resp = NULL;
	RpcClientCall *call = ctr_task_delete_begin(cli, cli_arg(cli, 0), exec_id, NULL);
	task_io_remove(io);
	if (call != NULL)
		rpc_client_call_wait(call, &resp, NULL);
	if (drain)
		task_io_wait(io);
}

static bool exec_in(Cli *cli, const char *exec_id, TaskIo *io, char *json, GError **error)
{
	if (!add_process(cli, exec_id, io, json, error))
		return false;
	bool detach = cli_bool(cli, "detach");
	RpcClientCall *wait = ctr_wait_begin(cli, cli_arg(cli, 0), exec_id, error);
	bool ok = wait != NULL && run_process(cli, exec_id, io, wait, error);
	if (!ok || !detach)
		delete_process(cli, exec_id, io, ok && !detach);
	return ok;
}

static bool exec_run(Cli *cli, GError **error)
{
	const char *id = cli_arg(cli, 0), *exec_id = cli_string(cli, "exec-id"),
	           *log_uri = cli_string(cli, "log-uri");
	bool tty = cli_bool(cli, "tty"), detach = cli_bool(cli, "detach");
	if (*id == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "container id must be provided");
	if (*exec_id == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "Required flag \"exec-id\" not set");
	if (tty && *log_uri != '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "can't use log-uri with tty");
	if (*log_uri != '\0' && *cli_string(cli, "fifo-dir") != '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "can't use log-uri with fifo-dir");
	TaskIoOptions options = {
	        .terminal = tty, .log_uri = log_uri, .fifo_dir = cli_string(cli, "fifo-dir")};
	g_autoptr(GError) io_error = NULL;
	RpcClientCall *get = ctr_container_get_begin(cli, id, error);
	if (get == NULL)
		return false;
	// while the daemon looks the container up; what it says of it comes first
	TaskIo *io = task_io_new(exec_id, &options, &io_error);
	g_autofree char *json = process_json(cli, get, error);
	if (json != NULL && io == NULL)
		g_propagate_error(error, g_steal_pointer(&io_error));
	bool ok = json != NULL && io != NULL && exec_in(cli, exec_id, io, json, error);
	task_io_free(io, ok && detach);
	return ok;
}

static const CliFlag exec_flags[] = {
        {"cwd", FLAG_STRING, "Working directory of the new process"},
        {"tty", FLAG_BOOL, "Allocate a TTY for the container", {"t"}, "false"},
        {"detach", FLAG_BOOL, "Detach from the task after it has started execution", {"d"}, "false"},
        {"exec-id", FLAG_STRING, "Exec specific id for the process"},
        {"fifo-dir", FLAG_STRING, "Directory used for storing IO FIFOs"},
        {"log-uri", FLAG_STRING, "Log uri for custom shim logging"},
        {"user", FLAG_STRING, "User id or name"},
        {0},
};
const CliCommand ctr_tasks_exec = {
        .name = "exec",
        .usage = "Execute additional processes in an existing container",
        .arguments = "[flags] CONTAINER CMD [ARG...]",
        .flags = {exec_flags},
        .run = exec_run,
};
