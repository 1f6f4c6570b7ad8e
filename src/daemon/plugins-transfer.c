// SPDX-License-Identifier: Apache-2.0
/* Differs, streams and the transfer service. */
#include "base/error.h"
#include "base/log.h"
#include "daemon/builtins.h"
#include "daemon/metadata.h"
#include "oci/platform.h"
#include "services/services.h"
#include "services/streams.h"
#include "transfer/stream-processor.h"
#include "transfer/transfer.h"

/* ---- the walking differ ---- */

/* [stream_processors.<id>] of the daemon's configuration. */
static GPtrArray *stream_processors(const PluginInit *init)
{
	const TomlValue *table = conf_table(plugin_daemon_config(init), "stream_processors");
	GPtrArray *all = g_ptr_array_new_with_free_func((GDestroyNotify)stream_processor_free);
	for (size_t i = 0; table != NULL && i < toml_size(table); i++) {
		const TomlValue *entry = toml_at(table, i);
		StreamProcessor *p = g_new0(StreamProcessor, 1);
		*p = (StreamProcessor){
		        .id = g_strdup(toml_key_at(table, i)),
		        .accepts = conf_strings(entry, "accepts"),
		        .returns = g_strdup(conf_string(entry, "returns")),
		        .path = g_strdup(conf_string(entry, "path")),
		        .args = conf_strings(entry, "args"),
		        .env = conf_strings(entry, "env"),
		};
		g_ptr_array_add(all, p);
	}
	return all;
}

static bool walking_init(PluginInit *init, void **ret, GError **error)
{
	Metadata *m = plugin_get_metadata_plugin(init, error);
	if (m == NULL)
		return false;
	plugin_add_platform(init, platform_default_text());
	g_autoptr(GPtrArray) processors = stream_processors(init);
	*ret = differ_walking_new(m->content, processors);
	return true;
}

static void walking_close(void *instance)
{
	differ_free(instance);
}

static const char *const walking_requires[] = {PLUGIN_METADATA, NULL};
const PluginRegistration plugin_walking = {
        PLUGIN_DIFF, "walking", walking_requires, walking_init, NULL, walking_close, NULL, NULL,
};

/* ---- streams ---- */

static bool streaming_init(PluginInit *init, void **ret, GError **error)
{
	*ret = streams_new(plugin_loop(init));
	return true;
}

static void streaming_close(void *instance)
{
	streams_free(instance);
}

static const char *const streaming_requires[] = {PLUGIN_METADATA, NULL};
const PluginRegistration plugin_streaming = {
        PLUGIN_STREAMING, "manager", streaming_requires, streaming_init, NULL, streaming_close, NULL, NULL,
};

/* ---- image verifier ---- */

static bool verifier_init(PluginInit *init, void **ret, GError **error)
{
	TomlValue *config = plugin_config(init);
	int64_t timeout = 0;
	if (!duration_parse(conf_string(config, "per_verifier_timeout"), &timeout, error))
		return error_prefix(error, "per_verifier_timeout");
	*ret = image_verifier_bindir_new(conf_string(config, "bin_dir"), conf_int(config, "max_verifiers"),
	                                 timeout);
	return true;
}

static void verifier_close(void *instance)
{
	image_verifier_free(instance);
}

const PluginRegistration plugin_image_verifier = {
        PLUGIN_IMAGE_VERIFIER, "bindir", NULL, verifier_init, NULL, verifier_close, NULL, NULL,
};

/* All that are loaded, under their ids. */
static GPtrArray *image_verifiers(PluginInit *init)
{
	GPtrArray *verifiers = g_ptr_array_new_with_free_func(g_free);
	const GPtrArray *all = plugins_all(plugin_set(init));
	for (guint i = 0; i < all->len; i++) {
		const Plugin *p = all->pdata[i];
		if (!g_str_equal(p->registration->type, PLUGIN_IMAGE_VERIFIER) || p->state != PLUGIN_OK)
			continue;
		NamedVerifier *v = g_new0(NamedVerifier, 1);
		v->name = p->registration->id;
		v->verifier = p->instance;
		g_ptr_array_add(verifiers, v);
	}
	return verifiers;
}

