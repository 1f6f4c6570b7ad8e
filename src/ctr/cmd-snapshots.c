// SPDX-License-Identifier: Apache-2.0
#include "ctr/snapshots.h"
#include "ctr/util.h"
#include "services/content/v1/content.pb-c.h"
#include "services/diff/v1/diff.pb-c.h"
#include <stdio.h>
#include <string.h>

#define SERVICE &containerd__services__snapshots__v1__snapshots__descriptor
typedef Containerd__Services__Snapshots__V1__Info PbInfo;

const CliFlag flags_snapshotter[] = {
        {"snapshotter", FLAG_STRING, "Snapshotter name. Empty value stands for the default value.",
         .env = "CONTAINERD_SNAPSHOTTER"},
        {0},
};

const char *ctr_snapshotter(Cli *cli)
{
	const char *name = cli_string(cli, "snapshotter");
	return *name != '\0' ? name : ctr_namespace_default(cli, "snapshotter", "overlayfs");
}

static bool need_args(Cli *cli, int min, int max, GError **error)
{
	if (cli_n_args(cli) >= min && cli_n_args(cli) <= max)
		return true;
	return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "usage: ctr snapshots %s %s",
	                 cli_command(cli)->name, cli_command(cli)->arguments);
}

const char *snapshot_kind_text(int kind)
{
	static const char *const names[] = {"Unknown", "View", "Active", "Committed"};
	return kind >= 0 && (size_t)kind < G_N_ELEMENTS(names) ? names[kind] : names[0];
}

/* ---- calls ---- */

bool ctr_snapshot_stat(Cli *cli, const char *snapshotter, const char *key,
                       Containerd__Services__Snapshots__V1__StatSnapshotResponse **ret, GError **error)
{
	Containerd__Services__Snapshots__V1__StatSnapshotRequest req =
	        CONTAINERD__SERVICES__SNAPSHOTS__V1__STAT_SNAPSHOT_REQUEST__INIT;
	req.snapshotter = snapshotter;
	req.key = key;
	return ctr_call(cli, SERVICE, "Stat", &req, ret, error);
}

bool ctr_snapshot_mounts(Cli *cli, const char *snapshotter, const char *key,
                         Containerd__Services__Snapshots__V1__MountsResponse **ret, GError **error)
{
	Containerd__Services__Snapshots__V1__MountsRequest req =
	        CONTAINERD__SERVICES__SNAPSHOTS__V1__MOUNTS_REQUEST__INIT;
	req.snapshotter = snapshotter;
	req.key = key;
	return ctr_call(cli, SERVICE, "Mounts", &req, ret, error);
}

bool ctr_snapshot_prepare(Cli *cli, const char *snapshotter, const char *key, const char *parent,
                          GHashTable *labels,
                          Containerd__Services__Snapshots__V1__PrepareSnapshotResponse **ret, GError **error)
{
	Containerd__Services__Snapshots__V1__PrepareSnapshotRequest req =
	        CONTAINERD__SERVICES__SNAPSHOTS__V1__PREPARE_SNAPSHOT_REQUEST__INIT;
	g_autoptr(GPtrArray) entries = label_entries(
	        labels,
	        &containerd__services__snapshots__v1__prepare_snapshot_request__labels_entry__descriptor);
	req.snapshotter = snapshotter;
	req.key = key;
	req.parent = parent;
	req.labels = (void *)entries->pdata;
	req.n_labels = entries->len;
	return ctr_call(cli, SERVICE, "Prepare", &req, ret, error);
}

bool ctr_snapshot_view(Cli *cli, const char *snapshotter, const char *key, const char *parent,
                       Containerd__Services__Snapshots__V1__ViewSnapshotResponse **ret, GError **error)
{
	Containerd__Services__Snapshots__V1__ViewSnapshotRequest req =
	        CONTAINERD__SERVICES__SNAPSHOTS__V1__VIEW_SNAPSHOT_REQUEST__INIT;
	req.snapshotter = snapshotter;
	req.key = key;
	req.parent = parent;
	return ctr_call(cli, SERVICE, "View", &req, ret, error);
}

