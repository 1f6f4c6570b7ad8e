// SPDX-License-Identifier: Apache-2.0

#include "shim/container.h"

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "events/task.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "shim/container-private.h"
#include "shim/events.h"
#include <signal.h>
#include <string.h>

/* When an init has ended, what keeps its exit from being told (an exec whose runtime hangs) is killed after
 * this. */
#define STUCK_TIMEOUT (10 * NS_PER_SEC)

static void process_free(void *p);

void shim_init(Shim *shim, Loop *loop, const char *ns, Reaper *reaper, Publisher *publisher)
{
	*shim = (Shim){.loop = loop, .reaper = reaper, .publisher = publisher, .ns = g_strdup(ns)};
	shim->containers = g_hash_table_new(g_str_hash, g_str_equal);
}

Container *container_find(Shim *shim, const char *id, GError **error)
{
	Container *c = g_hash_table_lookup(shim->containers, id);
	if (c == NULL || c->creating) {
		error_set_class(error, CTRD_ERR_NOT_FOUND, "container not created");
		return NULL;
	}
	return c;
}

Process *container_process(Container *c, const char *exec_id, GError **error)
{
	if (str_empty(exec_id))
		return c->init;
	Process *p = g_hash_table_lookup(c->execs, exec_id);
	if (p == NULL)
		error_set_class(error, CTRD_ERR_NOT_FOUND, "process does not exist %s", exec_id);
	return p;
}

Container *container_ref(Container *c)
{
	c->refs++;
	return c;
}

void container_unref(Container *c)
{
	if (c == NULL || --c->refs > 0)
		return;
	g_hash_table_unref(c->execs);
	process_free(c->init);
	oom_watch_free(c->oom);
	cgroup_free(c->cgroup);
	loop_timer_free(c->stuck_timer);
	runc_clear(&c->runc);
	runc_options_clear(&c->options);
	g_free(c->id);
	g_free(c->bundle);
	g_free(c->rootfs);
	g_free(c->checkpoint);
	g_free(c->parent_checkpoint);
	g_free(c);
}

/* ---- processes ---- */

Process *process_new(Container *container, const char *id, bool is_init, const char *in, const char *out,
                     const char *err, bool terminal)
{
	Process *p = g_new0(Process, 1);
	*p = (Process){.container = container,
	               .id = g_strdup(id),
	               .is_init = is_init,
	               .in = g_strdup(str_or(in, "")),
	               .out = g_strdup(str_or(out, "")),
	               .err = g_strdup(str_or(err, "")),
	               .terminal = terminal};
	g_queue_init(&p->waiters);
	g_queue_init(&p->ops);
	return p;
}

static void on_closed(GError *error, void *data)
{
	g_clear_error(&error);
}

static void process_free(void *data)
{
	Process *p = data;
	if (p == NULL)
		return;
	g_assert(g_queue_is_empty(&p->ops));
	process_answer_waiters(p);
	if (p->pid > 0 && p->exited_at == 0)
		reaper_forget(p->container->shim->reaper, p->pid);
	if (p->io != NULL)
		stdio_close(p->io, on_closed, NULL);
	g_free(p->id);
	g_free(p->in);
	g_free(p->out);
	g_free(p->err);
	g_free(p->spec);
	g_free(p);
}

GHashTable *container_execs_new(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, NULL, process_free);
}

void process_detach(Process *p)
{
	g_hash_table_steal(p->container->execs, p->id);
	p->detached = true;
}

Stdio *process_stdio(Process *p)
{
	const Container *c = p->container;
	const StdioSpec spec = {.id = p->id,
	                        .ns = c->shim->ns,
	                        .in = p->in,
	                        .out = p->out,
	                        .err = p->err,
	                        .terminal = p->terminal,
	                        .uid = c->options.io_uid,
	                        .gid = c->options.io_gid};
	return stdio_new(c->shim->loop, c->shim->reaper, &spec);
}

bool pid_file_read(const char *path, pid_t *ret, GError **error)
{
	g_autofree char *text = NULL;
	size_t len;
	if (!file_read(path, 64, &text, &len, error))
		return false;
	int64_t pid;
	if (!parse_i64(text, &pid) || pid <= 0 || pid > INT32_MAX)
		return error_set(error, CTRD_ERR_UNKNOWN, "strconv.Atoi: parsing %s: invalid syntax",
		                 Q(text));
	*ret = (pid_t)pid;
	return true;
}

