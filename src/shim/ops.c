// SPDX-License-Identifier: Apache-2.0

/* What is done to processes that exist: delete, kill, pause, resume, update, checkpoint, ps. */

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "events/task.pb-c.h"
#include "message.h"
#include "mount/mount.h"
#include "rpc/call.h"
#include "shim/container-private.h"
#include "shim/events.h"
#include "shim/spawn.h"
#include "types/runc/options/oci.pb-c.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RESOURCES_MAX (1024 * 1024)
/* A created container's init is killed by the runtime's delete; its exit is told before the delete. */
#define EXIT_TIMEOUT (2 * NS_PER_SEC)

/* true: the operation has been refused, and has ended. */
static bool refused(Op *op)
{
	GError *error = NULL;
	if (state_allows(op->process->is_init, op->process->state, op->act, &error))
		return false;
	op_finish(op, error);
	return true;
}

static void on_drained(GError *error, void *data, void (*next)(Op *))
{
	Op *op = data;
	if (error != NULL)
		log_error_take(LOG_ERROR, error,
		               op->process->is_init ? "failed to drain init process io"
		                                    : "failed to drain exec process io",
		               "id", op->process->id, NULL);
	next(op);
}

static void drain(Op *op, StdioFn fn)
{
	op->stage = "drain streams";
	if (op->process->io != NULL)
		stdio_drain(op->process->io, DRAIN_TIMEOUT, fn, op);
	else
		fn(NULL, op);
}

static void close_streams(Op *op, StdioFn fn)
{
	op->stage = "close streams";
	Stdio *io = g_steal_pointer(&op->process->io);
	if (io != NULL)
		stdio_close(io, fn, op);
	else
		fn(NULL, op);
}

/* ---- delete of an exec ---- */

static void on_exec_closed(GError *error, void *data)
{
	Op *op = data;
	Process *p = op->process;
	g_clear_error(&error);
	g_autofree char *name = g_strconcat("exec-", p->id, ".pid", NULL);
	g_autofree char *path = path_join(op->container->bundle, name);
	unlink(path);
	state_move(&p->state, STATE_DELETED);
	process_detach(p);
	process_answer_waiters(p);
	op_finish(op, NULL);
}

static void exec_delete_close(Op *op)
{
	close_streams(op, on_exec_closed);
}

static void on_exec_drained(GError *error, void *data)
{
	on_drained(error, data, exec_delete_close);
}

/* Whether a failpoint has ended the operation. */
static bool failed_here(Op *op, bool ok, GError **error)
{
	if (!ok)
		op_finish(op, g_steal_pointer(error));
	return !ok;
}

static void exec_delete_run(Op *op)
{
	GError *error = NULL;
	if (!refused(op) && !failed_here(op, FAILPOINT("shim.exec.delete", &error), &error))
		drain(op, on_exec_drained);
}

/* ---- delete of an init ---- */

static void init_deleted(Op *op)
{
	Container *c = op->container;
	Process *p = op->process;
	state_move(&p->state, STATE_DELETED);
	g_clear_pointer(&c->oom, oom_watch_free);
	process_answer_waiters(p);
	Google__Protobuf__Timestamp at = timestamp_of(p->exited_at);
	Containerd__Events__TaskDelete e = CONTAINERD__EVENTS__TASK_DELETE__INIT;
	e.container_id = c->id;
	e.pid = (uint32_t)p->pid;
	e.exit_status = (uint32_t)p->code;
	e.exited_at = &at;
	publisher_publish(c->shim->publisher, "/tasks/delete", &e);
	FAILPOINT_HERE("shim.delete.answer");
	bool listed = g_hash_table_lookup(c->shim->containers, c->id) == c;
	if (listed)
		g_hash_table_remove(c->shim->containers, c->id);
	op_finish(op, NULL);
	if (listed)
		container_unref(c);
}

static void on_rootfs_unmounted(GError *error, void *data)
{
	Op *op = data;
	if (op->error != NULL) {
		g_clear_error(&error);
		op_finish(op, g_steal_pointer(&op->error));
	} else if (error != NULL || !FAILPOINT("shim.delete.unmounted", &error)) {
		log_warn("failed to cleanup rootfs mount", "error", error->message, "id", op->container->id,
		         NULL);
		g_prefix_error(&error, "failed rootfs umount: ");
		op_finish(op, error);
	} else {
		init_deleted(op);
	}
}

static bool unmount_rootfs(void *data, GError **error)
{
	return mount_unmount_recursive(data, 0, error);
}