bool ctr_snapshot_remove(Cli *cli, const char *snapshotter, const char *key, GError **error)
{
	Containerd__Services__Snapshots__V1__RemoveSnapshotRequest req =
	        CONTAINERD__SERVICES__SNAPSHOTS__V1__REMOVE_SNAPSHOT_REQUEST__INIT;
	req.snapshotter = snapshotter;
	req.key = key;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, SERVICE, "Remove", &req, &resp, error);
}

/* Every snapshot; fn returns false to end early with an error. */
typedef bool (*InfoFn)(Cli *cli, const PbInfo *info, void *data, GError **error);

static bool walk(Cli *cli, InfoFn fn, void *data, GError **error)
{
	Containerd__Services__Snapshots__V1__ListSnapshotsRequest req =
	        CONTAINERD__SERVICES__SNAPSHOTS__V1__LIST_SNAPSHOTS_REQUEST__INIT;
	req.snapshotter = ctr_snapshotter(cli);
	g_autoptr(RpcStream) stream = ctr_stream(cli, SERVICE, "List", RPC_SERVER_STREAM, &req, error);
	if (stream == NULL)
		return false;
	for (;;) {
		autopb Containerd__Services__Snapshots__V1__ListSnapshotsResponse *resp = NULL;
		if (!rpc_stream_recv(stream, &resp, error))
			return false;
		if (resp == NULL)
			return true;
		for (size_t i = 0; i < resp->n_info; i++) {
			if (!fn(cli, resp->info[i], data, error))
				return false;
		}
	}
}

/* ---- printing ---- */

/* As Go's encoding/json prints snapshots.Info. */
static JsonObject *info_to_json(const PbInfo *info)
{
	JsonObject *o = json_object_new_object();
	json_set_string(o, "Kind", snapshot_kind_text((int)info->kind));
	json_set_string(o, "Name", info->name);
	if (!str_empty(info->parent))
		json_set_string(o, "Parent", info->parent);
	if (info->n_labels > 0) {
		g_autoptr(GHashTable) labels = label_map(info->n_labels, info->labels);
		json_set(o, "Labels", strmap_to_json(labels));
	}
	g_autofree char *created = time_format_rfc3339(time_in(info->created_at));
	g_autofree char *updated = time_format_rfc3339(time_in(info->updated_at));
	json_set_string(o, "Created", created);
	json_set_string(o, "Updated", updated);
	return o;
}

static void print_mounts(const char *target, size_t n, Containerd__Types__Mount *const *mounts)
{
	for (size_t i = 0; i < n; i++) {
		const Containerd__Types__Mount *m = mounts[i];
		g_autofree char *at = g_build_filename(target, m->target, NULL);
		printf("mount -t %s %s %s", m->type, m->source, at);
		for (size_t k = 0; k < m->n_options; k++)
			printf("%s%s", k == 0 ? " -o " : ",", m->options[k]);
		putchar('\n');
	}
}

/* As Go's encoding/json prints mount.Mount. */
static void print_mounts_json(size_t n, Containerd__Types__Mount *const *mounts)
{
	JsonObject *list = json_object_new_array();
	for (size_t i = 0; i < n; i++) {
		JsonObject *o = json_object_new_object(), *options = json_object_new_array();
		json_set_string(o, "Type", mounts[i]->type);
		json_set_string(o, "Source", mounts[i]->source);
		json_set_string(o, "Target", mounts[i]->target);
		for (size_t k = 0; k < mounts[i]->n_options; k++)
			json_object_array_add(options, json_object_new_string(mounts[i]->options[k]));
		json_set(o, "Options", options);
		json_object_array_add(list, o);
	}
	print_json(list);
}

/* The label that keeps a snapshot made by hand. */
static GHashTable *root_labels(void)
{
	GHashTable *labels = strmap_new();
	g_autofree char *now = time_format_rfc3339(time_now() / NS_PER_SEC * NS_PER_SEC);
	strmap_set(labels, "containerd.io/gc.root", now);
	return labels;
}

/* ---- commands ---- */

static bool list_one(Cli *cli, const PbInfo *info, void *data, GError **error)
{
	table_row(data, "%s\t%s\t%s\t", info->name, info->parent, snapshot_kind_text((int)info->kind));
	return true;
}

