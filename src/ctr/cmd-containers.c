// SPDX-License-Identifier: Apache-2.0
#include "ctr/checkpoint.h"
#include "ctr/snapshots.h"
#include "ctr/tasks.h"
#include "ctr/util.h"
#include <stdio.h>
#include <string.h>

#define SERVICE &containerd__services__containers__v1__containers__descriptor
typedef Containerd__Services__Containers__V1__Container PbContainer;

RpcClientCall *ctr_container_get_begin(Cli *cli, const char *id, GError **error)
{
	Containerd__Services__Containers__V1__GetContainerRequest req =
	        CONTAINERD__SERVICES__CONTAINERS__V1__GET_CONTAINER_REQUEST__INIT;
	req.id = id;
	return ctr_call_begin(cli, SERVICE, "Get", &req, error);
}

bool ctr_container_get(Cli *cli, const char *id,
                       Containerd__Services__Containers__V1__GetContainerResponse **ret, GError **error)
{
	RpcClientCall *call = ctr_container_get_begin(cli, id, error);
	return call != NULL && rpc_client_call_wait(call, ret, error);
}

bool ctr_container_delete(Cli *cli, const char *id, bool with_snapshot, GError **error)
{
	if (with_snapshot) {
		autopb Containerd__Services__Containers__V1__GetContainerResponse *resp = NULL;
		if (!ctr_container_get(cli, id, &resp, error))
			return false;
		const PbContainer *c = resp->container;
		g_autoptr(GError) failed = NULL;
		if (!str_empty(c->snapshot_key) && !str_empty(c->snapshotter) &&
		    !ctr_snapshot_remove(cli, c->snapshotter, c->snapshot_key, &failed) &&
		    !error_is(failed, CTRD_ERR_NOT_FOUND)) {
			g_propagate_error(error, g_steal_pointer(&failed));
			return false;
		}
	}
	Containerd__Services__Containers__V1__DeleteContainerRequest req =
	        CONTAINERD__SERVICES__CONTAINERS__V1__DELETE_CONTAINER_REQUEST__INIT;
	req.id = id;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, SERVICE, "Delete", &req, &resp, error);
}

/* ---- as Go's encoding/json prints containers.Container ---- */

/* The spec is JSON already. */
static JsonObject *spec_json(const PbContainer *c, GError **error)
{
	if (c->spec == NULL || c->spec->value.len == 0)
		return NULL;
	return json_parse((const char *)c->spec->value.data, c->spec->value.len, 0, error);
}

static JsonObject *container_json(const PbContainer *c, JsonObject *spec)
{
	JsonObject *o = json_object_new_object(), *runtime = json_object_new_object();
	g_autoptr(GHashTable) labels = label_map(c->n_labels, c->labels);
	g_autofree char *created = time_format_rfc3339(time_in(c->created_at));
	g_autofree char *updated = time_format_rfc3339(time_in(c->updated_at));
	json_set_string(o, "ID", c->id);
	json_set(o, "Labels", strmap_to_json(labels));
	json_set_string(o, "Image", c->image);
	json_set_string(runtime, "Name", c->runtime != NULL ? c->runtime->name : "");
	json_object_object_add(runtime, "Options",
	                       any_to_json(c->runtime != NULL ? c->runtime->options : NULL));
	json_set(o, "Runtime", runtime);
	json_set_string(o, "SnapshotKey", c->snapshot_key);
	json_set_string(o, "Snapshotter", c->snapshotter);
	json_set_string(o, "CreatedAt", created);
	json_set_string(o, "UpdatedAt", updated);
	JsonObject *extensions = json_object_new_object();
	for (size_t i = 0; i < c->n_extensions; i++)
		json_object_object_add(extensions, c->extensions[i]->key,
		                       any_to_json(c->extensions[i]->value));
	json_object_object_add(o, "Extensions", extensions);
	json_set_string(o, "SandboxID", c->sandbox);
	if (spec != NULL)
		json_set(o, "Spec", spec);
	return o;
}