/* ---- transfer ---- */

#define DEFAULT_SNAPSHOTTER "overlayfs"
enum {
	CONCURRENCY_MAX = 64,
};

/* Unless check_platform_supported, images of other architectures are unpacked too, as upstream. */
static UnpackPlatform *add_unpack(PluginInit *init, GPtrArray *platforms, const Platform *platform,
                                  Snapshotter *snapshotter, Differ *differ)
{
	PlatformMatcher *matcher = conf_bool(plugin_config(init), "check_platform_supported")
	                                   ? platform_matcher_only(platform)
	                                   : platform_matcher_os(platform);
	UnpackPlatform *up = unpack_platform_new(matcher, snapshotter, differ);
	const Plugin *p = plugins_lookup(plugin_set(init), PLUGIN_SNAPSHOT, snapshotter->name);
	up->annotations = p != NULL && g_strcmp0(strmap_get(p->exports, "enable_remote_snapshot_annotations"),
	                                         "true") == 0;
	g_ptr_array_add(platforms, up);
	return up;
}

/* [[unpack_config]] */
static bool add_configured(PluginInit *init, const Metadata *m, TomlValue *list, GPtrArray *platforms,
                           GError **error)
{
	for (size_t i = 0; i < toml_size(list); i++) {
		const TomlValue *entry = toml_at(list, i);
		const char *name = conf_string(entry, "snapshotter"),
		           *differ_id = conf_string(entry, "differ");
		g_auto(Platform) platform = {0};
		if (!platform_parse(conf_string(entry, "platform"), &platform, NULL))
			return error_set(error, CTRD_ERR_UNKNOWN,
			                 PLUGIN_TRANSFER ": platform configuration %s invalid",
			                 conf_string(entry, "platform"));
		bool optional = conf_bool(entry, "optional");
		Snapshotter *snapshotter = g_hash_table_lookup(m->snapshotters, name);
		if (snapshotter == NULL && optional)
			continue;
		if (snapshotter == NULL)
			return error_set_class(error, CTRD_ERR_NOT_FOUND, "snapshotter %s not found",
			                       Q(name));
		g_autoptr(GError) e = NULL;
		Differ *differ =
		        plugin_get_by_id(init, PLUGIN_DIFF, *differ_id != '\0' ? differ_id : "walking", &e);
		if (differ == NULL && optional)
			continue;
		if (differ == NULL) {
			g_propagate_error(error, g_steal_pointer(&e));
			return error_prefix(error, "failed to get instance for diff plugin %s", Q(differ_id));
		}
		UnpackPlatform *up = add_unpack(init, platforms, &platform, snapshotter, differ);
		const char *config_type = conf_string(entry, "config_type");
		up->config_type = str_empty(config_type) ? NULL : g_strdup(config_type);
		up->layer_types = conf_strings(entry, "layer_types");
	}
	return true;
}

/* Without configuration: this machine's platform on every snapshotter there is, the default one first, so
 * that a request can name another (upstream knows only the default one). */
static bool add_default(PluginInit *init, const Metadata *m, GPtrArray *platforms, GError **error)
{
	Differ *differ = plugin_get_by_id(init, PLUGIN_DIFF, "walking", error);
	if (differ == NULL)
		return false;
	g_auto(Platform) here = {0};
	platform_default(&here);
	Snapshotter *first = g_hash_table_lookup(m->snapshotters, DEFAULT_SNAPSHOTTER);
	if (first != NULL)
		add_unpack(init, platforms, &here, first, differ);
	GHashTableIter iter;
	gpointer value;
	g_hash_table_iter_init(&iter, m->snapshotters);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		if (value != first)
			add_unpack(init, platforms, &here, value, differ);
	}
	return true;
}