static bool list_json(Cli *cli, const PbInfo *info, void *data, GError **error)
{
	json_object_array_add(data, info_to_json(info));
	return true;
}

static bool list_run(Cli *cli, GError **error)
{
	if (ctr_wants_json(cli)) {
		JsonObject *list = json_object_new_array();
		if (!walk(cli, list_json, list, error)) {
			json_object_put(list);
			return false;
		}
		print_json(list);
		return true;
	}
	Table *t = table_new(1, 1);
	table_row(t, "KEY\tPARENT\tKIND\t");
	if (!walk(cli, list_one, t, error)) {
		table_free(t);
		return false;
	}
	table_print(t);
	return true;
}

static bool usage_of(Cli *cli, const char *key, Table *t, GError **error)
{
	Containerd__Services__Snapshots__V1__UsageRequest req =
	        CONTAINERD__SERVICES__SNAPSHOTS__V1__USAGE_REQUEST__INIT;
	req.snapshotter = ctr_snapshotter(cli);
	req.key = key;
	autopb Containerd__Services__Snapshots__V1__UsageResponse *resp = NULL;
	if (!ctr_call(cli, SERVICE, "Usage", &req, &resp, error))
		return false;
	g_autofree char *size =
	        cli_bool(cli, "b") ? g_strdup_printf("%" PRId64, resp->size) : bytes_text(resp->size);
	table_row(t, "%s\t%s\t%" PRId64 "\t", key, size, resp->inodes);
	return true;
}

static bool usage_one(Cli *cli, const PbInfo *info, void *data, GError **error)
{
	return usage_of(cli, info->name, data, error);
}

static bool usage_run(Cli *cli, GError **error)
{
	Table *t = table_new(1, 1);
	table_row(t, "KEY\tSIZE\tINODES\t");
	bool ok = true;
	if (cli_n_args(cli) == 0)
		ok = walk(cli, usage_one, t, error);
	for (int i = 0; ok && i < cli_n_args(cli); i++)
		ok = usage_of(cli, cli_arg(cli, i), t, error);
	if (ok)
		table_print(t);
	else
		table_free(t);
	return ok;
}

static bool remove_run(Cli *cli, GError **error)
{
	for (int i = 0; i < cli_n_args(cli); i++) {
		if (!ctr_snapshot_remove(cli, ctr_snapshotter(cli), cli_arg(cli, i), error))
			return error_prefix(error, "failed to remove %s", Q(cli_arg(cli, i)));
	}
	return true;
}

static void show_mounts(Cli *cli, size_t n, Containerd__Types__Mount *const *mounts)
{
	const char *target = cli_string(cli, "target");
	if (*target != '\0')
		print_mounts(target, n, mounts);
	if (cli_bool(cli, "mounts"))
		print_mounts_json(n, mounts);
}

static bool prepare_run(Cli *cli, GError **error)
{
	if (!need_args(cli, 1, 2, error))
		return false;
	g_autoptr(GHashTable) labels = root_labels();
	autopb Containerd__Services__Snapshots__V1__PrepareSnapshotResponse *resp = NULL;
	if (!ctr_snapshot_prepare(cli, ctr_snapshotter(cli), cli_arg(cli, 0), cli_arg(cli, 1), labels, &resp,
	                          error))
		return false;
	show_mounts(cli, resp->n_mounts, resp->mounts);
	return true;
}

static bool view_run(Cli *cli, GError **error)
{
	if (!need_args(cli, 1, 2, error))
		return false;
	autopb Containerd__Services__Snapshots__V1__ViewSnapshotResponse *resp = NULL;
	if (!ctr_snapshot_view(cli, ctr_snapshotter(cli), cli_arg(cli, 0), cli_arg(cli, 1), &resp, error))
		return false;
	show_mounts(cli, resp->n_mounts, resp->mounts);
	return true;
}

static bool mounts_run(Cli *cli, GError **error)
{
	autopb Containerd__Services__Snapshots__V1__MountsResponse *resp = NULL;
	if (!need_args(cli, 2, 2, error) ||
	    !ctr_snapshot_mounts(cli, ctr_snapshotter(cli), cli_arg(cli, 1), &resp, error))
		return false;
	print_mounts(cli_arg(cli, 0), resp->n_mounts, resp->mounts);
	return true;
}

