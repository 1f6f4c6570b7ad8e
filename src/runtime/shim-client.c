// SPDX-License-Identifier: Apache-2.0
#include "runtime/shim-client.h"
#include "api/message.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "loop/lock.h"
#include "mount/mount.h"
#include "runtime/shim-client-private.h"
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* What a shim writes to its log fifo goes to our stderr as it is; it formats its lines as we do. */
typedef struct {
	int fd;
	uv_poll_t poll;
} ShimLog;

struct Shim {
	gatomicrefcount refs;
	Loop *loop;
	Bundle *bundle;
	RpcClient *client;
	const ProtobufCServiceDescriptor *service;
	char *endpoint;
	uint32_t version;
	ShimLog *log; // loop thread; NULL once closed
	LoopFn closed;
	void *closed_data;
	bool is_runc;
	char *proc_cgroup; // /proc/PID/cgroup of the task's init; set before others see the shim
	Cgroup *cgroup;    // atomic: made of it when first wanted
};

/* Task API v2 is v3 under another name: the same messages with the same numbers (tests/conformance/wire holds
 * that). */
static const ProtobufCServiceDescriptor *task_v2(void)
{
	static ProtobufCServiceDescriptor v2;
	static gsize once = 0;
	if (g_once_init_enter(&once)) {
		v2 = containerd__task__v3__task__descriptor;
		v2.name = "containerd.task.v2.Task";
		g_once_init_leave(&once, 1);
	}
	return &v2;
}

void shim_address_clear(ShimAddress *a)
{
	g_clear_pointer(&a->address, g_free);
	g_clear_pointer(&a->protocol, g_free);
}

/* ---- the log fifo ---- */

static void log_closed(uv_handle_t *handle)
{
	ShimLog *log = handle->data;
	close(log->fd);
	g_free(log);
}

static void log_readable(uv_poll_t *poll, int status, int events)
{
	ShimLog *log = poll->data;
	char buf[4096];
	ssize_t n = read(log->fd, buf, sizeof(buf));
	if (n > 0) {
		/* a full or closed stderr costs log lines, not the daemon */
		ssize_t r = write(STDERR_FILENO, buf, (size_t)n);
		(void)r;
		return;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		uv_poll_stop(poll);
}

static void log_start(void *data)
{
	Shim *s = data;
	g_autofree char *path = bundle_file(s->bundle, "log");
	/* read-write, so that the end of one writer is not the end of the file */
	autofd fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0) {
		ShimLog *log = g_new0(ShimLog, 1);
		log->fd = fd_steal(&fd);
		if (uv_poll_init(loop_uv(s->loop), &log->poll, log->fd) != 0) {
			close(log->fd);
			g_free(log);
		} else {
			log->poll.data = log;
			uv_poll_start(&log->poll, UV_READABLE, log_readable);
			s->log = log;
		}
	}
	shim_unref(s);
}

static void log_stop(ShimLog *log)
{
	uv_close((uv_handle_t *)&log->poll, log_closed);
}

/* ---- life ---- */

static void connection_closed(void *data)
{
	Shim *s = data;
	s->closed(s->closed_data);
	shim_unref(s);
}

/* A connected socket to unix://PATH, so that a dead shim is known at once. */
static int dial(const char *address, GError **error)
{
	const char *path = g_str_has_prefix(address, "unix://") ? address + strlen("unix://") : address;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(sun.sun_path)) {
		error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "shim address %s is too long", Q(address));
		return -1;
	}
	strcpy(sun.sun_path, path);
	autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		error_set_errno(error, errno, "socket");
		return -1;
	}
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0) {
		error_set_errno(error, errno, "dial unix %s: connect", path);
		return -1;
	}
	return fd_steal(&fd);
}

Shim *shim_connect(Loop *loop, Bundle *bundle, const ShimAddress *address, LoopFn closed, void *data,
                   GError **error)
{
	g_autoptr(Bundle) owned = bundle;
	RpcProto proto = RPC_PROTO_TTRPC;
	if (g_ascii_strcasecmp(address->protocol, "grpc") == 0) {
		proto = RPC_PROTO_GRPC;
	} else if (g_ascii_strcasecmp(address->protocol, "ttrpc") != 0) {
		error_set(error, CTRD_ERR_UNKNOWN, "unexpected protocol: %s", Q(address->protocol));
		return NULL;
	}
	if (address->version < 2 || address->version > 3 ||
	    (proto == RPC_PROTO_GRPC && address->version != 3)) {
		error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "unsupported shim version (%d)",
		                address->version);
		return NULL;
	}
	int fd = dial(address->address, error);
	if (fd < 0) {
		error_prefix(error, "failed to create %s connection",
		             proto == RPC_PROTO_GRPC ? "GRPC" : "TTRPC");
		return NULL;
	}
	Shim *s = g_new0(Shim, 1);
	g_atomic_ref_count_init(&s->refs);
	s->loop = loop;
	s->bundle = g_steal_pointer(&owned);
	s->service = address->version == 2 ? task_v2() : &containerd__task__v3__task__descriptor;
	s->endpoint = g_strdup_printf("%s+%s", address->protocol, address->address);
	s->version = (uint32_t)address->version;
	s->closed = closed;
	s->closed_data = data;
	s->client = rpc_client_new_fd(loop, proto, fd);
	rpc_client_on_close(s->client, connection_closed, shim_ref(s));
	if (!loop_post(loop, log_start, shim_ref(s)))
		shim_unref(s);
	return s;
}

