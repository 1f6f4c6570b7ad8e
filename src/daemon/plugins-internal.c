// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "daemon/builtins.h"
#include "plugin/deprecations.h"

/*
 * internal.v1.opt: programs and libraries that `ctr install` unpacks below one directory are found before
 * those of the system. The environment is changed here, at start, when nothing else reads it.
 */

static bool prepend(const char *variable, const char *root, const char *dir, GError **error)
{
	g_autofree char *path = path_join(root, dir);
	const char *before = g_getenv(variable);
	// An empty name in such a list is the current directory (upstream leaves one): the loader would look
	// for each library of each runtime there, which costs a runtime 2 ms, and take what it finds.
	g_autofree char *value = str_empty(before) ? g_strdup(path) : g_strdup_printf("%s:%s", path, before);

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

/* ---- tracing: upstream's keys are known, but there is no OpenTelemetry here ---- */

static bool any_set(const TomlValue *view)
{
	for (size_t i = 0; i < toml_size(view); i++) {
		if (!toml_is_empty(toml_at(view, i)))
			return true;
	}
	return false;
}

static bool tracing_init(PluginInit *init, void **ret_instance, GError **error)
{
	Deprecations *deprecations = plugin_get_by_id(init, PLUGIN_WARNING, "deprecations", error);

	if (deprecations == NULL)
		return false;
	if (any_set(plugin_config(init)))
		deprecations_emit(deprecations, plugin_data(init));
	return plugin_skip(error, "no OpenTelemetry endpoint");
}

/* Where traces should go, as OpenTelemetry's own variables say it, or the section. */
static bool wants_traces(const PluginInit *init)
{
	return !str_empty(conf_string(plugin_config(init), "endpoint")) ||
	       !str_empty(g_getenv("OTEL_EXPORTER_OTLP_ENDPOINT")) ||
	       !str_empty(g_getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"));
}

static bool otlp_init(PluginInit *init, void **ret_instance, GError **error)
{
	if (wants_traces(init))
		log_warn("OpenTelemetry is not built in: no traces are exported", NULL);
	return tracing_init(init, ret_instance, error);
}

static const char *const otlp_requires[] = {PLUGIN_WARNING, NULL};
const PluginRegistration plugin_tracing_otlp = {
        .type = PLUGIN_TRACING_PROCESSOR,
        .id = "otlp",
        .requires = otlp_requires,
        .init = otlp_init,
        .data = (void *)"io.containerd.deprecation/tracing-processor-config",
};

static const char *const tracing_requires[] = {PLUGIN_TRACING_PROCESSOR, PLUGIN_WARNING, NULL};
const PluginRegistration plugin_tracing = {
        .type = PLUGIN_INTERNAL,
        .id = "tracing",
        .requires = tracing_requires,
        .init = tracing_init,
        .data = (void *)"io.containerd.deprecation/tracing-service-config",
};
