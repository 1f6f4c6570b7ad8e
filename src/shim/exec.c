// SPDX-License-Identifier: Apache-2.0

/* Additional processes, and the start of all processes: `runc exec`, `runc start`, `runc restore`. */

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/identifiers.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "events/task.pb-c.h"
#include "shim/container-private.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define SPEC_MAX (1024 * 1024)

/* ---- adding an exec ---- */

static char *exec_spec(const ExecSpec *spec, GError **error)
{
	if (spec->spec == NULL || spec->spec->value.len == 0) {
		error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "exec %s has no process spec",
		                spec->exec_id);
		return NULL;
	}
	g_autoptr(JsonObject) json =
	        json_parse((const char *)spec->spec->value.data, spec->spec->value.len, SPEC_MAX, error);
	if (json == NULL)
		return NULL;
	json_set(json, "terminal", json_object_new_boolean(spec->terminal));
	return json_to_text(json);
}

bool container_exec(Container *c, const ExecSpec *spec, GError **error)
{
	if (!identifier_validate(spec->exec_id, error))
		return false;
	if (g_hash_table_contains(c->execs, spec->exec_id))
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "id %s", spec->exec_id);
	if (!state_allows(true, c->init->state, ACT_EXEC, error) || !FAILPOINT("shim.exec.add", error))
		return false;
	g_autofree char *text = exec_spec(spec, error);
	if (text == NULL)
		return false;
	Process *p = process_new(c, spec->exec_id, false, spec->in, spec->out, spec->err, spec->terminal);
	p->spec = g_steal_pointer(&text);
	g_hash_table_insert(c->execs, p->id, p);
	Containerd__Events__TaskExecAdded e = CONTAINERD__EVENTS__TASK_EXEC_ADDED__INIT;
	e.container_id = c->id;
	e.exec_id = p->id;
	publisher_publish(c->shim->publisher, "/tasks/exec-added", &e);
	return true;
}

/* ---- starting an exec ---- */

/* Names that no exec id can turn into one of the bundle's own files (upstream: <id>.pid, which may be
 * init.pid). */
static char *exec_file(const Process *p, const char *suffix)
{
	g_autofree char *name = g_strconcat("exec-", p->id, suffix, NULL);
	return path_join(p->container->bundle, name);
}

static void exec_remove_file(const Process *p, const char *suffix)
{
	g_autofree char *path = exec_file(p, suffix);
	unlink(path);
}

static void on_failed_closed(GError *error, void *data)
{
	Op *op = data;
	g_clear_error(&error);
	op_finish(op, g_steal_pointer(&op->error));
}

/* Takes the error. The streams are closed before the answer: a client that gives up reads its fifos to their
 * end before it asks for the Delete. */
static void exec_failed(Op *op, GError *error)
{
	Process *p = op->process;
	p->starting = false;
	p->ended_early = false;
	exec_remove_file(p, ".json");
	op_release(op);
	container_exec_gone(p->container);
	op->error = error;
	op->killable = false;
	op->stage = "undo: close streams";
	Stdio *io = g_steal_pointer(&p->io);
	if (io != NULL)
		stdio_close(io, on_failed_closed, op);
	else
		on_failed_closed(NULL, op);
}

static void publish_started(Process *p)
{
	Container *c = p->container;
	if (p->is_init) {
		Containerd__Events__TaskStart e = CONTAINERD__EVENTS__TASK_START__INIT;
		e.container_id = c->id;
		e.pid = (uint32_t)p->pid;
		publisher_publish(c->shim->publisher, "/tasks/start", &e);
		return;
	}
	Containerd__Events__TaskExecStarted e = CONTAINERD__EVENTS__TASK_EXEC_STARTED__INIT;
	e.container_id = c->id;
	e.exec_id = p->id;
	e.pid = (uint32_t)p->pid;
	publisher_publish(c->shim->publisher, "/tasks/exec-started", &e);
}

/* Takes the error: NULL where the streams are up. */
static void on_exec_streams(GError *error, void *data)
{
	Op *op = data;
	Process *p = op->process;
	g_autofree char *path = exec_file(p, ".pid");
	g_autoptr(GError) pid_error = NULL;
	pid_t pid = 0;
	if (error == NULL)
		FAILPOINT("shim.exec.pid", &error);
	if (!pid_file_read(path, &pid, &pid_error) && error == NULL)
		error_set(&error, CTRD_ERR_UNKNOWN, "failed to retrieve OCI runtime exec pid: %s",
		          pid_error->message);
	if (error == NULL && op->canceled)
		error_set(&error, CTRD_ERR_CANCELED, "context canceled");
	if (error != NULL) {
		// The process runs, but nobody could ever reach it.
		if (pid > 0)
			kill(pid, SIGKILL);
		process_answer_waiters(p);
		exec_failed(op, error);
		return;
	}
	p->pid = pid;
	op->killable = false;
	state_move(&p->state, STATE_RUNNING);
	publish_started(p);
	process_adopt(p);
	op_release(op);
	process_started(p);
	op_finish(op, NULL);
}

static void on_exec(const GError *error, const char *output, void *data)
{
	Op *op = data;
	Process *p = op->process;
	exec_remove_file(p, ".json");
	if (error != NULL) {
		GError *e = runc_error(&op->container->runc, error, "OCI runtime exec failed");
		process_answer_waiters(p);
		exec_failed(op, e);
		return;
	}
	op->stage = "start streams";
	stdio_start(p->io, on_exec_streams, op);
}

