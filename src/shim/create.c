// SPDX-License-Identifier: Apache-2.0

/*
 * Creating a container: options and files of the bundle, rootfs mounts, streams, `runc create`, the terminal,
 * the pid. Whatever fails, what was done before it is undone: the runtime's container, the streams, the
 * mounts.
 */

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/identifiers.h"
#include "base/log.h"
#include "base/util.h"
#include "events/task.pb-c.h"
#include "message.h"
#include "mount/mount.h"
#include "shim/container-private.h"
#include "shim/mount-check.h"
#include "shim/spawn.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static void create_failed(Op *op, GError *error);

/* ---- undoing ---- */

static void fail_finish(Op *op)
{
	Container *c = op->container;
	GError *error = g_steal_pointer(&op->error);
	c->create = NULL;
	g_hash_table_remove(c->shim->containers, c->id);
	op_finish(op, error);
	container_unref(c); // the table's
}

static void on_unmounted(GError *error, void *data)
{
	Op *op = data;
	if (error != NULL)
		log_error_take(LOG_WARN, error, "failed to cleanup rootfs mount", "id", op->container->id,
		               NULL);
	fail_finish(op);
}

static bool unmount_rootfs(void *data, GError **error)
{
	return mount_unmount_recursive(data, 0, error);
}

static void fail_unmount(Op *op)
{
	op->stage = "undo: unmount rootfs";
	if (op->mounts != NULL && op->mounts->len > 0)
		helper_run(op->container->shim->reaper, unmount_rootfs, op->container->rootfs, on_unmounted,
		           op);
	else
		fail_finish(op);
}

static void on_fail_closed(GError *error, void *data)
{
	g_clear_error(&error);
	fail_unmount(data);
}

static void fail_close(Op *op)
{
	op->stage = "undo: close streams";
	Stdio *io = g_steal_pointer(&op->process->io);
	if (io != NULL)
		stdio_close(io, on_fail_closed, op);
	else
		fail_unmount(op);
}

static void on_cgroups_removed(GError *error, void *data)
{
	g_clear_error(&error);
	fail_close(data);
}

/* A runtime that was killed does not know of its cgroups any more. */
static bool remove_cgroups(void *data, GError **error)
{
	const Container *c = data;
	cgroup_remove_left(c->bundle, c->id);
	return true;
}

static void on_fail_deleted(const GError *error, const char *output, void *data)
{
	Op *op = data;
	loop_timer_free(g_steal_pointer(&op->timer));
	if (error != NULL && !runc_error_is_gone(error))
		log_warn("failed to remove runc container", "id", op->container->id, "error", error->message,
		         NULL);
	op->stage = "undo: remove cgroups";
	helper_run(op->container->shim->reaper, remove_cgroups, op->container, on_cgroups_removed, op);
}

static void on_fail_delete_timeout(void *data)
{
	Op *op = data;
	runc_call_kill(op->call);
}

/* Takes the error. */
static void create_failed(Op *op, GError *error)
{
	Container *c = op->container;
	op->error = error;
	op->killable = false;
	op->process->starting = false;
	op_release(op);
	if (!op->runtime_ran) {
		fail_close(op);
		return;
	}
	op->stage = "undo: runc delete";
	op->timer = loop_timer_new(c->shim->loop, on_fail_delete_timeout, op);
	loop_timer_start(op->timer, CLEANUP_TIMEOUT, 0);
	op_args(op, "delete", "--force", c->id, NULL);
	op_run_runc(op, RUNC_CAPTURE, on_fail_deleted);
}

static bool create_canceled(Op *op)
{
	if (!op->canceled)
		return false;
	GError *error = NULL;
	error_set(&error, CTRD_ERR_CANCELED, "context canceled");
	create_failed(op, error);
	return true;
}

/* ---- the steps, last first ---- */

void shim_publish_create(const Container *c, const CreateSpec *spec)
{
	Containerd__Events__TaskIO io = CONTAINERD__EVENTS__TASK_IO__INIT;
	io.stdin = spec->in;
	io.stdout = spec->out;
	io.stderr = spec->err;
	io.terminal = spec->terminal;
	Containerd__Events__TaskCreate e = CONTAINERD__EVENTS__TASK_CREATE__INIT;
	e.container_id = c->id;
	e.bundle = c->bundle;
	e.n_rootfs = spec->n_rootfs;
	e.rootfs = spec->rootfs;
	e.io = &io;
	e.checkpoint = spec->checkpoint;
	e.pid = (uint32_t)c->init->pid;
	publisher_publish(c->shim->publisher, "/tasks/create", &e);
}

