// SPDX-License-Identifier: Apache-2.0
/* ctr sandboxes */
#include "base/fs.h"
#include "ctr/container.h"
#include "ctr/util.h"
#include "oci/runtime-spec.h"
#include "services/sandbox/v1/sandbox.pb-c.h"
#include <stdio.h>
#include <string.h>

#define STORE &containerd__services__sandbox__v1__store__descriptor
#define CONTROLLER &containerd__services__sandbox__v1__controller__descriptor
#define DEFAULT_SANDBOXER "shim"
#define SPEC_MAX (8 * 1024 * 1024)

typedef Containerd__Types__Sandbox PbSandbox;

/* ---- calls ---- */

static bool sandbox_get(Cli *cli, const char *id, Containerd__Services__Sandbox__V1__StoreGetResponse **ret,
                        GError **error)
{
	Containerd__Services__Sandbox__V1__StoreGetRequest req =
	        CONTAINERD__SERVICES__SANDBOX__V1__STORE_GET_REQUEST__INIT;
	req.sandbox_id = id;
	return ctr_call(cli, STORE, "Get", &req, ret, error);
}

static bool sandbox_forget(Cli *cli, const char *id, GError **error)
{
	Containerd__Services__Sandbox__V1__StoreDeleteRequest req =
	        CONTAINERD__SERVICES__SANDBOX__V1__STORE_DELETE_REQUEST__INIT;
	req.sandbox_id = id;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, STORE, "Delete", &req, &resp, error);
}

static bool sandbox_stop(Cli *cli, const PbSandbox *s, GError **error)
{
	Containerd__Services__Sandbox__V1__ControllerStopRequest req =
	        CONTAINERD__SERVICES__SANDBOX__V1__CONTROLLER_STOP_REQUEST__INIT;
	req.sandbox_id = s->sandbox_id;
	req.sandboxer = s->sandboxer;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, CONTROLLER, "Stop", &req, &resp, error);
}

/* What is not there any more has been shut down. */
static bool sandbox_shutdown(Cli *cli, const PbSandbox *s, GError **error)
{
	Containerd__Services__Sandbox__V1__ControllerShutdownRequest req =
	        CONTAINERD__SERVICES__SANDBOX__V1__CONTROLLER_SHUTDOWN_REQUEST__INIT;
	req.sandbox_id = s->sandbox_id;
	req.sandboxer = s->sandboxer;
	autopb ProtobufCMessage *resp = NULL;
	GError *failed = NULL;
	if (!ctr_call(cli, CONTROLLER, "Shutdown", &req, &resp, &failed)) {
		if (!error_is(failed, CTRD_ERR_NOT_FOUND)) {
			g_propagate_prefixed_error(error, failed, "failed to shutdown sandbox: ");
			return false;
		}
		g_error_free(failed);
	}
	failed = NULL;
	if (sandbox_forget(cli, s->sandbox_id, &failed))
		return true;
	if (!error_is(failed, CTRD_ERR_NOT_FOUND)) {
		g_propagate_prefixed_error(error, failed, "failed to delete sandbox from store: ");
		return false;
	}
	g_error_free(failed);
	return true;
}

/* ---- run ---- */

static bool controller_create(Cli *cli, const PbSandbox *s, GError **error)
{
	Containerd__Services__Sandbox__V1__ControllerCreateRequest req =
	        CONTAINERD__SERVICES__SANDBOX__V1__CONTROLLER_CREATE_REQUEST__INIT;
	req.sandbox_id = s->sandbox_id;
	req.sandboxer = s->sandboxer;
	req.sandbox = (PbSandbox *)s;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, CONTROLLER, "Create", &req, &resp, error) ||
	       error_prefix(error, "failed to create new sandbox: failed to create sandbox with %s sandboxer",
	                    s->sandboxer);
}

static bool controller_start(Cli *cli, const PbSandbox *s, GError **error)
{
	Containerd__Services__Sandbox__V1__ControllerStartRequest req =
	        CONTAINERD__SERVICES__SANDBOX__V1__CONTROLLER_START_REQUEST__INIT;
	req.sandbox_id = s->sandbox_id;
	req.sandboxer = s->sandboxer;
	autopb ProtobufCMessage *resp = NULL;
	return ctr_call(cli, CONTROLLER, "Start", &req, &resp, error) ||
	       error_prefix(error, "failed to start");
}