Shim *shim_ref(Shim *s)
{
	g_atomic_ref_count_inc(&s->refs);
	return s;
}

static void free_on_loop(void *data)
{
	Shim *s = data;
	g_clear_pointer(&s->log, log_stop);
	rpc_client_unref(s->client);
	bundle_free(s->bundle);
	g_free(s->endpoint);
	g_free(s->proc_cgroup);
	cgroup_free(s->cgroup);
	g_free(s);
}

void shim_unref(Shim *s)
{
	if (s != NULL && g_atomic_ref_count_dec(&s->refs))
		loop_run_on(s->loop, free_on_loop, s);
}

const char *shim_id(Shim *s)
{
	return s->bundle->id;
}

const char *shim_ns(Shim *s)
{
	return s->bundle->ns;
}

const Bundle *shim_bundle(Shim *s)
{
	return s->bundle;
}

const char *shim_endpoint(Shim *s, uint32_t *ret_version)
{
	*ret_version = s->version;
	return s->endpoint;
}

void shim_close(Shim *s)
{
	rpc_client_close(s->client);
}

bool shim_downgrade(Shim *s)
{
	if (s->service == task_v2())
		return false;
	s->service = task_v2();
	return true;
}

/* ---- calls ---- */

static RpcCallOptions call_options(Shim *s, const Ctx *ctx, int64_t timeout_ns)
{
	return (RpcCallOptions){.ns = s->bundle->ns, .timeout_ns = timeout_ns, .cancel = ctx->cancel};
}

bool shim_call_service(Shim *s, const ProtobufCServiceDescriptor *service, const Ctx *ctx, int64_t timeout_ns,
                       const char *method, const void *request, void *ret, GError **error)
{
	RpcCallOptions options = call_options(s, ctx, timeout_ns);
	return rpc_client_call(s->client, service, method, &options, request, ret, error);
}

void shim_call_service_async(Shim *s, const ProtobufCServiceDescriptor *service, const Ctx *ctx,
                             int64_t timeout_ns, const char *method, const void *request, RpcReplyFn done,
                             void *data)
{
	RpcCallOptions options = call_options(s, ctx, timeout_ns);
	rpc_client_call_async(s->client, service, method, &options, request, done, data);
}

bool shim_call(Shim *s, const Ctx *ctx, int64_t timeout_ns, const char *method, const void *request,
               void *ret, GError **error)
{
	return shim_call_service(s, s->service, ctx, timeout_ns, method, request, ret, error);
}

void shim_call_async(Shim *s, const Ctx *ctx, int64_t timeout_ns, const char *method, const void *request,
                     RpcReplyFn done, void *data)
{
	shim_call_service_async(s, s->service, ctx, timeout_ns, method, request, done, data);
}

static Containerd__Types__Mount *mount_message(const Mount *m)
{
	Containerd__Types__Mount *out = g_new(Containerd__Types__Mount, 1);
	api_init(&containerd__types__mount__descriptor, out);
	out->type = str_or(m->type, "");
	out->source = str_or(m->source, "");
	out->target = str_or(m->target, "");
	out->options = (const char **)m->options;
	out->n_options = g_strv_length(m->options);
	return out;
}

GPtrArray *shim_mount_messages(GPtrArray *mounts)
{
	GPtrArray *out = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < mounts->len; i++)
		g_ptr_array_add(out, mount_message(mounts->pdata[i]));
	return out;
}

Google__Protobuf__Any *shim_any_message(Google__Protobuf__Any *ret, const Any *any)
{
	if (any == NULL || !any_is_set(any))
		return NULL;
	google__protobuf__any__init(ret);
	gsize len = 0;
	ret->type_url = any->type_url;
	if (any->value != NULL)
		ret->value.data = (uint8_t *)g_bytes_get_data(any->value, &len);
	ret->value.len = len;
	return ret;
}

void shim_any_from(Any *ret, const Google__Protobuf__Any *any)
{
	*ret = (Any){0};
	if (any == NULL)
		return;
	ret->type_url = g_strdup(any->type_url);
	ret->value = g_bytes_new(any->value.data, any->value.len);
}

TimeNs shim_time_from(const Google__Protobuf__Timestamp *t)
{
	// Go's zero time, and whatever else nanoseconds cannot hold
	if (t == NULL || t->seconds > INT64_MAX / NS_PER_SEC - 1 || t->seconds < INT64_MIN / NS_PER_SEC + 1)
		return 0;
	return t->seconds * NS_PER_SEC + t->nanos;
}