const char *process_status(const Process *p)
{
	const Process *init = p->container->init;
	if (init->pausing)
		return "pausing";
	if (init->state == STATE_PAUSED)
		return "paused";
	return p->state == STATE_DELETED ? "stopped" : state_name(p->state);
}

bool process_resize(Process *p, uint32_t width, uint32_t height, GError **error)
{
	if (!state_allows(p->is_init, p->state, ACT_RESIZE, error))
		return false;
	return p->io == NULL || stdio_resize(p->io, width, height, error);
}

void process_close_stdin(Process *p)
{
	if (p->io != NULL)
		stdio_close_stdin(p->io);
}

/* ---- waiting ---- */

typedef struct {
	WaitFn fn;
	void *data;
} Waiter;

void *process_wait(Process *p, WaitFn fn, void *data)
{
	if (p->waiting_over) {
		fn(p, data);
		return NULL;
	}
	Waiter *w = g_new0(Waiter, 1);
	*w = (Waiter){fn, data};
	g_queue_push_tail(&p->waiters, w);
	return w;
}

void process_wait_cancel(Process *p, void *handle)
{
	if (g_queue_remove(&p->waiters, handle))
		g_free(handle);
}

void process_answer_waiters(Process *p)
{
	p->waiting_over = true;
	for (Waiter *w; (w = g_queue_pop_head(&p->waiters)) != NULL;) {
		w->fn(p, w->data);
		g_free(w);
	}
}

/* ---- exits ---- */

static void on_resumed(const GError *error, const char *output, void *data)
{
	Container *c = data;
	if (error != NULL)
		log_error("resuming exited container from paused state", "error", error->message, "id", c->id,
		          NULL);
	container_unref(c);
}

static void resume_exited(Container *c)
{
	g_autoptr(GPtrArray) args = g_ptr_array_new();
	g_ptr_array_add(args, (char *)"resume");
	g_ptr_array_add(args, c->id);
	runc_run(&c->runc, c->id, args, RUNC_CAPTURE, on_resumed, container_ref(c));
}

/* The process is over, for everybody to see. */
static void process_set_exited(Process *p, int code)
{
	if (p->state == STATE_STOPPED || p->state == STATE_DELETED)
		return;
	bool was_paused = p->state == STATE_PAUSED;
	p->code = code;
	p->exited_at = time_now();
	state_move(&p->state, STATE_STOPPED);
	if (p->io != NULL)
		stdio_exited(p->io);
	process_answer_waiters(p);
	if (was_paused)
		resume_exited(p->container);
}

static void publish_exit(Process *p, int code)
{
	Container *c = p->container;
	Google__Protobuf__Timestamp at = timestamp_of(p->exited_at);
	Containerd__Events__TaskExit e = CONTAINERD__EVENTS__TASK_EXIT__INIT;
	e.container_id = c->id;
	e.id = p->id;
	e.pid = (uint32_t)p->pid;
	e.exit_status = (uint32_t)code;
	e.exited_at = &at;
	publisher_publish(c->shim->publisher, "/tasks/exit", &e);
}

static void on_oom(void *data)
{
	Container *c = data;
	Containerd__Events__TaskOOM e = CONTAINERD__EVENTS__TASK_OOM__INIT;
	e.container_id = c->id;
	publisher_publish(c->shim->publisher, "/tasks/oom", &e);
}

void container_load_cgroup(Container *c)
{
	g_autoptr(GError) error = NULL;
	cgroup_free(c->cgroup);
	c->cgroup = cgroup_load(c->init->pid, &error);
	if (c->cgroup == NULL)
		log_error("loading cgroup", "pid_of", c->id, "error", error->message, NULL);
}

void container_watch_oom(Container *c)
{
	if (c->cgroup == NULL)
		return;
	cgroup_enable_controllers(c->cgroup);
	g_autoptr(GError) error = NULL;
	oom_watch_free(c->oom);
	c->oom = oom_watch_new(c->shim->loop, c->cgroup, on_oom, c, &error);
	if (c->oom == NULL)
		log_error("failed to watch oom events", "container_id", c->id, "error", error->message, NULL);
}

/* The init's exit comes last: after its children were killed, and all execs are gone. */
static void init_exit_settle(Container *c)
{
	if (!c->init_ended || !c->killed_all || c->running_execs > 0 || c->init->starting)
		return;
	loop_timer_free(g_steal_pointer(&c->stuck_timer));
	if (c->init->exited_at != 0 || c->init->state == STATE_DELETED)
		return;
	if (c->oom != NULL)
		oom_watch_check(c->oom);
	g_clear_pointer(&c->oom, oom_watch_free);
	process_set_exited(c->init, c->init_code);
	publish_exit(c->init, c->init_code);
}

