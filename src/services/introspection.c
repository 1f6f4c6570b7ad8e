// SPDX-License-Identifier: Apache-2.0
/* containerd.services.introspection.v1; upstream plugins/services/introspection. */
#include "base/fs.h"
#include "base/log.h"
#include "message.h"
#include "oci/filters.h"
#include "oci/platform.h"
#include "rpc/status.h"
#include "runtime/shim-client-binary.h"
#include "services/convert.h"
#include "services/introspection/v1/introspection.pb-c.h"
#include "services/services.h"
#include "types/introspection.pb-c.h"
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

typedef Containerd__Services__Introspection__V1__Plugin PbPlugin;

typedef struct {
	PluginSet *plugins;
	Deprecations *deprecations;
	char *uuid;
} Impl;

static void impl_free(void *data)
{
	Impl *impl = data;
	g_free(impl->uuid);
	g_free(impl);
}

static Containerd__Types__Platform *platform_out(Arena *arena, const char *text)
{
	Containerd__Types__Platform *out = pb_new(arena, &containerd__types__platform__descriptor);
	g_auto(Platform) p = {0};
	if (platform_parse(text, &p, NULL)) {
		out->os = arena_strdup(arena, p.os);
		out->architecture = arena_strdup(arena, p.architecture);
		out->variant = arena_strdup(arena, p.variant);
		out->os_version = arena_strdup(arena, p.os_version);
	}
	return out;
}

static PbPlugin *plugin_out(Arena *arena, const Plugin *p)
{
	PbPlugin *out = pb_new(arena, &containerd__services__introspection__v1__plugin__descriptor);
	const PluginRegistration *r = p->registration;
	out->type = r->type;
	out->id = r->id;
	while (r->requires != NULL && r->requires[out->n_requires] != NULL)
		out->n_requires++;
	out->requires = (const char **)r->requires;
	out->n_platforms = p->platforms->len;
	out->platforms = pb_vec(arena, p->platforms->len);
	for (guint i = 0; i < p->platforms->len; i++)
		out->platforms[i] = platform_out(arena, p->platforms->pdata[i]);
	out->exports = pb_strmap_out(
	        arena, p->exports,
	        &containerd__services__introspection__v1__plugin__exports_entry__descriptor, &out->n_exports);
	out->n_capabilities = p->capabilities->len;
	out->capabilities = pb_vec(arena, p->capabilities->len);
	for (guint i = 0; i < p->capabilities->len; i++)
		out->capabilities[i] = arena_strdup(arena, p->capabilities->pdata[i]);
	if (p->error != NULL) {
		out->init_err = pb_new(arena, &google__rpc__status__descriptor);
		out->init_err->code = (int32_t)rpc_status_of(p->error);
		out->init_err->message = arena_strdup(arena, p->error->message);
	}
	return out;
}

static const char *plugin_field(const char *const *path, size_t n, bool *present, void *data)
{
	const Plugin *p = data;
	bool type = n > 0 && g_str_equal(path[0], "type");
	*present = type || (n > 0 && g_str_equal(path[0], "id"));
	return !*present ? NULL : type ? p->registration->type : p->registration->id;
}

static bool introspection_plugins(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Introspection__V1__PluginsRequest *req = request;
	Containerd__Services__Introspection__V1__PluginsResponse *resp = response;
	Impl *impl = rpc_call_impl(call);
	Arena *arena = rpc_call_arena(call);
	g_autoptr(Filter) filter = NULL;
	if (req->n_filters > 0) {
		filter = filter_parse_all(pb_strv_in(arena, req->n_filters, req->filters), error);
		if (filter == NULL)
			return error_prefix(error, "%s", error_class_text(CTRD_ERR_INVALID_ARGUMENT));
	}
	const GPtrArray *all = plugins_all(impl->plugins);
	resp->plugins = pb_vec(arena, all->len);
	for (guint i = 0; i < all->len; i++) {
		if (filter == NULL || filter_match(filter, plugin_field, all->pdata[i]))
			resp->plugins[resp->n_plugins++] = plugin_out(arena, all->pdata[i]);
	}
	return true;
}

static bool introspection_server(RpcCall *call, const void *request, void *response, GError **error)
{
	Containerd__Services__Introspection__V1__ServerResponse *resp = response;
	Impl *impl = rpc_call_impl(call);
	Arena *arena = rpc_call_arena(call);
	struct stat st;
	if (stat("/proc/self/ns/pid", &st) != 0)
		return error_set_errno(error, errno, "stat /proc/self/ns/pid");
	resp->uuid = impl->uuid;
	resp->pid = (uint64_t)getpid();
	resp->pidns = st.st_ino;
	g_autoptr(GArray) list = deprecations_list(impl->deprecations);
	resp->n_deprecations = list->len;
	resp->deprecations = pb_vec(arena, list->len);
	for (guint i = 0; i < list->len; i++) {
		const Deprecation *d = &g_array_index(list, Deprecation, i);
		resp->deprecations[i] = pb_new(
		        arena, &containerd__services__introspection__v1__deprecation_warning__descriptor);
		resp->deprecations[i]->id = d->id;
		resp->deprecations[i]->message = d->message;
		resp->deprecations[i]->last_occurrence = pb_time_out(arena, d->last);
	}
	return true;
}