static bool sandbox_run(Cli *cli, PbSandbox *s, GError **error)
{
	Containerd__Services__Sandbox__V1__StoreCreateRequest req =
	        CONTAINERD__SERVICES__SANDBOX__V1__STORE_CREATE_REQUEST__INIT;
	req.sandbox = s;
	autopb ProtobufCMessage *resp = NULL;
	if (!ctr_call(cli, STORE, "Create", &req, &resp, error))
		return error_prefix(error, "failed to create new sandbox");
	if (controller_create(cli, s, error) && controller_start(cli, s, error))
		return true;
	sandbox_forget(cli, s->sandbox_id, NULL);
	return false;
}

static bool run_run(Cli *cli, GError **error)
{
	if (cli_n_args(cli) != 2)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "a file with the sandbox's spec and an id must be provided");
	g_autofree char *text = NULL;
	size_t len;
	if (!file_read(cli_arg(cli, 0), SPEC_MAX, &text, &len, error))
		return error_prefix(error, "failed to read sandbox config");
	g_autoptr(JsonObject) json = json_parse(text, len, SPEC_MAX, error);
	if (json == NULL)
		return error_prefix(error, "failed to parse sandbox config");
	PbSandbox sandbox = CONTAINERD__TYPES__SANDBOX__INIT;
	Containerd__Types__Sandbox__Runtime runtime = CONTAINERD__TYPES__SANDBOX__RUNTIME__INIT;
	Google__Protobuf__Any spec = GOOGLE__PROTOBUF__ANY__INIT;
	Containerd__Runc__V1__Options options = CONTAINERD__RUNC__V1__OPTIONS__INIT;
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
	g_autofree char *spec_text = json_to_text(json);
	spec.type_url = (char *)SPEC_TYPE_URL;
	spec.value = (ProtobufCBinaryData){strlen(spec_text), (uint8_t *)spec_text};
	autopb Google__Protobuf__Any *any =
	        ctr_runc_options(cli, &options) ? api_any_pack(&options, NULL) : api_any_pack(&empty, NULL);
	runtime.name = cli_string(cli, "runtime");
	runtime.options = any;
	sandbox.sandbox_id = cli_arg(cli, 1);
	sandbox.sandboxer = ctr_namespace_default(cli, "sandboxer", DEFAULT_SANDBOXER);
	sandbox.runtime = &runtime;
	sandbox.spec = &spec;
	return sandbox_run(cli, &sandbox, error) && puts(cli_arg(cli, 1)) >= 0;
}

/* ---- list ---- */

static bool list_run(Cli *cli, GError **error)
{
	Containerd__Services__Sandbox__V1__StoreListRequest req =
	        CONTAINERD__SERVICES__SANDBOX__V1__STORE_LIST_REQUEST__INIT;
	req.filters = (const char **)cli_strings(cli, "filters");
	req.n_filters = g_strv_length(cli_strings(cli, "filters"));
	autopb Containerd__Services__Sandbox__V1__StoreListResponse *resp = NULL;
	if (!ctr_call(cli, STORE, "List", &req, &resp, error))
		return error_prefix(error, "failed to list sandboxes");
	if (ctr_wants_json(cli)) {
		print_json_list(resp->n_list, (ProtobufCMessage *const *)resp->list);
		return true;
	}
	Table *t = table_new(1, 8);
	table_row(t, "ID\tCREATED\tRUNTIME\t");
	for (size_t i = 0; i < resp->n_list; i++) {
		const PbSandbox *s = resp->list[i];
		g_autofree char *created = time_go(time_in(s->created_at));
		table_row(t, "%s\t%s\t%s\t", s->sandbox_id, created,
		          s->runtime != NULL ? s->runtime->name : "");
	}
	table_print(t);
	return true;
}

/* ---- remove ---- */

static bool remove_one(Cli *cli, const char *id, GError **error)
{
	autopb Containerd__Services__Sandbox__V1__StoreGetResponse *resp = NULL;
	if (!sandbox_get(cli, id, &resp, error))
		return error_prefix(error, "failed to load sandbox %s", id);
	GError *failed = NULL;
	if (!sandbox_stop(cli, resp->sandbox, &failed)) {
		g_prefix_error(&failed, "failed to stop sandbox %s: ", id);
		if (!cli_bool(cli, "force")) {
			g_propagate_error(error, failed);
			return false;
		}
		fprintf(stderr, "ctr: %s\n", failed->message);
		g_error_free(failed);
	}
	return sandbox_shutdown(cli, resp->sandbox, error) ||
	       error_prefix(error, "failed to shutdown sandbox %s", id);
}

