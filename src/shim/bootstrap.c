// SPDX-License-Identifier: Apache-2.0

#include "shim/bootstrap.h"

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/util.h"
#include "cgroup/cgroup.h"
#include "message.h"
#include "rpc/call.h"
#include "runtime/bootstrap/v1/bootstrap.pb-c.h"
#include "shim/spawn.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define DEFAULT_SOCKET_DIR "/run/containerd/s"
#define INPUT_MAX (10 * 1024 * 1024)
#define CONFIG_MAX (8 * 1024 * 1024)
#define CONNECT_TIMEOUT_MS 100
#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE 62
#endif
#define SCHED_CORE_CREATE 1
#define SCHED_CORE_PROCESS_GROUP 2

typedef Containerd__Runtime__Bootstrap__V1__BootstrapParams Params;
typedef Containerd__Runtime__Bootstrap__V1__BootstrapResult Result;

void bootstrap_clear(Bootstrap *b)
{
	char **const strings[] = {&b->id,     &b->ns,        &b->grpc_address, &b->ttrpc_address,
	                          &b->binary, &b->socket_dir};
	for (unsigned i = 0; i < G_N_ELEMENTS(strings); i++)
		g_clear_pointer(strings[i], g_free);
	runc_options_clear(&b->options);
}

/* ---- the request ---- */

static bool parse_options(const Google__Protobuf__Any *any, Bootstrap *ret, GError **error)
{
	if (any == NULL || !runc_options_is_type(any->type_url))
		return true;
	runc_options_clear(&ret->options);
	ret->options_given = true;
	return runc_options_parse(any, &ret->options, error);
}

static bool from_params(const Params *p, Bootstrap *ret, GError **error)
{
	ret->form = BOOTSTRAP_PROTOBUF;
	ret->id = g_strdup(p->instance_id);
	ret->ns = g_strdup(p->namespace_);
	ret->grpc_address = g_strdup(p->containerd_grpc_address);
	ret->ttrpc_address = g_strdup(p->containerd_ttrpc_address);
	ret->binary = g_strdup(p->containerd_binary);
	ret->debug = p->log_level <= CONTAINERD__RUNTIME__BOOTSTRAP__V1__LOG_LEVEL__LOG_LEVEL_DEBUG;
	if (p->opt_socket_dir_case ==
	            CONTAINERD__RUNTIME__BOOTSTRAP__V1__BOOTSTRAP_PARAMS__OPT_SOCKET_DIR_SOCKET_DIR &&
	    !str_empty(p->socket_dir))
		ret->socket_dir = g_strdup(p->socket_dir);
	for (size_t i = 0; i < p->n_extensions; i++)
		if (!parse_options(p->extensions[i]->value, ret, error))
			return error_prefix(error, "failed to fetch runc options");
	return true;
}

static bool from_flags(const Args *args, const void *input, size_t len, const char *(*env)(const char *),
                       Bootstrap *ret, GError **error)
{
	const char *grpc = env("GRPC_ADDRESS");
	ret->form = env("MAX_SHIM_VERSION") != NULL ? BOOTSTRAP_JSON : BOOTSTRAP_ADDRESS;
	ret->id = g_strdup(args->id);
	ret->ns = g_strdup(args->ns);
	ret->grpc_address = g_strdup(str_empty(grpc) ? args->address : grpc);
	ret->ttrpc_address = g_strdup(str_or(env("TTRPC_ADDRESS"), ""));
	ret->binary = g_strdup(args->publish_binary);
	ret->debug = args->debug;
	// Options that are none are ignored, as upstream.
	autopb ProtobufCMessage *any =
	        len > 0 ? api_unpack(&google__protobuf__any__descriptor, NULL, input, len, NULL) : NULL;
	if (any != NULL && !parse_options((const Google__Protobuf__Any *)any, ret, NULL))
		runc_options_clear(&ret->options);
	return true;
}

bool bootstrap_parse(const Args *args, const void *input, size_t len, const char *(*env)(const char *),
                     Bootstrap *ret, GError **error)
{
	*ret = (Bootstrap){0};
	autopb ProtobufCMessage *m =
	        len > 0 ? api_unpack(&containerd__runtime__bootstrap__v1__bootstrap_params__descriptor, NULL,
	                             input, len, NULL)
	                : NULL;
	const Params *p = (const Params *)m;
	bool is_params =
	        p != NULL && (!str_empty(p->containerd_version) || !str_empty(p->containerd_grpc_address) ||
	                      !str_empty(p->containerd_ttrpc_address) ||
	                      (!str_empty(p->instance_id) && strcmp(p->instance_id, args->id) == 0));
	bool ok = is_params ? from_params(p, ret, error) : from_flags(args, input, len, env, ret, error);
	if (ok && str_empty(ret->id))
		ok = error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "shim id cannot be empty");
	if (!ok)
		bootstrap_clear(ret);
	return ok;
}

