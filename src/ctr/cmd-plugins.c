// SPDX-License-Identifier: Apache-2.0
#include "ctr/container.h"
#include "ctr/util.h"
#include "message.h"
#include "registry.h"
#include "rpc/status.h"
#include "services/introspection/v1/introspection.pb-c.h"
#include "types/introspection.pb-c.h"
#include <stdio.h>
#include <string.h>

typedef Containerd__Services__Introspection__V1__Plugin PbPlugin;

static int by_text(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "linux/amd64,linux/arm64", sorted, without repeats. */
static char *platforms_text(const PbPlugin *p)
{
	g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
	for (size_t i = 0; i < p->n_platforms; i++) {
		const Containerd__Types__Platform *f = p->platforms[i];
		char *text = str_empty(f->os) ? g_strdup("unknown")
		                              : g_strdup_printf("%s/%s%s%s", f->os, f->architecture,
		                                                str_empty(f->variant) ? "" : "/", f->variant);
		if (g_ptr_array_find_with_equal_func(texts, text, g_str_equal, NULL))
			g_free(text);
		else
			g_ptr_array_add(texts, text);
	}
	g_ptr_array_sort(texts, by_text);
	g_ptr_array_add(texts, NULL);
	return g_strjoinv(",", (char **)texts->pdata);
}

static void detailed_row(Table *t, const PbPlugin *p)
{
	table_row(t, "Type:\t %s", p->type);
	table_row(t, "ID:\t %s", p->id);
	if (p->n_requires > 0)
		table_row(t, "Requires:\t");
	for (size_t i = 0; i < p->n_requires; i++)
		table_row(t, "\t %s", p->requires[i]);
	if (p->n_platforms > 0) {
		g_autofree char *platforms = platforms_text(p);
		table_row(t, "Platforms:\t %s", platforms);
	}
	if (p->n_exports > 0)
		table_row(t, "Exports:\t");
	for (size_t i = 0; i < p->n_exports; i++)
		table_row(t, "\t %s \t %s", p->exports[i]->key, p->exports[i]->value);
	if (p->n_capabilities > 0) {
		g_autoptr(GString) s = g_string_new(NULL);
		for (size_t i = 0; i < p->n_capabilities; i++)
			g_string_append_printf(s, "%s%s", i > 0 ? "," : "", p->capabilities[i]);
		table_row(t, "Capabilities:\t %s", s->str);
	}
	if (p->init_err != NULL) {
		table_row(t, "Error:\t");
		table_row(t, "\t Code:\t %s", rpc_status_name((RpcStatusCode)p->init_err->code));
		table_row(t, "\t Message:\t %s", p->init_err->message);
	}
}

static const char *status_text(const PbPlugin *p)
{
	if (p->init_err == NULL)
		return "ok";
	return strstr(p->init_err->message, "skip plugin") != NULL ? "skip" : "error";
}

static bool list_run(Cli *cli, GError **error)
{
	Containerd__Services__Introspection__V1__PluginsRequest req =
	        CONTAINERD__SERVICES__INTROSPECTION__V1__PLUGINS_REQUEST__INIT;
	req.filters = (const char **)cli_args(cli);
	req.n_filters = (size_t)cli_n_args(cli);
	autopb Containerd__Services__Introspection__V1__PluginsResponse *resp = NULL;
	if (!ctr_call(cli, &containerd__services__introspection__v1__introspection__descriptor, "Plugins",
	              &req, &resp, error))
		return false;
	if (ctr_wants_json(cli)) {
		print_json_list(resp->n_plugins, (ProtobufCMessage *const *)resp->plugins);
		return true;
	}
	bool quiet = cli_bool(cli, "quiet"), detailed = cli_bool(cli, "detailed");
	Table *t = table_new(4, 4);
	if (!quiet && !detailed)
		table_row(t, "TYPE\tID\tPLATFORMS\tSTATUS\t");
	for (size_t i = 0; i < resp->n_plugins; i++) {
		const PbPlugin *p = resp->plugins[i];
		g_autofree char *platforms = platforms_text(p);
		if (quiet) {
			table_row(t, "%s", p->id);
		} else if (detailed) {
			if (i > 0)
				table_row(t, "\t\t\t");
			detailed_row(t, p);
		} else {
			table_row(t, "%s\t%s\t%s\t%s\t", p->type, p->id, *platforms != '\0' ? platforms : "-",
			          status_text(p));
		}
	}
	table_print(t);
	return true;
}

/* ---- inspect-runtime ---- */

/* As Go's encoding/json prints client.RuntimeInfo. */
static bool runtime_json(const Containerd__Types__RuntimeInfo *info, JsonObject *o, GError **error)
{
	JsonObject *version = json_object_new_object();
	json_set_string(o, "Name", info->name);
	json_set_string(version, "Version", info->version != NULL ? info->version->version : "");
	json_set_string(version, "Revision", info->version != NULL ? info->version->revision : "");
	json_set(o, "Version", version);
	autopb ProtobufCMessage *options =
	        info->options != NULL ? api_any_unpack_known(info->options, NULL, error) : NULL;
	if (info->options != NULL && options == NULL)
		return error_prefix(error, "failed to unmarshal RuntimeInfo.Options");
	json_object_object_add(o, "Options", options != NULL ? message_to_json(options) : NULL);
	JsonObject *features = NULL;
	if (info->features != NULL) {
		features = json_parse((const char *)info->features->value.data, info->features->value.len, 0,
		                      error);
		if (features == NULL)
			return error_prefix(error, "failed to unmarshal RuntimeInfo.Features");
	}
	json_object_object_add(o, "Features", features);
	g_autoptr(GHashTable) annotations = label_map(info->n_annotations, info->annotations);
	json_object_object_add(o, "Annotations",
	                       g_hash_table_size(annotations) > 0 ? strmap_to_json(annotations) : NULL);
	return true;
}

static bool inspect_runtime_run(Cli *cli, GError **error)
{
	Containerd__Types__RuntimeRequest runtime = CONTAINERD__TYPES__RUNTIME_REQUEST__INIT;
	Containerd__Services__Introspection__V1__PluginInfoRequest req =
	        CONTAINERD__SERVICES__INTROSPECTION__V1__PLUGIN_INFO_REQUEST__INIT;
	autopb Google__Protobuf__Any *runtime_options = NULL;
	if (!ctr_runtime_options(cli, &runtime_options, error))
		return false;
	runtime.runtime_path = cli_string(cli, "runtime");
	runtime.options = runtime_options;
	autopb Google__Protobuf__Any *options = api_any_pack(&runtime, NULL);
	req.type = "io.containerd.runtime.v2";
	req.id = "task";
	req.options = options;
	autopb Containerd__Services__Introspection__V1__PluginInfoResponse *resp = NULL;
	if (!ctr_call(cli, &containerd__services__introspection__v1__introspection__descriptor, "PluginInfo",
	              &req, &resp, error))
		return false;
	autopb Containerd__Types__RuntimeInfo *info =
	        resp->extra != NULL
	                ? api_any_unpack(resp->extra, &containerd__types__runtime_info__descriptor, NULL,
	                                 error)
	                : NULL;
	if (info == NULL)
		return error_prefix(error, "failed to get runtime info from plugin info");
	g_autoptr(JsonObject) o = json_object_new_object();
	if (!runtime_json(info, o, error))
		return false;
	print_json(g_steal_pointer(&o));
	return true;
}

static const CliCommand inspect_runtime = {
        .name = "inspect-runtime",
        .usage = "Display runtime info",
        .arguments = "[flags]",
        .flags = {flags_runtime},
        .run = inspect_runtime_run,
};

static const CliFlag list_flags[] = {
        {"detailed", FLAG_BOOL, "Print detailed information about each plugin", {"d"}, "false"},
        {0},
};
static const CliCommand list = {
        .name = "list",
        .aliases = {"ls"},
        .usage = "Lists containerd plugins",
        .flags = {flags_quiet, list_flags, flags_format},
        .run = list_run,
};
static const CliCommand *const commands[] = {&list, &inspect_runtime, NULL};
const CliCommand cmd_plugins = {
        .name = "plugins",
        .aliases = {"plugin"},
        .usage = "Provides information about containerd plugins",
        .commands = commands,
};
