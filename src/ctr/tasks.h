// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Task calls that several commands make (cmd-tasks.c). Responses are freed with autopb. Calls in two steps
 * (_begin): rpc/client.h. */

#include "ctr/task-io.h"
#include "oci/descriptor.h"
#include "services/containers/v1/containers.pb-c.h"
#include "services/tasks/v1/tasks.pb-c.h"
#include "types/mount.pb-c.h"
#include "types/task/task.pb-c.h"

RpcClientCall *ctr_container_get_begin(Cli *cli, const char *id, GError **error);
bool ctr_container_get(Cli *cli, const char *id,
                       Containerd__Services__Containers__V1__GetContainerResponse **ret, GError **error);
/* Deletes the container; with_snapshot: its snapshot first, as upstream's WithSnapshotCleanup. */
bool ctr_container_delete(Cli *cli, const char *id, bool with_snapshot, GError **error);

typedef struct {
	const char *id;
	size_t n_rootfs;
	Containerd__Types__Mount **rootfs;
	TaskIo *io;
	bool terminal;
	const Google__Protobuf__Any *options; // NULL: none
	const Descriptor *checkpoint;         // NULL: a new task
} CtrTaskCreate;
bool ctr_task_create(Cli *cli, const CtrTaskCreate *create, uint32_t *ret_pid, GError **error);
/* exec_id "" for the task itself, in all that follow. */
bool ctr_task_start(Cli *cli, const char *id, const char *exec_id, uint32_t *ret_pid, GError **error);
bool ctr_task_kill(Cli *cli, const char *id, const char *exec_id, uint32_t signal, bool all, GError **error);
bool ctr_task_delete(Cli *cli, const char *id, const char *exec_id, uint32_t *ret_status, GError **error);
/* The same, and the FIFOs of the process go, as in upstream's ctr: whoever made them has left. */
bool ctr_task_delete_with_fifos(Cli *cli, const char *id, const char *exec_id,
                                const Containerd__V1__Types__Process *process, uint32_t *ret_status,
                                GError **error);
RpcClientCall *ctr_task_delete_begin(Cli *cli, const char *id, const char *exec_id, GError **error);
/* A wait is under way before the process is started. */
RpcClientCall *ctr_wait_begin(Cli *cli, const char *id, const char *exec_id, GError **error);
bool ctr_wait_end(RpcClientCall *wait, uint32_t *ret_status, GError **error);

/* cmd-exec.c, cmd-run.c */
extern const CliCommand ctr_tasks_exec, ctr_tasks_start, ctr_containers_create;
/* Waits for the process while its streams are pumped; then its exit status is ours. Frees the wait. */
bool ctr_follow(Cli *cli, TaskIo *io, RpcClientCall *wait, GError **error);

/* "SIGKILL", "kill", "9", "RTMIN+1". INVALID_ARGUMENT `invalid signal: x`. */
bool signal_parse(const char *text, int *ret, GError **error);