/* ---- commands ---- */

static bool need_id(Cli *cli, GError **error)
{
	return *cli_arg(cli, 0) != '\0' ||
	       error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "container id must be provided");
}

static bool list_run(Cli *cli, GError **error)
{
	Containerd__Services__Containers__V1__ListContainersRequest req =
	        CONTAINERD__SERVICES__CONTAINERS__V1__LIST_CONTAINERS_REQUEST__INIT;
	req.filters = (const char **)cli_args(cli);
	req.n_filters = (size_t)cli_n_args(cli);
	/* as a stream: all of them may be more than one message can hold */
	g_autoptr(RpcStream) stream = ctr_stream(cli, SERVICE, "ListStream", RPC_SERVER_STREAM, &req, error);
	if (stream == NULL)
		return false;
	bool quiet = cli_bool(cli, "quiet");
	JsonObject *json = ctr_wants_json(cli) ? json_object_new_array() : NULL;
	Table *t = table_new(4, 4);
	bool ok = true;
	if (!quiet)
		table_row(t, "CONTAINER\tIMAGE\tRUNTIME\t");
	for (;;) {
		autopb Containerd__Services__Containers__V1__ListContainerMessage *m = NULL;
		ok = rpc_stream_recv(stream, &m, error);
		if (!ok || m == NULL)
			break;
		const PbContainer *c = m->container;
		if (json != NULL)
			json_object_array_add(json, container_json(c, spec_json(c, NULL)));
		else if (quiet)
			table_row(t, "%s", c->id);
		else
			table_row(t, "%s\t%s\t%s\t", c->id, str_empty(c->image) ? "-" : c->image,
			          c->runtime != NULL ? c->runtime->name : "");
	}
	if (ok && json == NULL) {
		table_print(t);
		return true;
	}
	table_free(t);
	if (ok)
		print_json(json);
	else if (json != NULL)
		json_object_put(json);
	return ok;
}

static bool info_run(Cli *cli, GError **error)
{
	autopb Containerd__Services__Containers__V1__GetContainerResponse *resp = NULL;
	if (!need_id(cli, error) || !ctr_container_get(cli, cli_arg(cli, 0), &resp, error))
		return false;
	g_autoptr(GError) failed = NULL;
	JsonObject *spec = spec_json(resp->container, &failed);
	if (failed != NULL) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return error_prefix(error, "the container's spec");
	}
	print_json(cli_bool(cli, "spec") ? spec : container_json(resp->container, spec));
	return true;
}

static bool delete_one(Cli *cli, const char *id, GError **error)
{
	Containerd__Services__Tasks__V1__GetRequest get = CONTAINERD__SERVICES__TASKS__V1__GET_REQUEST__INIT;
	get.container_id = id;
	autopb Containerd__Services__Tasks__V1__GetResponse *task = NULL;
	g_autoptr(GError) failed = NULL;
	if (ctr_call(cli, &containerd__services__tasks__v1__tasks__descriptor, "Get", &get, &task, &failed)) {
		uint32_t status = 0;
		const ProtobufCEnumValue *s = protobuf_c_enum_descriptor_get_value(
		        &containerd__v1__types__status__descriptor, (int)task->process->status);
		if (task->process->status != CONTAINERD__V1__TYPES__STATUS__STOPPED &&
		    task->process->status != CONTAINERD__V1__TYPES__STATUS__CREATED) {
			g_autofree char *lower = g_ascii_strdown(s != NULL ? s->name : "UNKNOWN", -1);
			return error_set(
			        error, CTRD_ERR_FAILED_PRECONDITION,
			        "cannot delete a non stopped container: %s (stop it with ctr tasks kill %s)",
			        lower, id);
		}
		if (!ctr_task_delete_with_fifos(cli, id, "", task->process, &status, error))
			return false;
	} else if (!error_is(failed, CTRD_ERR_NOT_FOUND)) {
		g_propagate_error(error, g_steal_pointer(&failed));
		return false;
	}
	return ctr_container_delete(cli, id, !cli_bool(cli, "keep-snapshot"), error);
}