static void on_init_closed(GError *error, void *data)
{
	Op *op = data;
	g_clear_error(&error);
	op->stage = "unmount rootfs";
	if (op->container->rootfs != NULL)
		helper_run(op->container->shim->reaper, unmount_rootfs, op->container->rootfs,
		           on_rootfs_unmounted, op);
	else
		on_rootfs_unmounted(NULL, op);
}

static void init_delete_close(Op *op)
{
	close_streams(op, on_init_closed);
}

static void on_exit_seen(Process *process, void *data)
{
	Op *op = data;
	loop_timer_free(g_steal_pointer(&op->timer));
	op->wait_handle = NULL;
	init_delete_close(op);
}

static void on_exit_timeout(void *data)
{
	Op *op = data;
	loop_timer_free(g_steal_pointer(&op->timer));
	process_wait_cancel(op->process, op->wait_handle);
	init_delete_close(op);
}

/* The runtime has killed a container that never ran: its exit is on its way to us. */
static void await_exit(Op *op)
{
	op->stage = "wait for the exit";
	op->timer = loop_timer_new(op->container->shim->loop, on_exit_timeout, op);
	loop_timer_start(op->timer, EXIT_TIMEOUT, 0);
	op->wait_handle = process_wait(op->process, on_exit_seen, op);
}

static void on_deleted(const GError *error, const char *output, void *data)
{
	Op *op = data;
	Process *p = op->process;
	// Deleted before (a checkpoint does it, a Delete that failed half way): what we hold goes all the
	// same.
	if (error != NULL && !runc_error_is_gone(error))
		op->error = runc_error(&op->container->runc, error, "failed to delete task");
	else
		FAILPOINT("shim.delete.deleted", &op->error);
	if (op->error == NULL && p->pid > 0 && p->exited_at == 0)
		await_exit(op);
	else
		init_delete_close(op);
}

static void init_delete_runc(Op *op)
{
	GError *error = NULL;
	if (failed_here(op, FAILPOINT("shim.delete.runc", &error), &error))
		return;
	op->stage = "runc delete";
	op_args(op, "delete", op->container->id, NULL);
	op_run_runc(op, RUNC_CAPTURE, on_deleted);
}

static void on_init_drained(GError *error, void *data)
{
	on_drained(error, data, init_delete_runc);
}

static void init_delete_run(Op *op)
{
	if (!refused(op))
		drain(op, on_init_drained);
}

Op *process_delete(Process *p, OpFn done, void *data)
{
	return op_submit(
	        op_new(p, ACT_DELETE, "queued", p->is_init ? init_delete_run : exec_delete_run, done, data),
	        true);
}

/* ---- kill ---- */

static void on_killed(const GError *error, const char *output, void *data)
{
	Op *op = data;
	const Process *p = op->process;
	// crun leaves a group frozen, whoever froze it, and then nobody dies
	if (error == NULL && op->signal == SIGKILL && p->pid > 0 && p->exited_at == 0)
		cgroup_thaw(p->pid);
	op_finish(op, runc_kill_error(error));
}

static void init_kill_run(Op *op)
{
	GError *error = NULL;
	if (refused(op) || failed_here(op, FAILPOINT("shim.kill.runc", &error), &error))
		return;
	op->stage = "runc kill";
	op_arg(op, "kill");
	if (op->all)
		op_arg(op, "--all");
	g_autofree char *signal_text = g_strdup_printf("%u", op->signal);
	op_args(op, op->container->id, signal_text, NULL);
	op_run_runc(op, RUNC_CAPTURE, on_killed);
}

/* An exec whose runtime hangs has no pid yet: end the start. */
static bool abort_start(Process *p, uint32_t sig)
{
	Op *head = g_queue_peek_head(&p->ops);
	if (!p->starting || head == NULL || !head->killable || (sig != SIGKILL && sig != SIGTERM))
		return false;
	op_cancel(head);
	return true;
}

static GError *exec_kill(Process *p, uint32_t sig)
{
	GError *error = NULL;
	if (!state_allows(false, p->state, ACT_KILL, &error))
		return error;
	if (p->pid == 0) {
		if (!abort_start(p, sig))
			error_set_class(&error, CTRD_ERR_FAILED_PRECONDITION, "process not created");
	} else if (p->exited_at != 0) {
		error_set_class(&error, CTRD_ERR_NOT_FOUND, "process already finished");
	} else if (kill(p->pid, (int)sig) < 0) {
		g_autoptr(GError) e = NULL;
		error_set(&e, CTRD_ERR_UNKNOWN, "%s", errno == ESRCH ? "no such process" : g_strerror(errno));
		error = runc_kill_error(e);
		g_prefix_error(&error, "exec kill error: ");
	}
	return error;
}