bool shim_create(Shim *s, const Ctx *ctx, const ShimCreate *create, uint32_t *ret_pid, GError **error)
{
	Containerd__Task__V3__CreateTaskRequest req = CONTAINERD__TASK__V3__CREATE_TASK_REQUEST__INIT;
	Google__Protobuf__Any options;
	g_autoptr(GPtrArray) rootfs = shim_mount_messages(create->rootfs);
	req.id = s->bundle->id;
	req.bundle = s->bundle->path;
	req.rootfs = (Containerd__Types__Mount **)rootfs->pdata;
	req.n_rootfs = rootfs->len;
	req.stdin = str_or(create->stdin, "");
	req.stdout = str_or(create->stdout, "");
	req.stderr = str_or(create->stderr, "");
	req.terminal = create->terminal;
	req.checkpoint = str_or(create->checkpoint, "");
	req.options = shim_any_message(&options, create->options);
	autopb Containerd__Task__V3__CreateTaskResponse *resp = NULL;
	if (!shim_call(s, ctx, 0, "Create", &req, &resp, error))
		return false;
	*ret_pid = resp->pid;
	g_free(s->proc_cgroup);
	s->proc_cgroup = cgroup_read_proc((pid_t)resp->pid, NULL);
	return true;
}

bool shim_delete(Shim *s, const Ctx *ctx, int64_t timeout_ns, TaskExit *ret, GError **error)
{
	Containerd__Task__V3__DeleteRequest req = CONTAINERD__TASK__V3__DELETE_REQUEST__INIT;
	req.id = s->bundle->id;
	autopb Containerd__Task__V3__DeleteResponse *resp = NULL;
	if (!shim_call(s, ctx, timeout_ns, "Delete", &req, &resp, error))
		return false;
	*ret = (TaskExit){resp->pid, resp->exit_status, shim_time_from(resp->exited_at)};
	return true;
}

void shim_set_binary(Shim *s, const char *binary)
{
	g_autofree char *base = binary != NULL ? g_path_get_basename(binary) : NULL;
	s->is_runc = g_strcmp0(base, "containerd-shim-runc-v2") == 0;
}

const Cgroup *shim_cgroup(Shim *s)
{
	Cgroup *cgroup = __atomic_load_n(&s->cgroup, __ATOMIC_ACQUIRE), *none = NULL;
	if (cgroup != NULL || !s->is_runc || s->proc_cgroup == NULL)
		return cgroup;
	cgroup = cgroup_from_proc(s->proc_cgroup, NULL);
	if (cgroup == NULL ||
	    __atomic_compare_exchange_n(&s->cgroup, &none, cgroup, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return cgroup;
	cgroup_free(cgroup); // somebody was quicker
	return none;
}

static bool is_child(pid_t pid, pid_t parent)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
	g_autofree char *text = NULL;
	size_t len;
	int ppid = 0;
	if (!file_read(path, 4096, &text, &len, NULL))
		return false;
	const char *after = strrchr(text, ')'); // the name may hold anything
	return after != NULL && sscanf(after, ") %*c %d", &ppid) == 1 && ppid == parent;
}

bool shim_ping(Shim *s, const Ctx *ctx, int64_t timeout_ns, uint32_t *ret_task_pid, GError **error)
{
	Containerd__Task__V3__ConnectRequest req = CONTAINERD__TASK__V3__CONNECT_REQUEST__INIT;
	req.id = s->bundle->id;
	autopb Containerd__Task__V3__ConnectResponse *resp = NULL;
	if (!shim_call(s, ctx, timeout_ns, "Connect", &req, &resp, error))
		return false;
	*ret_task_pid = resp->task_pid;
	// A task that has stopped keeps its number, which may be another process' by now; the shim's child is
	// ours.
	if (resp->task_pid > 0 && is_child((pid_t)resp->task_pid, (pid_t)resp->shim_pid)) {
		g_free(s->proc_cgroup);
		s->proc_cgroup = cgroup_read_proc((pid_t)resp->task_pid, NULL);
	}
	return true;
}

bool shim_has_task(Shim *s, const Ctx *ctx, int64_t timeout_ns, bool *ret, GError **error)
{
	Containerd__Task__V3__StateRequest req = CONTAINERD__TASK__V3__STATE_REQUEST__INIT;
	req.id = s->bundle->id;
	autopb Containerd__Task__V3__StateResponse *resp = NULL;
	g_autoptr(GError) failed = NULL;
	*ret = shim_call(s, ctx, timeout_ns, "State", &req, &resp, &failed);
	if (*ret || error_is(failed, CTRD_ERR_NOT_FOUND))
		return true;
	g_propagate_error(error, g_steal_pointer(&failed));
	return false;
}

bool shim_shutdown(Shim *s, const Ctx *ctx, int64_t timeout_ns, GError **error)
{
	Containerd__Task__V3__ShutdownRequest req = CONTAINERD__TASK__V3__SHUTDOWN_REQUEST__INIT;
	req.id = s->bundle->id;
	autopb ProtobufCMessage *resp = NULL;
	return shim_call(s, ctx, timeout_ns, "Shutdown", &req, &resp, error);
}