/* What the runtime of a RuntimeRequest says of itself. */
static bool runtime_info(Arena *arena, const Google__Protobuf__Any *options, Google__Protobuf__Any **ret,
                         GError **error)
{
	autopb Containerd__Types__RuntimeRequest *req =
	        api_any_unpack(options, &containerd__types__runtime_request__descriptor, NULL, NULL);
	if (req == NULL)
		return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "unknown request type %s",
		                       options->type_url);
	g_autofree char *binary = shim_binary_resolve(req->runtime_path, error);
	if (binary == NULL)
		return error_prefix(error, "failed to resolve runtime path");
	g_autoptr(GBytes) in = NULL;
	if (req->options != NULL) {
		size_t n = protobuf_c_message_get_packed_size(&req->options->base);
		g_autofree uint8_t *data = g_malloc(MAX(n, 1));
		protobuf_c_message_pack(&req->options->base, data);
		in = g_bytes_new_take(g_steal_pointer(&data), n);
	}
	g_autoptr(GBytes) out = shim_binary_info(binary, in, error);
	if (out == NULL)
		return false;
	gsize len = 0;
	const void *bytes = g_bytes_get_data(out, &len);
	autopb ProtobufCMessage *info =
	        api_unpack(&containerd__types__runtime_info__descriptor, NULL, bytes, len, error);
	if (info == NULL)
		return error_prefix(error, "failed to unmarshal stdout from [%s -info]", binary);
	Google__Protobuf__Any *any = arena_alloc(arena, sizeof(*any));
	api_init(&google__protobuf__any__descriptor, any);
	any->type_url = (char *)info->descriptor->name;
	any->value.data = arena_memdup(arena, bytes, len);
	any->value.len = len;
	*ret = any;
	return true;
}

static bool introspection_plugin_info(RpcCall *call, const void *request, void *response, GError **error)
{
	const Containerd__Services__Introspection__V1__PluginInfoRequest *req = request;
	Containerd__Services__Introspection__V1__PluginInfoResponse *resp = response;
	Impl *impl = rpc_call_impl(call);
	const Plugin *p = plugins_lookup(impl->plugins, req->type, req->id);
	if (p == NULL)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "plugin %s.%s not found", req->type,
		                       req->id);
	resp->plugin = plugin_out(rpc_call_arena(call), p);
	if (req->options == NULL)
		return true;
	if (p->error != NULL)
		return error_set_class(error, CTRD_ERR_FAILED_PRECONDITION,
		                       "cannot get extra info, plugin not successfully loaded");
	if (g_str_equal(req->type, "io.containerd.runtime.v2") && g_str_equal(req->id, "task"))
		return runtime_info(rpc_call_arena(call), req->options, &resp->extra, error);
	return error_set_class(error, CTRD_ERR_NOT_IMPLEMENTED, "plugin does not provided extra information");
}

/* The daemon's identity, made at its first start and kept in DIR/uuid. */
static char *load_uuid(const char *dir, GError **error)
{
	g_autofree char *path = path_join(dir, "uuid");
	g_autofree char *data = NULL;
	size_t len = 0;
	if (file_read(path, 64, &data, &len, NULL) && len > 0) {
		if (g_uuid_string_is_valid(data))
			return g_steal_pointer(&data);
		error_set(error, CTRD_ERR_UNKNOWN, "invalid UUID in %s", path);
		return NULL;
	}
	g_autofree char *uuid = g_uuid_string_random();
	if (!dir_make_all(dir, 0700, error) ||
	    !file_write_atomic(path, uuid, strlen(uuid), 0644, true, error))
		return NULL;
	return g_steal_pointer(&uuid);
}

bool introspection_service_new(PluginSet *plugins, Deprecations *deprecations, const char *root,
                               RpcService *ret, GError **error)
{
	static const RpcMethod methods[] = {
	        {"Plugins", RPC_UNARY, RPC_ON_WORKER, introspection_plugins},
	        {"Server", RPC_UNARY, RPC_ON_WORKER, introspection_server},
	        {"PluginInfo", RPC_UNARY, RPC_ON_WORKER, introspection_plugin_info},
	};
	g_autofree char *uuid = load_uuid(root, error);
	if (uuid == NULL)
		return false;
	Impl *impl = g_new0(Impl, 1);
	*impl = (Impl){plugins, deprecations, g_steal_pointer(&uuid)};
	*ret = (RpcService){
	        .descriptor = &containerd__services__introspection__v1__introspection__descriptor,
	        .methods = methods,
	        .n_methods = G_N_ELEMENTS(methods),
	        .impl = impl,
	        .impl_free = impl_free,
	};
	return true;
}
