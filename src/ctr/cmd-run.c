// SPDX-License-Identifier: Apache-2.0
/* ctr run, ctr containers create, ctr tasks start: upstream cmd/ctr/commands/run and client/container*.go */
#include "base/fs.h"
#include "base/log.h"
#include "ctr/cni.h"
#include "ctr/container.h"
#include "ctr/mounts.h"
#include "ctr/run.h"
#include "ctr/snapshots.h"
#include "ctr/tasks.h"
#include "ctr/util.h"
#include "types/runc/options/oci.pb-c.h"
#include <stdio.h>
#include <string.h>

/* ---- the task ---- */

/* Options of the task: those of the container, with --no-pivot and the owner of the streams where ids are
 * mapped. NULL: as the container. */
static Google__Protobuf__Any *task_options(Cli *cli, const CtrContainer *c)
{
	if (!cli_bool(cli, "no-pivot") && c->io_uid == 0 && c->io_gid == 0)
		return NULL;
	Containerd__Runc__V1__Options o = CONTAINERD__RUNC__V1__OPTIONS__INIT;
	ctr_runc_options(cli, &o);
	o.no_pivot_root = cli_bool(cli, "no-pivot");
	o.io_uid = c->io_uid;
	o.io_gid = c->io_gid;
	return api_any_pack(&o, NULL);
}

static bool write_pid_file(Cli *cli, uint32_t pid, GError **error)
{
	const char *path = cli_string(cli, "pid-file");
	if (*path == '\0')
		return true;
	g_autofree char *text = g_strdup_printf("%u", pid);
	return file_write_atomic(path, text, strlen(text), 0644, false, error);
}

/* Kills what runs and deletes the task; what is gone already is fine. */
static void end_task(Cli *cli, const char *id)
{
	uint32_t status = 0;
	g_autoptr(GError) error = NULL;
	RpcClientCall *wait = ctr_wait_begin(cli, id, "", NULL);
	if (wait != NULL && ctr_task_kill(cli, id, "", 9, true, NULL))
		ctr_wait_end(wait, &status, NULL);
	else
		rpc_client_call_forget(wait);
	if (!ctr_task_delete(cli, id, "", &status, &error) && !error_is(error, CTRD_ERR_NOT_FOUND))
		fprintf(stderr, "ctr: failed to cleanup task: %s\n", error->message);
}

/* From a created task to its end. */
static bool start_and_follow(Cli *cli, const CtrContainer *c, TaskIo *io, uint32_t pid, bool detach,
                             GError **error)
{
	RpcClientCall *wait = NULL;
	if (!detach) {
		wait = ctr_wait_begin(cli, c->id, "", error);
		if (wait == NULL)
			return false;
		if (!task_io_start(io, cli, c->id, "", error)) {
			rpc_client_call_forget(wait);
			return false;
		}
	}
	if (!write_pid_file(cli, pid, error) || !ctr_task_start(cli, c->id, "", NULL, error)) {
		rpc_client_call_forget(wait);
		return false;
	}
	if (detach)
		return true;
	if (!ctr_follow(cli, io, wait, error))
		return false;
	task_io_wait(io);
	return true;
}

/* Names in the network are those of namespace and container. cni NULL: nothing to do. */
static bool join_network(Cli *cli, CtrCni *cni, const char *id, uint32_t pid, GError **error)
{
	g_autofree char *full = g_strdup_printf("%s-%s", ctr_ns(cli), id);
	g_autofree char *netns = g_strdup_printf("/proc/%u/ns/net", pid);
	return cni == NULL || ctr_cni_add(cni, full, netns, error);
}

/* The process is gone, and its namespace may be: plugins take an empty one, and what they keep under the
 * name. */
static void leave_network(Cli *cli, CtrCni *cni, const char *id)
{
	g_autofree char *full = g_strdup_printf("%s-%s", ctr_ns(cli), id);
	g_autoptr(GError) error = NULL;
	if (cni != NULL && !ctr_cni_del(cni, full, "", &error))
		fprintf(stderr, "ctr: failed to remove network: %s\n", error->message);
}