static bool remove_run(Cli *cli, GError **error)
{
	GError *first = NULL;
	for (int i = 0; i < cli_n_args(cli); i++) {
		GError *failed = NULL;
		if (remove_one(cli, cli_arg(cli, i), &failed))
			continue;
		if (first == NULL) {
			first = failed;
			continue;
		}
		fprintf(stderr, "ctr: %s\n", failed->message);
		g_error_free(failed);
	}
	if (first != NULL)
		g_propagate_error(error, first);
	return first == NULL;
}

/* ---- info: as Go's encoding/json prints sandbox.Sandbox ---- */

static JsonObject *sandbox_json(const PbSandbox *s)
{
	JsonObject *o = json_object_new_object(), *runtime = json_object_new_object();
	JsonObject *extensions = s->n_extensions > 0 ? json_object_new_object() : NULL;
	g_autoptr(GHashTable) labels = label_map(s->n_labels, s->labels);
	g_autofree char *created = time_format_rfc3339(time_in(s->created_at));
	g_autofree char *updated = time_format_rfc3339(time_in(s->updated_at));
	json_set_string(o, "ID", s->sandbox_id);
	json_set(o, "Labels", strmap_to_json(labels));
	json_set_string(runtime, "Name", s->runtime != NULL ? s->runtime->name : "");
	json_object_object_add(runtime, "Options",
	                       any_to_json(s->runtime != NULL ? s->runtime->options : NULL));
	json_set(o, "Runtime", runtime);
	json_object_object_add(o, "Spec", any_to_json(s->spec));
	json_set_string(o, "Sandboxer", s->sandboxer);
	json_set_string(o, "CreatedAt", created);
	json_set_string(o, "UpdatedAt", updated);
	for (size_t i = 0; i < s->n_extensions; i++)
		json_object_object_add(extensions, s->extensions[i]->key,
		                       any_to_json(s->extensions[i]->value));
	json_object_object_add(o, "Extensions", extensions);
	return o;
}

static bool info_run(Cli *cli, GError **error)
{
	const char *id = cli_arg(cli, 0);
	if (*id == '\0')
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "sandbox id must be provided");
	autopb Containerd__Services__Sandbox__V1__StoreGetResponse *resp = NULL;
	if (!sandbox_get(cli, id, &resp, error))
		return error_prefix(error, "failed to load sandbox %s", id);
	print_json(sandbox_json(resp->sandbox));
	return true;
}

/* ---- the tree ---- */

static const CliFlag list_flags[] = {
        {"filters", FLAG_STRINGS, "The list of filters to apply when querying sandboxes from the store"},
        {0},
};
static const CliFlag remove_flags[] = {
        {"force", FLAG_BOOL, "Ignore shutdown errors when removing sandbox", {"f"}, "false"},
        {0},
};
static const CliCommand run = {
        .name = "run",
        .aliases = {"create", "c", "r"},
        .usage = "Run a new sandbox",
        .arguments = "[flags] <pod-config.json> <sandbox-id>",
        .flags = {flags_runtime},
        .run = run_run,
};
static const CliCommand list = {
        .name = "list",
        .aliases = {"ls"},
        .usage = "List sandboxes",
        .flags = {list_flags, flags_format},
        .run = list_run,
};
static const CliCommand remove_ = {
        .name = "remove",
        .aliases = {"rm"},
        .usage = "Remove sandboxes",
        .arguments = "<id> [<id>, ...]",
        .flags = {remove_flags},
        .run = remove_run,
};
static const CliCommand info = {
        .name = "info",
        .aliases = {"i"},
        .usage = "Get info about a sandbox",
        .arguments = "<sandbox id>",
        .run = info_run,
};
static const CliCommand *const commands[] = {&run, &list, &remove_, &info, NULL};
const CliCommand cmd_sandboxes = {
        .name = "sandboxes",
        .aliases = {"sandbox", "sb", "s"},
        .usage = "Manage sandboxes",
        .commands = commands,
};
