// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "daemon/builtins.h"

/*
 * internal.v1.opt: programs and libraries that `ctr install` unpacks below one directory are found before
 * those of the system. The environment is changed here, at start, when nothing else reads it.
 */

static bool prepend(const char *variable, const char *root, const char *dir, GError **error)
{
	g_autofree char *path = path_join(root, dir);
	g_autofree char *value = g_strdup_printf("%s:%s", path, str_or(g_getenv(variable), ""));

	return dir_make_all(path, 0711, error) && g_setenv(variable, value, true);
}

static bool opt_init(PluginInit *init, void **ret_instance, GError **error)
{
	const char *path = conf_string(plugin_config(init), "path");

	plugin_add_export(init, "path", path);
	return prepend("PATH", path, "bin", error) && prepend("LD_LIBRARY_PATH", path, "lib", error);
}

const PluginRegistration plugin_internal_opt = {
        .type = PLUGIN_INTERNAL,
        .id = "opt",
        .init = opt_init,
};