static bool delete_run(Cli *cli, GError **error)
{
	GError *first = NULL;
	if (cli_n_args(cli) == 0)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "must specify at least one container to delete");
	for (int i = 0; i < cli_n_args(cli); i++) {
		GError *failed = NULL;
		if (delete_one(cli, cli_arg(cli, i), &failed))
			continue;
		error_prefix(&failed, "failed to delete container %s", Q(cli_arg(cli, i)));
		if (first == NULL) {
			first = failed;
		} else {
			fprintf(stderr, "ctr: %s\n", failed->message);
			g_error_free(failed);
		}
	}
	if (first != NULL)
		g_propagate_error(error, first);
	return first == NULL;
}

static bool label_run(Cli *cli, GError **error)
{
	if (!need_id(cli, error))
		return false;
	g_autoptr(GHashTable) labels = label_args(cli, 1);
	g_autoptr(GPtrArray) paths = label_paths(labels);
	g_autoptr(GPtrArray) entries = label_entries(
	        labels, &containerd__services__containers__v1__container__labels_entry__descriptor);
	Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
	mask.paths = (char **)paths->pdata;
	mask.n_paths = paths->len;
	PbContainer c = CONTAINERD__SERVICES__CONTAINERS__V1__CONTAINER__INIT;
	c.id = cli_arg(cli, 0);
	c.labels = (void *)entries->pdata;
	c.n_labels = entries->len;
	Containerd__Services__Containers__V1__UpdateContainerRequest req =
	        CONTAINERD__SERVICES__CONTAINERS__V1__UPDATE_CONTAINER_REQUEST__INIT;
	req.container = &c;
	req.update_mask = &mask;
	autopb Containerd__Services__Containers__V1__UpdateContainerResponse *updated = NULL;
	autopb Containerd__Services__Containers__V1__GetContainerResponse *got = NULL;
	if (!ctr_container_get(cli, c.id, &got, error) ||
	    (paths->len > 0 && !ctr_call(cli, SERVICE, "Update", &req, &updated, error)))
		return false;
	const PbContainer *now = updated != NULL ? updated->container : got->container;
	g_autoptr(GHashTable) all = label_map(now->n_labels, now->labels);
	g_autofree char *text = labels_text(all, ",");
	puts(text);
	return true;
}

static const CliFlag delete_flags[] = {
        {"keep-snapshot", FLAG_BOOL, "Do not clean up snapshot with container", .value = "false"},
        {0},
};
static const CliFlag info_flags[] = {{"spec", FLAG_BOOL, "Only display the spec", .value = "false"}, {0}};
static const CliCommand delete_ = {
        .name = "delete",
        .aliases = {"del", "remove", "rm"},
        .usage = "Delete one or more existing containers",
        .arguments = "[flags] CONTAINER [CONTAINER, ...]",
        .flags = {delete_flags},
        .run = delete_run,
};
static const CliCommand info = {
        .name = "info",
        .usage = "Get info about a container",
        .arguments = "CONTAINER",
        .flags = {info_flags},
        .run = info_run,
};
static const CliCommand list = {
        .name = "list",
        .aliases = {"ls"},
        .usage = "List containers",
        .arguments = "[flags] [<filter>, ...]",
        .flags = {flags_quiet, flags_format},
        .run = list_run,
};
static const CliCommand label = {
        .name = "label",
        .usage = "Set and clear labels for a container",
        .arguments = "[flags] CONTAINER [<key>=<value>, ...]",
        .description = "   set and clear labels for a container",
        .run = label_run,
};
static const CliCommand *const commands[] = {
        &ctr_containers_create,  &delete_, &info, &list, &label, &ctr_containers_checkpoint,
        &ctr_containers_restore, NULL};
const CliCommand cmd_containers = {
        .name = "containers",
        .aliases = {"c", "container"},
        .usage = "Manage containers",
        .commands = commands,
};