/* The request's mounts, for the event. They are kept as Mount in op->mounts. */
static void publish_create(Op *op)
{
	Container *c = op->container;
	const Process *p = op->process;
	guint n = op->mounts->len;
	g_autofree Containerd__Types__Mount *mounts = g_new0(Containerd__Types__Mount, n + 1);
	g_autofree Containerd__Types__Mount **list = g_new0(Containerd__Types__Mount *, n + 1);
	for (guint i = 0; i < n; i++) {
		const Mount *m = op->mounts->pdata[i];
		api_init(&containerd__types__mount__descriptor, &mounts[i]);
		mounts[i].type = m->type;
		mounts[i].source = m->source;
		mounts[i].target = str_or(m->target, "");
		mounts[i].options = (const char **)m->options;
		mounts[i].n_options = g_strv_length(m->options);
		list[i] = &mounts[i];
	}
	const CreateSpec spec = {.n_rootfs = n,
	                         .rootfs = list,
	                         .terminal = p->terminal,
	                         .in = p->in,
	                         .out = p->out,
	                         .err = p->err,
	                         .checkpoint = str_or(c->checkpoint, "")};
	shim_publish_create(c, &spec);
}

static void create_done(Op *op)
{
	Container *c = op->container;
	Process *p = op->process;
	c->creating = false;
	c->create = NULL;
	publish_create(op);
	if (p->pid > 0) {
		container_load_cgroup(c);
		container_watch_oom(c);
		process_adopt(p);
	}
	process_started(p);
	FAILPOINT_HERE("shim.create.answer");
	op_finish(op, NULL);
}

static void on_streams_started(GError *error, void *data)
{
	Op *op = data;
	Process *p = op->process;
	if (error != NULL) {
		create_failed(op, error);
		return;
	}
	if (create_canceled(op))
		return;
	g_autofree char *path = path_join(op->container->bundle, "init.pid");
	if (!FAILPOINT("shim.create.pid", &error) || !pid_file_read(path, &p->pid, &error)) {
		g_prefix_error(&error, "failed to retrieve OCI runtime container pid: ");
		create_failed(op, error);
		return;
	}
	create_done(op);
}

static void on_created(const GError *error, const char *output, void *data)
{
	Op *op = data;
	Container *c = op->container;
	if (error != NULL) {
		// A runtime that says that it failed has cleaned up; one that was killed has not.
		op->runtime_ran = op->canceled;
		create_failed(op, runc_error(&c->runc, error, "OCI runtime create failed"));
		return;
	}
	op->runtime_ran = true;
	if (create_canceled(op))
		return;
	GError *failed = NULL;
	if (!FAILPOINT("shim.create.created", &failed)) {
		create_failed(op, failed);
		return;
	}
	op->stage = "start streams";
	stdio_start(op->process->io, on_streams_started, op);
}

static void create_runc(Op *op)
{
	Container *c = op->container;
	Process *p = op->process;
	op->stage = "runc create";
	op_hold(op);
	g_autofree char *pid_file = path_join(c->bundle, "init.pid");
	op_args(op, "create", "--bundle", c->bundle, "--pid-file", pid_file, NULL);
	const char *console = stdio_console_path(p->io);
	if (console != NULL)
		op_args(op, "--console-socket", console, NULL);
	if (c->options.no_pivot_root)
		op_arg(op, "--no-pivot");
	if (c->options.no_new_keyring)
		op_arg(op, "--no-new-keyring");
	op_arg(op, c->id);
	op_run_runc(op, stdio_child(p->io), on_created);
	stdio_spawned(p->io);
}

static void on_prepared(GError *error, void *data)
{
	Op *op = data;
	Container *c = op->container;
	if (error != NULL || !FAILPOINT("shim.create.streams", &error)) {
		g_prefix_error(&error, "failed to create init process I/O: ");
		create_failed(op, error);
		return;
	}
	if (create_canceled(op))
		return;
	if (c->checkpoint != NULL) {
		create_done(op); // the runtime's part comes with start
		return;
	}
	create_runc(op);
}

static void create_streams(Op *op)
{
	if (create_canceled(op))
		return;
	GError *error = NULL;
	if (!FAILPOINT("shim.create.mounted", &error)) {
		create_failed(op, error);
		return;
	}
	op->stage = "prepare streams";
	op->process->io = process_stdio(op->process);
	stdio_prepare(op->process->io, on_prepared, op);
}

static void on_mounted(GError *error, void *data)
{
	Op *op = data;
	if (error != NULL) {
		// the helper has taken away again what it mounted
		g_ptr_array_set_size(op->mounts, 0);
		create_failed(op, error);
		return;
	}
	create_streams(op);
}

