// SPDX-License-Identifier: Apache-2.0

/*
 * `containerd oci-hook -- program args...`: an OCI hook whose arguments and environment may name the
 * container with
 * {{id}}, {{bundle}}, {{rootfs}}, {{pid}}, {{status}} and {{annotation "key"}}. The state comes on stdin.
 * Upstream has all of Go's templates; these calls are what its documentation knows.
 */

#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/util.h"
#include "daemon/daemon.h"
#include "daemon/flags.h"
#include <stdio.h>
#include <string.h>

#define MAX_STATE (1u << 20)
#define MAX_SPEC (10u << 20)

typedef struct {
	JsonObject *state;
	char *rootfs;
} Hook;

static JsonObject *parse_file(const char *path, size_t max, GError **error)
{
	g_autofree char *data = NULL;
	size_t len = 0;
	bool ok = path != NULL ? file_read(path, max, &data, &len, error)
	                       : fd_read_all(STDIN_FILENO, max, &data, &len, error);

	return ok ? json_parse(data, len, max, error) : NULL;
}

static bool load_hook(Hook *hook, GError **error)
{
	hook->state = parse_file(NULL, MAX_STATE, error);
	if (hook->state == NULL)
		return false;
	const char *bundle = json_get_string(hook->state, "bundle");
	if (str_empty(bundle))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "state has no bundle");
	g_autofree char *path = path_join(bundle, "config.json");
	g_autoptr(JsonObject) spec = parse_file(path, MAX_SPEC, error);
	if (spec == NULL)
		return false;
	JsonObject *root = json_get_object(spec, "root");
	const char *rootfs = root != NULL ? json_get_string(root, "path") : NULL;
	if (str_empty(rootfs))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "%s: no root.path", path);
	hook->rootfs = rootfs[0] == '/' ? g_strdup(rootfs) : path_join(bundle, rootfs);
	return true;
}

/* The value of what stands between {{ and }}. Owned by the caller. */
static char *evaluate(const Hook *hook, const char *text, GError **error)
{
	g_autofree char *call = g_strstrip(g_strdup(text));
	char *space = strpbrk(call, " \t");
	char *argument = NULL;

	if (space != NULL) {
		*space = '\0';
		argument = g_strstrip(space + 1);
	}
	if (strcmp(call, "annotation") == 0 && argument != NULL) {
		size_t len = strlen(argument);
		JsonObject *annotations = json_get_object(hook->state, "annotations");

		if (len >= 2 && (argument[0] == '"' || argument[0] == '`') &&
		    argument[len - 1] == argument[0]) {
			argument[len - 1] = '\0';
			return g_strdup(str_or(
			        annotations != NULL ? json_get_string(annotations, argument + 1) : NULL, ""));
		}
	} else if (argument == NULL) {
		int64_t pid = 0;

		if (strcmp(call, "rootfs") == 0)
			return g_strdup(hook->rootfs);
		if (strcmp(call, "id") == 0 || strcmp(call, "bundle") == 0 || strcmp(call, "status") == 0)
			return g_strdup(str_or(json_get_string(hook->state, call), ""));
		if (strcmp(call, "pid") == 0) {
			json_get_int64(hook->state, "pid", &pid);
			return g_strdup_printf("%" G_GINT64_FORMAT, pid);
		}
	}
	error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "template: oci-hook: %s is not supported", Q(text));
	return NULL;
}

static char *render(const Hook *hook, const char *source, GError **error)
{
	g_autoptr(GString) out = g_string_new(NULL);
	const char *open;

	while ((open = strstr(source, "{{")) != NULL) {
		const char *close = strstr(open, "}}");

		if (close == NULL) {
			error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
			                "template: oci-hook: unclosed action in %s", Q(source));
			return NULL;
		}
		g_autofree char *text = g_strndup(open + 2, (size_t)(close - open - 2));
		g_autofree char *value = evaluate(hook, text, error);
		if (value == NULL)
			return NULL;
		g_string_append_len(out, source, open - source);
		g_string_append(out, value);
		source = close + 2;
	}
	g_string_append(out, source);
	return g_string_free(g_steal_pointer(&out), FALSE);
}

static char **render_all(const Hook *hook, char **sources, GError **error)
{
	g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(g_free);

	for (; *sources != NULL; sources++) {
		char *value = render(hook, *sources, error);

		if (value == NULL)
			return NULL;
		g_ptr_array_add(all, value);
	}
	g_ptr_array_add(all, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&all), FALSE);
}

static bool run_hook(const Hook *hook, char **argv, GError **error)
{
	g_auto(GStrv) environment = g_get_environ();
	g_auto(GStrv) args = render_all(hook, argv, error);
	g_auto(GStrv) env = args != NULL ? render_all(hook, environment, error) : NULL;

	if (env == NULL)
		return false;
	execve(args[0], args, env);
	return error_set_errno(error, errno, "exec %s", args[0]);
}

int cmd_oci_hook(const DaemonOptions *options, int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	Hook hook = {0};
	int index = 0;

	if (flags_parse(NULL, 0, argc, argv, &index, &error)) {
		if (index >= argc)
			error_set_class(&error, CTRD_ERR_INVALID_ARGUMENT, "oci-hook needs a program to run");
		else if (load_hook(&hook, &error))
			run_hook(&hook, argv + index, &error); // comes back only with an error
	}
	json_object_put(hook.state);
	g_free(hook.rootfs);
	fprintf(stderr, "containerd: %s\n", error->message);
	return 1;
}