Op *process_kill(Process *p, uint32_t sig, bool all, OpFn done, void *data)
{
	if (!p->is_init) {
		done(exec_kill(p, sig), data);
		return NULL;
	}
	Op *op = op_new(p, ACT_KILL, "kill", init_kill_run, done, data);
	op->signal = sig;
	op->all = all;
	op->killable = true;
	return op_submit(op, false);
}

/* ---- pause and resume ---- */

static void on_paused(const GError *error, const char *output, void *data)
{
	Op *op = data;
	Container *c = op->container;
	c->init->pausing = false;
	if (error != NULL) {
		op_finish(op, runc_error(&c->runc, error, "OCI runtime pause failed"));
		return;
	}
	// It may have ended meanwhile.
	if (c->init->state == STATE_RUNNING)
		state_move(&c->init->state, STATE_PAUSED);
	Containerd__Events__TaskPaused e = CONTAINERD__EVENTS__TASK_PAUSED__INIT;
	e.container_id = c->id;
	publisher_publish(c->shim->publisher, "/tasks/paused", &e);
	op_finish(op, NULL);
}

static void pause_run(Op *op)
{
	if (refused(op))
		return;
	op->stage = "runc pause";
	op->process->pausing = true;
	op_args(op, "pause", op->container->id, NULL);
	op_run_runc(op, RUNC_CAPTURE, on_paused);
}

Op *container_pause(Container *c, OpFn done, void *data)
{
	return op_submit(op_new(c->init, ACT_PAUSE, "queued", pause_run, done, data), true);
}

static void on_resumed(const GError *error, const char *output, void *data)
{
	Op *op = data;
	Container *c = op->container;
	if (error != NULL) {
		op_finish(op, runc_error(&c->runc, error, "OCI runtime resume failed"));
		return;
	}
	if (c->init->state == STATE_PAUSED)
		state_move(&c->init->state, STATE_RUNNING);
	Containerd__Events__TaskResumed e = CONTAINERD__EVENTS__TASK_RESUMED__INIT;
	e.container_id = c->id;
	publisher_publish(c->shim->publisher, "/tasks/resumed", &e);
	op_finish(op, NULL);
}

static void resume_run(Op *op)
{
	if (refused(op))
		return;
	op->stage = "runc resume";
	op_args(op, "resume", op->container->id, NULL);
	op_run_runc(op, RUNC_CAPTURE, on_resumed);
}

Op *container_resume(Container *c, OpFn done, void *data)
{
	return op_submit(op_new(c->init, ACT_RESUME, "queued", resume_run, done, data), true);
}

/* ---- update ---- */

static void on_updated(const GError *error, const char *output, void *data)
{
	Op *op = data;
	op_finish(op, error != NULL ? g_error_copy(error) : NULL);
}

static void update_run(Op *op)
{
	if (refused(op))
		return;
	GError *error = NULL;
	size_t len;
	const void *data = g_bytes_get_data(op->input, &len);
	autofd in = memfd_create("resources", MFD_CLOEXEC);
	if (in < 0 || !fd_write_all(in, data, len, &error) || lseek(in, 0, SEEK_SET) < 0) {
		if (error == NULL)
			error_set_errno(&error, errno, "memfd");
		op_finish(op, error);
		return;
	}
	op->stage = "runc update";
	op_args(op, "update", "--resources=-", op->container->id, NULL);
	op_run_runc(op, (RuncStdio){in, COMMAND_CAPTURE, COMMAND_CAPTURE}, on_updated);
}

Op *container_update(Container *c, const Google__Protobuf__Any *resources, OpFn done, void *data)
{
	GError *error = NULL;
	if (resources == NULL || resources->value.len == 0) {
		error_set_class(&error, CTRD_ERR_INVALID_ARGUMENT, "no resources given");
		done(error, data);
		return NULL;
	}
	g_autoptr(JsonObject) json =
	        json_parse((const char *)resources->value.data, resources->value.len, RESOURCES_MAX, &error);
	if (json == NULL) {
		done(error, data);
		return NULL;
	}
	Op *op = op_new(c->init, ACT_UPDATE, "queued", update_run, done, data);
	op->input = g_bytes_new(resources->value.data, resources->value.len);
	return op_submit(op, true);
}