/* Order matters. */
static const char *const group_labels[] = {"io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"};

char *bootstrap_group(const char *config_path, const char *id, GError **error)
{
	g_autofree char *text = NULL;
	size_t len;
	if (!path_exists(config_path)) // a sandbox without a spec
		return g_strdup(id);
	if (!file_read(config_path, CONFIG_MAX, &text, &len, error))
		return NULL;
	g_autoptr(JsonObject) spec = json_parse(text, len, CONFIG_MAX, error);
	if (spec == NULL)
		return NULL;
	JsonObject *annotations = json_get_object(spec, "annotations");
	for (unsigned i = 0; annotations != NULL && i < G_N_ELEMENTS(group_labels); i++) {
		const char *group = json_get_string(annotations, group_labels[i]);
		if (group != NULL)
			return g_strdup(group);
	}
	return g_strdup(id);
}

char *bootstrap_address(const Bootstrap *b, const char *group)
{
	g_autofree char *joined = g_strjoin("/", b->grpc_address, b->ns, group, NULL);
	g_autofree char *path = path_clean(joined);
	g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, path, -1);
	return g_strdup_printf("unix://%s/%s", str_or(b->socket_dir, DEFAULT_SOCKET_DIR), hash);
}

GBytes *bootstrap_answer(BootstrapForm form, const char *address)
{
	if (form == BOOTSTRAP_ADDRESS)
		return g_bytes_new(address, strlen(address));
	if (form == BOOTSTRAP_JSON) {
		g_autoptr(JsonObject) json = json_object_new_object();
		json_set_int64(json, "version", 2);
		json_set_string(json, "address", address);
		json_set_string(json, "protocol", "ttrpc");
		char *text = json_to_text(json);
		return g_bytes_new_take(text, strlen(text));
	}
	Result r = CONTAINERD__RUNTIME__BOOTSTRAP__V1__BOOTSTRAP_RESULT__INIT;
	r.version = 3;
	r.address = address;
	r.protocol = "ttrpc";
	size_t len = protobuf_c_message_get_packed_size(&r.base);
	uint8_t *data = g_malloc(len);
	protobuf_c_message_pack(&r.base, data);
	return g_bytes_new_take(data, len);
}

/* ---- the socket ---- */

static int unix_socket(const char *path, struct sockaddr_un *addr, GError **error)
{
	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof addr->sun_path) {
		error_set(error, CTRD_ERR_UNKNOWN, "%s: unix socket path too long (> %zu)", Q(path),
		          sizeof addr->sun_path - 2);
		return -1;
	}
	strcpy(addr->sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		error_set_errno(error, errno, "socket");
	return fd;
}

static bool can_connect(const char *path)
{
	struct sockaddr_un addr;
	autofd fd = unix_socket(path, &addr, NULL);
	if (fd < 0)
		return false;
	// A full backlog is EAGAIN: somebody listens, and is busy.
	return connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0 || errno == EAGAIN ||
	       errno == EINPROGRESS;
}

/* Mode 0600 from the moment it exists. */
static int listen_once(const char *path, GError **error)
{
	struct sockaddr_un addr;
	autofd fd = unix_socket(path, &addr, error);
	if (fd < 0)
		return -1;
	mode_t mask = umask(0177);
	int r = bind(fd, (struct sockaddr *)&addr, sizeof addr);
	int errnum = errno;
	umask(mask);
	if (r < 0) {
		error_set_errno(error, errnum, "listen unix %s: bind", path);
		errno = errnum;
		return -1;
	}
	if (listen(fd, SOMAXCONN) < 0) {
		error_set_errno(error, errno, "listen unix %s", path);
		unlink(path);
		return -1;
	}
	return fd_steal(&fd);
}

typedef enum { SOCKET_FAILED, SOCKET_OURS, SOCKET_LIVE } SocketState;

/* A socket that nobody listens on is left from a shim that died. */
static SocketState socket_listen(const char *path, int *ret_fd, GError **error)
{
	g_autofree char *dir = g_path_get_dirname(path);
	if (!path_exists(dir) && !dir_make_all(dir, 0700, error)) {
		error_prefix(error, "create new shim socket: mkdir failed for %s", path);
		return SOCKET_FAILED;
	}
	g_autoptr(GError) first = NULL;
	*ret_fd = listen_once(path, &first);
	if (*ret_fd >= 0)
		return SOCKET_OURS;
	if (errno != EADDRINUSE) {
		g_propagate_prefixed_error(error, g_steal_pointer(&first), "create new shim socket: ");
		return SOCKET_FAILED;
	}
	if (can_connect(path))
		return SOCKET_LIVE;
	if (unlink(path) < 0 && errno != ENOENT) {
		error_set_errno(error, errno, "remove pre-existing socket: remove %s", path);
		return SOCKET_FAILED;
	}
	*ret_fd = listen_once(path, error);
	if (*ret_fd >= 0)
		return SOCKET_OURS;
	error_prefix(error, "try create new shim socket 2x");
	return SOCKET_FAILED;
}

