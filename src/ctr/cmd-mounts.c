// SPDX-License-Identifier: Apache-2.0
/* The mount manager. Upstream's client has no such command: its activations can only be seen from Go. */
#include "ctr/mounts.h"
#include "ctr/util.h"
#include "services/mounts/v1/mounts.pb-c.h"
#include <stdio.h>
#include <string.h>

#define SERVICE &containerd__services__mounts__v1__mounts__descriptor
typedef Containerd__Types__ActivationInfo PbActivation;
typedef Containerd__Types__Mount PbMount;

/* ---- words ---- */

static void mount_free_(void *data)
{
	PbMount *m = data;
	g_free((char *)m->type);
	g_free((char *)m->source);
	g_free((char *)m->target);
	g_strfreev((char **)m->options);
	g_free(m);
}

static bool parse_field(const char *word, char **fields, GPtrArray *options, GError **error)
{
	static const char *const names[] = {"type", "source", "target"};
	const char *eq = strchr(word, '=');
	if (eq == NULL)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "%s has no value", Q(word));
	g_autofree char *key = g_strndup(word, (gsize)(eq - word));
	if (g_str_equal(key, "option")) {
		g_ptr_array_add(options, g_strdup(eq + 1));
		return true;
	}
	if (g_str_equal(key, "options")) {
		g_auto(GStrv) parts = g_strsplit(eq + 1, ":", -1);
		for (char **p = parts; *p != NULL; p++)
			g_ptr_array_add(options, g_strdup(*p));
		return true;
	}
	const char *name = g_str_equal(key, "src") ? "source" : g_str_equal(key, "dst") ? "target" : key;
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		if (g_str_equal(name, names[i])) {
			g_free(fields[i]);
			fields[i] = g_strdup(eq + 1);
			return true;
		}
	}
	return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "unknown field %s", Q(key));
}

static PbMount *parse_mount(const char *text, GError **error)
{
	PbMount *m = g_new0(PbMount, 1);
	*m = (PbMount)CONTAINERD__TYPES__MOUNT__INIT;
	char *fields[3] = {NULL, NULL, NULL};
	g_autoptr(GPtrArray) options = g_ptr_array_new();
	g_auto(GStrv) words = g_strsplit(text, ",", -1);
	bool ok = true;
	for (char **w = words; ok && *w != NULL; w++)
		ok = parse_field(*w, fields, options, error);
	if (ok && str_empty(fields[0]))
		ok = error_set(error, CTRD_ERR_INVALID_ARGUMENT, "type is missing");
	m->type = fields[0] != NULL ? fields[0] : g_strdup("");
	m->source = fields[1] != NULL ? fields[1] : g_strdup("");
	m->target = fields[2] != NULL ? fields[2] : g_strdup("");
	m->n_options = options->len;
	g_ptr_array_add(options, NULL);
	m->options = (const char **)g_ptr_array_steal(options, NULL);
	if (ok)
		return m;
	mount_free_(m);
	error_prefix(error, "invalid mount specification %s", Q(text));
	return NULL;
}

GPtrArray *ctr_mounts_parse(char **words, GError **error)
{
	g_autoptr(GPtrArray) mounts = g_ptr_array_new_with_free_func(mount_free_);
	for (; *words != NULL; words++) {
		PbMount *m = parse_mount(*words, error);
		if (m == NULL)
			return NULL;
		g_ptr_array_add(mounts, m);
	}
	return g_steal_pointer(&mounts);
}

/* ---- commands ---- */

static bool need_name(Cli *cli, GError **error)
{
	return *cli_arg(cli, 0) != '\0' ||
	       error_set(error, CTRD_ERR_INVALID_ARGUMENT, "mount name must be provided");
}

static void print_activation(const PbActivation *a)
{
	print_json(message_to_json(&a->base));
}