/* ---- checkpoint ---- */

/* Keeps criu's log where the error says it is. */
static void keep_dump_log(const char *work, const char *to)
{
	g_autofree char *from = path_join(work, "dump.log");
	g_autofree char *text = NULL;
	size_t len;
	g_autoptr(GError) error = NULL;
	if (!file_read(from, 16 * 1024 * 1024, &text, &len, &error) ||
	    !file_write_atomic(to, text, len, 0600, false, &error))
		log_error("failed to copy dump.log to criu-dump.log", "error", error->message, NULL);
}

static void on_checkpointed(const GError *error, const char *output, void *data)
{
	Op *op = data;
	Container *c = op->container;
	GError *e = NULL;
	if (error != NULL) {
		g_autofree char *log = path_join(c->bundle, "criu-dump.log");
		keep_dump_log(op->path, log);
		int line = (int)strcspn(error->message, "\n");
		error_set(&e, CTRD_ERR_UNKNOWN, "%.*s path= %s", line, error->message, log);
	}
	if (op->temporary_work)
		tree_remove(op->path, NULL);
	op_finish(op, e);
}

static void checkpoint_run(Op *op)
{
	if (refused(op))
		return;
	op->stage = "runc checkpoint";
	op_run_runc(op, RUNC_CAPTURE, on_checkpointed);
}

/* The whole command line; options has been unpacked. */
static void checkpoint_args(Op *op, const char *path, const Containerd__Runc__V1__CheckpointOptions *o)
{
	op->temporary_work = o == NULL || str_empty(o->work_path);
	g_autofree char *work = path_join(op->container->bundle, "work");
	op->path = op->temporary_work ? path_join(work, "criu-work") : g_strdup(o->work_path);
	op_args(op, "checkpoint", "--image-path", path, "--work-path", op->path, NULL);
	if (o != NULL && o->open_tcp)
		op_arg(op, "--tcp-established");
	if (o != NULL && o->external_unix_sockets)
		op_arg(op, "--ext-unix-sk");
	if (o != NULL && o->terminal)
		op_arg(op, "--shell-job");
	if (o != NULL && o->file_locks)
		op_arg(op, "--file-locks");
	for (size_t i = 0; o != NULL && i < o->n_empty_namespaces; i++)
		op_args(op, "--empty-ns", o->empty_namespaces[i], NULL);
	if (o == NULL || !o->exit)
		op_arg(op, "--leave-running");
	op_arg(op, op->container->id);
}

Op *container_checkpoint(Container *c, const char *path, const Google__Protobuf__Any *options, OpFn done,
                         void *data)
{
	autopb ProtobufCMessage *m = NULL;
	GError *error = NULL;
	if (options != NULL) {
		m = api_any_unpack(options, &containerd__runc__v1__checkpoint_options__descriptor, NULL,
		                   &error);
		if (m == NULL) {
			done(error, data);
			return NULL;
		}
	}
	Op *op = op_new(c->init, ACT_CHECKPOINT, "queued", checkpoint_run, done, data);
	checkpoint_args(op, path, (const Containerd__Runc__V1__CheckpointOptions *)m);
	return op_submit(op, true);
}

/* ---- pids ---- */

static bool parse_pids(const char *text, GArray *pids, GError **error)
{
	g_autoptr(JsonObject) json = json_parse(text, strlen(text), 0, error);
	if (json == NULL)
		return false;
	size_t n = json_object_is_type(json, json_type_array) ? json_object_array_length(json) : 0;
	for (size_t i = 0; i < n; i++) {
		uint32_t pid = (uint32_t)json_object_get_int64(json_object_array_get_idx(json, i));
		g_array_append_val(pids, pid);
	}
	return true;
}

static void on_ps(const GError *error, const char *output, void *data)
{
	Op *op = data;
	GError *e = error != NULL ? g_error_copy(error) : NULL;
	op->pids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	// null, when there is none
	if (e == NULL && strncmp(output, "null", 4) != 0)
		parse_pids(output, op->pids, &e);
	op_finish(op, e);
}

static void ps_run(Op *op)
{
	op->stage = "runc ps";
	op_args(op, "ps", "--format", "json", op->container->id, NULL);
	op_run_runc(op, RUNC_CAPTURE, on_ps);
}

Op *container_pids(Container *c, OpFn done, void *data)
{
	Op *op = op_new(c->init, ACT_EXEC, "ps", ps_run, done, data);
	op->killable = true;
	return op_submit(op, false);
}
