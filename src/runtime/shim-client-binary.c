// SPDX-License-Identifier: Apache-2.0
#include "runtime/shim-client-binary.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process.h"
#include "google/protobuf/any.pb-c.h"
#include "message.h"
#include "rpc/server.h"
#include "runtime/bootstrap/v1/bootstrap.pb-c.h"
#include "runtime/shim-client-private.h"
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	MAX_ANSWER = 64 * 1024, // bytes a shim may print
	SHIM_VERSION_MAX = 3,
};
/* `start` itself has no bound upstream; a shim binary that hangs must not hold a worker for ever. */
#define START_TIMEOUT (60 * NS_PER_SEC)

/* ---- where the binary is ---- */

/* "io.containerd.runc.v2" -> "containerd-shim-runc-v2"; NULL where it is no such name. */
static char *binary_name(const char *runtime)
{
	g_auto(GStrv) parts = g_strsplit(runtime, ".", -1);
	guint n = g_strv_length(parts);
	if (n < 2 || *parts[0] == '\0')
		return NULL;
	return g_strdup_printf("containerd-shim-%s-%s", parts[n - 2], parts[n - 1]);
}

static char *beside_us(const char *name)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	if (self == NULL)
		return NULL;
	g_autofree char *dir = g_path_get_dirname(self);
	g_autofree char *path = path_join(dir, name);
	return path_exists(path) ? g_steal_pointer(&path) : NULL;
}

/* What 1.x had and 2.0 removed; containers that such a daemon made still name it. */
static const char *retired_hint(const char *runtime)
{
	static const char *const retired[] = {"io.containerd.runtime.v1.linux", "io.containerd.runc.v1",
	                                      NULL};
	return g_strv_contains(retired, runtime) ? " (this runtime was removed in containerd 2.0, "
	                                           "io.containerd.runc.v2 takes its place)"
	                                         : "";
}

char *shim_binary_resolve(const char *runtime, GError **error)
{
	if (str_empty(runtime)) {
		error_set(error, CTRD_ERR_UNKNOWN, "no runtime name");
		return NULL;
	}
	if (*runtime == '/') {
		struct stat st;
		if (stat(runtime, &st) != 0) {
			error_set_errno(error, errno, "invalid custom binary path: stat %s", runtime);
			return NULL;
		}
		return g_strdup(runtime);
	}
	g_autofree char *name = strchr(runtime, '/') == NULL ? binary_name(runtime) : NULL;
	if (name == NULL) {
		error_set(error, CTRD_ERR_UNKNOWN,
		          "invalid runtime name %s, correct runtime name should be either format like "
		          "`io.containerd.runc.v2` or a full path to the binary",
		          runtime);
		return NULL;
	}
	g_autofree char *path = process_lookup(name, NULL);
	if (path == NULL)
		path = beside_us(name);
	if (path == NULL)
		error_set(error, CTRD_ERR_UNKNOWN,
		          "runtime %s binary not installed %s: file does not exist%s", Q(runtime), Q(name),
		          retired_hint(runtime));
	return g_steal_pointer(&path);
}

/* How long a shim may take to say what it is. */
#define INFO_TIMEOUT (10 * NS_PER_SEC)

/* ---- calling it ---- */

static const Containerd__Runtime__Bootstrap__V1__LogLevel log_levels[] = {
        [LOG_PANIC] = CONTAINERD__RUNTIME__BOOTSTRAP__V1__LOG_LEVEL__LOG_LEVEL_PANIC,
        [LOG_FATAL] = CONTAINERD__RUNTIME__BOOTSTRAP__V1__LOG_LEVEL__LOG_LEVEL_FATAL,
        [LOG_ERROR] = CONTAINERD__RUNTIME__BOOTSTRAP__V1__LOG_LEVEL__LOG_LEVEL_ERROR,
        [LOG_WARN] = CONTAINERD__RUNTIME__BOOTSTRAP__V1__LOG_LEVEL__LOG_LEVEL_WARN,
        [LOG_INFO] = CONTAINERD__RUNTIME__BOOTSTRAP__V1__LOG_LEVEL__LOG_LEVEL_INFO,
        [LOG_DEBUG] = CONTAINERD__RUNTIME__BOOTSTRAP__V1__LOG_LEVEL__LOG_LEVEL_DEBUG,
        [LOG_TRACE] = CONTAINERD__RUNTIME__BOOTSTRAP__V1__LOG_LEVEL__LOG_LEVEL_TRACE,
};