static void add_row(Table *t, const PbActivation *a)
{
	g_autoptr(GHashTable) labels = label_map(a->n_labels, a->labels);
	g_autofree char *text = labels_text(labels, ",");
	g_autoptr(GString) active = g_string_new(NULL);
	g_autoptr(GString) left = g_string_new(NULL);
	for (size_t i = 0; i < a->n_active; i++)
		g_string_append_printf(active, "%s%s", i > 0 ? "," : "", a->active[i]->mount->type);
	for (size_t i = 0; i < a->n_system; i++)
		g_string_append_printf(left, "%s%s", i > 0 ? "," : "", a->system[i]->type);
	table_row(t, "%s\t%s\t%s\t%s\t", a->name, active->len > 0 ? active->str : "-",
	          left->len > 0 ? left->str : "-", *text != '\0' ? text : "-");
}

static bool list_run(Cli *cli, GError **error)
{
	Containerd__Services__Mounts__V1__ListRequest req =
	        CONTAINERD__SERVICES__MOUNTS__V1__LIST_REQUEST__INIT;
	req.filters = (const char **)cli_args(cli);
	req.n_filters = (size_t)cli_n_args(cli);
	g_autoptr(RpcStream) stream = ctr_stream(cli, SERVICE, "List", RPC_SERVER_STREAM, &req, error);
	if (stream == NULL)
		return false;
	bool quiet = cli_bool(cli, "quiet"), json = ctr_wants_json(cli);
	g_autoptr(GPtrArray) all = g_ptr_array_new();
	Table *t = table_new(1, 1);
	if (!quiet)
		table_row(t, "NAME\tACTIVE\tLEFT\tLABELS\t");
	bool ok;
	for (;;) {
		autopb Containerd__Services__Mounts__V1__ListMessage *resp = NULL;
		ok = rpc_stream_recv(stream, &resp, error);
		if (!ok || resp == NULL)
			break;
		if (resp->info == NULL)
			continue;
		if (quiet)
			table_row(t, "%s", resp->info->name);
		else if (!json)
			add_row(t, resp->info);
		else
			g_ptr_array_add(all, message_to_json(&resp->info->base));
	}
	if (!ok) {
		table_free(t);
		return false;
	}
	if (!json) {
		table_print(t);
		return true;
	}
	table_free(t);
	JsonObject *list = json_object_new_array();
	for (guint i = 0; i < all->len; i++)
		json_object_array_add(list, all->pdata[i]);
	print_json(list);
	return true;
}

static bool info_run(Cli *cli, GError **error)
{
	Containerd__Services__Mounts__V1__InfoRequest req =
	        CONTAINERD__SERVICES__MOUNTS__V1__INFO_REQUEST__INIT;
	req.name = cli_arg(cli, 0);
	autopb Containerd__Services__Mounts__V1__InfoResponse *resp = NULL;
	if (!need_name(cli, error) || !ctr_call(cli, SERVICE, "Info", &req, &resp, error))
		return false;
	print_activation(resp->info);
	return true;
}

static bool activate_run(Cli *cli, GError **error)
{
	if (!need_name(cli, error))
		return false;
	g_autoptr(GPtrArray) mounts = ctr_mounts_parse(cli_args(cli) + 1, error);
	if (mounts == NULL)
		return false;
	g_autoptr(GHashTable) labels = label_words(cli_strings(cli, "label"));
	g_autoptr(GPtrArray) entries = label_entries(
	        labels, &containerd__services__mounts__v1__activate_request__labels_entry__descriptor);
	Containerd__Services__Mounts__V1__ActivateRequest req =
	        CONTAINERD__SERVICES__MOUNTS__V1__ACTIVATE_REQUEST__INIT;
	req.name = cli_arg(cli, 0);
	req.mounts = (PbMount **)mounts->pdata;
	req.n_mounts = mounts->len;
	req.labels = (void *)entries->pdata;
	req.n_labels = entries->len;
	req.temporary = cli_bool(cli, "temporary");
	autopb Containerd__Services__Mounts__V1__ActivateResponse *resp = NULL;
	if (!ctr_call(cli, SERVICE, "Activate", &req, &resp, error))
		return false;
	print_activation(resp->info);
	return true;
}