static bool exec_write_spec(Process *p, const char *path, GError **error)
{
	bool ok = file_write_atomic(path, p->spec, strlen(p->spec), 0600, false, error);
	g_clear_pointer(&p->spec, g_free);
	return ok;
}

static void exec_runc(Op *op)
{
	Process *p = op->process;
	GError *error = NULL;
	g_autofree char *spec = exec_file(p, ".json");
	g_autofree char *pid_file = exec_file(p, ".pid");
	if (!exec_write_spec(p, spec, &error) || !FAILPOINT("shim.exec.runc", &error)) {
		exec_failed(op, error);
		return;
	}
	op->stage = "runc exec";
	op_hold(op);
	op_args(op, "exec", "--process", spec, NULL);
	const char *console = stdio_console_path(p->io);
	if (console != NULL)
		op_args(op, "--console-socket", console, NULL);
	op_args(op, "--detach", "--pid-file", pid_file, p->container->id, NULL);
	op_run_runc(op, stdio_child(p->io), on_exec);
	stdio_spawned(p->io);
}

static void on_exec_prepared(GError *error, void *data)
{
	Op *op = data;
	if (error == NULL)
		FAILPOINT("shim.exec.streams", &error);
	if (error != NULL || op->canceled) {
		if (error == NULL)
			error_set(&error, CTRD_ERR_CANCELED, "context canceled");
		g_prefix_error(&error, "failed to create init process I/O: ");
		exec_failed(op, error);
		return;
	}
	exec_runc(op);
}

static void exec_start_run(Op *op)
{
	Process *p = op->process;
	Container *c = op->container;
	GError *error = NULL;
	if (c->init_ended)
		error_set_class(&error, CTRD_ERR_FAILED_PRECONDITION,
		                "container %s init process is not running", c->id);
	else if (state_allows(false, p->state, ACT_START, &error) && p->spec == NULL)
		error_set_class(&error, CTRD_ERR_FAILED_PRECONDITION,
		                "exec %s was started before, and failed", p->id);
	if (error != NULL) {
		op_finish(op, error);
		return;
	}
	c->running_execs++;
	p->starting = true;
	op->stage = "prepare streams";
	op->killable = true;
	p->io = process_stdio(p);
	stdio_prepare(p->io, on_exec_prepared, op);
}

/* ---- starting an init ---- */

static void init_start_done(Op *op, GError *error)
{
	Process *p = op->process;
	FAILPOINT_HERE("shim.start.done");
	if (error == NULL) {
		state_move(&p->state, STATE_RUNNING);
		publish_started(p);
	}
	op_release(op);
	process_started(p);
	op_finish(op, error);
}

static void on_started(const GError *error, const char *output, void *data)
{
	Op *op = data;
	init_start_done(op, runc_error(&op->container->runc, error, "OCI runtime start failed"));
}

static void on_restored_streams(GError *error, void *data)
{
	Op *op = data;
	Container *c = op->container;
	g_autofree char *path = path_join(c->bundle, "init.pid");
	if (error == NULL && !pid_file_read(path, &c->init->pid, &error))
		g_prefix_error(&error, "failed to retrieve OCI runtime container pid: ");
	if (error == NULL) {
		container_load_cgroup(c);
		container_watch_oom(c);
		process_adopt(c->init);
	}
	init_start_done(op, error);
}

static void on_restored(const GError *error, const char *output, void *data)
{
	Op *op = data;
	if (error != NULL) {
		init_start_done(op, runc_error(&op->container->runc, error, "OCI runtime restore failed"));
		return;
	}
	op->stage = "start streams";
	stdio_start(op->process->io, on_restored_streams, op);
}

static void restore(Op *op)
{
	Container *c = op->container;
	op->stage = "runc restore";
	op_hold(op);
	g_autofree char *work = path_join(c->bundle, "work");
	g_autofree char *pid_file = path_join(c->bundle, "init.pid");
	op_args(op, "restore", "--image-path", c->checkpoint, "--work-path",
	        str_or(c->options.criu_work_path, work), NULL);
	if (c->parent_checkpoint != NULL)
		op_args(op, "--parent-path", c->parent_checkpoint, NULL);
	op_args(op, "--detach", "--pid-file", pid_file, NULL);
	const char *console = stdio_console_path(c->init->io);
	if (console != NULL)
		op_args(op, "--console-socket", console, NULL);
	if (c->options.no_pivot_root)
		op_arg(op, "--no-pivot");
	op_args(op, "-no-subreaper", "--bundle", c->bundle, c->id, NULL);
	op_run_runc(op, stdio_child(c->init->io), on_restored);
	stdio_spawned(c->init->io);
}

static void init_start_run(Op *op)
{
	Process *p = op->process;
	GError *error = NULL;
	if (!state_allows(true, p->state, ACT_START, &error) || !FAILPOINT("shim.start.runc", &error)) {
		op_finish(op, error);
		return;
	}
	p->starting = true;
	if (p->state == STATE_CREATED_CHECKPOINT) {
		restore(op);
		return;
	}
	op->stage = "runc start";
	op_args(op, "start", p->container->id, NULL);
	op_run_runc(op, RUNC_CAPTURE, on_started);
}

Op *process_start(Process *p, OpFn done, void *data)
{
	return op_submit(
	        op_new(p, ACT_START, "queued", p->is_init ? init_start_run : exec_start_run, done, data),
	        true);
}