GBytes *shim_binary_info(const char *binary, GBytes *options, GError **error)
{
	const char *argv[] = {binary, "-info", NULL};
	ProcessSpec spec = {.argv = argv, .stdin_data = options, .timeout_ns = INFO_TIMEOUT};
	g_auto(ProcessResult) result = {0};
	if (!process_run(&spec, &result, error)) {
		error_prefix(error, "failed to run [%s -info]", binary);
		return NULL;
	}
	if (result.status != 0) {
		g_autofree char *status = process_status_text(result.status);
		error_set(error, CTRD_ERR_UNKNOWN, "failed to run [%s -info]: %s (stderr: %s)", binary,
		          status, Q(result.err));
		return NULL;
	}
	return g_bytes_new(result.out, result.out_len);
}

static GBytes *bootstrap_params(const Bundle *b, const ShimBinaryConfig *config, const Any *options)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	Containerd__Runtime__Bootstrap__V1__BootstrapParams p =
	        CONTAINERD__RUNTIME__BOOTSTRAP__V1__BOOTSTRAP_PARAMS__INIT;
	Containerd__Runtime__Bootstrap__V1__Extension ext =
	        CONTAINERD__RUNTIME__BOOTSTRAP__V1__EXTENSION__INIT;
	Containerd__Runtime__Bootstrap__V1__Extension *exts[] = {&ext};
	Google__Protobuf__Any any;
	p.instance_id = b->id;
	p.namespace_ = b->ns;
	p.log_level = log_levels[log_get_level()];
	p.containerd_version = "v" CTRD_VERSION;
	p.containerd_ttrpc_address = str_or(config->ttrpc_address, "");
	p.containerd_grpc_address = str_or(config->grpc_address, "");
	p.containerd_binary = str_or(self, "");
	if (!str_empty(config->socket_dir)) {
		p.opt_socket_dir_case =
		        CONTAINERD__RUNTIME__BOOTSTRAP__V1__BOOTSTRAP_PARAMS__OPT_SOCKET_DIR_SOCKET_DIR;
		p.socket_dir = config->socket_dir;
	}
	ext.value = shim_any_message(&any, options);
	if (ext.value != NULL) {
		p.extensions = exts;
		p.n_extensions = 1;
	}
	return api_pack(&p.base);
}

static GPtrArray *shim_env(const Bundle *b, const ShimBinaryConfig *config)
{
	char **env = g_get_environ();
	env = g_environ_setenv(env, "GOMAXPROCS", "2", TRUE);
	env = g_environ_setenv(env, "MAX_SHIM_VERSION", "2", TRUE);
	env = g_environ_setenv(env, "TTRPC_ADDRESS", str_or(config->ttrpc_address, ""), TRUE);
	env = g_environ_setenv(env, "GRPC_ADDRESS", str_or(config->grpc_address, ""), TRUE);
	env = g_environ_setenv(env, "NAMESPACE", b->ns, TRUE);
	GPtrArray *out = g_ptr_array_new_with_free_func(g_free);
	for (char **e = env; *e != NULL; e++)
		g_ptr_array_add(out, *e);
	g_free(env);
	for (const char *const *e = config->env; e != NULL && *e != NULL; e++)
		g_ptr_array_add(out, g_strdup(*e));
	g_ptr_array_add(out, NULL);
	return out;
}

/* What a shim before 2.3 reads: the options' Any. NULL: nothing. */
static GBytes *legacy_input(const Any *options)
{
	Google__Protobuf__Any any;
	return shim_any_message(&any, options) != NULL ? api_pack(&any.base) : NULL;
}

/* Runs the binary with the action; the answer's bytes are in ret->out. A failure carries what the shim
 * printed, as upstream. */
