// SPDX-License-Identifier: Apache-2.0

#include "shim/options.h"

#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/util.h"
#include "message.h"
#include "rpc/call.h"
#include "types/runc/options/oci.pb-c.h"
#include <string.h>

#define OPTIONS_TYPE "containerd.runc.v1.Options"
#define OPTIONS_MAX (64 * 1024)

void runc_options_clear(RuncOptions *o)
{
	g_free(o->shim_cgroup);
	g_free(o->binary_name);
	g_free(o->root);
	g_free(o->criu_work_path);
	memset(o, 0, sizeof *o);
}

static char *dup_nonempty(const char *s)
{
	return str_empty(s) ? NULL : g_strdup(s);
}

bool runc_options_is_type(const char *type_url)
{
	return strcmp(api_type_name(type_url), OPTIONS_TYPE) == 0;
}

bool runc_options_parse_bytes(const uint8_t *data, size_t len, RuncOptions *ret, GError **error)
{
	memset(ret, 0, sizeof *ret);
	autopb ProtobufCMessage *m =
	        api_unpack(&containerd__runc__v1__options__descriptor, NULL, data, len, error);
	if (m == NULL)
		return false;
	const Containerd__Runc__V1__Options *o = (const Containerd__Runc__V1__Options *)m;
	*ret = (RuncOptions){
	        .no_pivot_root = o->no_pivot_root,
	        .no_new_keyring = o->no_new_keyring,
	        .systemd_cgroup = o->systemd_cgroup,
	        .shim_cgroup = dup_nonempty(o->shim_cgroup),
	        .io_uid = o->io_uid,
	        .io_gid = o->io_gid,
	        .binary_name = dup_nonempty(o->binary_name),
	        .root = dup_nonempty(o->root),
	        .criu_work_path = dup_nonempty(o->criu_work_path),
	};
	return true;
}

bool runc_options_parse(const Google__Protobuf__Any *any, RuncOptions *ret, GError **error)
{
	memset(ret, 0, sizeof *ret);
	if (any == NULL || any->value.len == 0)
		return true;
	if (!runc_options_is_type(any->type_url))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "unsupported runtime options type %s", Q(any->type_url));
	return runc_options_parse_bytes(any->value.data, any->value.len, ret, error);
}

bool runc_options_write(const char *bundle, const RuncOptions *o, GError **error)
{
	g_autoptr(JsonObject) json = json_object_new_object();
	const struct {
		const char *key;
		bool value;
	} flags[] = {{"no_pivot_root", o->no_pivot_root},
	             {"no_new_keyring", o->no_new_keyring},
	             {"systemd_cgroup", o->systemd_cgroup}};
	for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++)
		if (flags[i].value)
			json_set(json, flags[i].key, json_object_new_boolean(true));
	json_set_string(json, "shim_cgroup", o->shim_cgroup);
	json_set_string(json, "binary_name", o->binary_name);
	json_set_string(json, "root", o->root);
	json_set_string(json, "criu_work_path", o->criu_work_path);
	if (o->io_uid != 0)
		json_set_int64(json, "io_uid", o->io_uid);
	if (o->io_gid != 0)
		json_set_int64(json, "io_gid", o->io_gid);

	g_autofree char *text = json_to_text(json);
	g_autofree char *options = path_join(bundle, "options.json");
	g_autofree char *runtime = path_join(bundle, "runtime");
	const char *binary = str_or(o->binary_name, "");
	return file_write_atomic(options, text, strlen(text), 0600, false, error) &&
	       file_write_atomic(runtime, binary, strlen(binary), 0600, false, error);
}

static bool options_read_json(const char *bundle, RuncOptions *ret, GError **error)
{
	g_autofree char *path = path_join(bundle, "options.json");
	g_autofree char *text = NULL;
	size_t len;
	if (!path_exists(path))
		return true;
	if (!file_read(path, OPTIONS_MAX, &text, &len, error))
		return false;
	g_autoptr(JsonObject) json = json_parse(text, len, OPTIONS_MAX, error);
	if (json == NULL)
		return error_prefix(error, "%s", path);
	int64_t uid = 0, gid = 0;
	json_get_int64(json, "io_uid", &uid);
	json_get_int64(json, "io_gid", &gid);
	json_get_bool(json, "no_pivot_root", &ret->no_pivot_root);
	json_get_bool(json, "no_new_keyring", &ret->no_new_keyring);
	json_get_bool(json, "systemd_cgroup", &ret->systemd_cgroup);
	ret->io_uid = (uint32_t)uid;
	ret->io_gid = (uint32_t)gid;
	ret->shim_cgroup = dup_nonempty(json_get_string(json, "shim_cgroup"));
	ret->binary_name = dup_nonempty(json_get_string(json, "binary_name"));
	ret->root = dup_nonempty(json_get_string(json, "root"));
	ret->criu_work_path = dup_nonempty(json_get_string(json, "criu_work_path"));
	return true;
}

bool runc_options_read(const char *bundle, RuncOptions *ret, GError **error)
{
	memset(ret, 0, sizeof *ret);
	if (!options_read_json(bundle, ret, error))
		return false;
	// The `runtime` file decides, as upstream's: a bundle of an old daemon has only that one.
	g_autofree char *path = path_join(bundle, "runtime");
	g_autofree char *text = NULL;
	size_t len;
	if (path_exists(path) && file_read(path, 4096, &text, &len, error)) {
		g_free(ret->binary_name);
		ret->binary_name = dup_nonempty(text);
	}
	return error == NULL || *error == NULL;
}
