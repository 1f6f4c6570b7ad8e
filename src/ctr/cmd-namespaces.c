// SPDX-License-Identifier: Apache-2.0
#include "ctr/util.h"
#include "services/namespaces/v1/namespace.pb-c.h"
#include <stdio.h>

#define SERVICE &containerd__services__namespaces__v1__namespaces__descriptor
typedef Containerd__Services__Namespaces__V1__Namespace PbNamespace;

static bool require_name(Cli *cli, GError **error)
{
	return cli_n_args(cli) > 0 ||
	       error_set(error, CTRD_ERR_INVALID_ARGUMENT, "please specify a namespace");
}

static bool create_run(Cli *cli, GError **error)
{
	if (!require_name(cli, error))
		return false;
	g_autoptr(GHashTable) labels = label_args(cli, 1);
	g_autoptr(GPtrArray) entries = label_entries(
	        labels, &containerd__services__namespaces__v1__namespace__labels_entry__descriptor);
	PbNamespace ns = CONTAINERD__SERVICES__NAMESPACES__V1__NAMESPACE__INIT;
	ns.name = cli_arg(cli, 0);
	ns.labels = (void *)entries->pdata;
	ns.n_labels = entries->len;
	Containerd__Services__Namespaces__V1__CreateNamespaceRequest req =
	        CONTAINERD__SERVICES__NAMESPACES__V1__CREATE_NAMESPACE_REQUEST__INIT;
	req.namespace_ = &ns;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, SERVICE, "Create", &req, &resp, error);
}

static bool label_run(Cli *cli, GError **error)
{
	if (!require_name(cli, error))
		return false;
	g_autoptr(GHashTable) labels = label_args(cli, 1);
	g_autoptr(GPtrArray) entries = label_entries(
	        labels, &containerd__services__namespaces__v1__namespace__labels_entry__descriptor);
	g_autoptr(GPtrArray) paths = label_paths(labels);
	if (paths->len == 0)
		return true;
	PbNamespace ns = CONTAINERD__SERVICES__NAMESPACES__V1__NAMESPACE__INIT;
	ns.name = cli_arg(cli, 0);
	ns.labels = (void *)entries->pdata;
	ns.n_labels = entries->len;
	Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
	mask.paths = (char **)paths->pdata;
	mask.n_paths = paths->len;
	Containerd__Services__Namespaces__V1__UpdateNamespaceRequest req =
	        CONTAINERD__SERVICES__NAMESPACES__V1__UPDATE_NAMESPACE_REQUEST__INIT;
	req.namespace_ = &ns;
	req.update_mask = &mask;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, SERVICE, "Update", &req, &resp, error);
}

static bool list_run(Cli *cli, GError **error)
{
	Containerd__Services__Namespaces__V1__ListNamespacesRequest req =
	        CONTAINERD__SERVICES__NAMESPACES__V1__LIST_NAMESPACES_REQUEST__INIT;
	autopb Containerd__Services__Namespaces__V1__ListNamespacesResponse *resp = NULL;
	if (!ctr_call(cli, SERVICE, "List", &req, &resp, error))
		return false;
	if (ctr_wants_json(cli)) {
		print_json_list(resp->n_namespaces, (ProtobufCMessage *const *)resp->namespaces);
		return true;
	}
	bool quiet = cli_bool(cli, "quiet");
	Table *t = table_new(1, 1);
	if (!quiet)
		table_row(t, "NAME\tLABELS\t");
	for (size_t i = 0; i < resp->n_namespaces; i++) {
		const PbNamespace *ns = resp->namespaces[i];
		g_autoptr(GHashTable) labels = label_map(ns->n_labels, ns->labels);
		g_autofree char *text = labels_text(labels, ",");
		if (quiet)
			table_row(t, "%s", ns->name);
		else
			table_row(t, "%s\t%s\t", ns->name, text);
	}
	table_print(t);
	return true;
}

static bool remove_run(Cli *cli, GError **error)
{
	GError *first = NULL;
	for (int i = 0; i < cli_n_args(cli); i++) {
		Containerd__Services__Namespaces__V1__DeleteNamespaceRequest req =
		        CONTAINERD__SERVICES__NAMESPACES__V1__DELETE_NAMESPACE_REQUEST__INIT;
		req.name = cli_arg(cli, i);
		autopb ProtobufCMessage *resp = NULL;
		g_autoptr(GError) failed = NULL;
		if (!ctr_call(cli, SERVICE, "Delete", &req, &resp, &failed) &&
		    !error_is(failed, CTRD_ERR_NOT_FOUND)) {
			error_prefix(&failed, "unable to delete %s", req.name);
			if (first == NULL)
				first = g_steal_pointer(&failed);
			else
				fprintf(stderr, "ctr: %s\n", failed->message);
			continue;
		}
		puts(req.name);
	}
	if (first != NULL)
		g_propagate_error(error, first);
	return first == NULL;
}

static const CliFlag remove_flags[] = {
        {"cgroup", FLAG_BOOL, "Delete the namespace's cgroup", {"c"}},
        {0},
};
static const CliCommand create = {
        .name = "create",
        .aliases = {"c"},
        .usage = "Create a new namespace",
        .arguments = "<name> [<key>=<value>]",
        .description = "   create a new namespace. it must be unique",
        .run = create_run,
};
static const CliCommand list = {
        .name = "list",
        .aliases = {"ls"},
        .usage = "List namespaces",
        .arguments = "[flags]",
        .flags = {flags_quiet, flags_format},
        .run = list_run,
};
static const CliCommand remove_ = {
        .name = "remove",
        .aliases = {"rm"},
        .usage = "Remove one or more namespaces",
        .arguments = "<name> [<name>, ...]",
        .description = "   remove one or more namespaces. for now, the namespace must be empty",
        .flags = {remove_flags},
        .run = remove_run,
};
static const CliCommand label = {
        .name = "label",
        .usage = "Set and clear labels for a namespace",
        .arguments = "<name> [<key>=<value>, ...]",
        .description = "   set and clear labels for a namespace. empty value clears the label",
        .run = label_run,
};
static const CliCommand *const commands[] = {&create, &list, &remove_, &label, NULL};
const CliCommand cmd_namespaces = {
        .name = "namespaces",
        .aliases = {"namespace", "ns"},
        .usage = "Manage namespaces",
        .commands = commands,
};