static bool call(const char *binary, const Bundle *b, const ShimBinaryConfig *config, const char *action,
                 GBytes *input, int64_t timeout_ns, int cancel_fd, ProcessResult *ret, GError **error)
{
	bool start = g_str_equal(action, "start");
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	g_autoptr(GPtrArray) env = shim_env(b, config);
	const char *const flags[] = {binary,
	                             "-namespace",
	                             b->ns,
	                             "-address",
	                             str_or(config->grpc_address, ""),
	                             "-publish-binary",
	                             str_or(self, ""),
	                             "-id",
	                             b->id};
	for (size_t i = 0; i < G_N_ELEMENTS(flags); i++)
		g_ptr_array_add(argv, (gpointer)flags[i]);
	if (!start) {
		g_ptr_array_add(argv, (gpointer) "-bundle");
		g_ptr_array_add(argv, b->path);
	}
	if (log_enabled(LOG_DEBUG))
		g_ptr_array_add(argv, (gpointer) "-debug");
	g_ptr_array_add(argv, (gpointer)action);
	g_ptr_array_add(argv, NULL);
	ProcessSpec spec = {
	        .argv = (const char *const *)argv->pdata,
	        .envp = (const char *const *)env->pdata,
	        .cwd = b->path,
	        .stdin_data = input,
	        .timeout_ns = timeout_ns,
	        .cancel_fd = cancel_fd,
	        .max_output = MAX_ANSWER,
	        .merge_stderr = start,
	};
	if (!process_run(&spec, ret, error))
		return false;
	if (ret->status == 0)
		return true;
	g_autofree char *status = process_status_text(ret->status);
	return error_set(error, CTRD_ERR_UNKNOWN, "%s: %s", start ? ret->out : str_or(ret->err, ""), status);
}

/* ---- addresses ---- */

bool shim_address_parse(const char *data, size_t len, ShimAddress *ret, GError **error)
{
	autopb Containerd__Runtime__Bootstrap__V1__BootstrapResult *result = api_unpack(
	        &containerd__runtime__bootstrap__v1__bootstrap_result__descriptor, NULL, data, len, NULL);
	if (result != NULL && len > 0) {
		*ret = (ShimAddress){result->version, g_strdup(result->address), g_strdup(result->protocol)};
	} else {
		g_autofree char *text = g_strstrip(g_strndup(data, len));
		g_autoptr(JsonObject) json = json_parse(text, strlen(text), MAX_ANSWER, NULL);
		int64_t version = 0;
		json_get_int64(json, "version", &version);
		if (version >= 2)
			*ret = (ShimAddress){(int)MIN(version, INT32_MAX),
			                     g_strdup(str_or(json_get_string(json, "address"), "")),
			                     g_strdup(str_or(json_get_string(json, "protocol"), "ttrpc"))};
		else
			*ret = (ShimAddress){2, g_steal_pointer(&text), g_strdup("ttrpc")};
	}
	if (ret->version > SHIM_VERSION_MAX) {
		error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "unsupported shim version (%d)",
		                ret->version);
		shim_address_clear(ret);
		return false;
	}
	if (str_empty(ret->address)) {
		shim_address_clear(ret);
		return error_set(error, CTRD_ERR_UNKNOWN, "the shim answered no address");
	}
	return true;
}

bool shim_address_save(const Bundle *b, const ShimAddress *a, GError **error)
{
	g_autofree char *path = bundle_file(b, "bootstrap.json");
	g_autoptr(JsonObject) o = json_object_new_object();
	json_set_int64(o, "version", a->version);
	json_set_string(o, "address", a->address);
	json_set_string(o, "protocol", a->protocol);
	g_autofree char *text = json_to_text(o);
	return file_write_atomic(path, text, strlen(text), 0644, false, error) ||
	       error_prefix(error, "failed to write bootstrap.json");
}

bool shim_address_load(const Bundle *b, ShimAddress *ret, GError **error)
{
	g_autofree char *path = bundle_file(b, "bootstrap.json");
	g_autofree char *data = NULL;
	size_t len = 0;
	if (path_exists(path))
		return file_read(path, MAX_ANSWER, &data, &len, error) &&
		       shim_address_parse(data, len, ret, error);
	/* a shim that an older daemon started */
	g_autofree char *old = bundle_file(b, "address");
	if (!file_read(old, MAX_ANSWER, &data, &len, error))
		return error_prefix(
		        error, "unable to migrate shim: failed to get socket address for bundle %s", b->path);
	*ret = (ShimAddress){2, g_strdup(g_strstrip(data)), g_strdup("ttrpc")};
	return shim_address_save(b, ret, error);
}