/* A container that shares its pid namespace leaves processes behind when its init ends. */
static bool should_kill_all(const Container *c)
{
	g_autofree char *path = path_join(c->bundle, "config.json");
	g_autofree char *text = NULL;
	size_t len;
	g_autoptr(GError) error = NULL;
	g_autoptr(JsonObject) spec = NULL;
	if (file_read(path, 8 * 1024 * 1024, &text, &len, &error))
		spec = json_parse(text, len, 0, &error);
	if (spec == NULL) {
		log_error("shouldKillAllOnExit: failed to read config.json", "error", error->message, NULL);
		return true;
	}
	JsonObject *linux_part = json_get_object(spec, "linux");
	JsonObject *namespaces = linux_part != NULL ? json_get_array(linux_part, "namespaces") : NULL;
	for (size_t i = 0; namespaces != NULL && i < json_object_array_length(namespaces); i++) {
		JsonObject *ns = json_object_array_get_idx(namespaces, i);
		if (g_strcmp0(json_get_string(ns, "type"), "pid") == 0 &&
		    str_empty(json_get_string(ns, "path")))
			return false;
	}
	return true;
}

static void on_killed_all(const GError *error, const char *output, void *data)
{
	Container *c = data;
	if (error != NULL) {
		g_autoptr(GError) text = runc_error(&c->runc, error, "OCI runtime killall failed");
		log_error("failed to kill init's children", "id", c->id, "error", text->message, NULL);
	}
	c->killed_all = true;
	init_exit_settle(c);
	container_unref(c);
}

static void on_stuck(void *data)
{
	Container *c = data;
	loop_timer_free(g_steal_pointer(&c->stuck_timer));
	log_warn("init has ended, killing commands of the runtime that hold its exit up", "id", c->id, NULL);
	runc_kill_calls(c->id, "exec");
	runc_kill_calls(c->id, "kill");
}

static void init_exit(Container *c, int code)
{
	if (c->init_ended)
		return;
	c->init_ended = true;
	c->init_code = code;
	c->killed_all = !should_kill_all(c);
	if (!c->killed_all) {
		g_autoptr(GPtrArray) args = g_ptr_array_new();
		const char *const words[] = {"kill", "--all", c->id, "9"};
		for (unsigned i = 0; i < G_N_ELEMENTS(words); i++)
			g_ptr_array_add(args, (char *)words[i]);
		runc_run(&c->runc, c->id, args, RUNC_CAPTURE, on_killed_all, container_ref(c));
	}
	init_exit_settle(c);
	if (c->init->exited_at == 0) {
		c->stuck_timer = loop_timer_new(c->shim->loop, on_stuck, c);
		loop_timer_start(c->stuck_timer, STUCK_TIMEOUT, 0);
	}
}

void container_exec_gone(Container *c)
{
	g_assert(c->running_execs > 0);
	c->running_execs--;
	init_exit_settle(c);
}

static void process_ended(Process *p, int code)
{
	Container *c = container_ref(p->container);
	FAILPOINT_HERE("shim.exit");
	if (p->is_init) {
		init_exit(c, code);
	} else {
		process_set_exited(p, code);
		publish_exit(p, code);
		container_exec_gone(c);
	}
	container_unref(c);
}

static void on_exit_(pid_t pid, int code, TimeNs at, void *data)
{
	Process *p = data;
	if (p->starting) {
		p->ended_early = true;
		p->early_code = code;
		p->early_at = at;
		return;
	}
	process_ended(p, code);
}

void process_adopt(Process *p)
{
	int code;
	TimeNs at;
	if (!reaper_adopt(p->container->shim->reaper, p->pid, on_exit_, p, &code, &at))
		on_exit_(p->pid, code, at, p);
}

void process_started(Process *p)
{
	p->starting = false;
	if (p->ended_early) {
		p->ended_early = false;
		process_ended(p, p->early_code);
	} else if (p->is_init) {
		init_exit_settle(p->container);
	}
}

/* ---- operations ---- */

Op *op_new(Process *p, ProcessAct act, const char *stage, void (*run)(Op *), OpFn done, void *data)
{
	Op *op = g_new0(Op, 1);
	*op = (Op){.process = p,
	           .container = container_ref(p->container),
	           .act = act,
	           .stage = stage,
	           .began = time_mono(),
	           .run = run,
	           .done = done,
	           .data = data};
	return op;
}

