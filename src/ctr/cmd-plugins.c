// SPDX-License-Identifier: Apache-2.0
#include "ctr/util.h"
#include "rpc/status.h"
#include "services/introspection/v1/introspection.pb-c.h"
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
static const CliCommand *const commands[] = {&list, NULL};
const CliCommand cmd_plugins = {
        .name = "plugins",
        .aliases = {"plugin"},
        .usage = "Provides information about containerd plugins",
        .commands = commands,
};