static bool commit_run(Cli *cli, GError **error)
{
	if (!need_args(cli, 2, 2, error))
		return false;
	g_autoptr(GHashTable) labels = root_labels();
	g_autoptr(GPtrArray) entries = label_entries(
	        labels,
	        &containerd__services__snapshots__v1__commit_snapshot_request__labels_entry__descriptor);
	Containerd__Services__Snapshots__V1__CommitSnapshotRequest req =
	        CONTAINERD__SERVICES__SNAPSHOTS__V1__COMMIT_SNAPSHOT_REQUEST__INIT;
	req.snapshotter = ctr_snapshotter(cli);
	req.name = cli_arg(cli, 0);
	req.key = cli_arg(cli, 1);
	req.labels = (void *)entries->pdata;
	req.n_labels = entries->len;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, SERVICE, "Commit", &req, &resp, error);
}

static bool info_run(Cli *cli, GError **error)
{
	autopb Containerd__Services__Snapshots__V1__StatSnapshotResponse *resp = NULL;
	if (!need_args(cli, 1, 1, error) ||
	    !ctr_snapshot_stat(cli, ctr_snapshotter(cli), cli_arg(cli, 0), &resp, error))
		return false;
	print_json(info_to_json(resp->info));
	return true;
}

static void print_labels(const PbInfo *info)
{
	g_autoptr(GHashTable) labels = label_map(info->n_labels, info->labels);
	g_autofree char *text = labels_text(labels, ",");
	puts(text);
}

static bool label_run(Cli *cli, GError **error)
{
	if (!need_args(cli, 1, INT_MAX, error))
		return false;
	g_autoptr(GHashTable) labels = label_args(cli, 1);
	if (g_hash_table_size(labels) == 0) {
		autopb Containerd__Services__Snapshots__V1__StatSnapshotResponse *stat = NULL;
		if (!ctr_snapshot_stat(cli, ctr_snapshotter(cli), cli_arg(cli, 0), &stat, error))
			return false;
		print_labels(stat->info);
		return true;
	}
	g_autoptr(GPtrArray) paths = label_paths(labels);
	label_drop_empty(labels);
	g_autoptr(GPtrArray) entries =
	        label_entries(labels, &containerd__services__snapshots__v1__info__labels_entry__descriptor);
	Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
	mask.paths = (char **)paths->pdata;
	mask.n_paths = paths->len;
	PbInfo info = CONTAINERD__SERVICES__SNAPSHOTS__V1__INFO__INIT;
	info.name = cli_arg(cli, 0);
	info.labels = (void *)entries->pdata;
	info.n_labels = entries->len;
	Containerd__Services__Snapshots__V1__UpdateSnapshotRequest req =
	        CONTAINERD__SERVICES__SNAPSHOTS__V1__UPDATE_SNAPSHOT_REQUEST__INIT;
	req.snapshotter = ctr_snapshotter(cli);
	req.info = &info;
	req.update_mask = &mask;
	autopb Containerd__Services__Snapshots__V1__UpdateSnapshotResponse *resp = NULL;
	if (!ctr_call(cli, SERVICE, "Update", &req, &resp, error))
		return false;
	print_labels(resp->info);
	return true;
}

/* ---- tree ---- */

typedef struct {
	GPtrArray *names;     // in order of appearance, owned
	GHashTable *parent;   // name -> parent, for those that were listed
	GHashTable *children; // name -> GPtrArray of borrowed names
} Tree;

static GPtrArray *tree_node(Tree *tree, const char *name)
{
	GPtrArray *children = g_hash_table_lookup(tree->children, name);
	if (children != NULL)
		return children;
	char *own = g_strdup(name);
	g_ptr_array_add(tree->names, own);
	children = g_ptr_array_new();
	g_hash_table_insert(tree->children, own, children);
	return children;
}

static bool tree_one(Cli *cli, const PbInfo *info, void *data, GError **error)
{
	Tree *tree = data;
	tree_node(tree, info->name);
	gpointer own = NULL;
	g_hash_table_lookup_extended(tree->children, info->name, &own, NULL);
	if (!str_empty(info->parent)) {
		g_ptr_array_add(tree_node(tree, info->parent), own);
		g_hash_table_add(tree->parent, own);
	}
	return true;
}