static void op_free(Op *op)
{
	op_release(op);
	loop_timer_free(op->timer);
	g_clear_pointer(&op->args, g_ptr_array_unref);
	g_clear_pointer(&op->mounts, g_ptr_array_unref);
	g_clear_pointer(&op->pids, g_array_unref);
	g_clear_pointer(&op->input, g_bytes_unref);
	g_clear_error(&op->error);
	g_free(op->path);
	container_unref(op->container);
	g_free(op);
}

/* An operation may end within the call that started it; whoever submits must then not get a handle to freed
 * memory. */
static Op *last_finished;

Op *op_submit(Op *op, bool queued)
{
	op->queued = queued;
	if (queued) {
		g_queue_push_tail(&op->process->ops, op);
		if (op->process->ops.length > 1)
			return op;
	}
	last_finished = NULL;
	op->run(op);
	return last_finished == op ? NULL : op;
}

void op_finish(Op *op, GError *error)
{
	Process *p = op->process;
	Container *c = container_ref(op->container);
	if (op->queued)
		g_queue_remove(&p->ops, op);
	bool queued = op->queued;
	op_release(op);
	op->done(error, op->data);
	op_free(op);
	Op *next = queued ? g_queue_peek_head(&p->ops) : NULL;
	if (next != NULL)
		next->run(next);
	else if (p->detached && g_queue_is_empty(&p->ops))
		process_free(p);
	container_unref(c);
	last_finished = op;
}

void op_arg(Op *op, const char *arg)
{
	if (op->args == NULL)
		op->args = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(op->args, g_strdup(arg));
}

void op_args(Op *op, ...)
{
	va_list ap;
	va_start(ap, op);
	for (const char *arg; (arg = va_arg(ap, const char *)) != NULL;)
		op_arg(op, arg);
	va_end(ap);
}

static void on_op_runc(const GError *error, const char *output, void *data)
{
	Op *op = data;
	op->call = NULL;
	op->runc_fn(error, output, op);
}

void op_run_runc(Op *op, RuncStdio stdio, RuncFn fn)
{
	g_autoptr(GPtrArray) args = g_steal_pointer(&op->args);
	op->runc_fn = fn;
	op->call = runc_run(&op->container->runc, op->container->id, args, stdio, on_op_runc, op);
}

void op_hold(Op *op)
{
	op->holding = true;
	reaper_hold(op->container->shim->reaper);
}

void op_release(Op *op)
{
	if (op->holding)
		reaper_release(op->container->shim->reaper);
	op->holding = false;
}

const GArray *op_pids(const Op *op)
{
	return op->pids;
}

void op_cancel(Op *op)
{
	if (op->queued && g_queue_peek_head(&op->process->ops) != op) {
		GError *error = NULL;
		error_set(&error, CTRD_ERR_CANCELED, "context canceled");
		op_finish(op, error);
		return;
	}
	if (!op->killable)
		return;
	op->canceled = true;
	if (op->call != NULL)
		runc_call_kill(op->call);
	else if (op->process->io != NULL)
		stdio_cancel(op->process->io);
}

/* ---- in flight ---- */

static void visit_process(Process *p, OpVisitor visit, void *data)
{
	int64_t now = time_mono();
	for (GList *l = p->ops.head; l != NULL; l = l->next) {
		const Op *op = l->data;
		g_autofree char *line = g_strdup_printf(
		        "%s %s/%s: %s, %" G_GINT64_FORMAT " ms", act_name(op->act), p->container->id,
		        p->is_init ? "" : p->id, op->stage, (now - op->began) / NS_PER_MS);
		visit(line, data);
	}
}

void shim_visit(Shim *shim, OpVisitor visit, void *data)
{
	GHashTableIter i, k;
	void *value;
	g_hash_table_iter_init(&i, shim->containers);
	while (g_hash_table_iter_next(&i, NULL, &value)) {
		Container *c = value;
		g_autofree char *line =
		        g_strdup_printf("container %s: %s, pid %d, %u execs, %u running", c->id,
		                        c->creating ? "creating" : process_status(c->init), c->init->pid,
		                        g_hash_table_size(c->execs), c->running_execs);
		visit(line, data);
		visit_process(c->init, visit, data);
		g_hash_table_iter_init(&k, c->execs);
		while (g_hash_table_iter_next(&k, NULL, &value))
			visit_process(value, visit, data);
	}
}