void shim_address_remove_dead(const Bundle *b)
{
	g_auto(ShimAddress) address = {0};
	if (shim_address_load(b, &address, NULL) && g_str_has_prefix(address.address, "unix://"))
		rpc_remove_dead_socket(address.address + strlen("unix://"));
}

/* ---- start and delete ---- */

/* Shims up to 1.6 take any input for the options' Any, and refuse its type where it is our parameters: its
 * name is then what the first field holds. Nothing has happened yet, so they are asked once more. */
static bool is_legacy_refusal(const Bundle *b, const GError *error)
{
	g_autofree char *text = g_strdup_printf("type with url %s: not found", b->id);
	return strstr(error->message, text) != NULL;
}

static bool call_start(const char *binary, const Bundle *b, const ShimBinaryConfig *config,
                       const Any *options, int cancel_fd, ProcessResult *ret, GError **error)
{
	g_autofree char *name = g_path_get_basename(binary);
	g_autoptr(GBytes) legacy = legacy_input(options);
	if (strstr(name, "shim-runc-v1") != NULL || strstr(name, "shim-runhcs-v1") != NULL)
		return call(binary, b, config, "start", legacy, START_TIMEOUT, cancel_fd, ret, error);
	g_autoptr(GBytes) params = bootstrap_params(b, config, options);
	g_autoptr(GError) failed = NULL;
	if (call(binary, b, config, "start", params, START_TIMEOUT, cancel_fd, ret, &failed))
		return true;
	if (is_legacy_refusal(b, failed)) {
		process_result_clear(ret);
		return call(binary, b, config, "start", legacy, START_TIMEOUT, cancel_fd, ret, error);
	}
	g_propagate_error(error, g_steal_pointer(&failed));
	return false;
}

static void wake(void *fd)
{
	eventfd_write(*(int *)fd, 1);
}

bool shim_binary_start(const char *binary, const Bundle *b, const ShimBinaryConfig *config, Cancel *cancel,
                       const Any *options, ShimAddress *ret, GError **error)
{
	g_autofree char *log = bundle_file(b, "log");
	if (mkfifo(log, 0700) != 0 && errno != EEXIST)
		return error_set_errno(error, errno, "open shim log pipe: mkfifo %s", log);
	g_auto(ProcessResult) result = {0};
	autofd fd = eventfd(0, EFD_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, errno, "eventfd");
	unsigned id = cancel != NULL ? cancel_on(cancel, wake, &fd) : 0;
	bool ok = call_start(binary, b, config, options, fd, &result, error);
	if (id != 0)
		cancel_off(cancel, id);
	if (!ok)
		return false;
	g_autofree char *path = bundle_file(b, "shim-binary-path");
	return file_write_atomic(path, binary, strlen(binary), 0600, false, error) &&
	       shim_address_parse(result.out, result.out_len, ret, error) && shim_address_save(b, ret, error);
}

bool shim_binary_delete(const char *binary, const Bundle *b, const ShimBinaryConfig *config,
                        int64_t timeout_ns, TaskExit *ret, GError **error)
{
	g_auto(ProcessResult) result = {0};
	if (!call(binary, b, config, "delete", NULL, timeout_ns, -1, &result, error))
		return false;
	if (!str_empty(result.err))
		log_warn("warnings while cleaning up dead shim", "id", b->id, "warnings", result.err, NULL);
	autopb Containerd__Task__V3__DeleteResponse *resp = api_unpack(
	        &containerd__task__v3__delete_response__descriptor, NULL, result.out, result.out_len, NULL);
	if (resp == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "%s delete answered %zu bytes that are no DeleteResponse", binary,
		                 result.out_len);
	*ret = (TaskExit){
	        .pid = resp->pid,
	        .status = resp->exit_status,
	        .exited_at = resp->exited_at != NULL
	                             ? resp->exited_at->seconds * NS_PER_SEC + resp->exited_at->nanos
	                             : 0,
	};
	shim_address_remove_dead(b); // upstream's shims leave it
	return bundle_delete(b, error);
}