typedef struct {
	GPtrArray *mounts;
	const char *target, *bundle;
	bool check;
} MountJob;

/* In a helper: the mounts of the root, then what the spec wants to have on it. */
static bool mount_rootfs(void *data, GError **error)
{
	const MountJob *job = data;
	if (!mounts_mount(job->mounts, job->target, error))
		return error_prefix(error, "failed to mount rootfs component");
	if (!job->check || mount_check_spec(job->bundle, error))
		return true;
	g_autoptr(GError) ignored = NULL;
	mounts_unmount(job->mounts, job->target, 0, &ignored);
	return false;
}

static void create_run(Op *op)
{
	Container *c = op->container;
	GError *error = NULL;
	if (c->rootfs != NULL && mkdir(c->rootfs, 0711) < 0 && errno != EEXIST)
		error_set_errno(&error, errno, "mkdir %s", c->rootfs);
	if (error != NULL || !FAILPOINT("shim.create.begin", &error) ||
	    !runc_options_write(c->bundle, &c->options, &error)) {
		g_ptr_array_set_size(op->mounts, 0);
		create_failed(op, error);
		return;
	}
	op->stage = "mount rootfs";
	MountJob job = {op->mounts, c->rootfs, c->bundle, c->checkpoint == NULL};
	helper_run(c->shim->reaper, mount_rootfs, &job, on_mounted, op);
}

/* ---- the request ---- */

static GPtrArray *mounts_of(const CreateSpec *spec)
{
	GPtrArray *mounts = mounts_new();
	for (size_t i = 0; i < spec->n_rootfs; i++) {
		const Containerd__Types__Mount *m = spec->rootfs[i];
		g_autofree const char **options = g_new0(const char *, m->n_options + 1);
		for (size_t k = 0; k < m->n_options; k++)
			options[k] = m->options[k];
		g_ptr_array_add(mounts, mount_new(m->type, m->source, m->target, options));
	}
	return mounts;
}

static char *dup_nonempty(const char *s)
{
	return str_empty(s) ? NULL : g_strdup(s);
}

static Container *container_new(Shim *shim, const CreateSpec *spec, RuncOptions *options)
{
	Container *c = g_new0(Container, 1);
	*c = (Container){.refs = 1,
	                 .shim = shim,
	                 .id = g_strdup(spec->id),
	                 .bundle = g_strdup(spec->bundle),
	                 .rootfs = spec->n_rootfs > 0 ? path_join(spec->bundle, "rootfs") : NULL,
	                 .creating = true,
	                 .options = *options,
	                 .checkpoint = dup_nonempty(spec->checkpoint),
	                 .parent_checkpoint = dup_nonempty(spec->parent_checkpoint)};
	memset(options, 0, sizeof *options);
	runc_init(&c->runc, shim->loop, shim->reaper, c->bundle, shim->ns, &c->options);
	c->execs = container_execs_new();
	c->init = process_new(c, c->id, true, spec->in, spec->out, spec->err, spec->terminal);
	c->init->starting = true;
	if (c->checkpoint != NULL)
		c->init->state = STATE_CREATED_CHECKPOINT;
	g_hash_table_insert(shim->containers, c->id, c);
	return c;
}

static bool check_spec(Shim *shim, const CreateSpec *spec, GError **error)
{
	if (!identifier_validate(spec->id, error))
		return false;
	if (g_hash_table_contains(shim->containers, spec->id))
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "task %s", spec->id);
	if (!g_path_is_absolute(spec->bundle))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "bundle %s is not an absolute path",
		                       Q(spec->bundle));
	return true;
}

Op *container_create(Shim *shim, const CreateSpec *spec, OpFn done, void *data)
{
	GError *error = NULL;
	g_auto(RuncOptions) options = {0};
	if (!check_spec(shim, spec, &error) ||
	    !(spec->options_of_bundle ? runc_options_read(spec->bundle, &options, &error)
	                              : runc_options_parse(spec->options, &options, &error))) {
		done(error, data);
		return NULL;
	}
	Container *c = container_new(shim, spec, &options);
	Op *op = op_new(c->init, ACT_START, "create", create_run, done, data);
	op->killable = true;
	op->mounts = mounts_of(spec);
	c->create = op;
	return op_submit(op, true);
}

bool container_create_abort(Shim *shim, const char *id)
{
	Container *c = g_hash_table_lookup(shim->containers, id);
	if (c == NULL || !c->creating || c->create == NULL)
		return false;
	op_cancel(c->create);
	return true;
}