/* ---- the server ---- */

static pid_t server_spawn(const Bootstrap *b, int listener, GError **error)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	if (self == NULL) {
		error_set(error, CTRD_ERR_UNKNOWN, "readlink /proc/self/exe failed");
		return -1;
	}
	const char *argv[] = {self, "-namespace", b->ns, "-id", b->id, "-address", b->grpc_address,
	                      NULL, NULL,         NULL,  NULL};
	unsigned n = 7;
	if (b->debug)
		argv[n++] = "-debug";
	if (str_empty(b->ttrpc_address) && !str_empty(b->binary)) {
		argv[n++] = "-publish-binary";
		argv[n++] = b->binary;
	}
	g_setenv("TTRPC_ADDRESS", b->ttrpc_address, TRUE);
	const SpawnSpec spec = {.file = self,
	                        .argv = argv,
	                        .envp = environ,
	                        .fds = {-1, -1, -1, listener},
	                        .n_fds = 4,
	                        .own_session = true};
	return spawn_child(&spec, error);
}

/* One worse than the daemon, so that the kernel takes the shim first. Who may not set it, does not
 * (rootless). */
static bool adjust_oom_score(pid_t pid, GError **error)
{
	g_autofree char *parent = g_strdup_printf("/proc/%d/oom_score_adj", getppid());
	g_autofree char *child = g_strdup_printf("/proc/%d/oom_score_adj", pid);
	g_autofree char *text = NULL;
	size_t len;
	int64_t score;
	if (!file_read(parent, 64, &text, &len, error))
		return error_prefix(error, "get parent OOM score");
	if (!parse_i64(g_strstrip(text), &score))
		return error_set(error, CTRD_ERR_UNKNOWN, "get parent OOM score: %s", Q(text));
	g_autofree char *value = g_strdup_printf("%d", (int)CLAMP(score + 1, -1000, 1000));
	autofd fd = open(child, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return errno == EACCES || errno == EPERM ||
		       error_set_errno(error, errno, "set shim OOM score");
	return true;
}

static bool server_settle(const Bootstrap *b, pid_t pid, GError **error)
{
	if (b->options.shim_cgroup != NULL && !cgroup_join(b->options.shim_cgroup, pid, error))
		return error_prefix(error, "failed to join cgroup %s", b->options.shim_cgroup);
	if (!adjust_oom_score(pid, error))
		return error_prefix(error, "failed to adjust OOM score for shim");
	g_autofree char *pid_text = g_strdup_printf("%d", pid);
	// A sandbox's options come with nothing else.
	if (b->options_given && !runc_options_write(".", &b->options, error))
		return false;
	return file_write_atomic("shim.pid", pid_text, strlen(pid_text), 0644, false, error);
}

static bool server_start(const Bootstrap *b, int listener, GError **error)
{
	if (!str_empty(g_getenv("SCHED_CORE")) &&
	    prctl(PR_SCHED_CORE, SCHED_CORE_CREATE, 0, SCHED_CORE_PROCESS_GROUP, 0) < 0)
		return error_set_errno(error, errno, "enable sched core support");
	pid_t pid = server_spawn(b, listener, error);
	if (pid < 0)
		return false;
	if (FAILPOINT("shim.boot.spawned", error) && server_settle(b, pid, error) &&
	    FAILPOINT("shim.boot.settled", error))
		return true;
	kill(pid, SIGKILL);
	return false;
}

static const char *env_of(const char *name)
{
	return g_getenv(name);
}

bool bootstrap_start(const Args *args, GError **error)
{
	g_autofree char *input = NULL;
	size_t len = 0;
	if (!isatty(0) && !fd_read_all(0, INPUT_MAX, &input, &len, error))
		return error_prefix(error, "failed to read stdin");
	g_auto(Bootstrap) b = {0};
	if (!bootstrap_parse(args, input, len, env_of, &b, error))
		return false;
	g_autofree char *group = bootstrap_group("config.json", b.id, error);
	if (group == NULL)
		return false;
	g_autofree char *address = bootstrap_address(&b, group);
	const char *path = address + strlen("unix://");
	// First, so that `delete` finds the socket whenever we die.
	if (!file_write_atomic("address", address, strlen(address), 0644, false, error))
		return false;
	autofd listener = -1;
	switch (socket_listen(path, &listener, error)) {
	case SOCKET_FAILED:
		return false;
	case SOCKET_LIVE: // the shim of the pod
		break;
	case SOCKET_OURS:
		if (!FAILPOINT("shim.boot.listen", error) || !server_start(&b, listener, error)) {
			unlink(path);
			return false;
		}
		break;
	}
	g_autoptr(GBytes) answer = bootstrap_answer(b.form, address);
	gsize n;
	const void *data = g_bytes_get_data(answer, &n);
	return fd_write_all(1, data, n, error);
}