static bool deactivate_run(Cli *cli, GError **error)
{
	if (!need_name(cli, error))
		return false;
	for (int i = 0; i < cli_n_args(cli); i++) {
		Containerd__Services__Mounts__V1__DeactivateRequest req =
		        CONTAINERD__SERVICES__MOUNTS__V1__DEACTIVATE_REQUEST__INIT;
		req.name = cli_arg(cli, i);
		autopb ProtobufCMessage *resp = NULL;
		if (!ctr_call(cli, SERVICE, "Deactivate", &req, &resp, error))
			return false;
		puts(cli_arg(cli, i));
	}
	return true;
}

static bool label_run(Cli *cli, GError **error)
{
	if (!need_name(cli, error))
		return false;
	g_autoptr(GHashTable) labels = label_args(cli, 1);
	g_autoptr(GPtrArray) paths = label_paths(labels);
	g_autoptr(GPtrArray) entries =
	        label_entries(labels, &containerd__types__activation_info__labels_entry__descriptor);
	Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
	mask.paths = (void *)paths->pdata;
	mask.n_paths = paths->len;
	PbActivation info = CONTAINERD__TYPES__ACTIVATION_INFO__INIT;
	info.name = cli_arg(cli, 0);
	info.labels = (void *)entries->pdata;
	info.n_labels = entries->len;
	Containerd__Services__Mounts__V1__UpdateRequest req =
	        CONTAINERD__SERVICES__MOUNTS__V1__UPDATE_REQUEST__INIT;
	req.info = &info;
	req.update_mask = &mask;
	autopb Containerd__Services__Mounts__V1__UpdateResponse *resp = NULL;
	if (!ctr_call(cli, SERVICE, "Update", &req, &resp, error))
		return false;
	g_autoptr(GHashTable) now = label_map(resp->info->n_labels, resp->info->labels);
	g_autofree char *text = labels_text(now, ",");
	puts(text);
	return true;
}

static const CliFlag activate_flags[] = {
        {"label", FLAG_STRINGS, "Labels to attach to the activation"},
        {"temporary", FLAG_BOOL, "Do all mounts; what is left is one bind mount", .value = "false"},
        {0},
};
static const CliCommand list = {
        .name = "list",
        .aliases = {"ls"},
        .usage = "List activated mounts",
        .arguments = "[flags] <filter>",
        .flags = {flags_quiet, flags_format},
        .run = list_run,
};
static const CliCommand info = {
        .name = "info",
        .usage = "Show what an activation mounted",
        .arguments = "<name>",
        .run = info_run,
};
static const CliCommand activate = {
        .name = "activate",
        .usage = "Activate mounts",
        .arguments = "[flags] <name> type=<type>,src=<source>[,dst=<target>][,option=<option>]... ...",
        .description =
                "   does those of the mounts that the kernel cannot do, and prints what is left. Without a "
                "label\n   such as containerd.io/gc.bref.container=<id> the garbage collector takes it away",
        .flags = {activate_flags},
        .run = activate_run,
};
static const CliCommand deactivate = {
        .name = "deactivate",
        .aliases = {"rm"},
        .usage = "Unmount activations",
        .arguments = "<name> ...",
        .run = deactivate_run,
};
static const CliCommand label = {
        .name = "label",
        .usage = "Set and clear labels of an activation",
        .arguments = "<name> [<label>=<value>] ...",
        .run = label_run,
};
static const CliCommand *const commands[] = {&list, &info, &activate, &deactivate, &label, NULL};
const CliCommand cmd_mounts = {
        .name = "mounts",
        .usage = "Manage mounts of the mount manager",
        .commands = commands,
};