static void tree_print(const Tree *tree, const char *name, int level)
{
	printf("%*s%s %s\n", level * 2, "", level > 0 ? "\\_" : "", name);
	const GPtrArray *children = g_hash_table_lookup(tree->children, name);
	for (guint i = 0; i < children->len; i++)
		tree_print(tree, children->pdata[i], level + 1);
}

static bool tree_run(Cli *cli, GError **error)
{
	Tree tree = {
	        .names = g_ptr_array_new_with_free_func(g_free),
	        .parent = g_hash_table_new(g_str_hash, g_str_equal),
	        .children = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
	                                          (GDestroyNotify)g_ptr_array_unref),
	};
	bool ok = walk(cli, tree_one, &tree, error);
	for (guint i = 0; ok && i < tree.names->len; i++) {
		if (!g_hash_table_contains(tree.parent, tree.names->pdata[i]))
			tree_print(&tree, tree.names->pdata[i], 0);
	}
	g_hash_table_unref(tree.children);
	g_hash_table_unref(tree.parent);
	g_ptr_array_unref(tree.names);
	return ok;
}

static const CliFlag usage_flags[] = {{"b", FLAG_BOOL, "Display size in bytes", .value = "false"}, {0}};
static const CliFlag mount_flags[] = {
        {"target", FLAG_STRING, "Mount target path, will print mount, if provided", {"t"}},
        {"mounts", FLAG_BOOL, "Print out snapshot mounts as JSON", .value = "false"},
        {0},
};

static const CliCommand commit = {
        .name = "commit",
        .usage = "Commit an active snapshot into the provided name",
        .arguments = "<key> <active>",
        .run = commit_run,
};
static const CliCommand info = {
        .name = "info",
        .usage = "Get info about a snapshot",
        .arguments = "<key>",
        .run = info_run,
};
static const CliCommand list = {
        .name = "list",
        .aliases = {"ls"},
        .usage = "List snapshots",
        .flags = {flags_format},
        .run = list_run,
};
static const CliCommand mounts = {
        .name = "mounts",
        .aliases = {"m", "mount"},
        .usage = "Mount gets mount commands for the snapshots",
        .arguments = "<target> <key>",
        .run = mounts_run,
};
static const CliCommand prepare = {
        .name = "prepare",
        .usage = "Prepare a snapshot from a committed snapshot",
        .arguments = "[flags] <key> [<parent>]",
        .flags = {mount_flags},
        .run = prepare_run,
};
static const CliCommand delete_ = {
        .name = "delete",
        .aliases = {"del", "remove", "rm"},
        .usage = "Remove snapshots",
        .arguments = "<key> [<key>, ...]",
        .run = remove_run,
};
static const CliCommand label = {
        .name = "label",
        .usage = "Add labels to content",
        .arguments = "<name> [<label>=<value> ...]",
        .description = "   labels snapshots in the snapshotter",
        .run = label_run,
};
static const CliCommand tree = {
        .name = "tree",
        .usage = "Display tree view of snapshot branches",
        .run = tree_run,
};
static const CliCommand usage = {
        .name = "usage",
        .usage = "Usage snapshots",
        .arguments = "[flags] [<key>, ...]",
        .flags = {usage_flags},
        .run = usage_run,
};
static const CliCommand view = {
        .name = "view",
        .usage = "Create a read-only snapshot from a committed snapshot",
        .arguments = "[flags] <key> [<parent>]",
        .flags = {mount_flags},
        .run = view_run,
};
static const CliCommand *const commands[] = {&commit,
                                             &info,
                                             &list,
                                             &mounts,
                                             &prepare,
                                             &delete_,
                                             &label,
                                             &tree,
                                             &usage,
                                             &view,
                                             &ctr_snapshots_diff,
                                             &ctr_snapshots_unpack,
                                             NULL};
const CliCommand cmd_snapshots = {
        .name = "snapshots",
        .aliases = {"snapshot"},
        .usage = "Manage snapshots",
        .flags = {flags_snapshotter},
        .commands = commands,
};