/* Upstream has these fixed; [timeouts] is where it keeps others. 0: not set. Values were checked at start. */
static int64_t registry_timeout(PluginInit *init, const char *what)
{
	const TomlValue *timeouts = conf_table(plugin_daemon_config(init), "timeouts");
	g_autofree char *key = g_strconcat("io.containerd.timeout.registry.", what, NULL);
	const TomlValue *value = timeouts != NULL ? toml_get(timeouts, key) : NULL;
	return value != NULL ? MAX(plugin_timeout(init, key), 0) : 0;
}

/* 0 is no limit. */
static unsigned concurrency(const TomlValue *config, const char *key)
{
	int64_t n = conf_int(config, key);
	return n <= 0 ? CONCURRENCY_MAX : (unsigned)MIN(n, CONCURRENCY_MAX);
}

/* config_path of its own; without one what CRI's section says of registries. Upstream's service has the key
 * and does not read it. */
static void set_registries(PluginInit *init, TransferConfig *tc)
{
	const char *path = conf_string(plugin_config(init), "config_path");
	tc->registries = registry_current_new(registry_settings_new(path));
	tc->registries_fallback = plugin_get_by_id(init, PLUGIN_CRI, "images", NULL);
}

static bool transfer_reload(void *instance, const PluginReload *fresh, GError **error)
{
	registry_current_set(transfer_registries(instance),
	                     registry_settings_new(conf_string(fresh->view, "config_path")));
	return true;
}

static bool transfer_init(PluginInit *init, void **ret, GError **error)
{
	TomlValue *config = plugin_config(init);
	Metadata *m = plugin_get_metadata_plugin(init, error);
	if (m == NULL)
		return false;
	g_autoptr(GPtrArray) platforms = g_ptr_array_new_with_free_func((GDestroyNotify)unpack_platform_free);
	TomlValue *list = conf_table(config, "unpack_config");
	if (list != NULL && toml_size(list) > 0 ? !add_configured(init, m, list, platforms, error)
	                                        : !add_default(init, m, platforms, error))
		return false;
	g_autoptr(GPtrArray) verifiers = image_verifiers(init);
	TransferConfig tc = {
	        .content = m->content,
	        .db = m->db,
	        .unpack_platforms = platforms,
	        .verifiers = verifiers,
	        .pull_referrers = conf_bool(config, "pull_referrers"),
	        .default_snapshotter = DEFAULT_SNAPSHOTTER,
	        .concurrent_layer_fetch_buffer =
	                (size_t)CLAMP(conf_int(config, "concurrent_layer_fetch_buffer"), 0, INT_MAX),
	        .max_concurrent_downloads = concurrency(config, "max_concurrent_downloads"),
	        .max_concurrent_uploads = concurrency(config, "max_concurrent_uploaded_layers"),
	        .http =
	                {
	                        .dial_timeout_ns = registry_timeout(init, "dial"),
	                        .response_timeout_ns = registry_timeout(init, "response"),
	                        .stall_timeout_ns = registry_timeout(init, "stall"),
	                },
	};
	set_registries(init, &tc);
	*ret = transfer_new(&tc);
	registry_current_unref(tc.registries); // the transfer has its own
	return true;
}

static void transfer_close(void *instance)
{
	transfer_free(instance);
}

static const char *const transfer_requires[] = {
        PLUGIN_LEASE, PLUGIN_METADATA, PLUGIN_DIFF, PLUGIN_IMAGE_VERIFIER, PLUGIN_SNAPSHOT, PLUGIN_CRI, NULL};
static const char *const transfer_reload_keys[] = {"config_path", NULL};
const PluginRegistration plugin_transfer = {
        .type = PLUGIN_TRANSFER,
        .id = "local",
        .requires = transfer_requires,
        .init = transfer_init,
        .close = transfer_close,
        .reload = transfer_reload,
        .reload_keys = transfer_reload_keys,
};