bool ctr_run_task(Cli *cli, const CtrContainer *c, const CtrRun *run, GError **error)
{
	TaskIoOptions options = {
	        .terminal = c->terminal,
	        .null_io = cli_bool(cli, "null-io"),
	        .log_uri = cli_string(cli, "log-uri"),
	        .fifo_dir = cli_string(cli, "fifo-dir"),
	};
	TaskIo *io = task_io_new(c->id, &options, error);
	if (io == NULL)
		return false;
	autopb Containerd__Services__Snapshots__V1__MountsResponse *mounts = NULL;
	autopb Google__Protobuf__Any *any = task_options(cli, c);
	uint32_t pid = 0, status = 0;
	bool ok = c->snapshot_key == NULL ||
	          ctr_snapshot_mounts(cli, c->snapshotter, c->snapshot_key, &mounts, error);
	if (ok) {
		CtrTaskCreate create = {
		        .id = c->id,
		        .n_rootfs = mounts != NULL        ? mounts->n_mounts
		                    : run->rootfs != NULL ? run->rootfs->len
		                                          : 0,
		        .rootfs = mounts != NULL        ? mounts->mounts
		                  : run->rootfs != NULL ? (Containerd__Types__Mount **)run->rootfs->pdata
		                                        : NULL,
		        .io = io,
		        .terminal = c->terminal,
		        .options = any,
		        .checkpoint = run->checkpoint,
		};
		ok = ctr_task_create(cli, &create, &pid, error);
		bool joined = ok && join_network(cli, run->cni, c->id, pid, error);
		if (ok && !(joined && start_and_follow(cli, c, io, pid, run->detach, error))) {
			if (joined)
				leave_network(cli, run->cni, c->id);
			end_task(cli, c->id);
			ok = false;
		} else if (ok && !run->detach) {
			leave_network(cli, run->cni, c->id);
			ok = ctr_task_delete(cli, c->id, "", &status, error);
		}
	}
	task_io_free(io, ok && run->detach);
	return ok;
}

/* ---- commands ---- */

static bool run_run(Cli *cli, GError **error)
{
	bool rm = cli_bool(cli, "rm"), detach = cli_bool(cli, "detach");
	if (rm && detach)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "flags --detach and --rm cannot be specified together");
	g_autoptr(CtrCni) cni = NULL;
	if (cli_bool(cli, "cni") && (cni = ctr_cni_new(error)) == NULL)
		return false;
	g_autoptr(GPtrArray) rootfs = ctr_mounts_parse(cli_strings(cli, "rootfs-mount"), error);
	if (rootfs == NULL)
		return false;
	if (rootfs->len > 0 && !cli_bool(cli, "rootfs"))
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "--rootfs-mount needs --rootfs");
	g_auto(CtrContainer) c = {0};
	if (!ctr_container_create(cli, &c, error))
		return false;
	const CtrRun run = {.rootfs = rootfs, .cni = cni, .detach = detach};
	bool ok = ctr_run_task(cli, &c, &run, error);
	if (rm || !ok) {
		/* upstream leaves a container that failed to run behind; without --rm so do we */
		g_autoptr(GError) failed = NULL;
		if (rm && !ctr_container_delete(cli, c.id, true, &failed))
			fprintf(stderr, "ctr: failed to cleanup container: %s\n", failed->message);
	}
	return ok;
}

static bool create_run(Cli *cli, GError **error)
{
	g_auto(CtrContainer) c = {0};
	return ctr_container_create(cli, &c, error);
}

static bool start_run(Cli *cli, GError **error)
{
	const char *id = cli_arg(cli, 0);
	if (*id == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "container id must be provided");
	g_auto(CtrContainer) c = {0};
	const CtrRun run = {.detach = cli_bool(cli, "detach")};
	return ctr_container_load(cli, id, &c, error) && ctr_run_task(cli, &c, &run, error);
}

#define PID_FILE                                                                                             \
	{                                                                                                    \
		"pid-file", FLAG_STRING, "File path to write the task's pid"                                 \
	}
const CliFlag flags_task[] = {
        {"null-io", FLAG_BOOL, "Send all IO to /dev/null", .value = "false"},
        {"log-uri", FLAG_STRING, "Log uri"},
        {"fifo-dir", FLAG_STRING, "Directory used for storing IO FIFOs"},
        {"no-pivot", FLAG_BOOL, "Disable use of pivot-root (linux only)", .value = "false"},
        PID_FILE,
        {0},
};
static const CliFlag pid_file_flags[] = {PID_FILE, {0}};
static const CliFlag detach_flags[] = {
        {"detach",
         FLAG_BOOL,
         "Detach from the task after it has started execution, cannot be used with --rm",
         {"d"},
         "false"},
        {0},
};
static const CliFlag run_flags[] = {
        {"rm", FLAG_BOOL, "Remove the container after running, cannot be used with --detach",
         .value = "false"},
        {"cni", FLAG_BOOL, "Enable cni networking for the container", .value = "false"},
        {0},
};

const CliCommand cmd_run = {
        .name = "run",
        .usage = "Run a container",
        .arguments = "[flags] Image|RootFS ID [COMMAND] [ARG...]",
        .flags = {run_flags, detach_flags, flags_task, flags_runtime, flags_snapshotter, flags_container},
        .run = run_run,
};
const CliCommand ctr_containers_create = {
        .name = "create",
        .usage = "Create container",
        .arguments = "[flags] Image|RootFS CONTAINER [COMMAND] [ARG...]",
        .flags = {pid_file_flags, flags_runtime, flags_snapshotter, flags_container},
        .run = create_run,
};
const CliCommand ctr_tasks_start = {
        .name = "start",
        .usage = "Start a container that has been created",
        .arguments = "CONTAINER",
        .flags = {flags_task, detach_flags, flags_runtime},
        .run = start_run,
};
